"""Calls that programs' dynamic loader makes with strings of its own, which a filter can tell
apart (`StringRule`)."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator

from viewos.abi.fcntl import AT_EMPTY_PATH
from viewos.abi.syscalls import TABLE
from viewos.monitor.inproc.elf import PF_W, Elf, NotUnderstood
from viewos.tuples import NamedTuple

LOADER = b"/lib64/ld-linux-x86-64.so.2"
_MOST = 2 << 20
"""Bytes of a loader: Debian's has 210 KB."""
_MOST_DISTANCES = 4
_CACHE = b"/etc/ld.so.cache"
_STRING = rb"(?s)\x48\x8d\x35(....)"
"""lea STRING(%rip), %rsi"""
_FLAGS = struct.pack("<I", AT_EMPTY_PATH)
_NEAR = 6
"""Bytes: mov $AT_EMPTY_PATH, %ecx or %r10d."""


class Distances(NamedTuple):
    """How far calls stand from their strings; nothing where a loader makes them otherwise."""

    fstat: tuple[int, ...] = ()
    """fstat(2) of what it has opened, made as newfstatat(fd, "", ...)."""
    cache: tuple[int, ...] = ()
    """openat of /etc/ld.so.cache."""


def distances(path: bytes) -> Distances:
    """What is found in a loader; nothing in musl's, or in no loader."""
    try:
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size > _MOST:
                return Distances()
            loader = Elf(file.read())
    except (OSError, NotUnderstood):
        return Distances()
    code = loader.code
    text = loader.data[code.offset : code.offset + code.file_size]
    empty = {place for place in _given(text, code.address) if _is_there(loader, place, b"")}
    names = {place for place in _all(loader, _CACHE) if _is_there(loader, place, _CACHE)}
    return Distances(
        _between(_calls(text, code.address, "newfstatat"), empty),
        _between(_calls(text, code.address, "openat"), names),
    )


def _between(ends: list[int], places: set[int]) -> tuple[int, ...]:
    found = {(end - place) % (1 << 32) for end in ends for place in places}
    return tuple(sorted(found)) if len(found) <= _MOST_DISTANCES else ()


def _calls(text: bytes, base: int, name: str) -> list[int]:
    """Behind each site of sites.py."""
    number = re.escape(struct.pack("<I", TABLE[name].number))
    pattern = rb"(?s)\xb8%s(?:\x48\x89\xfe)?(?:\xbf.{4})?\x0f\x05" % number
    return [base + match.end() for match in re.finditer(pattern, text)]


def _given(text: bytes, base: int) -> Iterator[int]:
    """The strings that are a call's second argument, beside AT_EMPTY_PATH."""
    for match in re.finditer(_STRING, text):
        start, end = match.span()
        if text.endswith(_FLAGS, 0, start) or _FLAGS in text[end : end + _NEAR]:
            yield base + end + struct.unpack("<i", match[1])[0]


def _all(loader: Elf, string: bytes) -> Iterator[int]:
    for one in loader.loaded:
        part = loader.data[one.offset : one.offset + one.file_size]
        for match in re.finditer(re.escape(string), part):
            yield one.address + match.start()


def _is_there(loader: Elf, address: int, string: bytes) -> bool:
    """Does that string stand there, and can no program change it?"""
    for one in loader.loaded:
        at = address - one.address
        if 0 <= at < one.file_size:
            found = loader.data[one.offset + at :][: len(string) + 1]
            return not one.flags & PF_W and found == string + b"\0"
    return False
