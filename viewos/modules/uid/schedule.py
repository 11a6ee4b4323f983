"""nice and ioprio: what a virtual root sets, and the kernel would not let the real user set, is
remembered and shown; how the process really runs stays as it was."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from viewos import PASS
from viewos.modules.uid.credentials import SYS_ADMIN, SYS_NICE, Credentials
from viewos.modules.uid.names import NameModule

if TYPE_CHECKING:
    from viewos import Call, Verdict

_NICEST, _LEAST_NICE = 19, -20
_IO_PROCESS, _IO_GROUP, _IO_USER = 1, 2, 3
_NR_IOPRIO_SET, _NR_IOPRIO_GET = 251, 252
_syscall = ctypes.CDLL(None, use_errno=True).syscall
_IO_CLASS_SHIFT, _IO_REALTIME, _IO_BEST_EFFORT = 13, 1, 2
_IO_DEFAULT = _IO_BEST_EFFORT << _IO_CLASS_SHIFT | 4
_IO_CLASSES = (0, 1, 2, 3)
"""None, real time, best effort, idle (linux/ioprio.h)."""
_KINDS = {
    **dict.fromkeys(("getpriority", "setpriority"), (os.PRIO_PROCESS, os.PRIO_PGRP, os.PRIO_USER)),
    **dict.fromkeys(("ioprio_get", "ioprio_set"), (_IO_PROCESS, _IO_GROUP, _IO_USER)),
}
"""Call -> what "a process", "a process group" and "a user" are called in it."""


class ScheduleModule(NameModule):
    """Priorities of processes."""

    def getpriority(self, call: Call) -> Verdict:
        """getpriority(2); the system call tells 20 - nice, of the least nice."""
        shown = [
            os.getpriority(os.PRIO_PROCESS, pid) if who is None or who.nice is None else who.nice
            for pid, who in self._asked_of(call)
        ]
        return 20 - min(shown) if shown else PASS

    def setpriority(self, call: Call) -> Verdict:
        """setpriority(2): set_one_prio of kernel/sys.c, for each process."""
        wanted = min(max(call.args.prio, _LEAST_NICE), _NICEST)

        def set_one(pid: int, it: Credentials | None, who: Credentials) -> None:
            may = who.may(SYS_NICE)
            real = os.getpriority(os.PRIO_PROCESS, pid)
            if it is not None:
                if who.uid.effective not in it.uid[:2] and not may:
                    raise PermissionError(errno.EPERM, "another user's")
                shown = real if it.nice is None else it.nice
                if wanted < shown and not may and not _is_within_limit(pid, wanted):
                    raise PermissionError(errno.EACCES, "needs CAP_SYS_NICE")
            kept = None
            try:
                os.setpriority(os.PRIO_PROCESS, pid, wanted)
            except PermissionError:
                if it is None or wanted >= real:
                    raise
                kept = wanted
            if it is not None:
                call.keep_of(pid, lambda old: (old or self._initial)._replace(nice=kept))

        return self._set_all(call, set_one)

    def ioprio_get(self, call: Call) -> Verdict:
        """ioprio_get(2): of several processes the best one."""
        asked = self._asked_of(call)
        shown = [
            _io_priority(_NR_IOPRIO_GET, pid)
            if who is None or who.io_priority is None
            else who.io_priority
            for pid, who in asked
        ]
        if call.args.which == _IO_PROCESS or not shown:
            return shown[0] if shown else PASS
        return min(one if one >> _IO_CLASS_SHIFT else _IO_DEFAULT for one in shown)

    def ioprio_set(self, call: Call) -> Verdict:
        """ioprio_set(2): ioprio_check_cap and set_task_ioprio of block/, for each process."""
        wanted = call.args.ioprio & 0xFFFF
        kind = wanted >> _IO_CLASS_SHIFT
        if kind not in _IO_CLASSES:
            return PASS
        if kind == _IO_REALTIME and not self._who(call).may(SYS_NICE | SYS_ADMIN):
            raise OSError(errno.EPERM, "needs CAP_SYS_NICE")

        def set_one(pid: int, it: Credentials | None, who: Credentials) -> None:
            if it is not None and it.uid.real not in who.uid[:2] and not who.may(SYS_NICE):
                raise PermissionError(errno.EPERM, "another user's")
            kept = None
            try:
                _io_priority(_NR_IOPRIO_SET, pid, wanted)
            except PermissionError:
                if it is None or kind != _IO_REALTIME:
                    raise
                kept = wanted
            if it is not None:
                call.keep_of(pid, lambda old: (old or self._initial)._replace(io_priority=kept))

        return self._set_all(call, set_one, ends_at_error=True)

    def _set_all(
        self,
        call: Call,
        set_one: Callable[[int, Credentials | None, Credentials], None],
        *,
        ends_at_error: bool = False,
    ) -> Verdict:
        if call.args.which not in _KINDS[call.name]:
            return PASS
        who, failed, is_any = self._who(call), 0, False
        for pid, it in self._asked_of(call):
            is_any = True
            try:
                set_one(pid, it, who)
            except ProcessLookupError:
                continue
            except OSError as error:
                failed = error.errno or errno.EPERM
                if ends_at_error:
                    break
        if failed:
            raise OSError(failed, "priority")
        if not is_any:
            raise OSError(errno.ESRCH, "no such process")
        return 0

    # ---- whom a call is about -------------------------------------------------------------------

    def _asked_of(self, call: Call) -> Iterator[tuple[int, Credentials | None]]:
        """The processes, and who they are in the view; None: they are not in it."""
        which, number = call.args.which, call.args.who
        process, group, user = _KINDS[call.name]
        if which == process:
            pid = number or call.tid
            if os.path.exists(f"/proc/{pid}"):
                yield pid, self._who(call) if pid == call.tid else self._who_is(call, pid)
        elif which == group:
            with suppress(OSError):
                number = number or os.getpgid(call.pid)
                yield from self._among_all(call, lambda pid, _: os.getpgid(pid) == number)
        elif which == user:
            uid = number or self._who(call).uid.real
            yield from self._among_all(call, lambda pid, who: _uid_of(pid, who) == uid)

    def _among_all(
        self, call: Call, is_one: Callable[[int, Credentials | None], bool]
    ) -> Iterator[tuple[int, Credentials | None]]:
        for name in os.listdir("/proc"):
            if name.isdigit():
                with suppress(OSError):
                    who = self._who_is(call, int(name))
                    if is_one(int(name), who):
                        yield from ((int(tid), who) for tid in os.listdir(f"/proc/{name}/task"))


def _uid_of(pid: int, who: Credentials | None) -> int:
    return os.stat(f"/proc/{pid}").st_uid if who is None else who.uid.real


def _io_priority(number: int, pid: int, *value: int) -> int:
    result: int = _syscall(number, _IO_PROCESS, pid, *value)
    if result < 0:
        raise OSError(ctypes.get_errno(), "I/O priority")
    return result


def _is_within_limit(pid: int, nice: int) -> bool:
    """can_nice of kernel/sched/syscalls.c."""
    import resource

    soft, _ = resource.prlimit(pid, resource.RLIMIT_NICE)
    return soft == resource.RLIM_INFINITY or 20 - nice <= soft
