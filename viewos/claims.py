"""Claims and rules as plain data: which virtual paths are whose, and what stands behind them; and
`File`, an object behind one, with what tells it from others.

A claim behaves as a bind mount: its prefix is a canonical path of the view, crossing it leads
to the backing, and `..` at its root leads to the parent of the prefix.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, NewType, Protocol

from viewos import kernel
from viewos.abi.fcntl import AT_EMPTY_PATH, AT_SYMLINK_FOLLOW

VirtualPath = NewType("VirtualPath", bytes)
RealPath = NewType("RealPath", bytes)


class Locator(Protocol):
    """What a claim asks of a module that has no fixed backing."""

    def locate(self, path: bytes, intent: str) -> bytes:
        """The real path behind `path` (below the claim, b"" for its root)."""


class Claim(NamedTuple):
    """A subtree of the view. `backing` is a path of the layer below until the map is built."""

    prefix: VirtualPath
    backing: RealPath
    read_only: bool = False
    module: Locator | None = None
    operations: frozenset[str] | None = None
    """Operations that have to be trapped for it; None: all that take a path."""
    layer: int = 0
    module_path: bytes = b""
    """Where below the module's root the prefix stands (a claim seen through another claim)."""
    scratch: bool = False
    msghdr: bool = True
    """Are AF_UNIX names mapped in struct msghdr, too?"""

    @property
    def renames(self) -> bool:
        """May a name in it differ from its backing's?"""
        return self.module is not None or bytes(self.backing) != bytes(self.prefix)

    def locate(self, path: VirtualPath, intent: str) -> RealPath:
        """The real path behind a virtual path that lies in the claim."""
        rest = path[len(self.prefix) :] if self.prefix != b"/" else path
        if rest == b"/":
            rest = b""
        if self.module is not None:
            return RealPath(self.module.locate(self.module_path + rest, intent))
        if self.backing == b"/":
            return RealPath(rest or b"/")
        return RealPath(self.backing + rest)


def lies_in(path: bytes, prefix: bytes) -> bool:
    """Is `path` the prefix itself or below it?"""
    if prefix == b"/":
        return True
    return path.startswith(prefix) and (
        len(path) == len(prefix) or path[len(prefix) : len(prefix) + 1] == b"/"
    )


def join(prefix: bytes, rest: bytes) -> bytes:
    """`rest` is empty or begins with a slash."""
    if prefix == b"/":
        return rest or b"/"
    return prefix + rest


def below(path: bytes, prefix: bytes) -> bytes:
    """What of `path` follows `prefix`, empty or with its slash in front."""
    if prefix == b"/":
        return b"" if path == b"/" else path
    return path[len(prefix) :]


class ClaimMap:
    """All claims of a view, flat: each backing is a real path, and the longest prefix wins."""

    __slots__ = ("by_prefix",)

    def __init__(self, by_prefix: dict[bytes, Claim] | None = None) -> None:
        self.by_prefix: dict[bytes, Claim] = {} if by_prefix is None else by_prefix

    def __bool__(self) -> bool:
        return bool(self.by_prefix)

    def __iter__(self) -> Iterator[Claim]:
        return iter(self.by_prefix.values())

    def find(self, path: bytes) -> Claim | None:
        """The claim in which a canonical virtual path lies."""
        by_prefix = self.by_prefix
        while True:
            claim = by_prefix.get(path)
            if claim is not None:
                return claim
            cut = path.rfind(b"/")
            if cut <= 0:
                return by_prefix.get(b"/")
            path = path[:cut]

    def forward(self, path: bytes, intent: str = "look") -> tuple[Claim | None, bytes]:
        """(claim, real path) of a canonical virtual path."""
        claim = self.find(path)
        return (None, path) if claim is None else (claim, claim.locate(VirtualPath(path), intent))

    def reverse(self, real: bytes, hint: bytes | None = None) -> bytes | None:
        """The virtual name of a real path; None where the view does not show it.

        `hint` is the prefix of the claim (b"" for the real name) that counts where several would
        do.
        """
        return next(self._names(real, hint), None)

    def names(self, real: bytes) -> list[bytes]:
        """All virtual names of a real path, the best one first."""
        return list(dict.fromkeys(self._names(real, None)))

    def is_ambiguous(self, real: bytes) -> bool:
        """Does the view show a real path by more than one name?"""
        return len(self.names(real.rstrip(b"/") or b"/")) > 1

    def _names(self, real: bytes, hint: bytes | None) -> Iterator[bytes]:
        """The virtual names of a real path, the best one first."""
        names = [
            (
                claim.prefix == hint, len(claim.backing), claim.layer,
                join(claim.prefix, below(real, claim.backing)),
            )
            for claim in self.by_prefix.values()
            if lies_in(real, claim.backing)
        ]  # fmt: skip
        names.append((hint == b"", -1, -1, real))
        for *_, name in sorted(names, key=lambda n: n[:3], reverse=True):
            if self.forward(name)[1] == real:
                yield name

    def with_layer(self, claims: Iterable[Claim], layer: int) -> ClaimMap:
        """This map with one more layer on top, whose backings are paths of this map's view."""
        result = dict(self.by_prefix)
        may_be_hidden = set(result)  # the new ones come shortest first: none hides another
        for new in sorted(claims, key=lambda c: len(c.prefix)):
            for hidden in [prefix for prefix in may_be_hidden if lies_in(prefix, new.prefix)]:
                del result[hidden]
                may_be_hidden.remove(hidden)
            for claim in self._derived(new, layer):
                result[claim.prefix] = claim
                if claim.prefix != new.prefix:
                    may_be_hidden.add(claim.prefix)
        return ClaimMap(result)

    def _derived(self, new: Claim, layer: int) -> Iterator[Claim]:
        """The claim itself, and the claims of the layers below that its backing contains."""
        if new.module is not None or new.scratch:
            yield new._replace(layer=layer)
            return
        lower = self.find(new.backing)
        if lower is None:
            yield new._replace(layer=layer)
        else:
            rest = below(new.backing, lower.prefix)
            yield new._replace(
                backing=RealPath(join(lower.backing, rest)),
                module=lower.module,
                module_path=lower.module_path + rest,
                read_only=new.read_only or lower.read_only,
                layer=layer,
            )
        for claim in self.by_prefix.values():
            if bytes(claim.prefix) != new.backing and lies_in(claim.prefix, new.backing):
                prefix = VirtualPath(join(new.prefix, below(claim.prefix, new.backing)))
                yield claim._replace(
                    prefix=prefix, layer=layer, read_only=new.read_only or claim.read_only
                )


# ---- objects ------------------------------------------------------------------------------------

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


class Owners(NamedTuple):
    """How a module shows the owners of files of which it knows nothing more."""

    uids: Mapping[int, int]
    """Real uid -> the one in the view."""
    gids: Mapping[int, int]
    owner: int | None
    """The uid of all others; None: the real one."""
    group: int | None

    def show(self, uid: int, gid: int) -> tuple[int, int]:
        """The owner and group in the view, for real ones."""
        shown = self.uids.get(uid, uid if self.owner is None else self.owner)
        return shown, self.gids.get(gid, gid if self.group is None else self.group)


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
