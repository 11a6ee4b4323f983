"""prctl(2)'s options, as far as a view or its launcher meets them (linux/prctl.h)."""

from __future__ import annotations

PR_SET_PDEATHSIG = 1
PR_GET_DUMPABLE = 3
PR_SET_DUMPABLE = 4
PR_GET_KEEPCAPS = 7
PR_SET_KEEPCAPS = 8
PR_SET_NAME = 15
PR_GET_NAME = 16
PR_GET_SECCOMP = 21
PR_SET_SECCOMP = 22
PR_CAPBSET_READ = 23
PR_CAPBSET_DROP = 24
PR_GET_SECUREBITS = 27
PR_SET_SECUREBITS = 28
PR_SET_MM = 35
PR_SET_CHILD_SUBREAPER = 36
PR_GET_CHILD_SUBREAPER = 37
PR_SET_NO_NEW_PRIVS = 38
PR_GET_NO_NEW_PRIVS = 39
PR_CAP_AMBIENT = 47
PR_SET_PTRACER = 0x59616D61

PR_VIEWOS = 0x56494557
"""No option of Linux's: in a view its monitor answers it, elsewhere it is EINVAL."""
VIEWOS_CONTACT = 1
"""PR_VIEWOS: a descriptor by which the monitor is asked for a nested view."""
VIEWOS_ENTER = 2
"""PR_VIEWOS: the calling process enters the nested view of that number."""

PR_SET_MM_EXE_FILE = 13
PR_SET_MM_MAP = 14

SUID_DUMP_DISABLE = 0
SUID_DUMP_USER = 1
SUID_DUMP_ROOT = 2
"""The answer to PR_GET_DUMPABLE that no program can set itself (fs.suid_dumpable)."""
