"""getdents64 of a directory in which a mount point has no real entry: it shows all the same.

Only trapped in views that have such a mount point. The entries come first, when the directory is
read from its beginning. Who has read how far stands in the position of the open directory, as of
real entries: as a large number, from which it goes on.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from contextlib import suppress
from typing import TYPE_CHECKING

from viewos import kernel
from viewos.abi.row import signed32
from viewos.monitor.namespaces import is_view
from viewos.monitor.outcome import CONTINUE, Outcome
from viewos.tuples import NamedTuple

if TYPE_CHECKING:
    from viewos.call import Call
    from viewos.monitor.router import Router

_ENTRY = struct.Struct("=QqHB")
_OLD_ENTRY = struct.Struct("=QQH")
_LARGEST = 1 << 16
_BASES = (0x76696577 << 32, 0x76543000)
"""Positions behind which missing entries are counted: the first where the file system lets programs
seek to it. Real entries are counted from 0, or have hashes of 31 or 63 bits."""


class _Reading(NamedTuple):
    """A directory that is being read from its beginning."""

    path: bytes
    missing: tuple[tuple[bytes, int], ...]
    descriptor: int
    """The same open directory: its position is the tracee's."""
    base: int
    given: int
    """How many of `missing` have been given before."""

    def seek(self, given: int) -> None:
        """Go on behind so many next time."""
        os.lseek(self.descriptor, self.base + given, os.SEEK_SET)


def getdents(router: Router, call: Call) -> int | Outcome:
    """getdents64(2), getdents(2)."""
    task, _ = router.tasks.get(call.tid)
    fd = signed32(call.raw[0])
    try:
        directory = task.link(f"fd/{fd}")
    except OSError:
        return CONTINUE
    missing = router.view.listed.get(directory)
    if not missing or not is_view(task):
        return CONTINUE
    try:
        shared = router.descriptor_of(call, fd)
    except ProcessLookupError:
        return CONTINUE
    except OSError as error:
        router.log.warning(f"mount points cannot be listed: pidfd_getfd: {error}", once="getfd")
        return CONTINUE
    try:
        place = _place(shared, len(missing))
        if place is None:
            return CONTINUE
        return _read(router, call, _Reading(directory, missing, shared, *place))
    finally:
        os.close(shared)


def _place(shared: int, count: int) -> tuple[int, int] | None:
    """(base, given), see `_Reading`. None: real entries are being read, or cannot be."""
    with suppress(OSError):
        position = os.lseek(shared, 0, os.SEEK_CUR)
        for base in _BASES:
            if base < position <= base + count:
                return base, position - base
        if position != 0:
            return None
    for base in _BASES:
        with suppress(OSError):
            os.lseek(shared, base, os.SEEK_SET)
            os.lseek(shared, 0, os.SEEK_SET)
            return base, 0
    return None


def _read(router: Router, call: Call, reading: _Reading) -> int | Outcome:
    size = min(call.raw[2] & 0xFFFFFFFF, _LARGEST)
    pack = _pack_old if call.name == "getdents" else _pack
    data = b""
    for number, (name, kind) in enumerate(reading.missing[reading.given :], reading.given):
        if os.path.lexists(os.path.join(reading.path, name)):
            continue
        inode = _inode(router, reading.path, name)
        entry = pack(inode, kind, name, reading.base + number + 1)
        if len(data) + len(entry) > size:
            if not data:
                raise OSError(errno.EINVAL, "a buffer too small for an entry")
            router.memory.write(call.tid, call.raw[1], data)
            reading.seek(number)
            return len(data)
        data += entry
    os.lseek(reading.descriptor, 0, os.SEEK_SET)
    if not data:
        return CONTINUE
    data += _real(call, reading, size - len(data))
    router.memory.write(call.tid, call.raw[1], data)
    return len(data)


def _real(call: Call, reading: _Reading, room: int) -> bytes:
    """The first of the real entries that fit behind the others."""
    buffer = ctypes.create_string_buffer(room)
    number = 78 if call.name == "getdents" else kernel.NR["getdents64"]
    count = 0
    with suppress(OSError):  # not one fits; or what it is will be said next time
        count = kernel.syscall(number, reading.descriptor, buffer, room)
    if count == 0:
        reading.seek(len(reading.missing))
    return buffer.raw[:count]


def _inode(router: Router, directory: bytes, name: bytes) -> int:
    virtual = router.view.claims.reverse(directory) or directory
    _, real = router.view.claims.forward(os.path.join(virtual, name))
    try:
        return os.lstat(real).st_ino
    except OSError:
        return 1


def _pack(inode: int, kind: int, name: bytes, position: int) -> bytes:
    length = _ENTRY.size + len(name) + 1 + 7 & ~7
    return (_ENTRY.pack(inode, position, length, kind) + name).ljust(length, b"\0")


def _pack_old(inode: int, kind: int, name: bytes, position: int) -> bytes:
    length = _OLD_ENTRY.size + len(name) + 2 + 7 & ~7
    record = (_OLD_ENTRY.pack(inode, position, length) + name).ljust(length - 1, b"\0")
    return record + bytes([kind])
