"""What a claim shows below a root directory of the kernel's, and no path leads to from there.

The caller gets a descriptor of the directory for the time of the call. It is none of O_PATH, which
the kernel does not inject (fget).
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from viewos.abi.syscalls import TABLE
from viewos.claims import lies_in
from viewos.monitor.outcome import Outcome
from viewos.monitor.place import KERNEL, Place
from viewos.monitor.rewrite import Rewrite
from viewos.monitor.task import is_like_us, tracer_of

if TYPE_CHECKING:
    from viewos.call import Call
    from viewos.monitor.router import Router


def needs_descriptor(router: Router, call: Call, place: Place, *, relative: bool = False) -> bool:
    """Is a descriptor what leads the caller to the place, and may it have one? `relative`: even if
    a relative string of its own would do."""
    root = router.tasks.get(call.tid)[1]
    if place is KERNEL or root == b"/" or lies_in(place.real, root):
        return False
    by_itself = place.plain and not place.absolute and not relative
    if by_itself or not place.real or not is_like_us(call, call.task):
        return False
    # One that a debugger traces cannot be fixed up, and nobody would close the descriptor.
    return not tracer_of(call.tid)


def lend(router: Router, call: Call, directory: bytes) -> int:
    """The number of a descriptor that the caller gets. Raises OSError."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    lent = router.nesting.lent.setdefault(call.tid, {})
    known = lent.get(directory)
    with suppress(OSError):  # a signal came between, and the call is made once more
        if known is not None and os.path.samestat(
            os.fstat(fd), os.stat(f"/proc/{call.tid}/fd/{known}")
        ):
            os.close(fd)
            return known
    lent[directory] = router.inject(call, fd, cloexec=True)
    return lent[directory]


def change_directory(router: Router, call: Call, place: Place) -> int | Outcome:
    """chdir(2)."""
    fd = lend(router, call, place.real)
    row = TABLE["fchdir"]
    rewrite = Rewrite(row.number, [fd], row.cookie.arg, row.cookie.shift, close=(fd,))
    return router.fix_up(call, rewrite, None, plain=False)


def change_root(router: Router, call: Call, place: Place) -> int | Outcome:
    """chroot(2), which knows no descriptors: from the directory itself, and back."""
    fds = lend(router, call, place.real), lend(router, call, b"/proc/%d/cwd" % call.tid)
    row = call.row
    rewrite = Rewrite(row.number, [b".\0"], row.cookie.arg, row.cookie.shift, close=fds, within=fds)
    return router.fix_up(call, rewrite, None, plain=False)


def execute(router: Router, call: Call, rewrite: Rewrite, directory: bytes) -> Rewrite:
    """execve(2) of a name in a directory."""
    fd, row = lend(router, call, directory), TABLE["execveat"]
    return rewrite._replace(
        number=row.number, args=[fd, *rewrite.args, 0],
        cookie_arg=row.cookie.arg, cookie_shift=row.cookie.shift, close=(fd,),
    )  # fmt: skip
