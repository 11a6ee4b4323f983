"""Calls that programs' dynamic loader makes with strings of its own, which a filter can tell
apart (`StringRule`)."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator

from viewos.abi.fcntl import AT_EMPTY_PATH
from viewos.abi.syscalls import TABLE
from viewos.monitor.inproc.elf import PF_W, Elf, NotUnderstood, sites
from viewos.monitor.plan import CACHE, PRELOAD
from viewos.tuples import NamedTuple

LOADER = b"/lib64/ld-linux-x86-64.so.2"
_MOST = 2 << 20
"""Bytes of a loader: Debian's has 210 KB."""
_MOST_DISTANCES = 4
_STRING = rb"(?s)\x48\x8d\x35(....)"
"""lea STRING(%rip), %rsi"""
_FLAGS = struct.pack("<I", AT_EMPTY_PATH)
_SYSCALL = 2
"""Bytes of the instruction."""
_NEAR = 6
"""Bytes: mov $AT_EMPTY_PATH, %ecx or %r10d."""


class Distances(NamedTuple):
    """How far calls stand from their strings; nothing where a loader makes them otherwise."""

    fstat: tuple[int, ...] = ()
    """fstat(2) of what it has opened, made as newfstatat(fd, "", ...)."""
    cache: tuple[int, ...] = ()
    """openat of /etc/ld.so.cache."""
    preload: tuple[int, ...] = ()
    """access of /etc/ld.so.preload."""


def distances(path: bytes) -> Distances:
    """What is found in a loader; nothing in musl's, or in no loader."""
    try:
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size > _MOST:
                return Distances()
            loader = Elf(file.read())
    except (OSError, NotUnderstood):
        return Distances()
    empty = {place for place in _given(loader) if _is_empty(loader, place)}
    ends = _ends(loader, ("newfstatat", "openat", "access"))
    return Distances(
        _between(ends["newfstatat"], empty),
        _between(ends["openat"], {*_all(loader, CACHE)}),
        _between(ends["access"], {*_all(loader, PRELOAD)}),
    )


def _between(ends: list[int], places: set[int]) -> tuple[int, ...]:
    found = {(end - place) % (1 << 32) for end in ends for place in places}
    return tuple(sorted(found)) if len(found) <= _MOST_DISTANCES else ()


def _ends(loader: Elf, names: tuple[str, ...]) -> dict[str, list[int]]:
    """Where the instructions after system calls begin."""
    numbers = {TABLE[name].number: name for name in names}
    ends: dict[str, list[int]] = {name: [] for name in names}
    for match in sites(loader.text, numbers):
        name = numbers[int.from_bytes(match[1], "little")]
        ends[name].append(loader.code.address + match.end(2) + _SYSCALL)
    return ends


def _given(loader: Elf) -> Iterator[int]:
    """The strings that are a call's second argument, beside AT_EMPTY_PATH."""
    text = loader.text
    for match in re.finditer(_STRING, text):
        start, end = match.span()
        if text.endswith(_FLAGS, 0, start) or _FLAGS in text[end : end + _NEAR]:
            yield loader.code.address + end + struct.unpack("<i", match[1])[0]


def _constant(loader: Elf) -> Iterator[tuple[int, bytes]]:
    """(address, bytes) of what no program can change."""
    for one in loader.loaded:
        if not one.flags & PF_W:
            yield one.address, loader.data[one.offset : one.offset + one.file_size]


def _all(loader: Elf, string: bytes) -> Iterator[int]:
    for address, part in _constant(loader):
        for match in re.finditer(re.escape(string + b"\0"), part):
            yield address + match.start()


def _is_empty(loader: Elf, place: int) -> bool:
    """Does the empty string stand there?"""
    return any(
        0 <= place - address < len(part) and part[place - address] == 0
        for address, part in _constant(loader)
    )
