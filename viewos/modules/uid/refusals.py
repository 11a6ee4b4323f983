"""What the kernel says of calls on names before it asks who may: of arguments, and of names that
cannot be taken, made or moved (fs/namei.c, fs/open.c)."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from viewos.modules.uid.shown import OWNER, OWNER_AT

if TYPE_CHECKING:
    from viewos import Call, File

_KINDS = frozenset(
    {0, stat.S_IFREG, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK}
)  # of mknod(2)
_NO_NAMES = frozenset({b"", b".", b".."})
_EXCHANGE, _PATH_MAX = 2, 4096
_PLACE = slice(0, 16)
"""st_dev and st_ino of struct stat."""


def is_senseless(call: Call) -> bool:
    """Is it refused whatever its paths lead to?"""
    if call.operation == "symlink":
        return not _is_name(call, call.raw[0])
    if call.operation == "truncate":
        return bool(call.args.length < 0)
    return call.operation == "mknod" and stat.S_IFMT(call.args.mode) not in _KINDS


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
        return True
    except OSError:
        return False
    return False


def cannot_be(call: Call) -> bool:
    """Does a call that takes or makes names fail, or change nothing, whoever makes it? All that its
    paths lead through may be searched."""
    paths = [call.decode(argument.path) for argument in call.row.paths]
    if call.operation in ("mknod", "symlink", "link"):
        return bool(paths[-1].endswith(b"/"))
    if call.operation not in ("unlink", "rmdir", "rename"):
        return False
    if any(path.rstrip(b"/").rpartition(b"/")[2] in _NO_NAMES for path in paths):
        return True
    if call.operation == "unlink":
        return bool(paths[0].endswith(b"/"))
    return call.operation == "rename" and _moves_nothing(call, *paths)


def _moves_nothing(call: Call, old_path: bytes, new_path: bytes) -> bool:
    old, new = _file(call, 0), _file(call, 1)
    if old is None:
        return False
    if new is not None and old.stat()[_PLACE] == new.stat()[_PLACE]:
        return True
    exchanges = call.name == "renameat2" and call.args.flags & _EXCHANGE
    if not _is_directory(old) and (
        old_path.endswith(b"/") or (new_path.endswith(b"/") and not exchanges)
    ):
        return True
    if new is not None and new_path.endswith(b"/") and not _is_directory(new):
        return True
    return _holds(old, call.parent(1)) or (new is not None and _holds(new, call.parent(0)))


def _file(call: Call, index: int) -> File | None:
    try:
        return call.file(index)
    except OSError:
        return None


def _is_directory(file: File) -> bool:
    return stat.S_ISDIR(OWNER.unpack_from(file.stat(), OWNER_AT)[0])


def _holds(directory: File, place: File | None) -> bool:
    """Is that place the directory, or below it?"""
    if place is None or not _is_directory(directory):
        return False
    outer, inner = (os.path.realpath(file.path) for file in (directory, place))
    return inner == outer or inner.startswith(outer + b"/")
