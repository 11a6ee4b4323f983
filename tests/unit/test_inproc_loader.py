"""Where a loader keeps the empty string that it gives to newfstatat(2)."""

from __future__ import annotations

import struct
from pathlib import Path

import capstone
import pytest

from viewos.abi.syscalls import TABLE
from viewos.monitor.inproc.elf import Elf
from viewos.monitor.inproc.loader import LOADER, distances

pytestmark = pytest.mark.timeout(60)

SITE = b"\xb8" + struct.pack("<I", TABLE["newfstatat"].number) + b"\x0f\x05"


def test_the_loader_of_this_machine() -> None:
    """What is found is a system call, and a string that is empty, in this very file."""
    loader = Elf(Path(LOADER.decode()).read_bytes())
    text = loader.data[loader.code.offset :][: loader.code.file_size]
    end = loader.code.address + text.index(SITE) + len(SITE)
    found = distances(LOADER)
    assert found
    for distance in found:
        place = (end - distance) % (1 << 32)
        (segment,) = [s for s in loader.loaded if s.address <= place < s.address + s.file_size]
        assert not segment.flags & 2
        assert loader.data[segment.offset + place - segment.address] == 0


def test_the_string_is_the_one_that_fstat_has() -> None:
    loader = Elf(Path(LOADER.decode()).read_bytes())
    text = loader.data[loader.code.offset :][: loader.code.file_size]
    machine = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    end = loader.code.address + text.index(SITE) + len(SITE)
    wanted = {(end - distance) % (1 << 32) for distance in distances(LOADER)}
    seen = set()
    for at in range(0, len(text), 16):  # functions begin so
        for address, size, name, operands in machine.disasm_lite(text[at : at + 64], at):
            if name == "lea" and operands.startswith("rsi, [rip + 0x"):
                offset = int(operands.removeprefix("rsi, [rip + ").rstrip("]"), 16)
                seen.add(loader.code.address + address + size + offset)
    assert wanted <= seen


def patched(tmp_path: Path, old: bytes, new: bytes) -> bytes:
    """Another loader."""
    data = Path(LOADER.decode()).read_bytes()
    assert old in data
    (tmp_path / "ld.so").write_bytes(data.replace(old, new))
    return bytes(tmp_path / "ld.so")


def test_a_loader_that_makes_it_otherwise(tmp_path: Path) -> None:
    assert not distances(patched(tmp_path, SITE, SITE[:1] + b"\5" + SITE[2:]))
    flags = b"\xb9" + struct.pack("<I", 0x1000)
    assert not distances(patched(tmp_path, flags, b"\xb9" + struct.pack("<I", 0x1100)))


def test_a_string_that_is_not_empty(tmp_path: Path) -> None:
    loader = Elf(Path(LOADER.decode()).read_bytes())
    text = loader.data[loader.code.offset :][: loader.code.file_size]
    end = loader.code.address + text.index(SITE) + len(SITE)
    data = bytearray(loader.data)
    for distance in distances(LOADER):
        place = (end - distance) % (1 << 32)
        (segment,) = [s for s in loader.loaded if s.address <= place < s.address + s.file_size]
        data[segment.offset + place - segment.address] = ord("x")
    (tmp_path / "ld.so").write_bytes(data)
    assert not distances(bytes(tmp_path / "ld.so"))


@pytest.mark.parametrize("data", [b"", b"#!/bin/sh\n", b"\x7fELF\2\1" + bytes(200)])
def test_what_is_no_loader(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "ld.so").write_bytes(data)
    assert not distances(bytes(tmp_path / "ld.so"))
    assert not distances(bytes(tmp_path / "none"))
    assert not distances(bytes(tmp_path))
