"""Changes by a descriptor: refused behind a read-only claim, as a read-only mount does.

Which name a descriptor was opened by is not known; a file behind a read-only claim counts as
read-only.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from viewos.abi.row import Intent, applies, may_be_empty, signed32
from viewos.kernel import AT_FDCWD
from viewos.launcher.layout import CAP_SYS_ADMIN
from viewos.monitor.emulate import told_statfs
from viewos.monitor.namespaces import is_view
from viewos.monitor.outcome import CONTINUE, Outcome
from viewos.monitor.trapped import CHANGING_IOCTLS, SET_LABEL

if TYPE_CHECKING:
    from viewos.call import Call
    from viewos.monitor.router import Router


def change(router: Router, call: Call) -> int | Outcome:
    """fchmod(2), fchown(2), fsetxattr(2), fremovexattr(2)."""
    _refuse(router, call, signed32(call.raw[0]))
    return CONTINUE


def fstatfs(router: Router, call: Call) -> int | Outcome:
    """fstatfs(2): says of what stands behind a read-only claim that it is read-only."""
    fd = signed32(call.raw[0])
    if not _is_read_only(router, call, fd):
        return CONTINUE
    data = told_statfs(b"/proc/%d/fd/%d" % (call.tid, fd), read_only=True)
    router.memory.write(call.tid, call.raw[1], data)
    return 0


def ioctl(router: Router, call: Call) -> int | Outcome:
    """ioctl(2) with one of CHANGING_IOCTLS."""
    request = call.raw[1] & 0xFFFFFFFF
    # Of who may not do it anyway the kernel says so first.
    may = request != SET_LABEL or router.tasks.get(call.tid)[0].has_capability(CAP_SYS_ADMIN)
    if request in CHANGING_IOCTLS and may:
        _refuse(router, call, signed32(call.raw[0]))
    return CONTINUE


def refuse_by_descriptor(router: Router, call: Call) -> None:
    """A path call that means its dirfd itself: AT_EMPTY_PATH, or a null path. Raises EROFS."""
    for argument in call.row.paths:
        if argument.intent is not Intent.WRITE or argument.dirfd is None:
            continue
        address = call.raw[argument.path]
        may_be = applies(argument, call.raw) and may_be_empty(argument, call.raw)
        if address and not (may_be and not router.memory.read_string(call.tid, address)):
            continue
        _refuse(router, call, signed32(call.raw[argument.dirfd]))


def _refuse(router: Router, call: Call, fd: int) -> None:
    if _is_read_only(router, call, fd):
        raise OSError(errno.EROFS, "read-only claim")


def _is_read_only(router: Router, call: Call, fd: int) -> bool:
    task, _ = router.tasks.get(call.tid)
    if fd < 0 and fd != AT_FDCWD:
        return False
    try:
        real = task.link("cwd" if fd == AT_FDCWD else f"fd/{fd}")
    except OSError:
        return False  # EBADF: the kernel says so
    return is_view(task) and router.is_read_only(real)
