"""POSIX access control lists, as far as a mode and a list depend on each other (acl(5),
fs/posix_acl.c)."""

from __future__ import annotations

import errno
import stat
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from viewos.modules.uid.table import Record

ACCESS, DEFAULT = b"system.posix_acl_access", b"system.posix_acl_default"
_HEADER, _ENTRY = struct.Struct("=I"), struct.Struct("=HHI")
_VERSION = 2
_USER_OBJ, _USER, _GROUP_OBJ, _GROUP, _MASK, _OTHER = 1, 2, 4, 8, 16, 32
_BASE = frozenset({_USER_OBJ, _GROUP_OBJ, _OTHER})
_TAGS = _BASE | {_USER, _GROUP, _MASK}


class Entry(NamedTuple):
    """One line of a list."""

    tag: int
    perm: int
    identity: int


def parse(value: bytes) -> list[Entry]:
    """The entries of a list (posix_acl_from_xattr). Raises OSError EINVAL, EOPNOTSUPP."""
    if len(value) < _HEADER.size:
        raise OSError(errno.EINVAL, "size of an ACL")
    if _HEADER.unpack_from(value)[0] != _VERSION:
        raise OSError(errno.EOPNOTSUPP, "version of an ACL")
    if (len(value) - _HEADER.size) % _ENTRY.size:
        raise OSError(errno.EINVAL, "size of an ACL")
    entries = [Entry(*entry) for entry in _ENTRY.iter_unpack(value[_HEADER.size :])]
    if not all(entry.tag in _TAGS for entry in entries):
        raise OSError(errno.EINVAL, "tags of an ACL")
    return entries


def check(entries: list[Entry]) -> None:
    """Raise OSError EINVAL unless they make up a list (posix_acl_valid)."""
    tags = [entry.tag for entry in entries]
    if (
        tags != sorted(tags)
        or any(tags.count(tag) != 1 for tag in _BASE)
        or tags.count(_MASK) > 1
        or (_MASK not in tags and not set(tags) <= _BASE)
        or any(entry.perm & ~7 for entry in entries)
    ):
        raise OSError(errno.EINVAL, "entries of an ACL")


def pack(entries: list[Entry]) -> bytes:
    """The list as it stands in the extended attribute."""
    return _HEADER.pack(_VERSION) + b"".join(_ENTRY.pack(*entry) for entry in entries)


def _by_tag(entries: list[Entry]) -> dict[int, int]:
    return {entry.tag: entry.perm for entry in entries}


def with_access(record: Record, entries: list[Entry]) -> Record:
    """The file with that access list: the mode follows, and a list that says no more than a mode is
    none."""
    perms = _by_tag(entries)
    group = perms.get(_MASK, perms[_GROUP_OBJ])
    bits = perms[_USER_OBJ] << 6 | group << 3 | perms[_OTHER]
    new = record._replace(mode=(record.mode or 0) & ~0o777 | bits)
    return new.with_attribute(ACCESS, None if perms.keys() <= _BASE else pack(entries))


def after_chmod(record: Record) -> Record:
    """The file whose mode has changed: its access list follows."""
    value = record.attribute(ACCESS)
    return (
        record
        if value is None
        else record.with_attribute(ACCESS, pack(_with_mode(parse(value), record.mode or 0)))
    )


def _with_mode(entries: list[Entry], mode: int) -> list[Entry]:
    group = _MASK if _MASK in _by_tag(entries) else _GROUP_OBJ
    bits = {_USER_OBJ: mode >> 6 & 7, group: mode >> 3 & 7, _OTHER: mode & 7}
    return [entry._replace(perm=bits.get(entry.tag, entry.perm)) for entry in entries]


def granted(
    entries: list[Entry], uid: int, group: int, in_group: Callable[[int], bool], wanted: int
) -> int:
    """What a list grants to somebody who is not the owner and wants that (posix_acl_permission)."""
    perms = _by_tag(entries)
    mask = perms.get(_MASK, 7)
    for entry in entries:
        if entry.tag == _USER and entry.identity == uid:
            return entry.perm & mask
    own = [
        entry.perm
        for entry in entries
        if (entry.tag == _GROUP_OBJ and in_group(group))
        or (entry.tag == _GROUP and in_group(entry.identity))
    ]
    if not own:
        return perms[_OTHER]
    return next((perm & mask for perm in own if perm & mask & wanted == wanted), 0)


def inherited(parent: Record, made: Record) -> Record:
    """A new file in a directory that has a default list (posix_acl_create)."""
    value = parent.attribute(DEFAULT)
    mode = made.mode or 0
    if value is None or stat.S_ISLNK(mode):
        return made
    entries = parse(value)
    perms = _by_tag(entries)
    group = _MASK if _MASK in perms else _GROUP_OBJ
    allowed = perms[_USER_OBJ] << 6 | perms[group] << 3 | perms[_OTHER]
    made = made._replace(mode=mode & (~0o777 | allowed))
    if not perms.keys() <= _BASE:
        made = made.with_attribute(ACCESS, pack(_with_mode(entries, mode & allowed)))
    return made.with_attribute(DEFAULT, value) if stat.S_ISDIR(mode) else made
