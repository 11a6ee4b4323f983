"""Claims and rules as plain data: which virtual paths are whose, and what stands behind them.

A claim behaves as a bind mount: its prefix is a canonical path of the view, crossing it leads
to the backing, and `..` at its root leads to the parent of the prefix.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import NewType, Protocol

from viewos.tuples import NamedTuple

_SLASH = ord("/")
VirtualPath = NewType("VirtualPath", bytes)
RealPath = NewType("RealPath", bytes)


class Locator(Protocol):
    """What a claim asks of a module that has no fixed backing."""

    def locate(self, path: bytes, intent: str) -> bytes:
        """The real path behind `path` (below the claim, b"" for its root)."""


class Claim(NamedTuple):
    """A subtree of the view. `backing` is a path of the layer below until the map is built."""

    prefix: VirtualPath
    backing: RealPath
    read_only: bool = False
    module: Locator | None = None
    operations: frozenset[str] | None = None
    """Operations that have to be trapped for it; None: all that take a path."""
    layer: int = 0
    module_path: bytes = b""
    """Where below the module's root the prefix stands (a claim seen through another claim)."""
    scratch: bool = False
    msghdr: bool = True
    """Are AF_UNIX names mapped in struct msghdr, too?"""

    @property
    def renames(self) -> bool:
        """May a name in it differ from its backing's?"""
        return self.module is not None or bytes(self.backing) != bytes(self.prefix)

    def locate(self, path: VirtualPath, intent: str) -> RealPath:
        """The real path behind a virtual path that lies in the claim."""
        rest = path[len(self.prefix) :] if self.prefix != b"/" else path
        if rest == b"/":
            rest = b""
        if self.module is not None:
            return RealPath(self.module.locate(self.module_path + rest, intent))
        if self.backing == b"/":
            return RealPath(rest or b"/")
        return RealPath(self.backing + rest)


class Apart(NamedTuple):
    """Real directories that a view shows by several names, where it matters by which of them one
    is held: what `..` or a name leads to from there is not the same."""

    roots: frozenset[bytes]
    """The backings themselves: `..` leads elsewhere."""
    are_trees: bool
    """There are claims below a name of one: all that lies below them matters, too."""
    points: frozenset[bytes]
    """On which something is mounted, by whatever name: none of them can be removed or renamed."""

    def is_above_point(self, real: bytes) -> bool:
        """Would what is mounted have to move along with a directory below a backing?"""
        is_below = any(lies_in(real, root) and real != root for root in self.roots)
        return is_below and any(lies_in(point, real) and point != real for point in self.points)

    def holds(self, real: bytes) -> bool:
        """Is that directory one of them?"""
        return real in self.roots or (
            self.are_trees and any(lies_in(real, root) for root in self.roots)
        )


def lies_in(path: bytes, prefix: bytes) -> bool:
    """Is `path` the prefix itself or below it?"""
    if prefix == b"/":
        return True
    return path.startswith(prefix) and (
        len(path) == len(prefix) or path[len(prefix) : len(prefix) + 1] == b"/"
    )


def join(prefix: bytes, rest: bytes) -> bytes:
    """`rest` is empty or begins with a slash."""
    if prefix == b"/":
        return rest or b"/"
    return prefix + rest


def below(path: bytes, prefix: bytes) -> bytes:
    """What of `path` follows `prefix`, empty or with its slash in front."""
    if prefix == b"/":
        return b"" if path == b"/" else path
    return path[len(prefix) :]


class ClaimMap:
    """All claims of a view, flat: each backing is a real path, and the longest prefix wins."""

    __slots__ = ("_above", "_apart", "_by_backing", "by_prefix")

    def __init__(self, by_prefix: dict[bytes, Claim] | None = None) -> None:
        self.by_prefix: dict[bytes, Claim] = {} if by_prefix is None else by_prefix
        self._above: frozenset[bytes] | None = None
        self._apart: Apart | None = None
        self._by_backing: dict[bytes, list[Claim]] | None = None

    def __bool__(self) -> bool:
        return bool(self.by_prefix)

    def __iter__(self) -> Iterator[Claim]:
        return iter(self.by_prefix.values())

    def find(self, path: bytes) -> Claim | None:
        """The claim in which a canonical virtual path lies."""
        by_prefix = self.by_prefix
        while True:
            claim = by_prefix.get(path)
            if claim is not None:
                return claim
            cut = path.rfind(b"/")
            if cut <= 0:
                return by_prefix.get(b"/")
            path = path[:cut]

    def is_above(self, path: bytes) -> bool:
        """Does a claim's prefix lie below a canonical virtual path, which is not the prefix?"""
        if self._above is None:
            self._above = frozenset(
                prefix[:cut]
                for prefix in self.by_prefix
                for cut in range(1, len(prefix))
                if prefix[cut : cut + 1] == b"/"
            )
        return path in self._above

    def forward(self, path: bytes, intent: str = "look") -> tuple[Claim | None, bytes]:
        """(claim, real path) of a canonical virtual path."""
        claim = self.find(path)
        return (None, path) if claim is None else (claim, claim.locate(VirtualPath(path), intent))

    def reverse(self, real: bytes, hint: bytes | None = None) -> bytes | None:
        """The virtual name of a real path; None where the view does not show it.

        `hint` is the prefix of the claim (b"" for the real name) that counts where several would
        do.
        """
        best = self._best(real, hint)
        return None if best is None or best[1] else best[0]

    def names(self, real: bytes) -> list[bytes]:
        """All virtual names of a real path, the best one first."""
        return list(dict.fromkeys(self._names(real, None)))

    def is_ambiguous(self, real: bytes) -> bool:
        """Does the view show a real path by more than one name?"""
        return len(self.names(real.rstrip(b"/") or b"/")) > 1

    @property
    def apart(self) -> Apart:
        """Which directories are told apart by the name that they were opened by."""
        if self._apart is None:
            names = {
                real: {name for _, name in self._candidates(real) if self._leads_to(name, real)}
                for real in {claim.backing for claim in self if claim.module is None}
            }
            several = {real: found for real, found in names.items() if len(found) > 1}
            # `..` leads from one into another: where one matters, all do.
            are_trees = any(map(self.has_claims, itertools.chain(*several.values())))
            self._apart = Apart(frozenset(several), are_trees, frozenset(self._points()))
        return self._apart

    def _points(self) -> Iterator[bytes]:
        for prefix in self.by_prefix:
            parent, _, name = prefix.rpartition(b"/")
            claim = self.find(parent or b"/")
            if name and (claim is None or claim.module is None):
                yield join(self.forward(parent or b"/")[1], b"/" + name)

    def has_claims(self, name: bytes) -> bool:
        """Does a claim stand below a canonical virtual path, / included?"""
        return self.is_above(name) or (name == b"/" and self.by_prefix.keys() != {b"/"})

    def _leads_to(self, name: bytes, real: bytes) -> bool:
        claim = self.find(name)
        if claim is None:
            return name == real
        return claim.module is None and claim.locate(VirtualPath(name), "look") == real

    def best_hint(self, real: bytes) -> bytes:
        """The hint that counts for a real path where there is none, whatever covers the name."""
        claim, _ = next(self._candidates(real))
        return b"" if claim is None else claim.prefix

    def told(self, real: bytes, hint: bytes | None = None) -> bytes | None:
        """What the kernel tells of an object that is held: `reverse`, or the name over which
        something has been mounted since."""
        best = self._best(real, hint)
        if best is not None:
            return best[0]
        for claim, covered in self._candidates(real, hint):
            is_seen = b"/" not in self.by_prefix if claim is None else claim.module is None
            if is_seen:
                return covered
        return None

    def _best(self, real: bytes, hint: bytes | None) -> tuple[bytes, bool] | None:
        """(the virtual name of a real path, whether something has been mounted over it). No other
        is looked for once it must have been reached by one that is covered."""
        for claim, name in self._candidates(real, hint):
            covering, there = self.forward(name)
            if there == real:
                return name, False
            is_reached = claim is not None and (claim.scratch or claim.prefix == hint)
            if is_reached and claim and covering and covering.layer > claim.layer:
                return name, True
        return None

    def _names(self, real: bytes, hint: bytes | None) -> Iterator[bytes]:
        """The virtual names of a real path, the best one first."""
        for _, name in self._candidates(real, hint):
            if self.forward(name)[1] == real:
                yield name

    def _holding(self, real: bytes) -> Iterator[Claim]:
        """The claims whose backing holds a real path, in time that does not depend on how many
        others there are."""
        if self._by_backing is None:
            self._by_backing = {}
            for claim in self:
                self._by_backing.setdefault(claim.backing, []).append(claim)
        above = [real[:cut] for cut, byte in enumerate(real) if byte == _SLASH]
        for backing in dict.fromkeys((real, b"/", *above)):
            yield from self._by_backing.get(backing, ())

    def _candidates(
        self, real: bytes, hint: bytes | None = None
    ) -> Iterator[tuple[Claim | None, bytes]]:
        """(claim, name) of each claim whose backing holds a real path, and of the path itself,
        though something else may stand there; the best one first."""
        names: list[tuple[bool, int, int, Claim | None, bytes]] = [
            (
                claim.prefix == hint, len(claim.backing), claim.layer, claim,
                join(claim.prefix, below(real, claim.backing)),
            )
            for claim in self._holding(real)
        ]  # fmt: skip
        # Nobody has entered the scratch directory by its own name.
        is_real = hint == b"" and not any(claim and claim.scratch for *_, claim, _ in names)
        names.append((is_real, -1, -1, None, real))
        for *_, claim, name in sorted(names, key=lambda n: n[:3], reverse=True):
            yield claim, name

    def with_layer(self, claims: Iterable[Claim], layer: int) -> ClaimMap:
        """This map with one more layer on top, whose backings are paths of this map's view."""
        result = dict(self.by_prefix)
        may_be_hidden = set(result)  # the new ones come shortest first: none hides another
        for new in sorted(claims, key=lambda c: len(c.prefix)):
            for hidden in [prefix for prefix in may_be_hidden if lies_in(prefix, new.prefix)]:
                del result[hidden]
                may_be_hidden.remove(hidden)
            for claim in self._derived(new, layer):
                result[claim.prefix] = claim
                if claim.prefix != new.prefix:
                    may_be_hidden.add(claim.prefix)
        return ClaimMap(result)

    def _derived(self, new: Claim, layer: int) -> Iterator[Claim]:
        """The claim itself, and the claims of the layers below that its backing contains."""
        if new.module is not None or new.scratch:
            yield new._replace(layer=layer)
            return
        lower = self.find(new.backing)
        if lower is None:
            yield new._replace(layer=layer)
        else:
            rest = below(new.backing, lower.prefix)
            yield new._replace(
                backing=RealPath(join(lower.backing, rest)),
                module=lower.module,
                module_path=lower.module_path + rest,
                read_only=new.read_only or lower.read_only,
                layer=layer,
            )
        for claim in self.by_prefix.values():
            if bytes(claim.prefix) != new.backing and lies_in(claim.prefix, new.backing):
                prefix = VirtualPath(join(new.prefix, below(claim.prefix, new.backing)))
                yield claim._replace(
                    prefix=prefix, layer=layer, read_only=new.read_only or claim.read_only
                )
