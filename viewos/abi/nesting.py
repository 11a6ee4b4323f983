"""What a program in a view asks its monitor by prctl(2): an option that Linux does not have."""

from __future__ import annotations

PR_VIEWOS = 0x56494557
"""In a view its monitor answers it, elsewhere it is EINVAL."""
VIEWOS_CONTACT = 1
"""A descriptor by which the monitor is asked for a nested view."""
VIEWOS_ENTER = 2
"""The calling process enters the nested view of that number."""
VIEWOS_NOTES = 3
"""A descriptor of memory in which the instrumented libc notes changes (monitor/inproc)."""
