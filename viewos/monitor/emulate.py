"""Emulation: the monitor does a path call at the backing, and writes the result.

Only for tasks whose credentials and name spaces are the monitor's own. Each function gets the call
and the places of its paths, whose real paths have no symbolic link left to follow, and
returns the result, or raises the OSError that the kernel gave, or asks for a fix-up.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

from viewos import kernel
from viewos.abi.fcntl import (
    AT_EMPTY_PATH,
    AT_REMOVEDIR,
    AT_SYMLINK_NOFOLLOW,
    O_TMPFILE,
    OPEN_HOW,
)
from viewos.kernel import AT_FDCWD, NR, syscall
from viewos.monitor import marks
from viewos.monitor.exchanged import (
    found,
    held,
    open_how,
    open_plainly,
    reach,
    refuse_link,
    shortened,
)
from viewos.monitor.outcome import FIX_UP, Outcome
from viewos.monitor.place import RESOLVE_MASK, Place

if TYPE_CHECKING:
    from viewos.call import Call
    from viewos.monitor.router import Router

_ST_MODE, _STX_MODE = 24, 28
"""Where st_mode stands in struct stat, and stx_mode in struct statx."""
_F_FLAGS = 80
"""Where f_flags stands in struct statfs (asm-generic/statfs.h, 64 bits)."""

Answer = int | Outcome
Emulation = Callable[["Router", "Call", list[Place]], Answer]
EMULATIONS: dict[str, Emulation] = {}


def emulates(*names: str) -> Callable[[Emulation], Emulation]:
    """Register the function that emulates these system calls."""

    def register(function: Emulation) -> Emulation:
        for name in names:
            EMULATIONS[name] = function
        return function

    return register


@contextmanager
def umask_of(mask: int) -> Iterator[None]:
    """Take on a tracee's umask. It is this thread's own, but a module's handler may run here next,
    and what that makes or starts must not get it."""
    with kernel.umask_guard():
        before = os.umask(mask)
        try:
            yield
        finally:
            os.umask(before)


# ---- open -----------------------------------------------------------------------------------


def _must_be_native(real: bytes) -> bool:
    """FIFOs, devices and sockets are opened by the tracee itself."""
    try:
        mode = os.lstat(real.rstrip(b"/") or b"/").st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode))


def room_for_descriptor(call: Call) -> bool:
    """Has the tracee a descriptor left? Asked before a call that creates or truncates, and behind
    one that failed: natively EMFILE comes first, and nothing has happened to the file."""
    try:
        limit, _ = kernel.prlimit(call.tid, 7)
        if limit and not os.path.lexists(f"/proc/{call.tid}/fd/{limit - 1}"):
            return True
        used = sum(int(number) < limit for number in os.listdir(f"/proc/{call.tid}/fd"))
    except OSError:
        return True
    return used < limit  # others may stand above a limit that was lowered later


def _open(router: Router, call: Call, place: Place, flags: int, make: Callable[[], int]) -> Answer:
    if flags & os.O_PATH or flags & O_TMPFILE == O_TMPFILE or _must_be_native(place.real):
        return FIX_UP
    if flags & (os.O_CREAT | os.O_TRUNC):
        if not room_for_descriptor(call):
            raise OSError(errno.EMFILE, "descriptors")
        with umask_of(call.task.umask()):
            made = make()
    else:
        try:
            made = make()
        except OSError:
            if not room_for_descriptor(call):
                raise OSError(errno.EMFILE, "descriptors") from None
            raise
    hint = marks.wanted(router, call, place)
    if hint is not None:
        marks.mark(router, made, hint)
    return router.inject(call, made, cloexec=bool(flags & os.O_CLOEXEC))


@emulates("open", "openat", "creat")
def open_(router: Router, call: Call, places: list[Place]) -> Answer:
    """open(2), openat(2), creat(2)."""
    flags, mode = open_arguments(call)

    def make() -> int:
        with shortened(places[0].real) as (dirfd, path):
            return open_plainly(dirfd, path, flags | os.O_CLOEXEC, mode)

    return _open(router, call, places[0], flags, make)


def open_arguments(call: Call) -> tuple[int, int]:
    """(flags, mode) of open, openat or creat; both are 32 bits wide."""
    if call.name == "creat":
        return os.O_CREAT | os.O_WRONLY | os.O_TRUNC, call.raw[1] & 0xFFFF
    at = 1 if call.name == "open" else 2
    return call.raw[at] & 0xFFFFFFFF, call.raw[at + 1] & 0xFFFF


def read_how(router: Router, call: Call) -> tuple[int, int, int]:
    """openat2's (flags, mode, resolve)."""
    return OPEN_HOW.unpack(router.memory.read_exact(call.tid, call.raw[2], OPEN_HOW.size))


def pack_how(flags: int, mode: int, resolve: int) -> bytes:
    """A struct open_how."""
    return OPEN_HOW.pack(flags, mode, resolve)


def checked_how(router: Router, call: Call) -> tuple[int, int, int]:
    """openat2's (flags, mode, resolve), after the kernel has found nothing wrong with them: it
    looks at them before it looks at the path. Raises OSError."""
    size = call.raw[3]
    if not OPEN_HOW.size <= size <= 4096:
        raise OSError(errno.EINVAL if size < OPEN_HOW.size else errno.E2BIG, "struct open_how")
    how = router.memory.read_exact(call.tid, call.raw[2], size)
    try:
        syscall(NR["openat2"], AT_FDCWD, b"", how, size)
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise
    return OPEN_HOW.unpack_from(how)


@emulates("openat2")
def openat2(router: Router, call: Call, places: list[Place]) -> Answer:
    """openat2(2). The resolver has obeyed the RESOLVE_* bits already."""
    flags, mode, resolve = read_how(router, call)

    def make() -> int:
        with shortened(places[0].real) as (dirfd, path):
            return open_how(dirfd, path, flags | os.O_CLOEXEC, mode, resolve & ~RESOLVE_MASK)

    return _open(router, call, places[0], flags, make)


# ---- looking --------------------------------------------------------------------------------


def _write_stat(router: Router, call: Call, place: Place, address: int, flags: int) -> int:
    with reach(place.real) as (dirfd, name):  # of "" the kernel does not look at all flags
        data = kernel.raw_stat(dirfd, name, flags | AT_SYMLINK_NOFOLLOW)
    refuse_link(call, int.from_bytes(data[_ST_MODE : _ST_MODE + 4], "little"))
    router.memory.write(call.tid, address, data)
    return 0


@emulates("stat", "lstat")
def stat_(router: Router, call: Call, places: list[Place]) -> Answer:
    """stat(2), lstat(2)."""
    return _write_stat(router, call, places[0], call.raw[1], 0)


@emulates("newfstatat")
def newfstatat(router: Router, call: Call, places: list[Place]) -> Answer:
    """fstatat(2)."""
    return _write_stat(router, call, places[0], call.raw[2], call.raw[3] & 0xFFFFFFFF)


@emulates("statx")
def statx(router: Router, call: Call, places: list[Place]) -> Answer:
    """statx(2)."""
    flags, mask = call.raw[2] & 0xFFFFFFFF, call.raw[3] & 0xFFFFFFFF
    with reach(places[0].real) as (dirfd, name):
        data = kernel.raw_statx(dirfd, name, flags | AT_SYMLINK_NOFOLLOW, mask)
    refuse_link(call, int.from_bytes(data[_STX_MODE : _STX_MODE + 2], "little"))
    router.memory.write(call.tid, call.raw[4], data)
    return 0


@emulates("statfs")
def statfs(router: Router, call: Call, places: list[Place]) -> Answer:
    """statfs(2)."""
    with held(places[0]) as held_place:
        data = told_statfs(held_place, read_only=places[0].is_read_only)
    router.memory.write(call.tid, call.raw[1], data)
    return 0


def told_statfs(real: bytes, *, read_only: bool) -> bytes:
    """A struct statfs, which says ST_RDONLY of a read-only claim. Raises OSError."""
    data = bytearray(kernel.raw_statfs(real))
    if read_only:
        data[_F_FLAGS] |= os.ST_RDONLY
    return bytes(data)


@emulates("access", "faccessat")
def access(router: Router, call: Call, places: list[Place]) -> Answer:
    """access(2), faccessat(2) (the system call, which has no flags)."""
    return _may_access(call, places[0], call.raw[1 if call.name == "access" else 2], 0)


@emulates("faccessat2")
def faccessat2(router: Router, call: Call, places: list[Place]) -> Answer:
    """faccessat2(2)."""
    return _may_access(call, places[0], call.raw[2], call.raw[3])


def _may_access(call: Call, place: Place, mode: int, flags: int) -> int:
    mode, flags = mode & 0xFFFFFFFF, flags & 0xFFFFFFFF
    with found(call, place) as fd:
        syscall(NR["faccessat2"], fd, b"", mode, flags | AT_EMPTY_PATH)
        if mode & os.W_OK and place.is_read_only:
            kind = stat.S_IFMT(os.fstat(fd).st_mode)
            if kind in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):
                raise OSError(errno.EROFS, "read-only claim")
    return 0


@emulates("readlink", "readlinkat")
def readlink(router: Router, call: Call, places: list[Place]) -> Answer:
    """readlink(2), readlinkat(2)."""
    at = 1 if call.name == "readlink" else 2
    size = call.raw[at + 1] & 0xFFFFFFFF
    if size == 0 or size >> 31:
        raise OSError(errno.EINVAL, "buffer size")
    with reach(places[0].real) as (dirfd, path):
        text = os.readlink(path, dir_fd=dirfd)
    router.memory.write(call.tid, call.raw[at], text[:size])
    return min(len(text), size)


# ---- changing -------------------------------------------------------------------------------


@emulates("mkdir", "mkdirat")
def mkdir(router: Router, call: Call, places: list[Place]) -> Answer:
    """mkdir(2), mkdirat(2)."""
    mode = call.raw[1 if call.name == "mkdir" else 2] & 0xFFFF
    with umask_of(call.task.umask()), reach(places[0].real) as (dirfd, path):
        return syscall(NR["mkdirat"], dirfd, path, mode)


@emulates("mknod", "mknodat")
def mknod(router: Router, call: Call, places: list[Place]) -> Answer:
    """mknod(2), mknodat(2)."""
    at = 1 if call.name == "mknod" else 2
    mode, device = (value & 0xFFFFFFFF for value in call.raw[at : at + 2])
    with umask_of(call.task.umask()), reach(places[0].real) as (dirfd, path):
        return syscall(NR["mknodat"], dirfd, path, mode, device)


def removal_flags(call: Call) -> int:
    """Those of the unlinkat(2) that an unlink(2), rmdir(2) or unlinkat(2) is."""
    return {"rmdir": AT_REMOVEDIR, "unlink": 0}.get(call.name, call.raw[2] & 0xFFFFFFFF)


@emulates("rmdir", "unlink", "unlinkat")
def unlink(router: Router, call: Call, places: list[Place]) -> Answer:
    """unlink(2), rmdir(2), unlinkat(2)."""
    with reach(places[0].real) as (dirfd, path):
        return syscall(NR["unlinkat"], dirfd, path, removal_flags(call))


@emulates("rename", "renameat", "renameat2")
def rename(router: Router, call: Call, places: list[Place]) -> Answer:
    """rename(2), renameat(2), renameat2(2)."""
    flags = call.raw[4] & 0xFFFFFFFF if call.name == "renameat2" else 0
    with reach(places[1].real) as new, reach(places[0].real) as old:  # whose errors come first
        return syscall(NR["renameat2"], *old, *new, flags)


@emulates("link", "linkat")
def link(router: Router, call: Call, places: list[Place]) -> Answer:
    """link(2), linkat(2)."""
    flags = call.raw[4] & 0xFFFFFFFF if call.name == "linkat" else 0
    if flags & ~0x1400:
        return FIX_UP
    with reach(places[1].real) as new, reach(places[0].real) as old:  # whose errors come first
        return syscall(NR["linkat"], *old, *new, 0)


@emulates("symlink", "symlinkat")
def symlink(router: Router, call: Call, places: list[Place]) -> Answer:
    """symlink(2), symlinkat(2): the text of a link is a path of the view, and stays as it is."""
    target = router.memory.read_string(call.tid, call.raw[0])
    if not target:
        raise OSError(errno.ENOENT, "empty target")
    with reach(places[-1].real) as (dirfd, path):
        return syscall(NR["symlinkat"], target, dirfd, path)


@emulates("chmod", "fchmodat")
def chmod(router: Router, call: Call, places: list[Place]) -> Answer:
    """chmod(2), fchmodat(2) (the system call, which has no flags)."""
    mode = call.raw[1 if call.name == "chmod" else 2] & 0xFFFF
    with found(call, places[0]) as fd:
        if fd >= 0 and _has_fchmodat2():
            return syscall(NR["fchmodat2"], fd, b"", mode, AT_EMPTY_PATH)
        name = b"missing" if fd < 0 else b"/proc/self/fd/%d" % fd
        return syscall(NR["fchmodat"], fd, name, mode)


@cache
def _has_fchmodat2() -> bool:
    """It is of Linux 6.6, and profiles of containers that do not know it say EPERM."""
    try:
        syscall(NR["fchmodat2"], -1, b"name", 0, 0)
    except OSError as error:
        return error.errno == errno.EBADF
    return False


@emulates("chown", "lchown", "fchownat")
def chown(router: Router, call: Call, places: list[Place]) -> Answer:
    """chown(2), lchown(2), fchownat(2)."""
    at = 2 if call.name == "fchownat" else 1
    flags = call.raw[4] & 0xFFFFFFFF if call.name == "fchownat" else 0
    uid, gid = (value & 0xFFFFFFFF for value in call.raw[at : at + 2])
    with found(call, places[0]) as fd:
        return syscall(NR["fchownat"], fd, b"", uid, gid, flags | AT_EMPTY_PATH)


@emulates("utimensat")
def utimensat(router: Router, call: Call, places: list[Place]) -> Answer:
    """utimensat(2)."""
    flags = call.raw[3] & 0xFFFFFFFF
    times = router.read_exact(call, call.raw[2], 32) if call.raw[2] else None
    with found(call, places[0]) as fd:
        return syscall(NR["utimensat"], fd, b"", times, flags | AT_EMPTY_PATH)
