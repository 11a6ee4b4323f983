"""The instrumented copy of a libc: its path calls become jumps to code behind its last segment.

Behind the library's end stand three more segments: code (R X: the program headers, the table for
unwinding, a stub for each site, and what code.c has been compiled to), what the monitor says (R),
and a word with which it switches the code off in one process (RW). Nothing else is changed.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Sequence

from viewos.abi.syscalls import TABLE
from viewos.monitor.inproc.changes import Image, Patch
from viewos.monitor.inproc.elf import (
    PAGE,
    PF_R,
    PF_W,
    PF_X,
    PT_GNU_EH_FRAME,
    PT_LOAD,
    PT_PHDR,
    SEGMENT,
    Elf,
    Segment,
)
from viewos.monitor.inproc.shared import KINDS, MAKES, NAMES, OPENS, PAIRS
from viewos.monitor.inproc.shared import SIZE as SHARED_SIZE
from viewos.monitor.inproc.sites import Found, Site
from viewos.tuples import NamedTuple

_E_PHOFF, _E_PHNUM = 32, 56
"""Where they stand in the header of the file (elf(5))."""
_RETRIED = frozenset(
    TABLE[name].number for name, kind in KINDS.items() if kind not in (OPENS, NAMES, MAKES, PAIRS)
)
"""Calls that never give EINTR natively, and may be made twice: before Linux 5.19 a signal may come
while the monitor makes one."""


def build(library: Elf, found: Found, code: Elf, blob: bytes, entry: int) -> Image:
    """The copy of `library`. `code` is the file that `blob` has been taken from, which enters it at
    `entry`. Raises NotUnderstood."""
    base = library.end
    headers = _align((len(library.segments) + 3) * SEGMENT.size, 16)
    stubs = [_Stub(site, found.single) for site in found.sites]
    at = base + headers
    for stub in stubs:
        stub.address = at
        at += _align(len(stub.assemble(0, 0, 0)), 16)
    start = _align(at, 64)  # of a cache line: else the C is slower, or faster, by a percent
    frames_at = _align(start + len(blob), 8)
    frames, unwound = _frames(stubs, frames_at, _frames_of(code, blob, start))
    index_at = _align(frames_at + len(frames), 8)
    index = _index(library, unwound, index_at)
    shared = base + _align(index_at + len(index) - base, PAGE)
    switch = shared + SHARED_SIZE
    text = bytearray(shared - base)
    for stub in stubs:
        _put(text, stub.address - base, stub.assemble(start + entry, shared, switch))
    _put(text, start - base, blob)
    _put(text, frames_at - base, frames)
    _put(text, index_at - base, index)
    offset = _align(len(library.data), PAGE)
    added = [
        _segment(PF_R | PF_X, offset, base, len(text)),
        _segment(PF_R, offset + len(text), shared, SHARED_SIZE),
        _segment(PF_R | PF_W, offset + len(text) + SHARED_SIZE, switch, PAGE),
    ]
    moved = [_moved(s, base, offset, headers, index_at, len(index)) for s in library.segments]
    _put(text, 0, b"".join(SEGMENT.pack(*segment) for segment in (*moved, *added)))
    changes = {
        stub.site.address - library.code.address + library.code.offset: stub.jump()
        for stub in stubs
    }
    changes[_E_PHOFF] = struct.pack("<Q", offset)
    changes[_E_PHNUM] = struct.pack("<H", len(moved) + len(added))
    patches = tuple(Patch(at, library.data[at : at + len(new)], new) for at, new in changes.items())
    at = offset + len(text)
    return Image(patches, offset, bytes(text), at, at + SHARED_SIZE)


def _align(number: int, to: int) -> int:
    return (number + to - 1) & -to


def _put(to: bytearray, at: int, data: bytes) -> None:
    to[at : at + len(data)] = data


def _segment(flags: int, offset: int, address: int, size: int) -> Segment:
    return Segment(PT_LOAD, flags, offset, address, address, size, size, PAGE)


def _moved(
    segment: Segment, base: int, offset: int, headers: int, index_at: int, index_size: int
) -> Segment:
    """The same segment, or the new place of what it describes."""
    if segment.type == PT_PHDR:
        return segment._replace(
            offset=offset, address=base, physical=base, file_size=headers, size=headers
        )
    if segment.type == PT_GNU_EH_FRAME:
        return segment._replace(
            offset=offset + index_at - base, address=index_at, physical=index_at,
            file_size=index_size, size=index_size,
        )  # fmt: skip
    return segment


# ---- stubs --------------------------------------------------------------------------------------

_PUSHES = (b"\x57", b"\x56", b"\x52", b"\x41\x52", b"\x41\x50", b"\x41\x51")
"""push rdi, rsi, rdx, r10, r8, r9: struct arguments of code.h."""
_POPS = (b"\x41\x59", b"\x41\x58", b"\x41\x5a", b"\x5a", b"\x5e", b"\x5f")
_RED_ZONE = 128
_JUMP = b"\xe9"
_SYSCALL = b"\x0f\x05"
_LEAVES = 1 + 8 + len(_JUMP) + 4 + 5
"""Bytes of _Code.leave(), with the number as its last instruction."""


class _Code:
    """Instructions, and how to unwind from each: as if where they go on had called them."""

    def __init__(self, address: int, after: int) -> None:
        self._address, self._after = address, after
        self.bytes = bytearray()
        self.rows: list[tuple[int, bytes]] = []
        """(offset, instructions of DWARF that hold from there on)."""
        self._depth = self._returns_at = self._left_from = 0
        self._is_entered = False

    def emit(self, instruction: bytes, pushed: int = 0) -> None:
        """One more instruction, and by how much it moves the stack."""
        if not self._is_entered:
            self.rows.append((len(self.bytes), self._computed()))
        self.bytes += instruction
        self._depth += pushed
        if pushed:
            self.rows.append((len(self.bytes), b"\x0e" + _uleb(self._depth)))

    def emit_to(self, prefix: bytes, target: int) -> None:
        """One that names an address by its distance."""
        here = self._address + len(self.bytes) + len(prefix) + 4
        self.emit(prefix + _relative(here, target))

    def enter(self) -> None:
        """Leave the red zone alone, and push the return address."""
        self.emit(b"\x48\x8d\x64\x24\x80", _RED_ZONE)  # lea rsp, [rsp - 128]
        self.emit_to(b"\x48\x8d\x0d", self._after)  # lea rcx, [after]
        self.emit(b"\x51", 8)  # push rcx
        self._returns_at = self._depth // 8
        self.rows.append((len(self.bytes), b"\x90" + _uleb(self._returns_at)))
        self._is_entered = True

    def leave(self, last: bytes, target: int) -> None:
        """Drop that, and the flags, and go on elsewhere after one more instruction."""
        self._left_from = self._depth
        self.emit(b"\x9d", -8)  # popfq
        self.emit(b"\x48\x8d\xa4\x24" + struct.pack("<i", self._depth), -self._depth)  # lea rsp
        self._is_entered = False
        if last:
            self.emit(last)
        self.emit_to(_JUMP, target)

    def come_back(self) -> None:
        """What follows is jumped to from before it left."""
        self._depth, self._is_entered = self._left_from, True
        rules = b"\x0e" + _uleb(self._depth) + b"\x90" + _uleb(self._returns_at)
        self.rows.append((len(self.bytes), rules))

    def _computed(self) -> bytes:
        """The return address, where it is not on the stack: so far from this very instruction.
        DW_CFA_val_expression, DW_OP_breg16."""
        expression = b"\x80" + _sleb(self._after - self._address - len(self.bytes))
        return b"\x16\x10" + _uleb(len(expression)) + expression


class _Stub:
    """What a site jumps to: asks code.c, and makes the call itself where that left it.

    Flags and all registers but rax, rcx and r11 stay, which a system call changes anyway; so does
    the red zone. What is pushed first is where the site goes on, as if it had called: unwinding
    finds its way by it.
    """

    def __init__(self, site: Site, single: int) -> None:
        self.site, self.single = site, single
        self.address = 0
        self.rows: list[tuple[int, bytes]] = []

    def jump(self) -> bytes:
        """What is put in the site's place: jmp, and nops."""
        jump = _JUMP + _relative(self.site.address + 5, self.address)
        return jump.ljust(self.site.size, b"\x90")

    def assemble(self, entry: int, shared: int, switch: int) -> bytes:
        """Its instructions, at `address`."""
        code = _Code(self.address, self.site.end)
        self.rows = code.rows
        if self.site.between:
            code.emit(self.site.between)
        if self.site.takes:
            self._let_others_pass(code)
        code.enter()
        code.emit(b"\x9c", 8)  # pushfq
        for push in _PUSHES:
            code.emit(push, 8)
        code.emit(b"\xfc")  # cld
        code.emit_to(b"\x48\x8d\x3d", shared)  # lea rdi, [shared]
        code.emit_to(b"\x48\x8d\x35", switch)  # lea rsi, [switch]
        code.emit(b"\xba" + struct.pack("<I", self.site.number))  # mov edx, NUMBER
        code.emit(b"\x48\x89\xe1")  # mov rcx, rsp
        code.emit_to(b"\x4c\x8d\x05", self.single)  # lea r8, [single]
        code.emit_to(b"\xe8", entry)  # call
        code.emit(b"\x83\xfa\x01")  # cmp edx, 1
        for pop in _POPS:
            code.emit(pop, -8)
        self._go_on(code)
        return bytes(code.bytes)

    def _go_on(self, code: _Code) -> None:
        """The call has been made; else it is made where the library makes it, which is the only
        place from which a debugger, by the library's file, finds the way back; here are made those
        that may have to be made again, while nobody looks (code.c), and where the jump takes that
        place."""
        number = b"\xb8" + struct.pack("<I", self.site.number)  # mov eax, NUMBER
        is_retried, leaves = self.site.number in _RETRIED, self.site.keeps_syscall
        here = number + _SYSCALL if is_retried or not leaves else b""
        if is_retried:
            here += b"\x48\x83\xf8\xfc"  # cmp rax, -EINTR
            here += b"\x74" + struct.pack("<b", -len(here) - 2)  # je: once more
        below = b"\x72" + struct.pack("<b", _LEAVES) if here and leaves else b""  # jb: here
        rest = len(below) + (_LEAVES if leaves else 0) + len(here)
        code.emit(b"\x74" + struct.pack("<b", rest) + below)  # je: it has been made
        if leaves:
            code.leave(number, self.site.end - len(_SYSCALL))
            code.come_back()
        code.emit(here)
        code.leave(b"", self.site.end)

    def _let_others_pass(self, code: _Code) -> None:
        """Most calls here are read(2) and its kin: they are made where they always were, so that
        those which wait are seen there; only where the jump takes that place they are made here."""
        code.emit(self.site.takes)
        code.emit(b"\x3d" + struct.pack("<I", self.site.number))  # cmp eax, NUMBER
        made = b"" if self.site.keeps_syscall else _SYSCALL
        code.emit(b"\x74" + struct.pack("<b", len(made) + 5))  # je: over the next two
        if made:
            code.emit(made)
        code.emit_to(_JUMP, self.site.end - len(_SYSCALL) + len(made))

    def frame(self) -> bytes:
        """The instructions of its FDE."""
        said = bytearray()
        before = 0
        for at, rules in self.rows:
            said += bytes([0x40 | at - before]) + rules  # DW_CFA_advance_loc
            before = at
        return bytes(said)


def _relative(here: int, target: int) -> bytes:
    return struct.pack("<i", target - here)


def _uleb(value: int) -> bytes:
    out = bytearray()
    while True:
        low, value = value & 0x7F, value >> 7
        out.append(low | (0x80 if value else 0))
        if not value:
            return bytes(out)


def _sleb(value: int) -> bytes:
    out = bytearray()
    while True:
        low, value = value & 0x7F, value >> 7
        is_last = value == (-1 if low & 0x40 else 0)
        out.append(low | (0 if is_last else 0x80))
        if is_last:
            return bytes(out)


# ---- unwinding ----------------------------------------------------------------------------------

_CIE = b"\x01zR\0" + _uleb(1) + b"\x78" + b"\x10" + _uleb(1) + b"\x1b" + b"\x0c\x07\x00"
"""Version 1; alignments 1 and -8; rip returns; pointers relative to themselves, of four bytes. At
first the frame begins at rsp."""


class _Frame(NamedTuple):
    """A function with its FDE, and the CIE that it is one of."""

    start: int
    size: int
    rules: bytes
    cie: bytes


def _frames_of(code: Elf, blob: bytes, start: int) -> list[_Frame]:
    """The frames of the functions in the blob, when that begins at `start`."""
    place = code.data.index(blob) - code.code.offset + code.code.address
    found = []
    for function, fde in code.unwound():
        if not place <= function < place + len(blob):
            continue
        at = code.offset(fde)
        length, back, _, size = struct.unpack_from("<IIiI", code.data, at)
        cie = at + 4 - back
        (cie_length,) = struct.unpack_from("<I", code.data, cie)
        found.append(
            _Frame(
                start + function - place, size, code.data[at + 16 : at + 4 + length],
                code.data[cie + 8 : cie + 4 + cie_length],
            )
        )  # fmt: skip
    return found


def _frames(
    stubs: Sequence[_Stub], at: int, others: Sequence[_Frame]
) -> tuple[bytes, list[tuple[int, int]]]:
    """(.eh_frame at an address, (function, FDE) of each)."""
    frames = [
        _Frame(stub.address, len(stub.assemble(0, 0, 0)), b"\0" + stub.frame(), _CIE)
        for stub in stubs
    ]
    out = bytearray()
    known: dict[bytes, int] = {}
    places = []
    for frame in (*frames, *others):
        if frame.cie not in known:
            known[frame.cie] = len(out)
            out += _record(b"\0\0\0\0" + frame.cie)
        back = len(out) + 4 - known[frame.cie]
        here = at + len(out)
        places.append((frame.start, here))
        out += _record(struct.pack("<IiI", back, frame.start - here - 8, frame.size) + frame.rules)
    return bytes(out) + b"\0\0\0\0", sorted(places)


def _record(body: bytes) -> bytes:
    body += bytes(-(len(body) + 4) % 8)  # DW_CFA_nop
    return struct.pack("<I", len(body)) + body


def _index(library: Elf, added: Sequence[tuple[int, int]], at: int) -> bytes:
    """.eh_frame_hdr at an address: the library's, and what has been added."""
    segment = library.unwinding
    (frames,) = struct.unpack_from("<i", library.data, segment.offset + 4)
    table = library.unwound()
    assert not added or bisect_left(table, added[0]) == len(table)
    entries = b"".join(struct.pack("<ii", a - at, b - at) for a, b in (*table, *added))
    head = struct.pack("<i", segment.address + 4 + frames - (at + 4))
    return b"\x01\x1b\x03\x3b" + head + struct.pack("<I", len(table) + len(added)) + entries
