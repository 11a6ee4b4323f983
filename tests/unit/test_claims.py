"""ClaimMap against a model of bind mounts, and round trips of names."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from viewos.claims import Claim, ClaimMap, RealPath, VirtualPath, below, join, lies_in

NAMES = (b"a", b"b", b"ab")
PATHS = [
    b"/" + b"/".join(names)
    for depth in range(4)
    for names in itertools.product(NAMES, repeat=depth)
]
paths = st.sampled_from(PATHS)


@dataclass(frozen=True)
class Store:
    """A module whose objects lie in a place of its own."""

    root: bytes

    def locate(self, path: bytes, intent: str) -> bytes:
        return self.root + path


@dataclass(frozen=True)
class Mount:
    """A claim as a user writes it; without a backing it is a module's."""

    prefix: bytes
    backing: bytes | None
    read_only: bool

    def claim(self, number: int) -> Claim:
        prefix = VirtualPath(self.prefix)
        if self.backing is not None:
            return Claim(prefix, RealPath(self.backing), self.read_only)
        root = b"/store%d" % number
        return Claim(prefix, RealPath(root), self.read_only, module=Store(root), scratch=True)


mounts = st.builds(Mount, paths, paths | st.none(), st.booleans())
layers = st.lists(mounts, max_size=3, unique_by=lambda mount: mount.prefix)
stacks = st.lists(layers, max_size=3)


def build(stack: list[list[Mount]]) -> ClaimMap:
    claims = ClaimMap()
    for layer, mounted in enumerate(stack):
        numbered = [mount.claim(10 * layer + n) for n, mount in enumerate(mounted)]
        claims = claims.with_layer(numbered, layer)
    return claims


def model(stack: list[list[Mount]], path: bytes) -> tuple[bytes, bool]:
    """(real path, is it read-only): layer by layer, the longest prefix of each."""
    read_only = False
    for layer in range(len(stack) - 1, -1, -1):
        holding = [
            (n, mount) for n, mount in enumerate(stack[layer]) if lies_in(path, mount.prefix)
        ]
        if holding:
            number, mount = max(holding, key=lambda entry: len(entry[1].prefix))
            read_only |= mount.read_only
            rest = below(path, mount.prefix)
            if mount.backing is None:
                return b"/store%d" % (10 * layer + number) + rest, read_only
            path = join(mount.backing, rest)
    return path, read_only


@given(paths, paths)
def test_prefixes(path: bytes, prefix: bytes) -> None:
    parts, start = path.strip(b"/").split(b"/"), prefix.strip(b"/").split(b"/")
    assert lies_in(path, prefix) is (prefix == b"/" or parts[: len(start)] == start)
    if lies_in(path, prefix):
        assert join(prefix, below(path, prefix)) == path


def test_a_prefix_is_no_beginning_of_a_name() -> None:
    claims = build([[Mount(b"/mnt", b"/tmp/x", False)]])
    assert claims.forward(b"/mnt") == (claims.find(b"/mnt"), b"/tmp/x")
    assert claims.forward(b"/mnt/y")[1] == b"/tmp/x/y"
    assert claims.forward(b"/mntx") == (None, b"/mntx")
    assert claims.forward(b"/mn") == (None, b"/mn")
    assert claims.reverse(b"/tmp/xy") == b"/tmp/xy"


@given(stacks, paths)
def test_layers_are_bind_mounts(stack: list[list[Mount]], path: bytes) -> None:
    claim, real = build(stack).forward(path)
    assert (real, claim is not None and claim.read_only) == model(stack, path)


@given(stacks)
def test_the_layers_below_do_not_change(stack: list[list[Mount]]) -> None:
    lower = build(stack[:-1])
    before = dict(lower.by_prefix)
    build(stack)
    lower.with_layer([Mount(b"/a", b"/b", True).claim(0)], 7)
    assert lower.by_prefix == before


@given(stacks, paths)
def test_a_name_that_is_shown_comes_back(stack: list[list[Mount]], path: bytes) -> None:
    """To itself with the hint of its claim, and without one to a name of the same object."""
    claims = build(stack)
    claim, real = claims.forward(path)
    hint = b"" if claim is None else bytes(claim.prefix)
    assert claims.reverse(real, hint) == path
    for anything in (None, b"", b"/a", b"/not/a/claim"):
        name = claims.reverse(real, anything)
        assert name is not None
        assert claims.forward(name)[1] == real


@given(stacks, paths)
def test_what_is_not_shown_has_no_name(stack: list[list[Mount]], real: bytes) -> None:
    claims = build(stack)
    if claims.reverse(real) is None:
        assert real not in {claims.forward(path)[1] for path in PATHS}


@given(stacks, paths)
def test_directories_whose_names_are_not_alike_are_told_apart(
    stack: list[list[Mount]], real: bytes
) -> None:
    claims = build(stack)
    rests = [b"", *PATHS[1:]]
    for one, other in itertools.combinations(claims.names(real), 2):
        # What is read-only by one of them alone is not told apart.
        there = [[model(stack, join(name, rest))[0] for rest in rests] for name in (one, other)]
        if there[0] != there[1]:
            assert claims.apart.holds(real)


def test_the_longest_backing_then_the_topmost_claim_names() -> None:
    claims = build([
        [Mount(b"/one", b"/a", False), Mount(b"/two", b"/a/b", False)],
        [Mount(b"/three", b"/a/b", False)],
    ])  # fmt: skip
    assert claims.reverse(b"/a/x") == b"/one/x"
    assert claims.reverse(b"/a/b/x") == b"/three/x"
    assert claims.reverse(b"/a/b/x", b"/two") == b"/two/x"
    assert claims.reverse(b"/a/b/x", b"/one") == b"/one/b/x"
    assert claims.reverse(b"/a/b/x", b"") == b"/a/b/x"


def test_what_is_covered_is_told_by_the_name_that_it_had() -> None:
    claims = build([[Mount(b"/mnt", b"/a", False)], [Mount(b"/mnt/in", b"/b", False)]])
    assert claims.told(b"/b/x") == b"/mnt/in/x"
    assert claims.told(b"/mnt/y") == b"/mnt/y"
    assert claims.reverse(b"/mnt/y") is None
    root = build([[Mount(b"/", b"/srv", False)], [Mount(b"/mnt", b"/a", False)]])
    assert root.told(b"/srv/mnt/y") == b"/mnt/y"
    assert root.told(b"/mnt/y") is None


def test_a_swap() -> None:
    claims = build([[Mount(b"/a", b"/b", False), Mount(b"/b", b"/a", False)]])
    for path, real in ((b"/a", b"/b"), (b"/b/x", b"/a/x"), (b"/ab", b"/ab"), (b"/", b"/")):
        assert claims.forward(path)[1] == real
        assert claims.reverse(real) == path


def test_a_view_of_the_root_through_another_claim() -> None:
    claims = build([[Mount(b"/a", b"/", True)], [Mount(b"/b", b"/a", False)]])
    assert claims.forward(b"/b/ab") == (claims.find(b"/b"), b"/ab")
    assert claims.find(b"/b/ab").read_only  # type: ignore[union-attr]


def test_an_empty_map() -> None:
    claims = ClaimMap()
    assert not claims
    assert list(claims) == []
    assert claims.find(b"/a/b") is None
    assert claims.reverse(b"/a/b") == b"/a/b"


def test_a_modules_objects_through_two_claims() -> None:
    claims = build([
        [Mount(b"/a", None, False)],
        [Mount(b"/b", b"/a/x", False)],
        [Mount(b"/c", b"/b/y", False)],
    ])  # fmt: skip
    for path, real in (
        (b"/a/z", b"/z"),
        (b"/b/z", b"/x/z"),
        (b"/c/z", b"/x/y/z"),
        (b"/c", b"/x/y"),
    ):
        assert claims.forward(path)[1] == b"/store0" + real


def test_directories_above_a_claim() -> None:
    mounts = [
        Mount(b"/a/b/ab", b"/b", False),
        Mount(b"/a/ab", None, False),
        Mount(b"/", b"/", True),
    ]
    claims = build([mounts])
    assert [path for path in PATHS if claims.is_above(path)] == [b"/a", b"/a/b"]
    assert not ClaimMap().is_above(b"/a")
