"""/proc/PID/auxv of a program that was started through its loader: the kernel tells the loader's.

Debuggers find the program by it. The vector in the program's memory is right: its loader mends it,
and initial.py what no loader does, and the ids of the view.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from viewos.monitor.binfmt import elf_header, first_address
from viewos.monitor.task import ARG_START, START_STACK, stat_fields

if TYPE_CHECKING:
    from viewos.monitor.router import Router

_ENTRY = struct.Struct("=QQ")
_AT_PHDR, _AT_PHENT, _AT_PHNUM, _AT_BASE, _AT_ENTRY = 3, 4, 5, 7, 9
_TOLD = (11, 12, 13, 14, 23)
"""AT_UID, AT_EUID, AT_GID, AT_EGID, AT_SECURE."""
_MOST = 1 << 22
"""Bytes of argv, envp and the vector."""
_BEGINNING = rb"(?m)^([0-9a-f]+)-[0-9a-f]+ \S+ 0+ \S+ \d+ +%s$"
"""The line of maps for the mapping of a file's beginning."""


def of_program(router: Router, pid: int, text: bytes) -> bytes:
    """What the kernel would tell instead of `text` if it had executed the program itself. The same
    where it did, or where the loader has not mapped the program yet. Raises OSError."""
    text = _with_ids(router, pid, text)
    state = router.view.states.found_in(pid)
    loader = os.readlink(b"/proc/%d/exe" % pid)
    if state is None or state.executable is None or loader not in router.view.standins.loaders:
        return text
    with open(f"/proc/{pid}/maps", "rb") as maps:
        mapped = maps.read()
    with open(state.executable, "rb", buffering=0) as file:
        elf = elf_header(file)
    base, start = _mapped_at(mapped, loader), _mapped_at(mapped, state.executable)
    address = None if elf is None else first_address(elf)
    if elf is None or base is None or start is None or address is None:
        return text
    told = {
        _AT_PHDR: start + elf.table_at, _AT_PHENT: elf.entry_size, _AT_PHNUM: elf.entries,
        _AT_BASE: base, _AT_ENTRY: start - address + elf.entry,
    }  # fmt: skip
    return _changed(text, told)


def _changed(text: bytes, told: Mapping[int, int]) -> bytes:
    entries = _ENTRY.iter_unpack(text)
    return b"".join(_ENTRY.pack(key, told.get(key, value)) for key, value in entries)


def _with_ids(router: Router, pid: int, text: bytes) -> bytes:
    """With the ids that a module has told the program when it began."""
    if not any(hasattr(module, "executed") for module in router.view.modules):
        return text
    fields = stat_fields(pid)
    start, end = int(fields[START_STACK]), int(fields[ARG_START])
    if not 0 < end - start < _MOST:
        return text
    try:
        words = memoryview(router.memory.read_exact(pid, start, (end - start) & ~15)).cast("Q")
    except OSError:
        return text
    vector = words.tolist()[words[0] + 2 :]
    with suppress(ValueError):
        del vector[: vector.index(0) + 1]  # the environment
    found = dict(zip(vector[::2], vector[1::2], strict=False))
    return _changed(text, {key: found[key] for key in _TOLD if key in found})


def _mapped_at(maps: bytes, path: bytes) -> int | None:
    found = re.search(_BEGINNING % re.escape(path.replace(b"\n", b"\\012")), maps)
    return None if found is None else int(found[1], 16)
