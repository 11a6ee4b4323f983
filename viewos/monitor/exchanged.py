"""Calls that are made where no symbolic link may be.

A real path has none left when it has been resolved, but who may write to its directories can put
one there until the call is made, and the monitor would follow it in the machine's root.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from viewos import kernel
from viewos.abi import fcntl
from viewos.abi.fcntl import O_CREAT, O_EXCL, O_NOFOLLOW, O_PATH, RESOLVE_NO_SYMLINKS
from viewos.abi.row import follows
from viewos.kernel import AT_FDCWD, vouch
from viewos.monitor.walk import LOOK, LOOK_NOFOLLOW

if TYPE_CHECKING:
    from viewos.call import Call
    from viewos.monitor.place import Place

PATIENCE = 64
"""So often a path is resolved again before it is said to be a loop of links."""
_WITH_PATH = O_PATH | O_NOFOLLOW | fcntl.O_DIRECTORY | fcntl.O_CLOEXEC
_KNOWN = (
    _WITH_PATH | O_CREAT | O_EXCL | fcntl.O_ACCMODE | fcntl.O_NOCTTY | fcntl.O_TRUNC
    | fcntl.O_APPEND | fcntl.O_NONBLOCK | fcntl.O_SYNC | fcntl.FASYNC | fcntl.O_DIRECT
    | fcntl.O_LARGEFILE | fcntl.O_NOATIME | fcntl.O_TMPFILE
)  # fmt: skip
"""The flags that open(2) does not ignore; openat2(2) refuses others."""


class Exchanged(Exception):
    """A link has taken the place of something since the path was resolved: that is to be done
    again."""


def open_plainly(dirfd: int, path: bytes, flags: int, mode: int) -> int:
    """openat(2), as the kernel's build_open_how() has it, of a path without links. Raises OSError,
    Exchanged."""
    if flags & O_PATH:
        flags &= _WITH_PATH
    else:
        flags = flags & _KNOWN | fcntl.O_LARGEFILE
    mode = mode & 0o7777 if flags & (O_CREAT | fcntl.O_TMPFILE_BIT) else 0
    return open_how(dirfd, path, flags, mode, 0)


def open_how(dirfd: int, path: bytes, flags: int, mode: int, resolve: int) -> int:
    """openat2(2) of a path without links. Raises OSError, Exchanged."""
    try:
        return kernel.openat2(dirfd, path, flags, resolve | RESOLVE_NO_SYMLINKS, mode)
    except OSError as error:
        if error.errno != errno.ELOOP or _is_not_followed(dirfd, path, flags):
            raise
        if _is_endless(dirfd, path):
            raise
        raise Exchanged from None


def _is_not_followed(dirfd: int, path: bytes, flags: int) -> bool:
    """Is it of a link at the end that the caller does not want to follow?"""
    if not flags & O_NOFOLLOW and flags & (O_CREAT | O_EXCL) != O_CREAT | O_EXCL:
        return False
    seen = vouch(dirfd, path, LOOK_NOFOLLOW)
    if seen >= 0:
        os.close(seen)
    return seen >= 0


def _is_endless(dirfd: int, path: bytes) -> bool:
    try:
        os.stat(path, dir_fd=None if dirfd == AT_FDCWD else dirfd)
    except OSError as error:
        return error.errno == errno.ELOOP
    return False


def refuse_link(call: Call, mode: int) -> None:
    """Raise Exchanged where a call that follows links has met one: `mode` is what it has met."""
    if stat.S_ISLNK(mode) and follows(call.row.paths[0], call.raw):
        raise Exchanged


def refuse_link_at(call: Call, dirfd: int, path: bytes) -> None:
    """The same of what stands there now, if anything does."""
    try:
        mode = os.lstat(path, dir_fd=None if dirfd == AT_FDCWD else dirfd).st_mode
    except OSError:
        return
    refuse_link(call, mode)


def beyond_backing(place: Place) -> Place:
    """The place, where the backing of the claim has itself become a link: what that leads to is the
    backing then."""
    claim = place.claim
    if claim is None or claim.module is not None or not place.real.startswith(claim.backing):
        return place
    seen = vouch(AT_FDCWD, claim.backing, LOOK)
    if seen >= 0:
        os.close(seen)
    if seen != -errno.ELOOP:
        return place
    real = os.path.realpath(claim.backing) + place.real[len(claim.backing) :]
    return place._replace(real=real, plain=False)
