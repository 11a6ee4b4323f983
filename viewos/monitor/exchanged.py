"""Calls that are made where no symbolic link may be.

A real path has none left when it has been resolved, but who may write to its directories can put
one there until the call is made, and the monitor would follow it in the machine's root.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from viewos import kernel
from viewos.abi import fcntl
from viewos.abi.fcntl import O_CREAT, O_EXCL, O_NOFOLLOW, O_PATH, RESOLVE_NO_SYMLINKS
from viewos.abi.row import follows
from viewos.kernel import AT_FDCWD, vouch
from viewos.monitor.place import PATH_MAX
from viewos.monitor.walk import LOOK, LOOK_NOFOLLOW

if TYPE_CHECKING:
    from viewos.call import Call
    from viewos.monitor.place import Place

_PATIENCE = 0.1
"""For so many seconds a path is resolved again before it is said to be a loop of links."""
_SHORTEST, _LONGEST = 5e-6, 2e-3
"""Seconds between two tries. They differ, or who exchanges something might do it in step."""
_DIRECTORY = O_PATH | fcntl.O_DIRECTORY | fcntl.O_CLOEXEC
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
    if flags & O_PATH:  # which opens the link itself
        return False
    seen = vouch(dirfd, path, LOOK_NOFOLLOW)
    if seen < 0:
        return False
    try:
        return stat.S_ISLNK(os.fstat(seen).st_mode)
    finally:
        os.close(seen)


def _is_endless(dirfd: int, path: bytes) -> bool:
    try:
        os.stat(path, dir_fd=None if dirfd == AT_FDCWD else dirfd)
    except OSError as error:
        return error.errno == errno.ELOOP
    return False


def tries() -> Iterator[None]:
    """One for each time that a call may be tried, until things are exchanged for too long."""
    yield
    import random  # which takes milliseconds, and is hardly ever needed

    end, pause = time.monotonic() + _PATIENCE, _SHORTEST
    while time.monotonic() < end:
        time.sleep(random.uniform(0, pause))
        yield
        pause = min(2 * pause, _LONGEST)


def refuse_link(call: Call, mode: int) -> None:
    """Raise Exchanged where a call that follows links has met one: `mode` is what it has met."""
    if stat.S_ISLNK(mode) and follows(call.row.paths[0], call.raw):
        raise Exchanged


# ---- what a call is made with instead of a path -------------------------------------------------


@contextmanager
def shortened(real: bytes) -> Iterator[tuple[int, bytes]]:
    """(dirfd, path) for a real path of any length: a backing may be longer than the virtual
    path. Raises OSError, Exchanged."""
    if len(real) < PATH_MAX:
        yield AT_FDCWD, real
        return
    dirfd, rest = os.open(b"/", _DIRECTORY), real.lstrip(b"/")
    try:
        while len(rest) >= PATH_MAX:
            cut = rest.rindex(b"/", 0, PATH_MAX)
            deeper = open_how(dirfd, rest[:cut], _DIRECTORY, 0, 0)
            os.close(dirfd)
            dirfd, rest = deeper, rest[cut:].lstrip(b"/")
        yield dirfd, rest
    finally:
        os.close(dirfd)


@contextmanager
def _opened(real: bytes, flags: int) -> Iterator[int]:
    """A descriptor, O_PATH, of what stands at a real path; -1 where nothing does: of a call that is
    made with it the kernel tells first what else is wrong, and for EBADF stands what was missing.
    Raises Exchanged."""
    fd, missing = -1, None
    try:
        with shortened(real) as (dirfd, path):
            fd = open_how(dirfd, path, O_PATH | fcntl.O_CLOEXEC | flags, 0, 0)
    except OSError as error:
        missing = error
    try:
        yield fd
    except OSError as error:
        if missing is None or error.errno != errno.EBADF:
            raise
        raise missing from None
    finally:
        if fd >= 0:
            os.close(fd)


@contextmanager
def found(call: Call, place: Place) -> Iterator[int]:
    """A descriptor of what the only path of a call leads to, as `_opened`."""
    flags = 0 if follows(call.row.paths[0], call.raw) else O_NOFOLLOW
    with _opened(place.real, flags) as fd:
        yield fd


@contextmanager
def reach(real: bytes) -> Iterator[tuple[int, bytes]]:
    """(dirfd, name) for a real path, the dirfd as `_opened`: for calls that follow no link at the
    end."""
    end = real.rstrip(b"/").rfind(b"/")
    if end < 0:
        yield AT_FDCWD, real
        return
    with _opened(real[: end or 1], fcntl.O_DIRECTORY) as dirfd:
        yield dirfd, real[end + 1 :]


@contextmanager
def held(place: Place) -> Iterator[bytes]:
    """A short path that leads to the file at a place, whatever stands there by now. Raises OSError,
    Exchanged."""
    with _opened(place.real, 0) as fd:
        yield b"/proc/self/fd/%d" % _there(fd)


@contextmanager
def held_name(place: Place) -> Iterator[bytes]:
    """The same for a name that is not followed."""
    with reach(place.real) as (dirfd, name):
        yield name if dirfd == AT_FDCWD else b"/proc/self/fd/%d/%s" % (_there(dirfd), name)


def _there(fd: int) -> int:
    if fd < 0:
        raise OSError(errno.EBADF, "what is missing")
    return fd


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
