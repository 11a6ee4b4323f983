"""What programs' dynamic loader asks of open files: fstat(2), made as newfstatat(fd, "", ...)."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator

from viewos.abi.fcntl import AT_EMPTY_PATH
from viewos.abi.syscalls import TABLE
from viewos.monitor.inproc.elf import PF_W, Elf, NotUnderstood

LOADER = b"/lib64/ld-linux-x86-64.so.2"
_MOST = 2 << 20
"""Bytes of a loader: Debian's has 210 KB."""
_MOST_DISTANCES = 4
_CALL = b"\xb8" + struct.pack("<I", TABLE["newfstatat"].number) + b"\x0f\x05"
_STRING = re.compile(rb"(?s)\x48\x8d\x35(....)")
"""lea STRING(%rip), %rsi"""
_FLAGS = struct.pack("<I", AT_EMPTY_PATH)
_NEAR = 6
"""Bytes: mov $AT_EMPTY_PATH, %ecx or %r10d."""


def distances(path: bytes) -> tuple[int, ...]:
    """How far the calls of fstat(2) in a loader stand from their empty strings, as `StringRule` has
    it; nothing for one that is made otherwise, as musl's."""
    try:
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size > _MOST:
                return ()
            loader = Elf(file.read())
    except (OSError, NotUnderstood):
        return ()
    code = loader.code
    text = loader.data[code.offset : code.offset + code.file_size]
    ends = [code.address + match.end() for match in re.finditer(re.escape(_CALL), text)]
    empty = {place for place in _strings(text, code.address) if _is_empty(loader, place)}
    found = tuple((end - place) % (1 << 32) for end in ends for place in sorted(empty))
    return found if len(found) <= _MOST_DISTANCES else ()


def _strings(text: bytes, base: int) -> Iterator[int]:
    for match in _STRING.finditer(text):
        start, end = match.span()
        if text.endswith(_FLAGS, 0, start) or _FLAGS in text[end : end + _NEAR]:
            yield base + end + struct.unpack("<i", match[1])[0]


def _is_empty(loader: Elf, address: int) -> bool:
    """Does the empty string stand there, and can no program change it?"""
    for one in loader.loaded:
        at = address - one.address
        if 0 <= at < one.file_size:
            return not one.flags & PF_W and loader.data[one.offset + at] == 0
    return False
