"""Where a libc makes its path calls: `mov $NUMBER, %eax; syscall`, seven bytes, room for a jump."""

from __future__ import annotations

import re
import struct
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from viewos.abi.syscalls import BY_NUMBER, TABLE
from viewos.monitor.inproc.elf import Elf, NotUnderstood

CALLS = (
    "open openat stat lstat newfstatat statx access faccessat faccessat2 readlink readlinkat"
).split()
"""The calls that a program can make by itself: code.c has an answer for each."""
SIZE = 7
"""Bytes of a site."""
_NEAR = 12
"""Instructions before a site in which a call would begin asynchronous cancellation."""
_BRANCH = re.compile(rb"[\xe8\xe9]|\x0f[\x80-\x8f]", re.DOTALL)
_SHORT = re.compile(rb"[\xeb\x70-\x7f\xe0-\xe3]", re.DOTALL)
_RELATIVE = struct.Struct("<i")


class Site(NamedTuple):
    """One of them."""

    address: int
    """In the library, as its headers count."""
    number: int


def find(elf: Elf) -> list[Site]:
    """The sites that can be replaced. Raises NotUnderstood, and ImportError without capstone."""
    code = elf.code
    text = elf.data[code.offset : code.offset + code.file_size]
    numbers = b"|".join(re.escape(struct.pack("<I", TABLE[name].number)) for name in CALLS)
    pattern = re.compile(rb"(?s)\xb8(?=(" + numbers + rb")\x0f\x05)")
    starts = elf.functions()
    found = [
        Site(code.address + m.start(), *struct.unpack("<I", m[1])) for m in pattern.finditer(text)
    ]
    reached = _branches_into(text, code.address, found)
    sites = [
        site
        for site in found
        if site not in reached and _is_plain(text, code.address, starts, site)
    ]
    if not sites:
        raise NotUnderstood("no path call that could be replaced")
    return sites


def _branches_into(text: bytes, base: int, sites: Sequence[Site]) -> set[Site]:
    """The sites into whose middle something may jump: all bytes that read as such a jump count."""
    inside = {site.address + at: site for site in sites for at in range(1, SIZE)}
    targets = (
        base + match.end() + 4 + _RELATIVE.unpack_from(text, match.end())[0]
        for match in _BRANCH.finditer(text, 0, len(text) - 4)
    )
    return {
        inside[target]
        for target in (*targets, *_short_targets(text, base, sites))
        if target in inside
    }


def _short_targets(text: bytes, base: int, sites: Sequence[Site]) -> Iterator[int]:
    for site in sites:
        at = site.address - base
        for match in _SHORT.finditer(text, max(0, at - 140), min(len(text) - 1, at + 140)):
            distance = text[match.end()]
            yield base + match.end() + 1 + (distance - 256 if distance > 127 else distance)


def _is_plain(text: bytes, base: int, starts: Sequence[int], site: Site) -> bool:
    """Do instructions begin and end where the site does, and is it no cancellation point of a
    program with threads, which may be left at any instruction?"""
    import capstone

    index = bisect_right(starts, site.address)
    if not index:
        return False
    start = starts[index - 1]
    end = starts[index] if index < len(starts) else base + len(text)
    machine = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    names: list[str] = []
    for address, size, name, _ in machine.disasm_lite(text[start - base : end - base], start):
        if address == site.address:
            may_be_left = (
                BY_NUMBER[site.number].name in ("open", "openat") and "call" in names[-_NEAR:]
            )
            return size == SIZE - 2 and name == "mov" and not may_be_left
        names.append(name)
    return False
