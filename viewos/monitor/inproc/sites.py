"""Where a libc makes its path calls: `mov $NUMBER, %eax; syscall`, of which the first is as long as
a jump.

Between them may stand `mov %rdi, %rsi; mov $ARGUMENT, %edi`, as in an open(2) by openat(2).

Since glibc 2.41 cancellation points have no system call of their own. One function makes them for
all, __internal_syscall_cancel, which is given the number on the stack: `mov N(%rsp), %rax; syscall`
for who cannot be cancelled. Who can has his made by another function, __syscall_cancel_arch, and
pthread_cancel(3) knows the addresses of its instructions: that one stays as it is."""

from __future__ import annotations

import re
import struct
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise
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
_COMPARED = re.compile(rb"\x80\x3d(....)\0", re.DOTALL)
"""The same in bytes: cmpb $0, WORD(%rip)."""
_TAKEN = re.compile(rb"(\x48\x8b(?:\x44\x24.|\x45.))\x0f\x05", re.DOTALL)
"""mov N(%rsp), %rax or, with a frame pointer, mov N(%rbp), %rax; syscall."""
_SINGLE = b"__libc_single_threaded"
_POINT = TABLE["openat"].number
"""The only cancellation point that is a path call: glibc makes open(2) by it."""
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
    takes: bytes = b""
    """The instruction that takes the number, of other calls too, from the stack."""

    @property
    def keeps_syscall(self) -> bool:
        """Does a jump find room without the system call?"""
        return len(self.takes or bytes(_MOV)) >= _MOV

    @property
    def size(self) -> int:
        """Bytes of it that are replaced."""
        return len(self.takes) or _MOV if self.keeps_syscall else self.end - self.address

    @property
    def end(self) -> int:
        """Where its system call returns to."""
        return self.address + (len(self.takes) or _MOV + len(self.between)) + _SYSCALL


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
    found += [
        Site(code.address + match.start(), _POINT, takes=match[1])
        for match in _TAKEN.finditer(text)
    ]
    starts = elf.functions()
    reached = _branches_into(text, code.address, starts, found)
    functions = {site: _disassembled(text, code.address, starts, site) for site in found}
    sites = [site for site in found if site not in reached and _is_plain(functions[site], site)]
    words = {word for site in sites if (word := _single(functions[site], site))}
    words |= _exported(elf)
    word = words.pop() if len(words) == 1 else 0
    sites = [s for s in sites if not s.takes or _is_for_one(functions[s], s.address, word)]
    if not sites or not word:
        raise NotUnderstood("no path call that could be replaced, or no word on threads")
    return Found(sites, word)


def _exported(elf: Elf) -> set[int]:
    """The libc's word on threads, by its name, if the libc reads it there itself."""
    word = elf.symbol(_SINGLE)
    if word is None:
        return set()
    base = elf.code.address
    reads = _COMPARED.finditer(elf.text)
    is_read = any(word == base + m.end() + _RELATIVE.unpack(m[1])[0] for m in reads)
    return {word} if is_read else set()


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
    end = site.end - base
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
    if not function or function[-1].name != "mov":
        return False
    if site.takes or not _is_open(site):
        return function[-1].size == (len(site.takes) or _MOV)
    is_point = any(one.name == "call" for one in function[-_NEAR - 1 :])
    return function[-1].size == _MOV and not is_point


def _single(function: Sequence[_Instruction], site: Site) -> int | None:
    """What open(2) looks at before its site: SINGLE_THREAD_P of glibc."""
    return _looks_at(function) if _is_open(site) and not site.takes else None


def _looks_at(function: Sequence[_Instruction]) -> int | None:
    return next((word for one in function if (word := _compared(one))), None)


def _compared(one: _Instruction) -> int | None:
    match = _FLAG.fullmatch(one.operands) if one.name == "cmp" else None
    return one.address + one.size + int(match[1], 16) if match else None


def _is_for_one(function: Sequence[_Instruction], place: int, word: int) -> bool:
    """Does a program of one thread go straight there, or to the instructions before?"""
    for one, then in pairwise(function):
        if _compared(one) == word:
            to = int(then.operands, 16) if then.name == "jne" else then.address + then.size
            return then.name in ("jne", "je") and 0 <= place - to <= _LONGEST
    return False
