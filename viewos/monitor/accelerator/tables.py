"""Claims and mounts as the accelerator reads them: one block of bytes, layout in accelerator.h."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from itertools import pairwise
from operator import or_

from viewos.claims import Apart, Claim, ClaimMap
from viewos.monitor.mounts import NATIVE_TYPES
from viewos.tuples import NamedTuple

READ_ONLY, MODULE, SCRATCH, COVERED, APART, APART_BELOW = 1, 2, 4, 8, 16, 32
"""Flags of a claim; the last ones: its backing (and what lies below) is told apart by its names."""
NATIVE, PROC = 1, 2
"""Flags of a mount."""
ABOVE, BACKING = 1, 2
"""Flags of a name: no prefix ends in it, but one has it further up; or a backing does."""
_HEADER = struct.Struct("=4I")
_ENTRY = struct.Struct("=6I")


class Entry(NamedTuple):
    """A prefix, and what the accelerator has to know of it."""

    prefix: bytes
    backing: bytes
    flags: int
    layer: int = 0


def hash_of(path: bytes) -> int:
    """FNV-1a, as in tables.c."""
    value = 2166136261
    for byte in path:
        value = (value ^ byte) * 16777619 & 0xFFFFFFFF
    return value


def pack(entries: Sequence[Entry]) -> bytes:
    """The table of these entries. A backing of b"" is found by nobody."""
    slots = 4
    while slots < 3 * len(entries):
        slots *= 2
    texts = bytearray()
    rows: list[list[int]] = []
    for entry in entries:
        row = []
        for text in (entry.prefix, entry.backing):
            row += [len(texts), len(text)]
            texts += text + b"\0"
        rows.append([*row, entry.flags, 0])
    by_prefix = _hashed(slots, ((e.prefix, i) for i, e in enumerate(entries)))
    by_backing = _hashed(slots, _chain(entries, rows))
    size = _HEADER.size + _ENTRY.size * len(rows) + 8 * slots + len(texts)
    return b"".join(
        [
            _HEADER.pack(size, len(rows), slots, reduce(or_, (e.flags for e in entries), 0)),
            *(_ENTRY.pack(*row) for row in rows),
            struct.pack(f"={2 * slots}I", *by_prefix, *by_backing),
            bytes(texts),
        ]
    )


def _chain(entries: Sequence[Entry], rows: list[list[int]]) -> Iterable[tuple[bytes, int]]:
    """(backing, the first entry) for each backing; the others follow, the topmost layer first."""
    same: dict[bytes, list[int]] = {}
    for index, entry in enumerate(entries):
        if entry.backing:
            same.setdefault(entry.backing, []).append(index)
    for backing, indices in same.items():
        indices.sort(key=lambda i: entries[i].layer, reverse=True)
        for one, following in pairwise(indices):
            rows[one][-1] = following + 1
        yield backing, indices[0]


def _hashed(slots: int, keys: Iterable[tuple[bytes, int]]) -> list[int]:
    table = [0] * slots
    for key, index in keys:
        at = hash_of(key) % slots
        while table[at]:
            at = (at + 1) % slots
        table[at] = index + 1
    return table


def _flags(claim: Claim, apart: Apart) -> int:
    is_modules = claim.module is not None
    flags = READ_ONLY * claim.read_only | MODULE * is_modules | SCRATCH * claim.scratch
    if not is_modules:
        is_apart = claim.backing in apart.roots
        flags |= APART * is_apart | APART_BELOW * (is_apart and apart.are_trees)
    return flags


def _covered(claims: ClaimMap) -> set[bytes]:
    """The prefixes of claims over parts of which later layers have mounted something."""
    found = set[bytes]()
    for claim in claims:
        outer: Claim | None = claim
        while outer is not None and outer.prefix != b"/":
            outer = claims.find(outer.prefix[: outer.prefix.rfind(b"/")] or b"/")
            if outer is not None and outer.layer < claim.layer:
                found.add(outer.prefix)
    return found


def of_claims(claims: ClaimMap) -> bytes | None:
    """The table of a view's claims, in the order of the map; None where Python has to judge."""
    covered = _covered(claims)
    entries = [
        Entry(
            bytes(claim.prefix),
            bytes(claim.backing),
            _flags(claim, claims.apart) | COVERED * (claim.prefix in covered),
            claim.layer,
        )
        for claim in claims
    ]
    # ClaimMap.reverse takes an empty backing for one that holds every path.
    return pack(entries) if all(entry.backing for entry in entries) else None


def of_mounts(types: Mapping[bytes, bytes]) -> bytes:
    """The table of mounts, from mount point -> type."""
    return pack(
        [
            Entry(
                point,
                b"",
                (NATIVE if kind.decode() in NATIVE_TYPES else 0) | (PROC if kind == b"proc" else 0),
            )
            for point, kind in types.items()
        ]
    )
