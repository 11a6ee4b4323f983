"""Where a libc makes its path calls: `mov $NUMBER, %eax; syscall`, seven bytes, room for a jump.

Between them may stand `mov %rdi, %rsi; mov $ARGUMENT, %edi`, as in an open(2) by openat(2)."""

from __future__ import annotations

import re
import struct
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Any

from viewos.abi.syscalls import BY_NUMBER, TABLE
from viewos.monitor.inproc.elf import Elf, NotUnderstood
from viewos.monitor.inproc.elf import sites as all_sites
from viewos.monitor.inproc.shared import KINDS, OPENS
from viewos.tuples import NamedTuple

CALLS = tuple(KINDS)
"""The calls that a program can make by itself: code.c has an answer for each."""
_MOV, _SYSCALL = 5, 2
"""Bytes of the instructions of a site."""
_NEAR = 12
"""Instructions before a site in which a call would begin asynchronous cancellation."""
_BRANCH = re.compile(rb"[\xe8\xe9]|\x0f[\x80-\x8f]", re.DOTALL)
_SHORT = re.compile(rb"[\xeb\x70-\x7f\xe0-\xe3]", re.DOTALL)
_FLAG = re.compile(r"byte ptr \[rip \+ (0x[0-9a-f]+)\], 0")
_RELATIVE = struct.Struct("<i")
_LONGEST = 15
"""Bytes of an instruction."""


class Site(NamedTuple):
    """One of them."""

    address: int
    """In the library, as its headers count."""
    number: int
    between: bytes = b""
    """The instructions between the two: the same wherever they stand."""

    @property
    def size(self) -> int:
        """Bytes of it."""
        return _MOV + len(self.between) + _SYSCALL


class Found(NamedTuple):
    """What has been found of a library."""

    sites: list[Site]
    """Those that can be replaced."""
    single: int
    """Where the libc keeps whether the program surely has one thread: a byte, else 0."""


def find(elf: Elf) -> Found:
    """What can be replaced. Raises NotUnderstood, and ImportError without capstone."""
    code = elf.code
    text = elf.text
    found = [
        Site(code.address + match.start(), int.from_bytes(match[1], "little"), match[2])
        for match in all_sites(text, [TABLE[name].number for name in CALLS])
    ]
    starts = elf.functions()
    reached = _branches_into(text, code.address, starts, found)
    functions = {site: _disassembled(text, code.address, starts, site) for site in found}
    sites = [site for site in found if site not in reached and _is_plain(functions[site], site)]
    flags = {flag for site in sites if (flag := _single(functions[site], site))}
    if len(flags) != 1:
        raise NotUnderstood("no path call that could be replaced, or no word on threads")
    return Found(sites, flags.pop())


def _branches_into(
    text: bytes, base: int, starts: Sequence[int], sites: Sequence[Site]
) -> set[Site]:
    """The sites into whose middle something may jump: all bytes that read as such a jump count,
    short ones where an instruction begins."""
    inside = {site.address + at: site for site in sites for at in range(1, site.size)}
    targets = (
        base + match.end() + 4 + _RELATIVE.unpack_from(text, match.end())[0]
        for match in _BRANCH.finditer(text, 0, len(text) - 4)
    )
    shorts = (
        target
        for at, target in _short_targets(text, base, sites)
        if target in inside and _begins(text, base, starts, at)
    )
    return {inside[target] for target in (*targets, *shorts) if target in inside}


def _short_targets(text: bytes, base: int, sites: Sequence[Site]) -> Iterator[tuple[int, int]]:
    """(where it stands, where it leads)."""
    for site in sites:
        at = site.address - base
        for match in _SHORT.finditer(text, max(0, at - 140), min(len(text) - 1, at + 140)):
            distance = text[match.end()]
            behind = base + match.end() + 1
            yield behind - 2, behind + (distance - 256 if distance > 127 else distance)


def _begins(text: bytes, base: int, starts: Sequence[int], address: int) -> bool:
    """May an instruction begin there, as its function reads from its first one on?"""
    index = bisect_right(starts, address)
    start = starts[index - 1] if index else address
    code = text[start - base : address - base + _LONGEST]
    for one, *_ in _machine().disasm_lite(code, start):
        if one >= address:
            return bool(one == address)
    return True


class _Instruction(NamedTuple):
    address: int
    size: int
    name: str
    operands: str


def _disassembled(text: bytes, base: int, starts: Sequence[int], site: Site) -> list[_Instruction]:
    """The function of a site, up to its first instruction; nothing where it begins none."""
    index = bisect_right(starts, site.address)
    if not index:
        return []
    start = starts[index - 1]
    end = site.address - base + site.size
    disassembled = _machine().disasm_lite(text[start - base : end], start)
    found = [_Instruction(*one) for one in disassembled]
    count = bisect_right([one.address for one in found], site.address)
    is_whole = count and found[count - 1].address == site.address and found[-1].name == "syscall"
    return found[:count] if is_whole else []


def _machine() -> Any:
    import capstone  # which takes 50 ms

    return capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)


def _is_open(site: Site) -> bool:
    return KINDS[BY_NUMBER[site.number].name] == OPENS


def _is_plain(function: Sequence[_Instruction], site: Site) -> bool:
    """Does an instruction begin where the site does, and is it no cancellation point of a program
    with threads, which may be left at any instruction?"""
    if not function or function[-1].name != "mov" or function[-1].size != _MOV:
        return False
    is_point = _is_open(site)
    return not (is_point and any(one.name == "call" for one in function[-_NEAR - 1 :]))


def _single(function: Sequence[_Instruction], site: Site) -> int | None:
    """What open(2) looks at before its site: SINGLE_THREAD_P of glibc."""
    if not _is_open(site):
        return None
    for one in function:
        if one.name == "cmp" and (match := _FLAG.fullmatch(one.operands)):
            return one.address + one.size + int(match[1], 16)
    return None
