"""`File`: the object that a call is about, reached by the monitor, and what tells it from others.

Nothing here opens a file: descriptors are O_PATH ones, so no device, FIFO or lock is touched.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol, TypeAlias

from viewos import kernel
from viewos.abi.fcntl import AT_EMPTY_PATH, AT_SYMLINK_FOLLOW
from viewos.tuples import NamedTuple

if TYPE_CHECKING:
    from viewos.abi.utsname import Utsname

_AT_HANDLE_FID = 0x200
"""A handle that need not be decodable, which every file system has (Linux 6.5)."""
_MAX_HANDLE_SZ = 128
_HEADER = struct.Struct("=Ii")
_STATX_BTIME = 0x800
_BTIME = struct.Struct("=qI")
_STATX_MASK, _STATX_BTIME_AT = 0, 80
_STATX_SYNC = 0x6000
_DEV_INO = struct.Struct("=QQ")

_handle_flags = [AT_EMPTY_PATH | _AT_HANDLE_FID]
"""One element, without AT_HANDLE_FID once the kernel has refused it."""


class Identity(NamedTuple):
    """What tells a file from every other, as long as its file system exists."""

    file_system: int
    """f_fsid of statfs(2): the same after the next mount. st_dev where a file system has none."""
    inode: int
    handle: bytes
    """The file handle with the inode's generation (name_to_handle_at(2)); the birth time where
    there is none; else nothing."""

    @property
    def is_certain(self) -> bool:
        """Does it tell the file from one that gets its inode number later?"""
        return self.handle[:1] == b"h"


Words: TypeAlias = memoryview
"""Of eight bytes each, in native order."""


class Watched(NamedTuple):
    """Words of a file, and what they were when all that is known had been told."""

    descriptor: int
    """It stays open as long as the view."""
    offset: int
    """Bytes."""
    seen: Words


class Owners(NamedTuple):
    """How a module shows the owners of files of which it knows nothing more."""

    uids: Mapping[int, int]
    """Real uid -> the one in the view."""
    gids: Mapping[int, int]
    owner: int | None
    """The uid of all others; None: the real one."""
    group: int | None
    while_equal: Watched | None = None
    """Where others share what the module knows: words that they change before their call is
    answered. The module is asked for every file as long as these differ."""

    def show(self, uid: int, gid: int) -> tuple[int, int]:
        """The owner and group in the view, for real ones."""
        shown = self.uids.get(uid, uid if self.owner is None else self.owner)
        return shown, self.gids.get(gid, gid if self.group is None else self.group)


class Known(NamedTuple):
    """What a module shows of one file."""

    device: int
    inode: int
    handle: bytes
    """As `File.handle` gives it."""
    uid: int
    gid: int
    mode: int
    """st_mode; 0: the real one."""
    rdev: int
    """0: the real one."""
    has_more: bool = False
    """There is more to know of it, which a change of its owner or mode may concern."""


class Changing(Protocol):
    """Changes of owners and modes that the monitor makes by itself, so that the module learns of
    them later: see `VirtualModule.change_owners`."""

    def allow(self, device: int) -> None:
        """From now on such changes are made of files whose st_dev that is."""

    def make_plainly(self, is_plain: bool, *, unless_known: bool = False) -> None:
        """From now on, or not any more from when this returns: a file that open(2) or mknod(2)
        makes for a process that `makes_plainly`, with a mode that lets its owner read and write, a
        directory that he may search too, or a symbolic link show as the kernel makes them, so that
        the module need not be asked. `unless_known`: but for those in directories of which
        `show_owners` has told; and there are no devices of which it has, unless that is set."""

    def be_alone(self, is_alone: bool) -> None:
        """From now on, or not any more from when this returns: nobody can change the words of
        `Owners.while_equal`, so that programs need not look at them."""

    def taken(self) -> list[Changed]:
        """What has been changed since the last time, the oldest first."""

    def hold(self) -> list[Changed]:
        """The same; and from now on nothing is changed but by the module, until `release` has been
        called as often."""

    def release(self) -> None:
        """See `hold`."""


class Names(NamedTuple):
    """What uname(2) says in a view, as long as some files have the contents that they have now."""

    utsname: Utsname
    sources: tuple[tuple[int, bytes], ...] = ()
    """(descriptor, its contents, at most 65 bytes), at most two; an empty file changes nothing."""


Changed: TypeAlias = tuple[int, int, bytes, int, int, int, int, int]
"""A file whose owner or mode the monitor has changed by itself: the first seven of `Known`, and its
real st_mode after that."""
Told = Callable[[int, Known | None], bool]
"""Given an inode number, and what is known of the file; None: the module is to be asked for it.
True: nobody wants to hear more by this one."""


class File:
    """The object that a call's path or descriptor leads to, followed as the call follows it.

    It is closed with the call, before the program goes on.
    """

    __slots__ = ("_dirfd", "_fd", "_flags", "_name", "read_only")

    def __init__(self, fd: int = -1, path: bytes = b"", *, read_only: bool = False) -> None:
        """Arguments: an O_PATH descriptor, which is closed by `close`, or a path to follow."""
        self._fd = fd
        if fd >= 0:
            self._dirfd, self._name, self._flags = fd, b"", AT_EMPTY_PATH
        else:
            self._dirfd, self._name, self._flags = kernel.AT_FDCWD, path, 0
        self.read_only = read_only
        """It stands behind a read-only claim."""

    @property
    def path(self) -> bytes:
        """A path that leads to the object when it is followed: for os.chmod, os.setxattr, ..."""
        return b"/proc/self/fd/%d" % self._fd if self._fd >= 0 else self._name

    def stat(self) -> bytes:
        """The kernel's `struct stat`. Raises OSError."""
        return kernel.raw_stat(self._dirfd, self._name, self._flags)

    def statx(self, flags: int, mask: int) -> bytes:
        """The kernel's `struct statx`; of `flags` the AT_STATX_* bits count. Raises OSError."""
        flags = self._flags | flags & _STATX_SYNC
        return kernel.raw_statx(self._dirfd, self._name, flags, mask)

    def file_system(self) -> int:
        """f_fsid of its file system, or st_dev where that is 0. Raises OSError."""
        return os.statvfs(self._fd if self._fd >= 0 else self._name).f_fsid or self.device

    @property
    def device(self) -> int:
        """st_dev."""
        return int(_DEV_INO.unpack_from(self.stat())[0])

    def handle(self) -> bytes:
        """The last part of its `Identity`."""
        flags = _handle_flags[0]
        if self._fd < 0:
            flags = flags & ~AT_EMPTY_PATH | AT_SYMLINK_FOLLOW
        buffer = ctypes.create_string_buffer(_HEADER.pack(_MAX_HANDLE_SZ, 0), 8 + _MAX_HANDLE_SZ)
        failed = kernel.name_to_handle(self._dirfd, self._name, buffer, flags)
        if failed == errno.EINVAL and flags & _AT_HANDLE_FID:
            _handle_flags[0] = AT_EMPTY_PATH
            return self.handle()
        if failed:
            return self._birth()
        size, kind = _HEADER.unpack_from(buffer.raw)
        return b"h%d " % kind + buffer.raw[8 : 8 + size]

    def _birth(self) -> bytes:
        data = self.statx(0, _STATX_BTIME)
        if not struct.unpack_from("=I", data, _STATX_MASK)[0] & _STATX_BTIME:
            return b""
        return b"b%d.%09d" % _BTIME.unpack_from(data, _STATX_BTIME_AT)

    def identity(self) -> Identity:
        """What tells it from every other file. Raises OSError."""
        return Identity(self.file_system(), _DEV_INO.unpack_from(self.stat())[1], self.handle())

    def touch(self) -> None:
        """Renew its change time, as a change of its owner does; anybody may. Raises OSError EROFS,
        EPERM (an immutable file)."""
        flags = self._flags
        kernel.syscall(kernel.NR["fchownat"], self._dirfd, self._name, -1, -1, flags)

    def close(self) -> None:
        """Give the descriptor back."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
