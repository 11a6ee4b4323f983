"""Copies of programs that name their loader by its real path, and are else what the programs are.

They stand in the scratch directory. A copy is that of one file as it was at one time (inode and
ctime); those that have not been executed for longest make room.
"""

from __future__ import annotations

import errno
import os
import resource
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO

from viewos.monitor.binfmt import LoaderHeader, loader_header, loader_name
from viewos.monitor.scratch import scratch_directory
from viewos.monitor.writers import has_writers
from viewos.tuples import NamedTuple

if TYPE_CHECKING:
    from io import FileIO

    from viewos.view import StandIns, View

MOST_BYTES, MOST_FILES = 96 << 20, 512
"""Of all copies in a view."""
_MOST_KNOWN = 4096
"""Of those that are there, and of those that have made room, from which programs may still run."""
PATIENCE = 5
"""So often a file is copied that changes meanwhile, or written that a child of ours has open."""
_MOST_SOURCES = 64
"""Programs without a name that are kept; what runs from a copy of an older one reads the copy."""
_OFFSET, _SIZES = 8, 32
"""Of a file offset, and of both sizes, in a program header."""


class Copy(NamedTuple):
    """A program that is executed in the place of another."""

    path: bytes
    file: os.stat_result
    """Of the program that was copied."""
    header: LoaderHeader
    """The program's own."""
    loader: bytes
    """As the program names it."""

    def is_of(self, found: os.stat_result) -> bool:
        """Is it what a copy of that file would be?"""
        return _identity(self.file) == _identity(found)


def _identity(found: os.stat_result) -> tuple[int, int, int, int]:
    return found.st_dev, found.st_ino, found.st_ctime_ns, found.st_size


def copied(view: View, program: bytes, loader: bytes, executed: bytes = b"") -> Copy:
    """A copy of a program that the kernel runs by `loader`, both real paths. Raises OSError.

    `executed`: where what `program` leads to has been, perhaps a copy itself.
    """
    there = view.standins
    key = program, loader
    with there.lock, open(program, "rb", buffering=0) as source:
        known: Copy | None = there.copies.get(key)
        if known is not None:
            if known.is_of(os.fstat(source.fileno())) and os.path.lexists(known.path):
                there.copies[key] = there.copies.pop(key)  # the last to make room
                return known
            _forget(there, key)
        made = new_place(view, os.path.basename(program))
        try:
            copy = _copy(source, loader, made)
        except BaseException:
            _remove(made)
            raise
        before: Copy | None = there.copied.get(executed)
        if before is not None:  # a program whose name has gone executes itself
            copy = copy._replace(header=before.header, loader=before.loader)
        there.originals[made] = program
        _remember(there, key, copy)
        return copy


def keep_source(view: View, copy: bytes, program: bytes, executed: bytes) -> None:
    """Let a process that runs from the copy of a program find that program by /proc/PID/exe, where
    no name leads there. `program` leads to it, or to what runs: `executed`."""
    sources = view.standins.sources
    if copy in sources:
        return
    with suppress(OSError), view.standins.lock:  # without it the copy is what is found
        before = sources.get(executed)
        opened = os.open(program, os.O_PATH | os.O_CLOEXEC) if before is None else os.dup(before)
        sources[copy] = opened
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if len(sources) > min(_MOST_SOURCES, limit // 8):
            os.close(sources.pop(next(iter(sources))))


def _remember(there: StandIns, key: tuple[bytes, bytes], copy: Copy) -> None:
    there.size += copy.file.st_size
    there.copies[key] = there.copied[copy.path] = copy
    while len(there.copies) > 1 and (there.size > MOST_BYTES or len(there.copies) > MOST_FILES):
        _forget(there, next(iter(there.copies)))
    while len(there.copied) > _MOST_KNOWN:
        oldest = next(iter(there.copied))
        del there.copied[oldest]
        there.originals.pop(oldest, None)


def _forget(there: StandIns, key: tuple[bytes, bytes]) -> None:
    copy: Copy = there.copies.pop(key)
    there.size -= copy.file.st_size
    _remove(copy.path)


def _remove(path: bytes) -> None:
    with suppress(OSError):
        os.unlink(path)
    with suppress(OSError):
        os.rmdir(os.path.dirname(path))


def new_place(view: View, name: bytes) -> bytes:
    """A path of that last name in the scratch directory, where nothing is yet. Raises OSError."""
    directory = b"%s/%s" % (scratch_directory(view), os.urandom(6).hex().encode())
    try:
        os.mkdir(directory, 0o711)
    except FileNotFoundError:  # somebody has cleaned up
        os.mkdir(view.scratch, 0o711)
        os.mkdir(directory, 0o711)
    os.chmod(directory, 0o711)
    return directory + b"/" + name


def _copy(source: FileIO, loader: bytes, made: bytes) -> Copy:
    for _ in range(PATIENCE):
        found = os.fstat(source.fileno())
        with open(made, "w+b", buffering=0) as file:
            header = _relink(source, loader, file)
            if os.geteuid() == 0:
                os.fchown(file.fileno(), found.st_uid, found.st_gid)
            os.fchmod(file.fileno(), found.st_mode & 0o777 | 0o100)
        is_whole = _identity(os.fstat(source.fileno())) == _identity(found)
        if is_whole and not has_writers(made):
            return Copy(made, found, header, loader_name(source, header))
        os.unlink(made)
    raise OSError(errno.ETXTBSY, "it is being written")


def _relink(source: FileIO, loader: bytes, file: BinaryIO | FileIO) -> LoaderHeader:
    at, name = 0, loader + b"\0"
    while sent := os.sendfile(file.fileno(), source.fileno(), at, 1 << 30):
        at += sent
    header = loader_header(source)
    if header is None:
        raise OSError(errno.ENOEXEC, "it names no loader any more")
    os.pwrite(file.fileno(), name, at)
    os.pwrite(file.fileno(), struct.pack("=Q", at), header.at + _OFFSET)
    os.pwrite(file.fileno(), struct.pack("=QQ", len(name), len(name)), header.at + _SIZES)
    return header
