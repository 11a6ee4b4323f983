"""What the kernel is to run instead of a call, as plain data, and how it lies in memory."""

from __future__ import annotations

import enum
import struct
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from viewos.tuples import NamedTuple

if TYPE_CHECKING:
    from viewos.monitor.traced import ExecStop


_NOTHING: Mapping[int, Block | bytes] = MappingProxyType({})


class Block(NamedTuple):
    """Memory with pointers in it, such as execve's argv or a struct msghdr."""

    data: bytes
    pointers: Mapping[int, Block | bytes] = _NOTHING
    """Offset of a pointer in `data` -> what it points at."""

    def size(self) -> int:
        """Bytes that it takes with all that its pointers point at."""
        return _rounded(len(self.data)) + sum(_size(part) for part in self.pointers.values())

    def place(self, base: int) -> bytes:
        """Its bytes when it stands at the address `base`, which is a multiple of 8."""
        data, behind = bytearray(self.data), bytearray()
        at = base + _rounded(len(data))
        for offset, part in self.pointers.items():
            struct.pack_into("=Q", data, offset, at + len(behind))
            behind += part.place(at + len(behind)) if isinstance(part, Block) else part
            behind += bytes(-len(behind) % 8)
        return bytes(data).ljust(_rounded(len(data)), b"\0") + bytes(behind)


def vector(entries: Sequence[bytes | int]) -> Block:
    """An array of pointers with a null pointer at its end: strings, or pointers of the tracee's."""
    numbers = [entry if isinstance(entry, int) else 0 for entry in entries]
    strings = {8 * i: e + b"\0" for i, e in enumerate(entries) if isinstance(e, bytes)}
    return Block(struct.pack(f"={len(numbers) + 1}Q", *numbers, 0), strings)


def _rounded(size: int) -> int:
    return size + 7 & ~7


def _size(part: Block | bytes) -> int:
    return part.size() if isinstance(part, Block) else _rounded(len(part))


Argument = int | bytes | Block
"""Bytes and blocks are placed in scratch memory and passed by address (a string with its NUL)."""


class Rewrite(NamedTuple):
    """What the kernel is to run instead: plain data."""

    number: int
    args: list[Argument]
    cookie_arg: int = 5
    cookie_shift: int = 0
    may_block: bool = False
    at_exec: Callable[[ExecStop], None] | None = None
    """Called when an execve has succeeded, before the new program's first instruction."""
    after: Callable[[int, Sequence[int]], None] | None = None
    """Called with the result of the call (negative: minus the errno) and the arguments that it was
    made with, the tracee still stopped: what was placed in scratch memory is there."""
    close: tuple[int, ...] = ()
    """Descriptors that were put there for the call: closed behind it."""
    within: tuple[int, int] | None = None
    """Of the directory in which it is made, and of the one to which the process goes back."""
    before: tuple[Rewrite, ...] = ()
    """Calls that are made first. The result of one that fails is that of all."""
    then: Rewrite | None = None
    """What is made behind it where it has given 0; its own result means nothing."""
    again: bool = False
    """Drop the result, and let the tracee make its own call again."""


class Ending(enum.Enum):
    """How a fix-up ended."""

    DONE = "done"
    EXEC = "exec"
    AGAIN = "again"
    """Something came between: the call will be notified again."""
    GONE = "gone"


class Result(NamedTuple):
    """How it ended, and what the call returned (negative: minus the errno)."""

    ending: Ending
    value: int = 0


class Scratch:
    """Lays out the byte arguments of a rewrite at an address."""

    def __init__(self, args: Sequence[Argument]) -> None:
        self.args = args
        self.size = sum(_size(a) for a in args if not isinstance(a, int))

    def place(self, base: int) -> tuple[list[int], bytes]:
        """(register values, the bytes to write at `base`, a multiple of 8)."""
        values: list[int] = []
        blob = bytearray()
        for argument in self.args:
            if isinstance(argument, int):
                values.append(argument)
                continue
            values.append(base + len(blob))
            blob += argument.place(values[-1]) if isinstance(argument, Block) else argument
            blob += bytes(-len(blob) % 8)
        return values, bytes(blob)
