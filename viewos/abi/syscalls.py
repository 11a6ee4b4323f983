"""The one table of system calls: from it come decoding, printing, path positions, dispatch, filter.

`TABLE` holds every system call of this machine by name, `BY_NUMBER` by number. What a row says is
explained in `viewos.abi.row`; the rows stand in `calls_*.py`, the numbers in `numbers_*.py`.
"""

from __future__ import annotations

from viewos.abi import calls_files, calls_paths, calls_processes, calls_sockets
from viewos.abi.numbers import NUMBERS
from viewos.abi.row import (
    HOW,
    NO_COOKIE,
    POINTERS,
    SIGNED_32,
    SIGNED_64,
    STRINGS,
    UNSIGNED_32,
    UNSIGNED_64,
    Arg,
    Cookie,
    Empty,
    Flag,
    How,
    Inside,
    Intent,
    Kind,
    OutPath,
    PathArg,
    Row,
    SockaddrArg,
    When,
    applies,
    decode,
    follows,
    may_be_empty,
    signed32,
    signed64,
)

__all__ = [
    "BY_NUMBER", "HOW", "LAST_NUMBER", "NO_COOKIE", "NUMBERS", "OPERATIONS", "PATH_SYSCALLS",
    "POINTERS",
    "SIGNED_32", "SIGNED_64", "STRINGS", "TABLE", "UNSIGNED_32", "UNSIGNED_64", "Arg", "Cookie",
    "Empty",
    "Flag", "How", "Inside", "Intent", "Kind", "OutPath", "PathArg", "Row", "SockaddrArg", "When",
    "applies",
    "decode", "follows", "may_be_empty", "signed32", "signed64",
]  # fmt: skip

_ROWS = calls_paths.ROWS + calls_sockets.ROWS + calls_files.ROWS + calls_processes.ROWS

TABLE: dict[str, Row] = {row.name: row for row in _ROWS if row.number >= 0}
"""Every system call of this machine, by name."""

BY_NUMBER: dict[int, Row] = {row.number: row for row in TABLE.values()}

LAST_NUMBER: int = max(BY_NUMBER)
"""A call with a higher number is one that we do not know."""


def _operations() -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for row in TABLE.values():
        found[row.operation] = (*found.get(row.operation, ()), row.name)
    return found


OPERATIONS: dict[str, tuple[str, ...]] = _operations()
"""What programs ask for, whatever the variant: "open" is open, openat, openat2 and creat.

Calls on a descriptor (fstat, fchmod, fgetxattr, ftruncate) are operations of their own, and so is
every call that has no variants. "stat" includes statx, whose answer has another layout; "unlink"
includes unlinkat, which with AT_REMOVEDIR is an rmdir.
"""

PATH_SYSCALLS: frozenset[str] = frozenset(row.name for row in TABLE.values() if row.paths)
"""Calls with an argument that names a file (socket addresses apart: see `Row.sockaddr`)."""
