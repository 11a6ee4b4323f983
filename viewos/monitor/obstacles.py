"""What makes the kernel refuse a call with EACCES: what `Call.obstacle` gives."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from viewos.abi.fcntl import O_TMPFILE
from viewos.abi.row import Intent, PathArg
from viewos.files import File
from viewos.kernel import AT_FDCWD, NR, syscall
from viewos.monitor.intents import open_flags
from viewos.monitor.pathcalls import resolve_all
from viewos.monitor.place import KERNEL, Place

if TYPE_CHECKING:
    from viewos.call import Call
    from viewos.monitor.router import Router

_AT_EACCESS, _AT_SYMLINK_NOFOLLOW = 0x200, 0x100
_WANTED = {
    "truncate": os.W_OK, "setxattr": os.W_OK, "removexattr": os.W_OK, "getxattr": os.R_OK,
    "inotify_add_watch": os.R_OK, "chdir": os.X_OK, "chroot": os.X_OK,
}  # fmt: skip
"""Operation -> the permission that it needs on what its path leads to."""
_CHANGES_NAMES = os.W_OK | os.X_OK
_OPENED = {os.O_RDONLY: os.R_OK, os.O_WRONLY: os.W_OK, os.O_RDWR: os.R_OK | os.W_OK}


def obstacle(router: Router, call: Call) -> File | None:
    """The directory on the way that may not be searched or written, or else the file or directory
    at the end that may not be opened. Raises the OSError of a path that leads nowhere."""
    places = resolve_all(router, call)
    if places is None or not call.task.like_us:
        return None
    for place, argument in zip(places, call.row.paths, strict=True):
        if place is KERNEL or (place.native and not place.best):
            continue
        real = place.real.rstrip(b"/") or b"/"
        found = _on_the_way(real) or _at_the_end(router, call, argument, place, real)
        if found is not None:
            call.places = None  # they lead further when it does not stand there any more
            return File(os.open(found, os.O_PATH | os.O_NOFOLLOW), read_only=place.is_read_only)
    return None


def _on_the_way(real: bytes) -> bytes | None:
    """The first directory of a real path that may not be searched."""
    if not _is_refused(real, os.F_OK):
        return None
    at = real.find(b"/", 1)
    while at > 0:
        if _is_refused(real[:at], os.X_OK):
            return real[:at]
        at = real.find(b"/", at + 1)
    return None


def _at_the_end(
    router: Router, call: Call, argument: PathArg, place: Place, real: bytes
) -> bytes | None:
    """What the path leads to, or the directory in which its last name is to be made or removed,
    where the call needs more on it than there is."""
    path, wanted = real, _WANTED.get(call.operation, os.F_OK)
    if argument.intent in (Intent.CREATE, Intent.REMOVE):
        path, wanted = place.parent, _CHANGES_NAMES
    elif call.operation == "access":
        wanted = call.args.mode & 7
    elif call.operation == "open":
        flags = open_flags(router, call)
        if flags & O_TMPFILE == O_TMPFILE:
            wanted = _CHANGES_NAMES
        elif flags & os.O_CREAT and not os.path.lexists(real):
            path, wanted = place.parent, _CHANGES_NAMES
        elif not flags & os.O_PATH:
            wanted = _OPENED.get(flags & os.O_ACCMODE, os.R_OK | os.W_OK)
            wanted |= os.W_OK if flags & os.O_TRUNC else 0
    return path if wanted and _is_refused(path, wanted) else None


def _is_refused(path: bytes, wanted: int) -> bool:
    try:
        mode = os.lstat(path).st_mode
        if wanted and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            return False  # what has no contents of its own: opening it may wait
        flags = _AT_EACCESS | _AT_SYMLINK_NOFOLLOW
        syscall(NR["faccessat2"], AT_FDCWD, path + b"\0", wanted, flags)
    except OSError as error:
        return error.errno == errno.EACCES
    return False
