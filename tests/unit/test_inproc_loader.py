"""Where a loader keeps the empty string that it gives to newfstatat(2)."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import capstone
import pytest

from viewos.abi.syscalls import TABLE
from viewos.monitor.inproc.elf import PF_W, Elf
from viewos.monitor.inproc.loader import LOADER, Distances, distances

pytestmark = pytest.mark.timeout(60)

SITE = b"\xb8" + struct.pack("<I", TABLE["newfstatat"].number) + b"\x0f\x05"


LOADED = Elf(Path(LOADER.decode()).read_bytes())
TEXT = LOADED.data[LOADED.code.offset :][: LOADED.code.file_size]
CACHE = b"/etc/ld.so.cache\0"


def offset(address: int) -> int:
    """In the file, of what cannot be written to."""
    (found,) = [s for s in LOADED.loaded if s.address <= address < s.address + s.file_size]
    assert not found.flags & PF_W
    return found.offset + address - found.address


def ends(code: bytes) -> list[int]:
    """Where instructions end."""
    return [LOADED.code.address + match.end() for match in re.finditer(code, TEXT)]


def fstat_end() -> int:
    (end,) = ends(re.escape(SITE))
    return end


def test_fstat() -> None:
    """What is found is a system call, and a string that is empty, in this very file."""
    found = distances(LOADER).fstat
    assert found
    for distance in found:
        assert LOADED.data[offset((fstat_end() - distance) % (1 << 32))] == 0


def test_the_string_is_one_that_a_function_gives() -> None:
    machine = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    wanted = {(fstat_end() - distance) % (1 << 32) for distance in distances(LOADER).fstat}
    seen = set()
    for at in range(0, len(TEXT), 16):  # functions begin so
        for address, size, name, operands in machine.disasm_lite(TEXT[at : at + 64], at):
            if name == "lea" and operands.startswith("rsi, [rip + 0x"):
                distance = int(operands.removeprefix("rsi, [rip + ").rstrip("]"), 16)
                seen.add(LOADED.code.address + address + size + distance)
    assert wanted <= seen


def test_the_cache() -> None:
    found = distances(LOADER).cache
    places = {LOADED.data.index(CACHE)}
    sites = ends(rb"(?s)\xb8\x01\x01\x00\x00.{0,8}?\x0f\x05")
    assert found
    for distance in found:
        assert any(
            0 <= (end - distance) % (1 << 32) < len(LOADED.data)
            and offset((end - distance) % (1 << 32)) in places
            for end in sites
        )


def test_the_preloaded() -> None:
    """access("/etc/ld.so.preload", R_OK)."""
    found = distances(LOADER).preload
    place = LOADED.data.index(b"/etc/ld.so.preload\0")
    sites = ends(rb"\xb8\x15\x00\x00\x00\x0f\x05")
    assert found
    assert all(any((end - distance) % (1 << 32) == place for end in sites) for distance in found)


def other(tmp_path: Path, data: bytes | bytearray) -> Distances:
    """Those of another loader."""
    (tmp_path / "ld.so").write_bytes(data)
    return distances(bytes(tmp_path / "ld.so"))


def test_a_loader_that_makes_it_otherwise(tmp_path: Path) -> None:
    flags = b"\xb9" + struct.pack("<I", 0x1000)
    for old, new in ((SITE, SITE[:1] + b"\5" + SITE[2:]), (flags, b"\xb9\0\x11\0\0")):
        assert old in LOADED.data
        found = other(tmp_path, LOADED.data.replace(old, new))
        assert not found.fstat
        assert found.cache == distances(LOADER).cache


def test_strings_that_are_others(tmp_path: Path) -> None:
    data = bytearray(LOADED.data.replace(b"/etc/ld.so.", b"/opt/ld.so."))
    for distance in distances(LOADER).fstat:
        data[offset((fstat_end() - distance) % (1 << 32))] = ord("x")
    assert other(tmp_path, data) == Distances()


@pytest.mark.parametrize("data", [b"", b"#!/bin/sh\n", b"\x7fELF\2\1" + bytes(200)])
def test_what_is_no_loader(tmp_path: Path, data: bytes) -> None:
    assert other(tmp_path, data) == Distances()
    assert distances(bytes(tmp_path / "none")) == Distances()
    assert distances(bytes(tmp_path)) == Distances()
