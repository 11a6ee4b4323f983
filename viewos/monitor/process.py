"""Calls that change what the monitor believes of a process: credentials, name spaces, limits."""

from __future__ import annotations

import errno
import os
import struct
from typing import TYPE_CHECKING

from viewos.abi.nesting import PR_VIEWOS, VIEWOS_NOTES
from viewos.abi.prctl import PR_GET_DUMPABLE, PR_SET_DUMPABLE, PR_SET_SECCOMP
from viewos.abi.ptrace import PTRACE_TRACEME
from viewos.abi.row import signed32
from viewos.monitor import marks, options, outside
from viewos.monitor.outcome import CONTINUE, Outcome
from viewos.monitor.pathcalls import path_call, resolve_all
from viewos.monitor.place import KERNEL
from viewos.monitor.task import auxiliary, field, read_status
from viewos.view import RLIM_INFINITY, RLIMIT_LOCKS

if TYPE_CHECKING:
    from viewos.call import Call
    from viewos.monitor.router import Router

CAP_SYS_RESOURCE = 24
AT_RANDOM = 25
_MOST_NAMES = 4096
_LIMIT = struct.Struct("=QQ")


def credentials(router: Router, call: Call) -> int | Outcome:
    """The task's credentials or name spaces are about to change."""
    if call.name in ("unshare", "setns"):
        _leave_program(router, call.tid)
    router.tasks.forget_all() if call.name in ("unshare", "setns") else router.tasks.forget(
        call.tid
    )
    return CONTINUE


def _leave_program(router: Router, pid: int) -> None:
    """A process's paths are about to mean something else."""
    inproc = router.nesting.inproc
    if inproc is not None:
        inproc.leave(router, pid)


def tracing(router: Router, call: Call) -> Outcome:
    """ptrace(2) begins: whoever looks at a program sees its own calls."""
    is_own = call.raw[0] == PTRACE_TRACEME
    inproc = router.nesting.inproc
    if inproc is not None:
        inproc.watched(router, call.tid if is_own else signed32(call.raw[1]))
    return CONTINUE


def filtering(router: Router, call: Call) -> Outcome:
    """seccomp(2): a filter of the program's own would judge calls that it has not made, and may
    give any errno: EINTR, too, is the program's to see."""
    inproc = router.nesting.inproc
    if inproc is not None:
        inproc.watched(router, call.tid)
    return CONTINUE


def chroot(router: Router, call: Call) -> int | Outcome:
    """chroot(2), pivot_root(2): paths of the task start elsewhere from now on."""
    _leave_program(router, call.tid)
    places = resolve_all(router, call) if call.name == "chroot" else None
    if places is not None and places[0] is not KERNEL:
        marks.refuse_root(router, call, places[0])
    if places is not None and outside.needs_descriptor(router, call, places[0]):
        answer = outside.change_root(router, call, places[0])
    else:
        answer = path_call(router, call)
    router.tasks.forget_all()
    return answer


def change_root(router: Router, call: Call) -> None:
    """Remember another root directory, from which the resolver takes the paths of the process.

    Raises OSError: what chroot(2) says of the path; EOPNOTSUPP where not every path is looked at.
    """
    _leave_program(router, call.tid)
    top = router.view.claims.find(b"/")
    places = resolve_all(router, call) if top is not None and top.operations is None else None
    if places is None or not call.task.like_us:
        raise OSError(errno.EOPNOTSUPP, "paths are not looked at")
    if places[0] is KERNEL:
        raise OSError(errno.ENOENT, "path")
    descriptor = os.open(places[0].real, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.stat(b".", dir_fd=descriptor)  # EACCES: it may not be searched
    finally:
        os.close(descriptor)
    root = None if places[0].virtual == b"/" else places[0].virtual
    router.set_process_state(call, call.process_state._replace(root=root))


def mounting(router: Router, call: Call) -> int | Outcome:
    """mount(2) and its kin: the table of mounts is read again, when the call has been done."""
    _leave_program(router, call.tid)
    others = options.arguments(router, call) if call.name == "mount" else {}
    answer = path_call(router, call, others) if call.row.paths else CONTINUE
    if call.name in ("mount", "move_mount"):
        _remember_name(router, call)
    router.mounts.expect_change()
    return answer


def _remember_name(router: Router, call: Call) -> None:
    """As with bind mounts that share nothing, it is mounted where the program has named it."""
    target = call.places[1] if call.places else KERNEL
    real = target.real.rstrip(b"/") or b"/"
    if target is not KERNEL and router.view.claims.is_ambiguous(real):
        if len(router.view.mounted) >= _MOST_NAMES:
            router.view.mounted.clear()
        router.view.mounted[real] = target.virtual


def configuring(router: Router, call: Call) -> int | Outcome:
    """fsconfig(2): some of its strings are paths."""
    return path_call(router, call, options.arguments(router, call))


def prctl(router: Router, call: Call) -> int | Outcome:
    """PR_SET_DUMPABLE to 0 is kept from the kernel where it would make the process unreadable for
    the monitor. PR_VIEWOS is for the monitor alone."""
    option, value = signed32(call.raw[0]), call.raw[1]
    if option == PR_VIEWOS:
        if value != VIEWOS_NOTES:
            _leave_program(router, call.tid)
        return router.nesting.asked(router, call)
    if option == PR_SET_SECCOMP:
        return filtering(router, call)
    if router.tasks.may_read_all:
        return CONTINUE  # and whoever else may not read it is the kernel's to say
    if option == PR_SET_DUMPABLE:
        if value not in (0, 1):
            raise OSError(errno.EINVAL, "dumpable")
        kept = None if value else (value, _program_mark(router, call))
        if kept != call.process_state.dumpable:
            router.set_process_state(call, call.process_state._replace(dumpable=kept))
        return CONTINUE if value else 0
    if option == PR_GET_DUMPABLE and call.process_state.dumpable is not None:
        value, mark = call.process_state.dumpable
        return value if mark == _program_mark(router, call) else CONTINUE
    return CONTINUE


def _program_mark(router: Router, call: Call) -> bytes:
    """16 bytes that differ from one execve to the next, and not between parent and child.

    An execve is not always seen: a view without paths does not trap it.
    """
    address = auxiliary(call.tid).get(AT_RANDOM, 0)
    return router.memory.read_exact(call.tid, address, 16)


# ---- RLIMIT_LOCKS, whose soft value carries the token ----------------------------------------


def getrlimit(router: Router, call: Call) -> int | Outcome:
    """getrlimit(2) of RLIMIT_LOCKS."""
    if call.raw[0] & 0xFFFFFFFF != RLIMIT_LOCKS:
        return CONTINUE
    router.memory.write(call.tid, call.raw[1], _LIMIT.pack(*_believed(call.process_state.locks)))
    return 0


def setrlimit(router: Router, call: Call) -> int | Outcome:
    """setrlimit(2) of RLIMIT_LOCKS: remembered, the real limit stays."""
    if call.raw[0] & 0xFFFFFFFF != RLIMIT_LOCKS:
        return CONTINUE
    _set_locks(router, call, router.read_exact(call, call.raw[1], 16))
    return 0


def prlimit(router: Router, call: Call) -> int | Outcome:
    """prlimit(2) of RLIMIT_LOCKS."""
    pid = signed32(call.raw[0])
    if call.raw[1] & 0xFFFFFFFF != RLIMIT_LOCKS:
        return CONTINUE
    if pid not in (0, call.pid):
        return _prlimit_other(router, call, pid)
    new, old = call.raw[2], call.raw[3]
    data = router.read_exact(call, new, 16) if new else None
    before = _believed(call.process_state.locks)
    if data is not None:
        _set_locks(router, call, data)
    if old:
        router.memory.write(call.tid, old, _LIMIT.pack(*before))
    return 0


def _prlimit_other(router: Router, call: Call, pid: int) -> int | Outcome:
    """Another process: its limit can be asked for, and set as far as the kernel allows."""
    if call.raw[2]:
        raise OSError(errno.EPERM, "RLIMIT_LOCKS of another process in a view")
    os.kill(pid, 0)
    state = router.view.states.read(pid)
    if call.raw[3]:
        router.memory.write(call.tid, call.raw[3], _LIMIT.pack(*_believed(state.locks)))
    return 0


def _believed(locks: tuple[int, int] | None) -> tuple[int, int]:
    return (RLIM_INFINITY, RLIM_INFINITY) if locks is None else locks


def _set_locks(router: Router, call: Call, data: bytes) -> None:
    soft, hard = _LIMIT.unpack(data)
    if soft > hard:
        raise OSError(errno.EINVAL, "soft limit above the hard one")
    if hard > _believed(call.process_state.locks)[1] and not _has_resource_capability(call):
        raise OSError(errno.EPERM, "hard limit")
    router.set_process_state(call, call.process_state._replace(locks=(soft, hard)))


def _has_resource_capability(call: Call) -> bool:
    capabilities = int(field(read_status(call.tid), b"CapEff"), 16)
    return bool(capabilities >> CAP_SYS_RESOURCE & 1)
