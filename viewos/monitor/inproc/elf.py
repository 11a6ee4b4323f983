"""What is read of an ELF shared library."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator

from viewos.kept import kept
from viewos.tuples import NamedTuple

PT_LOAD, PT_DYNAMIC, PT_NOTE, PT_PHDR, PT_GNU_EH_FRAME = 1, 2, 4, 6, 0x6474E550
PF_X, PF_W, PF_R = 1, 2, 4
PAGE = 4096
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
SEGMENT = struct.Struct("<IIQQQQQQ")
_NT_GNU_BUILD_ID = 3
_ENTRY = struct.Struct("<ii")
_DT_STRTAB, _DT_SYMTAB = 5, 6
_DYNAMIC = struct.Struct("<QQ")
_SYMBOL = struct.Struct("<IBBHQQ")


def sites(text: bytes, numbers: Iterable[int]) -> Iterator[re.Match[bytes]]:
    """System calls of these numbers: `mov $NUMBER, %eax` (group 1), what stands between (group 2),
    `syscall`. A match is the opcode of the first."""
    wanted = b"|".join(re.escape(struct.pack("<I", number)) for number in numbers)
    pattern = rb"(?s)\xb8(?=(%s)((?:\x48\x89\xfe)?(?:\xbf.{4})?)\x0f\x05)" % wanted
    return re.finditer(pattern, text)


class NotUnderstood(Exception):
    """The library is not as expected: it is left alone."""


class Segment(NamedTuple):
    """A program header (elf(5))."""

    type: int
    flags: int
    offset: int
    address: int
    physical: int
    file_size: int
    size: int
    align: int


class Elf:
    """A 64-bit x86 library."""

    def __init__(self, data: bytes) -> None:
        """Raises NotUnderstood."""
        try:
            self._read(data)
        except (struct.error, IndexError) as error:
            raise NotUnderstood(f"headers: {error}") from error

    def _read(self, data: bytes) -> None:
        self.data = data
        head = _HEADER.unpack_from(data)
        if head[0][:6] != b"\x7fELF\x02\x01" or head[1:3] != (3, 62) or head[9] != SEGMENT.size:
            raise NotUnderstood("no shared library of x86-64")
        at, count = head[5], head[10]
        self.segments = [
            Segment(*SEGMENT.unpack_from(data, at + index * SEGMENT.size)) for index in range(count)
        ]
        code = [s for s in self.loaded if s.flags & PF_X]
        if not code or any(s.align % PAGE for s in self.loaded):
            raise NotUnderstood("no code in pages of 4 KiB")
        self.code = code[0]

    @property
    def loaded(self) -> list[Segment]:
        """The segments that are mapped."""
        return [segment for segment in self.segments if segment.type == PT_LOAD]

    @property
    def text(self) -> bytes:
        """What `code` holds."""
        return self.data[self.code.offset : self.code.offset + self.code.file_size]

    @property
    def end(self) -> int:
        """The first address after all of them, at the start of a page."""
        last = max(segment.address + segment.size for segment in self.loaded)
        return (last + PAGE - 1) & -PAGE

    @kept
    def build_id(self) -> str:
        """The library's build id, in hexadecimal. Raises NotUnderstood: it has none."""
        for segment in self.segments:
            at, end = segment.offset, segment.offset + segment.file_size
            while segment.type == PT_NOTE and at + 12 <= end:
                name, size, kind = struct.unpack_from("<III", self.data, at)
                text = at + 12 + (name + 3 & -4)
                if kind == _NT_GNU_BUILD_ID and self.data[at + 12 : at + 16] == b"GNU\0":
                    return self.data[text : text + size].hex()
                at = text + (size + 3 & -4)
        raise NotUnderstood("no build id")

    def offset(self, address: int) -> int:
        """Where it stands in the file. Raises NotUnderstood."""
        for segment in self.loaded:
            if segment.address <= address < segment.address + segment.file_size:
                return address - segment.address + segment.offset
        raise NotUnderstood(f"nothing is at {address:#x}")

    def symbol(self, name: bytes) -> int | None:
        """The address that the library exports under that name."""
        tables = self._dynamic()
        if not {_DT_SYMTAB, _DT_STRTAB} <= tables.keys():
            return None
        # How many symbols there are is said nowhere; linkers put the names behind them.
        at, names = self.offset(tables[_DT_SYMTAB]), self.offset(tables[_DT_STRTAB])
        symbols = self.data[at : max(at, names - (names - at) % _SYMBOL.size)]
        for named, _, _, section, address, _ in _SYMBOL.iter_unpack(symbols):
            start = names + named
            if section and self.data[start : start + len(name) + 1] == name + b"\0":
                return int(address)
        return None

    def _dynamic(self) -> dict[int, int]:
        for segment in self.segments:
            if segment.type == PT_DYNAMIC:
                part = self.data[segment.offset : segment.offset + segment.file_size]
                return dict(_DYNAMIC.iter_unpack(part[: len(part) & -_DYNAMIC.size]))
        return {}

    @property
    def unwinding(self) -> Segment:
        """The segment of .eh_frame_hdr. Raises NotUnderstood."""
        for segment in self.segments:
            if segment.type == PT_GNU_EH_FRAME:
                if self.data[segment.offset : segment.offset + 4] != b"\x01\x1b\x03\x3b":
                    raise NotUnderstood(".eh_frame_hdr is of another encoding")
                return segment
        raise NotUnderstood("no .eh_frame_hdr")

    def unwound(self) -> list[tuple[int, int]]:
        """(start of a function, its FDE), in order: the table of .eh_frame_hdr."""
        segment = self.unwinding
        (count,) = struct.unpack_from("<I", self.data, segment.offset + 8)
        table = self.data[segment.offset + 12 : segment.offset + 12 + count * _ENTRY.size]
        return [
            (segment.address + start, segment.address + fde)
            for start, fde in _ENTRY.iter_unpack(table)
        ]

    def functions(self) -> list[int]:
        """Where functions begin, in order."""
        return [start for start, _ in self.unwound()]
