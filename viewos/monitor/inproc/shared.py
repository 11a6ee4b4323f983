"""What the monitor says to the code in programs: struct shared of code.h."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterable

from viewos.claims import ClaimMap
from viewos.monitor.accelerator import tables
from viewos.monitor.trapped import MAKE_NAMES

OPENS, LOOKS, TESTS, READS, SHOWN, OWNS, OWNS_OPEN, FREE, ACLS, EXECUTES, NAMES, PAIRS, MAKES = (
    1 << n for n in range(13)
)
ASKS, ASKS_OPEN, IDS, KNOWN, ENTERS = 1 << 13, 1 << 14, 1 << 15, 1 << 16, 1 << 17
"""Kinds of calls; SHOWN: the owners which LOOKS gives are shown as others; FREE: OPENS may be made
as they are; EXECUTES: where nothing is to be executed; NAMES, MAKES and PAIRS: those that remove a
name, or change its times, that make one, that have two; ASKS, ASKS_OPEN: for extended attributes;
IDS: who the process is, where no module says it; KNOWN: files of which something is remembered lose
no name without the monitor; ENTERS: into the directory that the monitor says (code.h)."""
_SAID = 128 * 1024
"""Behind it stands struct shown of tables.h."""
SIZE = _SAID + 132 * 1024
KINDS = {
    **dict.fromkeys(("open", "openat"), OPENS),
    **dict.fromkeys(("stat", "lstat", "newfstatat", "statx"), LOOKS),
    **dict.fromkeys(("access", "faccessat", "faccessat2"), TESTS),
    **dict.fromkeys(("readlink", "readlinkat"), READS),
    **dict.fromkeys(("chown", "lchown", "fchownat", "chmod", "fchmodat"), OWNS),
    **dict.fromkeys(("fchown", "fchmod"), OWNS_OPEN),
    "fsetxattr": ACLS,
    "execve": EXECUTES,
    "chdir": ENTERS,
    **dict.fromkeys(("getxattr", "lgetxattr", "listxattr", "llistxattr"), ASKS),
    **dict.fromkeys(("fgetxattr", "flistxattr"), ASKS_OPEN),
    **dict.fromkeys(("getuid", "geteuid", "getgid", "getegid"), IDS),
    **dict.fromkeys(("unlink", "unlinkat", "rmdir", "utimensat"), NAMES),
    **dict.fromkeys(MAKE_NAMES, MAKES),
    **dict.fromkeys(("rename", "renameat", "renameat2", "link", "linkat"), PAIRS),
}
_HEAD = struct.Struct("=QII")
_FIRST = 64
_CLAIMS = struct.Struct("=4I")


def kinds(calls: Iterable[str]) -> int:
    """The kinds of which all calls may be made in a program."""
    left = {*KINDS} - {*calls}
    return sum({*KINDS.values()} - {KINDS[name] for name in left})


def pack(claims: ClaimMap) -> bytes | None:
    """struct claims of code.h, and its tables; None: Python has to judge."""
    by_prefix = tables.of_claims(claims)
    if by_prefix is None:
        return None
    names: dict[bytes, int] = {}
    for claim in claims:
        *above, last = claim.prefix.split(b"/")
        names = {**dict.fromkeys(above, tables.ABOVE), **names, last: 0}
    for backing in claims.apart.roots:
        last = backing.rpartition(b"/")[2]
        if names.get(last) != 0:
            names[last] = names.get(last, 0) | tables.BACKING
    names.pop(b"", None)
    by_name = tables.pack([tables.Entry(b"/" + name, b"", names[name]) for name in sorted(names)])
    padded = by_prefix + bytes(-len(by_prefix) % 8)
    head = _CLAIMS.pack(
        any(claim.read_only for claim in claims),
        any(claim.module is not None for claim in claims),
        _CLAIMS.size,
        _CLAIMS.size + len(padded),
    )
    return head + padded + by_name


class Shared:
    """What a view says, in memory that all its programs have mapped."""

    def __init__(self, memory: mmap.mmap, cookie: int) -> None:
        self._memory = memory
        self.shown = memoryview(memory)[_SAID:]
        """How owners are shown, for the accelerator to keep."""
        self._words = memoryview(memory).cast("I")
        self._not_cookie = ~cookie & (1 << 64) - 1
        self._next = _FIRST
        self.say(None, 0)

    def say(self, claims: ClaimMap | None, calls: int) -> None:
        """Let programs make calls of these kinds, by these claims. A program that is reading what
        was said before still finds it: the room is used in turn."""
        packed = None if claims is None else pack(claims)
        if packed is None or len(packed) > (_SAID - _FIRST) // 2:
            self._words[2] = 0
            return
        is_full = self._next + len(packed) > _SAID
        place = _FIRST if is_full else self._next
        self._memory[place : place + len(packed)] = packed
        self._words[0], self._words[1] = self._not_cookie & 0xFFFFFFFF, self._not_cookie >> 32
        # One word is stored at once: a program sees the old claims, or the new ones.
        self._words[3] = place
        self._words[2] = calls
        self._next = place + (len(packed) + 63 & -64)
