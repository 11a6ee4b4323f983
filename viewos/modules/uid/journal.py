"""Records in a file: an append-only log with checksums, which several views share.

What is written is there when the call that caused it is answered, whoever is killed then. The
header says how far the log is valid; what stands behind that was being written when its writer
died. Views that share a log look at the header before each look-up, and take a lock to change it. A
record takes 11 us so; a row of an sqlite database in WAL mode took 18. The header is read, and not
mapped: who looks at a mapping of a file that somebody empties is killed (SIGBUS).
"""

from __future__ import annotations

import fcntl
import os
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from viewos import Identity, ViewosError, Watched
from viewos.modules.uid.lease import Lease
from viewos.modules.uid.table import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from viewos.modules.uid.table import Take

MAGIC = b"viewos uid log 1"
_HEADER, _END, _REPLACED = 64, 2, 3
"""The size of the header, and which of its words say how far the log is valid, and that another
file has taken its place. The word behind them is another one whenever a log is begun."""
_WORD, _STATE = struct.Struct("Q"), struct.Struct("QQQ")
_EMPTIED = (0, 1, 0)
_FRAME = struct.Struct("=II")
"""The size of what follows, and its CRC-32."""
_ENTRY = struct.Struct("=QQIIIIQQBBH")
"""File system, inode, uid, gid, mode, real mode, rdev, st_dev, flags, size of the handle, number of
attributes."""
_ATTRIBUTE = struct.Struct("=HI")
_GONE, _FORGOTTEN, _REAL_MODE = 1, 2, 4
_WORTH_A_REWRITE = 4096
"""Entries that must be out of date before the log is written anew."""

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


def unpack(data: bytes) -> Iterator[tuple[int, Entry]]:
    """(where it ends, entry) of each whole entry, up to the first that is none."""
    at = 0
    while at + _FRAME.size <= len(data):
        size, checksum = _FRAME.unpack_from(data, at)
        start, at = at + _FRAME.size, at + _FRAME.size + size
        body = data[start:at]
        if len(body) != size or zlib.crc32(body) != checksum or size < _ENTRY.size:
            return
        yield at, _entry(body)


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


class Journal:
    """A log that is open."""

    def __init__(self, path: str | bytes) -> None:
        """Open the log, or make it. Raises OSError; ViewosError where the file is none."""
        self._path = os.path.abspath(os.fsencode(path))
        self._lock = threading.RLock()
        self._depth = 0
        self._fd = self._watched = -1
        self._seen = memoryview(bytearray(_STATE.size)).cast("Q")
        """The header's words from _END on, when all before had been read."""
        self._lease: Lease | None = None
        self._open()
        self._taken = 0
        """How many entries have been read."""

    def renew_lock(self) -> None:
        """In a forked child: a thread that is not there may have held the lock."""
        self._lock, self._depth = threading.RLock(), 0
        if self._lease is not None:
            self._lease = None
            self._open()  # of its own: now the parent is not alone any more

    def watch_others(self, told: Callable[[bool], None]) -> None:
        """See `Store`."""
        if self._lease is None:
            self._lease = Lease(self._duplicate, told)

    def _duplicate(self) -> int:
        return fcntl.fcntl(self._fd, fcntl.F_DUPFD_CLOEXEC, 0)

    # ---- the file -------------------------------------------------------------------------------

    def _open(self) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        while True:
            fd = os.open(self._path, flags, 0o600)
            fcntl.flock(fd, fcntl.LOCK_EX)
            if _is_at(fd, self._path):
                break
            os.close(fd)
        try:
            self._check(fd)
        except ViewosError:
            os.close(fd)
            raise
        old, self._fd = self._fd, fd
        if self._lease is not None:
            self._lease.give_back()
        self._say(_REPLACED, 0)  # who was about to replace it has died
        self._seen[0], self._seen[2] = _HEADER, self._state()[2]
        fcntl.flock(fd, fcntl.LOCK_UN)
        if old >= 0:
            os.close(old)

    def _state(self) -> tuple[int, ...]:
        """The header's words from _END on."""
        data = os.pread(self._fd, _STATE.size, _END * _WORD.size)
        return _STATE.unpack(data) if len(data) == _STATE.size else _EMPTIED

    def _say(self, word: int, value: int) -> None:
        os.pwrite(self._fd, _WORD.pack(value), word * _WORD.size)

    def _check(self, fd: int) -> None:
        size = os.fstat(fd).st_size
        if size == 0:
            _begin(fd)
        elif os.pread(fd, len(MAGIC), 0) != MAGIC or size < _HEADER:
            raise ViewosError(
                f"{os.fsdecode(self._path)} is no log of the uid module"
                " (another file can be taken over with load=, and save= names a new one)"
            )

    def update(self, take: Take) -> None:
        """See `Store`."""
        if self._state() == tuple(self._seen):
            return
        with self._lock:
            if self._state()[1] and not self._depth:  # nobody replaces what is locked
                self._open()
            end, _, begun = self._state()
            if begun != self._seen[2]:  # somebody had emptied it
                self._seen[0], self._seen[2] = _HEADER, begun
            start = self._seen[0]
            for at, entry in unpack(os.pread(self._fd, max(0, end - start), start)):
                take(*entry)
                self._taken += 1
                self._seen[0] = start + at

    def unseen(self) -> Watched:
        """See `Store`. Once the file has been replaced they differ for good."""
        if self._watched < 0:
            self._watched = self._duplicate()
        return Watched(self._watched, _END * _WORD.size, self._seen)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """See `Store`."""
        with self._lock:
            if self._depth == 0:
                self._take_lock()
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
                if self._depth == 0:
                    fcntl.flock(self._fd, fcntl.LOCK_UN)

    def _take_lock(self) -> None:
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        while not _is_at(self._fd, self._path):
            self._open()
            fcntl.flock(self._fd, fcntl.LOCK_EX)
        end, size = self._state()[0], os.fstat(self._fd).st_size
        if size < _HEADER:
            _begin(self._fd)
        elif size > end:  # its writer was killed
            end = start = max(end, _HEADER)  # a header of noughts hides no entry
            for at, _ in unpack(os.pread(self._fd, size - start, start)):
                end = start + at
            self._say(_END, end)
            os.ftruncate(self._fd, end)

    def write(self, identity: Identity, record: Record | None, take: Take) -> None:
        """See `Store`."""
        with self.locked():
            data = pack(identity, record)
            end = self._state()[0]
            rest = memoryview(data)
            while rest:
                rest = rest[os.pwrite(self._fd, rest, end + len(data) - len(rest)) :]
            self._say(_END, end + len(data))
            if self._seen[0] != end:
                self.update(take)
            else:
                take(identity, record)
                self._taken += 1
                self._seen[0] = end + len(data)

    def tidy(self, records: Iterable[tuple[Identity, Record]], live: int) -> None:
        """Write the log anew when most of it is out of date."""
        if self._taken - live < max(live, _WORTH_A_REWRITE):
            return
        with self.locked():
            path = self._path + b".new"
            body = b"".join(pack(*one) for one in records)
            with open(path, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
                file.write(_header(_HEADER + len(body)) + body)
                file.flush()
                os.fsync(file.fileno())
            self._say(_REPLACED, 1)
            os.rename(path, self._path)
            fcntl.flock(self._fd, fcntl.LOCK_UN)
            self._open()
            self._taken = 0
            fcntl.flock(self._fd, fcntl.LOCK_EX)

    def close(self) -> None:
        """See `Store`."""
        if self._lease is not None:
            self._lease.close()
            self._lease = None
        if self._fd >= 0:
            with suppress(OSError):
                os.fsync(self._fd)
            os.close(self._fd)
            self._fd = -1
        if self._watched >= 0:
            os.close(self._watched)
            self._watched = -1


def _header(end: int) -> bytes:
    return (MAGIC + _STATE.pack(end, 0, time.time_ns())).ljust(_HEADER, b"\0")


def _begin(fd: int) -> None:
    os.pwrite(fd, _header(_HEADER), 0)


def _is_at(fd: int, path: bytes) -> bool:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(fd), found)


def read(path: str | bytes) -> list[Entry] | None:
    """The entries of a log that stays as it is; None if the file is none. Raises OSError."""
    with open(path, "rb") as file:
        header = file.read(_HEADER)
        if header[: len(MAGIC)] != MAGIC:
            return None
        return [entry for _, entry in unpack(file.read())]
