"""Records in a file: an append-only log with checksums, which several views share.

What is written is there when the call that caused it is answered, whoever is killed then. The
header says how far the log is valid; what stands behind that was being written when its writer
died. Views that share a log look at the header before each look-up, and take a lock to change it. A
record takes 11 us so; a row of an sqlite database in WAL mode took 18. The header is read, and not
mapped: who looks at a mapping of a file that somebody empties is killed (SIGBUS).
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from viewos import Identity, ViewosError, Watched
from viewos.modules.uid.entries import END, HEADER, LOST, MAGIC, WORD, pack, salvage, unpack
from viewos.modules.uid.lease import Lease
from viewos.modules.uid.room import Room

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from viewos.modules.uid.table import Record, Take

_REPLACED = 3
"""The word of the header that says that another file has taken its place. The one behind it is
another one whenever a log is begun."""
_STATE = struct.Struct("QQQ")
"""The header's words from END on."""
_EMPTIED = (0, 1, 0)
_ACCESS_LIST = "system.posix_acl_access"
_WORTH_A_REWRITE = 4096
"""Entries that must be out of date before the log is written anew."""


class Journal:
    """A log that is open."""

    def __init__(self, path: str | bytes) -> None:
        """Open the log, or make it. Raises OSError; ViewosError where the file is none."""
        self._path = os.path.realpath(os.fsencode(path))  # a link to it stays one
        self._lock = threading.RLock()
        self._depth = 0
        self._fd = self._watched = -1
        self._seen = memoryview(bytearray(_STATE.size)).cast("Q")
        """The header's words from END on, when all before had been read."""
        self._room = Room()
        self._lease: Lease | None = None
        self.damage = ""
        """What was wrong with it, for the user."""
        self._open()
        self._mend()
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
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY
        while True:
            _refuse_others(self._path)
            fd = os.open(self._path, flags, 0o600)
            fcntl.flock(fd, fcntl.LOCK_EX)
            if _is_at(fd, self._path):
                break
            os.close(fd)
        try:
            with _named(self._path):
                self._check(fd)
        except BaseException:
            os.close(fd)
            raise
        old, self._fd = self._fd, fd
        self._room.forget()
        if self._lease is not None:
            self._lease.give_back()
        self._say(_REPLACED, 0)  # who was about to replace it has died
        self._seen[0], self._seen[2] = HEADER, self._state()[2]
        fcntl.flock(fd, fcntl.LOCK_UN)
        if old >= 0:
            os.close(old)

    def _state(self) -> tuple[int, ...]:
        """The header's words from END on."""
        data = os.pread(self._fd, _STATE.size, END * WORD.size)
        return _STATE.unpack(data) if len(data) == _STATE.size else _EMPTIED

    def _say(self, word: int, value: int) -> None:
        os.pwrite(self._fd, WORD.pack(value), word * WORD.size)

    def _check(self, fd: int) -> None:
        size = os.fstat(fd).st_size
        if size == 0:
            _begin(fd)
        elif os.pread(fd, len(MAGIC), 0) != MAGIC or size < HEADER:
            raise ViewosError(
                f"{os.fsdecode(self._path)} is no log of the uid module"
                " (another file can be taken over with load=, and save= names a new one)"
            )

    def _mend(self) -> None:
        """Take out what are no entries; the log is kept as it was beside it."""
        with self.locked():
            head, data = os.pread(self._fd, HEADER, 0), self._entries()
            entries, lost = salvage(data, self._state()[0] - HEADER)
            if not lost:
                return
            kept = self._path + b".damaged-%d" % time.time_ns()
            with _unless_it_fails(kept):
                self._write_beside(kept, head + data)
                self._replace(pack(*entry) for entry in entries)
        self.damage = (
            f"{os.fsdecode(self._path)}: {lost} bytes of it were damaged, and {LOST}"
            f" ({os.fsdecode(kept)} is how it was)"
        )

    def _entries(self) -> bytes:
        return os.pread(self._fd, os.fstat(self._fd).st_size, HEADER)

    def update(self, take: Take) -> None:
        """See `Store`."""
        if self._state() == tuple(self._seen):
            return
        with self._lock:
            if self._state()[1] and not self._depth:  # nobody replaces what is locked
                self._open()
            end, _, begun = self._state()
            if begun != self._seen[2]:  # somebody had emptied it
                self._seen[0], self._seen[2] = HEADER, begun
                self._room.forget()
            start = self._seen[0]
            for at, entry in unpack(os.pread(self._fd, max(0, end - start), start)):
                take(*entry)
                self._taken += 1
                self._seen[0] = start + at

    def unseen(self) -> Watched:
        """See `Store`. Once the file has been replaced they differ for good."""
        if self._watched < 0:
            self._watched = self._duplicate()
        return Watched(self._watched, END * WORD.size, self._seen)

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
        if size < HEADER:
            _begin(self._fd)
        elif size > end:  # its writer was killed
            end = start = max(end, HEADER)  # a header of noughts hides no entry
            for at, _ in unpack(os.pread(self._fd, size - start, start)):
                end = start + at
            self._say(END, end)
            os.ftruncate(self._fd, end)
            self._room.forget()

    def make_room(self) -> None:
        """See `Store`."""
        end, is_replaced, _ = self._state()
        if is_replaced or not self._room.is_left(end):
            with self.locked():
                self._room.take(self._fd, self._state()[0])

    def write(self, identity: Identity, record: Record | None, take: Take) -> None:
        """See `Store`."""
        with self.locked():
            data = pack(identity, record)
            end = self._state()[0]
            rest = memoryview(data)
            while rest:
                rest = rest[os.pwrite(self._fd, rest, end + len(data) - len(rest)) :]
            self._say(END, end + len(data))
            if self._seen[0] != end:
                self.update(take)
            else:
                take(identity, record)
                self._taken += 1
                self._seen[0] = end + len(data)

    def tidy(self, records: Iterable[tuple[Identity, Record]], live: int) -> None:
        """Write the log anew when most of it is out of date, where that can be done."""
        if self._taken - live < max(live, _WORTH_A_REWRITE):
            return
        with self.locked(), suppress(OSError):
            self._replace(pack(*one) for one in records)
            self._taken = 0

    def _replace(self, entries: Iterable[bytes]) -> None:
        """Raises OSError, and then the log is what it was."""
        path = self._path + b".new"
        body = b"".join(entries)
        with suppress(FileNotFoundError):
            os.unlink(path)
        with _unless_it_fails(path):
            self._write_beside(path, _header(HEADER + len(body)) + body)
            self._say(_REPLACED, 1)  # before: who would say it afterwards may be killed
            try:
                os.rename(path, self._path)
            except OSError:
                self._say(_REPLACED, 0)
                raise
        fcntl.flock(self._fd, fcntl.LOCK_UN)
        self._open()
        fcntl.flock(self._fd, fcntl.LOCK_EX)

    def _write_beside(self, path: bytes, data: bytes) -> None:
        """Make a file that is all that the log is, but for what it holds. Raises OSError."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with _named(path), open(os.open(path, flags, 0o600), "wb") as file:
            if os.fstat(self._fd).st_nlink > 1:
                raise OSError(errno.EMLINK, "the log has several names")
            _be_like(self._fd, file.fileno())
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

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
    return (MAGIC + _STATE.pack(end, 0, time.time_ns())).ljust(HEADER, b"\0")


def _begin(fd: int) -> None:
    os.pwrite(fd, _header(HEADER), 0)


def _refuse_others(path: bytes) -> None:
    """Raise ViewosError unless a file is regular, or not there: a device keeps nothing, and may do
    something when it is opened."""
    with suppress(FileNotFoundError):
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise ViewosError(f"{os.fsdecode(path)} is no regular file, and so no log")


@contextmanager
def _named(path: bytes) -> Iterator[None]:
    """Have errors of a descriptor say whose it is."""
    try:
        yield
    except OSError as error:
        error.filename = path
        raise


@contextmanager
def _unless_it_fails(path: bytes) -> Iterator[None]:
    """The file is made in there, and removed again where that cannot be ended."""
    try:
        yield
    except BaseException as error:
        if not isinstance(error, FileExistsError):
            with suppress(OSError):
                os.unlink(path)
        raise


def _be_like(old: int, new: int) -> None:
    """Give a file the owner, the mode and the access list of another one. Raises OSError."""
    was = os.fstat(old)
    os.fchown(new, was.st_uid, was.st_gid)
    wanted = _access_list(old)
    if wanted is not None:
        os.setxattr(new, _ACCESS_LIST, wanted)
    elif _access_list(new) is not None:  # by the directory's default one
        os.removexattr(new, _ACCESS_LIST)
    os.fchmod(new, stat.S_IMODE(was.st_mode))


def _access_list(fd: int) -> bytes | None:
    try:
        return os.getxattr(fd, _ACCESS_LIST)
    except OSError as error:
        if error.errno not in (errno.ENODATA, errno.EOPNOTSUPP):
            raise
        return None


def _is_at(fd: int, path: bytes) -> bool:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(fd), found)
