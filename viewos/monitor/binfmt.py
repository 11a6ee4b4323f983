"""What an executable file says of how it is run: its first line, or the loader of an ELF file."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

from viewos.tuples import NamedTuple

if TYPE_CHECKING:
    from io import FileIO

BINPRM_BUF_SIZE = 256
ELF64 = struct.Struct("<16sHHIQQQIHHH")
"""The beginning of an ELF header, as far as the program headers' place and number."""
_PROGRAM_HEADER = struct.Struct("<IIQQQQQQ")
_PT_LOAD, _PT_DYNAMIC, _PT_INTERP = 1, 2, 3
_DYNAMIC, _DT_NEEDED = struct.Struct("<QQ"), 1
_PAGE = 4096
_LONGEST = 4096
_LARGEST_LOADER = 16 << 20


def read_head(real: bytes) -> bytes:
    try:
        if not os.access(real, os.X_OK) or not os.path.isfile(real):
            return b""
        with open(real, "rb", buffering=0) as file:
            return file.read(BINPRM_BUF_SIZE)
    except OSError:
        return b""  # not readable, or not there: the kernel says what it thinks of it


def parse_shebang(head: bytes) -> tuple[bytes, bytes | None] | None:
    """(interpreter, its one argument) as fs/binfmt_script.c reads it; None: not a script after
    all.

    A line without an end is cut off with the buffer, but the interpreter's name must be whole. A
    file that is shorter than the buffer is followed by NULs, which end a name and an argument.
    """
    buffer = head[:BINPRM_BUF_SIZE].ljust(BINPRM_BUF_SIZE, b"\0")
    end = buffer.split(b"\0")[0].find(b"\n")  # strnchr(): not beyond a NUL
    if end < 0:
        name = _skip_blanks(buffer, 2)
        if name == BINPRM_BUF_SIZE or _end_of_word(buffer, name) == BINPRM_BUF_SIZE:
            return None
        end = BINPRM_BUF_SIZE - 1
    while buffer[end - 1] in b" \t":
        end -= 1
    name = _skip_blanks(buffer, 2)
    if name >= end:
        return None
    cut = _end_of_word(buffer, name)
    if cut >= end or buffer[cut] == 0:
        return buffer[name : min(cut, end)], None
    argument = buffer[_skip_blanks(buffer, cut) : end]
    return buffer[name:cut], argument.split(b"\0")[0]


def _skip_blanks(buffer: bytes, at: int) -> int:
    while at < len(buffer) and buffer[at] in b" \t":
        at += 1
    return at


def _end_of_word(buffer: bytes, at: int) -> int:
    while at < len(buffer) and buffer[at] not in b" \t\0":
        at += 1
    return at


class LoaderHeader(NamedTuple):
    """The program header that names a loader."""

    data: bytes
    offset: int
    """In bytes, from the first program header."""
    at: int
    """Where it stands in the file."""


class ElfHeader(NamedTuple):
    """What the header of an ELF file says of how it is executed."""

    entry: int
    table_at: int
    """Where its program headers stand in the file."""
    entry_size: int
    entries: int
    table: bytes


def elf_header(file: FileIO) -> ElfHeader | None:
    """That of a file; None: it is too short. Raises OSError."""
    head = os.pread(file.fileno(), ELF64.size, 0)
    if len(head) < ELF64.size:
        return None
    *_, entry, table_at, _sections, _flags, _size, entry_size, count = ELF64.unpack(head)
    table = os.pread(file.fileno(), entry_size * min(count, 128), table_at)
    return ElfHeader(entry, table_at, entry_size, count, table)


def loader_header(file: FileIO) -> LoaderHeader | None:
    """That of an ELF file; None: it has none. Raises OSError."""
    elf = elf_header(file)
    if elf is None:
        return None
    for at, (kind, _, _, _, _, size, _, _) in _entries(elf):
        if kind == _PT_INTERP and 1 < size <= _LONGEST:
            data = elf.table[at : at + _PROGRAM_HEADER.size]
            return LoaderHeader(data, at, elf.table_at + at)
    return None


def first_address(elf: ElfHeader) -> int | None:
    """The address that a program gives the beginning of its file; None: it maps that nowhere."""
    for _, (kind, _, offset, address, _, _, _, _) in _entries(elf):
        if kind == _PT_LOAD and offset < _PAGE:
            return address - offset
    return None


def _entries(elf: ElfHeader) -> Iterator[tuple[int, tuple[int, ...]]]:
    for at in range(0, len(elf.table) - _PROGRAM_HEADER.size + 1, elf.entry_size or 56):
        yield at, _PROGRAM_HEADER.unpack_from(elf.table, at)


def needs_libraries(real: bytes) -> bool:
    """Does an ELF file name libraries (DT_NEEDED), which its loader has to open?"""
    try:
        with open(real, "rb", buffering=0) as file:
            elf = elf_header(file)
            for _, (kind, _, start, _, _, size, _, _) in () if elf is None else _entries(elf):
                if kind == _PT_DYNAMIC:
                    data = os.pread(file.fileno(), size & ~15, start)
                    return any(tag == _DT_NEEDED for tag, _ in _DYNAMIC.iter_unpack(data))
    except (OSError, struct.error):
        pass
    return False


def takes_argv0(real: bytes) -> bool:
    """Can a loader be told the argv[0] of a program? glibc's before 2.33 cannot."""
    try:
        found = os.stat(real)
        return _has_argv0(real, found.st_dev, found.st_ino, found.st_mtime_ns)
    except OSError:
        return True  # the kernel says what it thinks of it


@lru_cache(maxsize=64)
def _has_argv0(real: bytes, *_identity: int) -> bool:
    with open(real, "rb") as file:
        return b"argv0" in file.read(_LARGEST_LOADER)


def loader_of(real: bytes) -> bytes | None:
    """The loader that an ELF file names; None: none, or the file may not be read."""
    try:
        with open(real, "rb", buffering=0) as file:
            header = loader_header(file)
            return None if header is None else loader_name(file, header)
    except OSError:
        return None


def loader_name(file: FileIO, header: LoaderHeader) -> bytes:
    """The loader that a header of the file names. Raises OSError."""
    _, _, start, _, _, size, _, _ = _PROGRAM_HEADER.unpack(header.data)
    return os.pread(file.fileno(), size, start).split(b"\0")[0]
