"""How the arguments of a rewritten call lie in memory."""

from __future__ import annotations

import struct
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from viewos.monitor.rewrite import Argument, Block, Scratch, vector

BASES = st.integers(1, 1 << 44).map(lambda n: 8 * n)


def with_pointers(part: st.SearchStrategy[Block | bytes]) -> st.SearchStrategy[Block]:
    """A block that points at some of these, with bytes before and behind its pointers."""

    def block(head: bytes, parts: list[Block | bytes], tail: bytes) -> Block:
        start = len(head) + 7 & ~7
        data = head.ljust(start, b"-") + bytes(8 * len(parts)) + tail
        return Block(data, {start + 8 * i: part for i, part in enumerate(parts)})

    return st.builds(
        block, st.binary(max_size=9), st.lists(part, max_size=3), st.binary(max_size=9)
    )


blocks = st.recursive(
    st.binary(max_size=20), lambda part: part | with_pointers(part), max_leaves=12
)


def check(part: Block | bytes, memory: bytes, base: int, address: int) -> None:
    """What stands at `address` is the part, and so on at its pointers."""
    assert address % 8 == 0
    at = address - base
    if isinstance(part, bytes):
        assert memory[at : at + len(part)] == part
        return
    data = bytearray(memory[at : at + len(part.data)])
    for offset, behind in part.pointers.items():
        (pointer,) = struct.unpack_from("=Q", data, offset)
        assert base <= pointer <= base + len(memory)
        check(behind, memory, base, pointer)
        data[offset : offset + 8] = part.data[offset : offset + 8]
    assert data == part.data


@given(BASES, with_pointers(blocks))
def test_a_block_points_at_its_parts(base: int, block: Block) -> None:
    memory = block.place(base)
    assert len(memory) == block.size()
    check(block, memory, base, base)


@given(BASES, st.lists(st.integers(0, (1 << 64) - 1) | blocks, max_size=6))
def test_scratch(base: int, args: list[Argument]) -> None:
    scratch = Scratch(args)
    values, memory = scratch.place(base)
    assert len(memory) == scratch.size
    taken = []
    for argument, value in zip(args, values, strict=True):
        if isinstance(argument, int):
            assert value == argument
        else:
            check(argument, memory, base, value)
            size = argument.size() if isinstance(argument, Block) else len(argument)
            taken.append((value, value + size))
    assert taken == sorted(taken)
    assert all(end <= start for (_, end), (start, _) in pairwise(taken))


@given(BASES, st.lists(st.integers(1, (1 << 64) - 1) | st.binary(max_size=30), max_size=20))
def test_a_vector(base: int, entries: list[bytes | int]) -> None:
    """argv: pointers that the tracee has, and strings of ours, with a null pointer behind."""
    memory = vector(entries).place(base)
    pointers = struct.unpack_from(f"={len(entries) + 1}Q", memory)
    assert pointers[-1] == 0
    for entry, pointer in zip(entries, pointers, strict=False):
        if isinstance(entry, int):
            assert pointer == entry
        else:
            at = pointer - base
            assert memory[at : at + len(entry) + 1] == entry + b"\0"


def test_no_arguments_need_no_memory() -> None:
    assert Scratch([1, 2]).size == 0
    assert Scratch([]).place(0) == ([], b"")
    assert vector([]).place(64) == bytes(8)
