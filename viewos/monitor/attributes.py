"""More emulations: extended attributes, truncate, inotify's watches.

The kernel has no form of them that takes a directory, so a real path must be short, or a link to it
is; see emulate.py for the rest.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING

from viewos import kernel
from viewos.abi import fcntl
from viewos.abi.row import signed32
from viewos.kernel import syscall
from viewos.monitor.emulate import Answer, emulates
from viewos.monitor.exchanged import held, held_name
from viewos.monitor.memory import Fault
from viewos.monitor.outcome import FIX_UP
from viewos.monitor.place import Place

if TYPE_CHECKING:
    from viewos.call import Call
    from viewos.monitor.router import Router

_LARGEST = 65536
"""XATTR_SIZE_MAX, XATTR_LIST_MAX (linux/limits.h)."""
_RLIMIT_FSIZE = 1


def _call(call: Call, place: Place, *args: object) -> int:
    return _made(place, lambda path: syscall(call.row.number, path, *args), call.name[0] != "l")


def _made(place: Place, make: Callable[[bytes], int], follow: bool) -> int:
    """The call, with a short path. Raises OSError, Exchanged."""
    with ExitStack() as stack:
        try:
            path = stack.enter_context(held(place) if follow else held_name(place))
        except OSError:
            _check(make)
            raise
        return make(path)


def _check(make: Callable[[bytes], int]) -> None:
    """Raise OSError for what the kernel refuses before it looks at the path."""
    try:
        make(b"")
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise


def _told(router: Router, call: Call, place: Place, names: tuple[bytes, ...], at: int) -> int:
    """A call that fills a buffer, which is argument `at` with its size behind it."""
    size = min(call.raw[at + 1], _LARGEST)
    buffer = ctypes.create_string_buffer(size) if size else None
    result = _call(call, place, *names, buffer, size)
    if buffer is not None:
        try:
            router.memory.write(call.tid, call.raw[at], buffer.raw[:result])
        except Fault:
            raise OSError(errno.EFAULT, "buffer") from None
    return result


@emulates("getxattr", "lgetxattr")
def getxattr(router: Router, call: Call, places: list[Place]) -> Answer:
    """getxattr(2), lgetxattr(2)."""
    try:
        name = router.memory.read_string(call.tid, call.raw[1])
    except (Fault, OSError):
        return FIX_UP  # the kernel orders what is wrong
    return _told(router, call, places[0], (name,), 2)


@emulates("listxattr", "llistxattr")
def listxattr(router: Router, call: Call, places: list[Place]) -> Answer:
    """listxattr(2), llistxattr(2)."""
    return _told(router, call, places[0], (), 1)


@emulates("setxattr", "lsetxattr")
def setxattr(router: Router, call: Call, places: list[Place]) -> Answer:
    """setxattr(2), lsetxattr(2)."""
    size, flags = call.raw[3], call.raw[4] & 0xFFFFFFFF
    if size > _LARGEST:
        return FIX_UP
    try:
        name = router.memory.read_string(call.tid, call.raw[1])
        value = router.memory.read_exact(call.tid, call.raw[2], size) if size else b""
    except (Fault, OSError):
        return FIX_UP
    return _call(call, places[0], name, value, size, flags)


@emulates("removexattr", "lremovexattr")
def removexattr(router: Router, call: Call, places: list[Place]) -> Answer:
    """removexattr(2), lremovexattr(2)."""
    try:
        name = router.memory.read_string(call.tid, call.raw[1])
    except (Fault, OSError):
        return FIX_UP
    return _call(call, places[0], name)


@emulates("truncate")
def truncate(router: Router, call: Call, places: list[Place]) -> Answer:
    """truncate(2). Beyond its limit the program gets a signal, so it makes that call itself."""
    limit, _ = kernel.prlimit(call.tid, _RLIMIT_FSIZE)
    if call.raw[1] > limit:
        return FIX_UP
    try:
        return _call(call, places[0], call.raw[1])
    except OSError as error:
        if error.errno != errno.EFBIG:  # by a limit of the monitor's, perhaps
            raise
        return FIX_UP


@emulates("inotify_add_watch")
def inotify_add_watch(router: Router, call: Call, places: list[Place]) -> Answer:
    """inotify_add_watch(2): on a copy of the program's own descriptor."""
    mask = call.raw[2] & 0xFFFFFFFF
    follow = not mask & fcntl.IN_DONT_FOLLOW
    try:
        copy = router.descriptor_of(call, signed32(call.raw[0]))
    except OSError as error:
        if error.errno != errno.EBADF:
            return FIX_UP
        # A bad mask comes before it.
        return syscall(call.row.number, -1, b"", mask)
    try:
        number = call.row.number
        return _made(places[0], lambda path: syscall(number, copy, path, mask), follow)
    finally:
        os.close(copy)
