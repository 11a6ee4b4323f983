"""nice and ioprio: what a virtual root sets, and the kernel would not let the real user set, is
remembered and shown; how the process really runs stays as it was."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from viewos import PASS
from viewos.modules.uid.credentials import SYS_ADMIN, SYS_NICE, Credentials
from viewos.modules.uid.names import NameModule

if TYPE_CHECKING:
    from viewos import Call, Verdict

_NICEST, _LEAST_NICE = 19, -20
_IO_WHO_PROCESS, _IO_CLASS_SHIFT, _IO_REALTIME = 1, 13, 1
_IO_OTHER_CLASSES = (0, 2, 3)
"""None, best effort, idle (linux/ioprio.h): anybody may have these."""


class ScheduleModule(NameModule):
    """Priorities of processes."""

    def getpriority(self, call: Call) -> Verdict:
        """getpriority(2) of one process; the system call tells 20 - nice."""
        who = self._asked_of(call, os.PRIO_PROCESS)
        return PASS if who is None or who.nice is None else 20 - who.nice

    def setpriority(self, call: Call) -> Verdict:
        """setpriority(2) of the calling process: set_one_prio of kernel/sys.c.

        What is no less than the kernel has, it sets itself.
        """
        if call.args.which != os.PRIO_PROCESS or not _is_own(call):
            return PASS
        who = self._who(call)
        wanted = min(max(call.args.prio, _LEAST_NICE), _NICEST)
        real = os.getpriority(os.PRIO_PROCESS, call.tid)
        if wanted >= real:
            call.keep(replace(who, nice=None))
            return PASS
        shown = real if who.nice is None else who.nice
        if wanted < shown and not who.may(SYS_NICE) and not _is_within_limit(call, wanted):
            raise OSError(errno.EACCES, "needs CAP_SYS_NICE")
        call.keep(replace(who, nice=None if _is_done_below(call) else wanted))
        return 0

    def ioprio_get(self, call: Call) -> Verdict:
        """ioprio_get(2) of one process."""
        who = self._asked_of(call, _IO_WHO_PROCESS)
        return PASS if who is None or who.io_priority is None else who.io_priority

    def ioprio_set(self, call: Call) -> Verdict:
        """ioprio_set(2) of the calling process: ioprio_check_cap of block/ioprio.c."""
        if call.args.which != _IO_WHO_PROCESS or not _is_own(call):
            return PASS
        who, wanted = self._who(call), call.args.ioprio & 0xFFFF
        kind = wanted >> _IO_CLASS_SHIFT
        if kind != _IO_REALTIME:
            if kind in _IO_OTHER_CLASSES:
                call.keep(replace(who, io_priority=None))
            return PASS
        if not who.may(SYS_NICE | SYS_ADMIN):
            raise OSError(errno.EPERM, "needs CAP_SYS_NICE")
        call.keep(replace(who, io_priority=None if _is_done_below(call) else wanted))
        return 0

    def _asked_of(self, call: Call, kind: int) -> Credentials | None:
        if call.args.which != kind:
            return None
        if _is_own(call):
            return self._who(call)
        pid = call.args.who
        try:
            return call.recall_of(pid, self._initial) if call.shares_view(pid) else None
        except OSError:  # it has ended: the kernel says so
            return None


def _is_own(call: Call) -> bool:
    return call.args.who in (0, call.tid)


def _is_done_below(call: Call) -> bool:
    try:
        call.below()
    except PermissionError:
        return False
    return True


def _is_within_limit(call: Call, nice: int) -> bool:
    """can_nice of kernel/sched/syscalls.c."""
    import resource

    soft, _ = resource.prlimit(call.tid, resource.RLIMIT_NICE)
    return soft == resource.RLIM_INFINITY or 20 - nice <= soft
