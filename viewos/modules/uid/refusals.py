"""What the kernel says of calls on names before it asks who may: of arguments, and of names that
cannot be taken, made or moved (fs/namei.c, fs/open.c)."""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from viewos.modules.uid.shown import OWNER, OWNER_AT

if TYPE_CHECKING:
    from viewos import Call, File

_KINDS = frozenset(
    {0, stat.S_IFREG, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK}
)  # of mknod(2)
_NO_NAMES = frozenset({b"", b".", b".."})
_EXCHANGE, _PATH_MAX = 2, 4096
_TIMES = struct.Struct("=qq")
UTIME_NOW, UTIME_OMIT = 0x3FFFFFFF, 0x3FFFFFFE
_LONGEST_NAME, _LARGEST_VALUE, _CREATE, _REPLACE = 255, 65536, 1, 2
_AT_FLAGS = 0x1100
"""AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH."""
_REMOVEDIR = 0x200
_FLAGS = {
    "unlinkat": _REMOVEDIR, "renameat2": 7, "linkat": 0x1400, "utimensat": _AT_FLAGS,
    "fchownat": _AT_FLAGS, "fchmodat2": _AT_FLAGS, "faccessat2": 0x1300, "newfstatat": 0x7900,
}  # fmt: skip
"""The flags that a call has."""
_ARGS = struct.Struct("=QII")
"""struct xattr_args: value, size, flags (linux/xattr.h, Linux 6.13)."""
_PLACE = struct.Struct("=QQ")
"""st_dev and st_ino of struct stat."""


def is_senseless(call: Call) -> bool:
    """Is it refused whatever its paths lead to?"""
    allowed = _FLAGS.get(call.name)
    if allowed is not None and call.args.flags & ~allowed:
        return True
    test = _TESTS.get(call.operation)
    return test is not None and test(call)


@lru_cache
def are_no_flags(flags: int) -> bool:
    """Does this kernel refuse an open(2) with these flags, before it looks at the path?"""
    try:
        os.open(b"", flags)
    except OSError as error:
        return error.errno == errno.EINVAL
    return False  # there is nothing of that name


def names_no_attribute(call: Call) -> bool:
    """Is something wrong with the arguments of a call on an extended attribute?"""
    return has_strange_flags(call) or not 0 < len(call.args.name) <= _LONGEST_NAME


def has_strange_flags(call: Call) -> bool:
    """Are there flags of an *xattrat call that the kernel refuses?"""
    return call.name.endswith("xattrat") and bool(call.args.at_flags & ~_AT_FLAGS)


def sets_nothing(call: Call) -> bool:
    """The same of setxattr(2), and of the value (setxattr_copy)."""
    if names_no_attribute(call):
        return True
    _, size, flags = value_of(call)
    return bool(flags & ~(_CREATE | _REPLACE)) or size > _LARGEST_VALUE


def value_of(call: Call) -> tuple[int, int, int]:
    """(address, size, flags) of the value of an extended attribute."""
    if call.name.endswith("xattrat"):
        address, size, flags = _ARGS.unpack(call.read(call.args.args, _ARGS.size))
        return address, size, flags
    flags = call.args.flags if call.operation.endswith("setxattr") else 0
    return call.args.value, call.args.size, flags


def _moves_strangely(call: Call) -> bool:
    flags = call.args.flags if call.name == "renameat2" else 0
    return bool(flags & _EXCHANGE and flags & ~_EXCHANGE)


def _has_no_such_time(call: Call) -> bool:
    """Microseconds that there are not."""
    if call.name not in ("utimes", "futimesat") or not call.args.times:
        return False
    return any(not 0 <= part < 10**6 for _, part in times_of(call))


_TESTS: dict[str, Callable[[Call], bool]] = {
    "access": lambda call: bool(call.args.mode & ~7),
    "symlink": lambda call: not _is_name(call, call.raw[0]),
    "truncate": lambda call: bool(call.args.length < 0),
    "mknod": lambda call: stat.S_IFMT(call.args.mode) not in _KINDS,
    "getxattr": names_no_attribute, "fgetxattr": names_no_attribute,
    "removexattr": names_no_attribute, "fremovexattr": names_no_attribute,
    "setxattr": sets_nothing, "fsetxattr": sets_nothing,
    "rename": _moves_strangely, "utime": _has_no_such_time,
}  # fmt: skip


def sets_no_time(call: Call) -> bool:
    """utimensat(2) of nanoseconds that there are not: its path is looked at first."""
    if call.name != "utimensat" or not call.args.times:
        return False
    return any(
        part not in (UTIME_NOW, UTIME_OMIT) and not 0 <= part < 10**9 for _, part in times_of(call)
    )


def times_of(call: Call) -> list[tuple[int, int]]:
    """(seconds, nanoseconds or microseconds) of the times that a call sets."""
    return list(_TIMES.iter_unpack(call.read(call.args.times, 2 * _TIMES.size)))


def _is_name(call: Call, address: int) -> bool:
    try:
        return 0 < len(call.read_text(address)) < _PATH_MAX
    except OSError:
        return False


def is_free(call: Call, index: int) -> bool:
    """Can a name be made there, if who makes it may?"""
    try:
        call.file(index)
    except FileNotFoundError:
        is_name = has_directory(call, index) and not has_no_name(call, index)
        return is_name and not stands(call, index)
    except OSError:
        return False
    return False


def has_directory(call: Call, index: int) -> bool:
    """Is there a directory in which the last name of a path stands, or would?"""
    try:
        call.parent(index)
    except OSError:
        return False
    return True


def stands(call: Call, index: int) -> bool:
    """Is there a file of the last name of a path that ends in a slash, whatever it is or leads to?
    A call that makes a name there says EEXIST of it."""
    return last_name(call, index) is not None


def last_name(call: Call, index: int) -> bytes | None:
    """The real path of that file."""
    path = call.decode(call.row.paths[index].path)
    name = _last(path)
    if not path.endswith(b"/") or name in _NO_NAMES:
        return None
    try:
        parent = call.parent(index)
    except OSError:
        return None
    found = None if parent is None else parent.path + b"/" + name
    return found if found is not None and os.path.lexists(found) else None


def cannot_be(call: Call) -> bool:
    """Does a call that takes or makes names fail, or change nothing, whoever makes it? All that its
    paths lead through may be searched."""
    paths = [call.decode(argument.path) for argument in call.row.paths]
    if call.operation in ("mkdir", "mknod", "symlink", "link"):
        is_kept = call.operation != "mkdir" and paths[-1].endswith(b"/")
        return is_kept or has_no_name(call, len(paths) - 1)
    if call.operation not in ("unlink", "rmdir", "rename"):
        return False
    if any(has_no_name(call, index) for index in range(len(paths))):
        return True
    if call.operation == "unlink":
        return not takes_directory(call) and bool(paths[0].endswith(b"/"))
    return call.operation == "rename" and _moves_nothing(call, *paths)


def takes_directory(call: Call) -> bool:
    """Is it a rmdir(2)?"""
    return call.operation == "rmdir" or bool(
        call.name == "unlinkat" and call.args.flags & _REMOVEDIR
    )


def has_no_name(call: Call, index: int) -> bool:
    """Does a path end in what is no name of a file: a dot, or nothing?"""
    return _last(call.decode(call.row.paths[index].path)) in _NO_NAMES


def _last(path: bytes) -> bytes:
    return path.rstrip(b"/").rpartition(b"/")[2]


def _moves_nothing(call: Call, old_path: bytes, new_path: bytes) -> bool:
    old, new = _named(call, 0), _named(call, 1)
    if old is None:
        return False
    if new is not None and old.place == new.place:
        return True
    exchanges = call.name == "renameat2" and call.args.flags & _EXCHANGE
    if not old.is_directory and (
        old_path.endswith(b"/") or (new_path.endswith(b"/") and not exchanges)
    ):
        return True
    if exchanges and new is not None and new_path.endswith(b"/") and not new.is_directory:
        return True
    return _holds(old, call.parent(1)) or (new is not None and _holds(new, call.parent(0)))


class _Named(NamedTuple):
    """The file of a name that a call takes."""

    place: tuple[int, int]
    """st_dev and st_ino."""
    is_directory: bool
    path: bytes


def _named(call: Call, index: int) -> _Named | None:
    path = last_name(call, index)
    try:
        if path is not None:
            found = os.lstat(path)
            return _Named((found.st_dev, found.st_ino), stat.S_ISDIR(found.st_mode), path)
        file = call.file(index)
        if file is None:
            return None
        data = file.stat()
    except OSError:
        return None
    dev, ino = _PLACE.unpack_from(data)
    return _Named((dev, ino), stat.S_ISDIR(OWNER.unpack_from(data, OWNER_AT)[0]), file.path)


def _holds(directory: _Named, place: File | None) -> bool:
    """Is that place the directory, or below it?"""
    if place is None or not directory.is_directory:
        return False
    outer, inner = (os.path.realpath(file.path) for file in (directory, place))
    return inner == outer or inner.startswith(outer + b"/")
