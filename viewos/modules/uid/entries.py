"""The entries of a log, with checksums: see journal.py."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable, Iterator

from viewos import Identity
from viewos.modules.uid.table import Record

MAGIC = b"viewos uid log 1"
HEADER = 64
"""The size of what stands before the entries."""
WORD = struct.Struct("Q")
END = 2
"""The word of the header that says how far the log is valid."""
LOST = "what they said of files is lost"
_FRAME = struct.Struct("=II")
"""The size of what follows, and its CRC-32."""
_ENTRY = struct.Struct("=QQIIIIQQBBH")
"""File system, inode, uid, gid, mode, real mode, rdev, st_dev, flags, size of the handle, number of
attributes."""
_ATTRIBUTE = struct.Struct("=HI")
_GONE, _FORGOTTEN, _REAL_MODE = 1, 2, 4

Entry = tuple[Identity, Record | None]


def pack(identity: Identity, record: Record | None) -> bytes:
    """An entry of the log; None forgets."""
    what = record or Record(0, 0)
    flags = _GONE * what.gone | (_FORGOTTEN if record is None else 0)
    flags |= _REAL_MODE if what.mode is None else 0
    body = _ENTRY.pack(
        identity.file_system, identity.inode, what.uid, what.gid, what.mode or 0, what.real,
        what.rdev, what.device, flags, len(identity.handle), len(what.attributes),
    ) + identity.handle  # fmt: skip
    for name, value in what.attributes:
        body += _ATTRIBUTE.pack(len(name), len(value)) + name + value
    return _FRAME.pack(len(body), zlib.crc32(body)) + body


def unpack(data: bytes, at: int = 0) -> Iterator[tuple[int, Entry]]:
    """(where it ends, entry) of each whole entry, up to the first that is none."""
    while at + _FRAME.size <= len(data):
        size, checksum = _FRAME.unpack_from(data, at)
        start, at = at + _FRAME.size, at + _FRAME.size + size
        if at > len(data) or size < _ENTRY.size or zlib.crc32(data[start:at]) != checksum:
            return
        yield at, _entry(data[start:at])


def salvage(data: bytes, size: int) -> tuple[list[Entry], int]:
    """All entries that are whole, and how many of the first `size` bytes are none, or not there:
    what stands behind them was being written when its writer died."""
    entries = []
    at, lost = 0, max(0, size - len(data))
    while at < len(data):
        for end, entry in unpack(data, at):
            entries.append(entry)
            lost += size - at if at < size < end else 0
            at = end
        start = at
        while at < len(data) and next(unpack(data, at), None) is None:
            at += 1
        lost += max(0, min(at, size) - start)
    return entries, lost


def _entry(body: bytes) -> Entry:
    fields = _ENTRY.unpack_from(body)
    file_system, inode, uid, gid, mode, real, rdev, device, flags, length, count = fields
    at = _ENTRY.size + length
    identity = Identity(file_system, inode, body[_ENTRY.size : at])
    if flags & _FORGOTTEN:
        return identity, None
    attributes = []
    for _ in range(count):
        name, value = _ATTRIBUTE.unpack_from(body, at)
        at += _ATTRIBUTE.size
        attributes.append((body[at : at + name], body[at + name : at + name + value]))
        at += name + value
    shown = None if flags & _REAL_MODE else mode
    gone = bool(flags & _GONE)
    return identity, Record(uid, gid, shown, rdev, tuple(attributes), gone, real, device)


def read(
    path: str | bytes, report: Callable[[str], object] = lambda line: None
) -> list[Entry] | None:
    """The entries of a log that stays as it is; None if the file is none. `report` is given a line
    where it is damaged. Raises OSError."""
    with open(path, "rb") as file:
        header = file.read(HEADER)
        if header[: len(MAGIC)] != MAGIC:
            return None
        size = WORD.unpack_from(header.ljust(HEADER, b"\0"), END * WORD.size)[0] - HEADER
        data = file.read()
    entries, lost = salvage(data, size)
    if lost:
        report(f"{os.fsdecode(path)}: {lost} bytes of it are damaged, and {LOST}")
    return entries
