"""What goes wrong before a program runs."""

from __future__ import annotations

from viewos.errors import ViewosError

FAILED = 125
"""The status when viewos itself fails, as of env(1) and timeout(1)."""
CANNOT_EXECUTE = 126
NOT_FOUND = 127


class LaunchError(ViewosError):
    """The program could not be started; nothing of it runs. The text is one line for the user."""
