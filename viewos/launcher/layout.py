"""Which process is whose parent: the two layouts, and how one is chosen."""

from __future__ import annotations

import os
from collections.abc import Callable
from enum import Enum

from viewos.launcher import raw
from viewos.launcher.errors import LaunchError
from viewos.tuples import NamedTuple

CAP_SYS_PTRACE = 19
CAP_SYS_CHROOT, CAP_SYS_ADMIN = 18, 21


class Layout(Enum):
    """Where the monitor stands.

    DIRECT: the calling process becomes the program, and the monitor stands beside it, nobody's
    relative: exit status, signals, job control and getppid are native, for nothing is between.

    ANCESTOR: the calling process waits -> monitor -> shepherd -> program, because Yama's
    ptrace_scope 1 lets only an ancestor read a program's memory. In the monitor SIGCHLD is ignored,
    so that the kernel reaps the orphans that it adopts: a wait would steal the stops of fix-ups.
    """

    AUTO = "auto"
    DIRECT = "direct"
    ANCESTOR = "ancestor"


class Session(NamedTuple):
    """What the monitor is told about the program that it serves."""

    listener: int
    """The seccomp notification descriptor."""
    pid: int
    """The main program."""
    layout: Layout
    stderr_identity: tuple[int, int] | None
    """(st_dev, st_ino) of the program's stderr at launch; None: it was closed."""
    ready: Callable[[], None]
    """To be called when calls are being answered: the program starts then."""


def choose(wanted: Layout = Layout.AUTO) -> Layout:
    """The layout to use. Raises LaunchError where nobody may read a program's memory."""
    scope = ptrace_scope()
    privileged = has_capability(CAP_SYS_PTRACE)
    if scope >= 3 or (scope == 2 and not privileged):
        raise LaunchError(
            f"kernel.yama.ptrace_scope is {scope}: no monitor may read the memory of a program"
            f"{'' if scope >= 3 else ' without CAP_SYS_PTRACE'}; set it to 1 or 0"
        )
    if wanted is not Layout.AUTO:
        return wanted
    if scope == 1 and not privileged:
        return Layout.ANCESTOR
    # The monitor of the direct layout would become the program's child: its orphans end there.
    return Layout.ANCESTOR if _adopts_orphans() else Layout.DIRECT


def ptrace_scope() -> int:
    """Yama's kernel.yama.ptrace_scope (Linux's Documentation/LSM/Yama); 0 without Yama."""
    try:
        with open("/proc/sys/kernel/yama/ptrace_scope", "rb", buffering=0) as file:
            return int(file.read())
    except OSError:
        return 0


def has_capability(number: int) -> bool:
    """Is it in the calling thread's effective set (capabilities(7))? Needs /proc."""
    with open("/proc/self/status", "rb", buffering=0) as file:
        for line in file.read().splitlines():
            if line.startswith(b"CapEff:"):
                return bool(int(line.split()[1], 16) >> number & 1)
    return False


def _adopts_orphans() -> bool:
    return os.getpid() == 1 or raw.is_child_subreaper()
