"""The lines of mountinfo, mounts and mountstats as they read in the view.

A claim is a mount as far as programs can tell (df, findmnt, mountpoint): it has a line of its own,
made from that of the mount that holds its backing. A mount point that the view does not show has
none, as the kernel leaves out what cannot be reached from the root.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from viewos.claims import below, join, lies_in
from viewos.monitor.overlay import in_value
from viewos.tuples import NamedTuple

if TYPE_CHECKING:
    from viewos.claims import Claim, ClaimMap

_NONE: Mapping[bytes, bytes] = MappingProxyType({})
_ESCAPE = rb"\\([0-7]{3})"
_SPECIAL, _IN_OPTIONS = rb"[\\ \t\n]", rb"[\\\s,=]"


class Format(NamedTuple):
    """Which word of a line is what (proc_pid_mountinfo(5), proc_pid_mounts(5))."""

    point: int
    options: int | None = None
    root: int | None = None
    ids: tuple[int, int] | None = None
    """The mount's id, and its parent's."""
    kind: int | None = None
    """The file system's type; its own options are in `details`."""
    details: int = 0


MOUNTINFO = Format(4, 5, 3, (0, 1), -3, -1)
MOUNTS = Format(1, 3, kind=2, details=3)
MOUNTSTATS = Format(4)


def unescape(name: bytes) -> bytes:
    """A name as these files write it, read."""
    return re.sub(_ESCAPE, lambda m: bytes([int(m[1], 8) & 0xFF]), name)


def escape(name: bytes, special: bytes = _SPECIAL) -> bytes:
    """A name as these files write it."""
    return re.sub(special, lambda m: b"\\%03o" % m[0][0], name)


def translate(
    form: Format,
    claims: ClaimMap,
    text: bytes,
    mounted: Mapping[bytes, bytes] = _NONE,
    root: bytes = b"/",
) -> bytes:
    """The text of such a file, with the names and the mounts of the view. `mounted`: real mount
    point -> the only one of its names that has a line. `root`: the root directory of the process,
    by whose names its mounts are told, and no others."""
    lines = [line.split(b" ") for line in re.findall(rb"[^\n]*\n", text)]
    for words in lines:
        if form.kind is not None and len(words) > 3 and words[form.kind] == b"overlay":
            end = b"\n" * words[form.details].endswith(b"\n")
            words[form.details] = _directories(words[form.details].rstrip(), claims) + end
    mounts = {unescape(words[form.point]): words for words in lines if len(words) > form.point}
    shown: list[_Shown] = []
    for words in lines:
        shown += _of_mount(form, claims, words, mounted)
    for claim in claims:
        holder = _holder(mounts, claim)
        if holder is not None:
            shown.append(_of_claim(form, claim, *holder))
    if form.ids is not None:
        _number(form.ids, shown)
    shown.sort(key=_order)
    if root != b"/":
        shown = [line for line in shown if lies_in(line.point, root)]
        for line in shown:
            line.words[form.point] = escape(below(line.point, root) or b"/")
    return b"".join(b" ".join(line.words) for line in shown)


def _order(line: _Shown) -> tuple[int, int]:
    """The kernel's lines in their order, then those of claims as they were made."""
    if not line.is_new:
        return 0, 0
    return -1 if line.point == b"/" else 1, line.layer


def _directories(details: bytes, claims: ClaimMap) -> bytes:
    """An overlay's options, in which the kernel tells the paths that it was given."""
    told: list[bytes] = []
    for option in details.split(b","):
        key, is_, value = option.partition(b"=")
        text = unescape(value)
        shown = in_value(key, text, lambda path, _: claims.reverse(path) or path)
        told.append(option if shown == text else key + is_ + escape(shown, _IN_OPTIONS))
    return b",".join(told)


class _Shown(NamedTuple):
    """A line of the answer."""

    point: bytes
    words: list[bytes]
    is_new: bool
    """It is in addition to the kernel's line of the same mount, or of a claim."""
    moved: bool
    """Its mount point is another one than the kernel's."""
    layer: int
    """Of its claim; those that were made later have a higher one."""


def _of_mount(
    form: Format, claims: ClaimMap, words: list[bytes], mounted: Mapping[bytes, bytes]
) -> Iterator[_Shown]:
    """One line for each name by which the view shows a mount's root."""
    if len(words) <= form.point:
        return
    real = unescape(words[form.point])
    names = claims.names(real)
    if mounted.get(real) in names:
        names = [mounted[real]]
    if real in names:  # it keeps what refers to it
        names.sort(key=lambda name: name != real)
    for number, name in enumerate(names):
        claim = claims.find(name)
        read_only = claim is not None and claim.read_only
        layer = -1 if claim is None else claim.layer
        line = _named(form, words, name, read_only)
        yield _Shown(name, line, number > 0, name != real, layer)


def _holder(mounts: dict[bytes, list[bytes]], claim: Claim) -> tuple[bytes, list[bytes]] | None:
    """(mount point, line) of the mount below whose root the backing of a claim lies."""
    if claim.layer < 0 or claim.operations is not None or claim.backing[:1] != b"/":
        return None
    if claim.backing in mounts:
        return None  # it has its line already
    point: bytes = claim.backing
    while point not in mounts:
        if point == b"/":
            return None
        point = os.path.dirname(point)
    return point, mounts[point]


def _of_claim(form: Format, claim: Claim, point: bytes, words: list[bytes]) -> _Shown:
    words = _named(form, words, claim.prefix, claim.read_only)
    if form.root is not None:
        root = join(unescape(words[form.root]), below(claim.backing, point))
        gone = b"" if os.path.lexists(claim.backing) else b"//deleted"
        words[form.root] = escape(root) + gone
    return _Shown(claim.prefix, words, True, True, claim.layer)


def _named(form: Format, words: list[bytes], name: bytes, read_only: bool) -> list[bytes]:
    words = list(words)
    words[form.point] = escape(name)
    if read_only and form.options is not None:
        words[form.options] = re.sub(rb"\Arw\b", b"ro", words[form.options])
    return words


def _number(ids: tuple[int, int], shown: list[_Shown]) -> None:
    """Give new lines ids of their own, and each line a parent that is there."""
    own, parent = ids
    unused = max((int(line.words[own]) for line in shown), default=0)
    taken = {line.words[own] for line in shown if not line.is_new}
    kernels = [line.words[own] for line in shown]
    for line in shown:
        if line.is_new and line.words[own] in taken:
            unused += 1
            line.words[own] = b"%d" % unused
        taken.add(line.words[own])
    by_point = {line.point: line for line in shown}
    there = {
        (line.point, kernel): line.words[own] for line, kernel in zip(shown, kernels, strict=True)
    }
    for line in shown:
        above = line.point
        below_it = there.get((line.point, line.words[parent]))
        if line.moved and below_it is not None:  # a mount on another one
            line.words[parent] = below_it
            continue
        if above == b"/" or not (line.moved or line.words[parent] not in taken):
            continue
        while above != b"/":
            above = os.path.dirname(above)
            if above in by_point:
                line.words[parent] = by_point[above].words[own]
                break
