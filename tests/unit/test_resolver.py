"""The resolver: against the kernel, and its fast path against the slow walk, on random trees."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from viewos.claims import Claim, ClaimMap, RealPath, VirtualPath
from viewos.monitor.mounts import MountTable
from viewos.monitor.paths import Resolver
from viewos.monitor.place import PATH_MAX, Place, Start
from viewos.monitor.reach import by_letters
from viewos.monitor.task import Tasks

NAMES = (b"a", b"b", b"a b", b"new\nline", b"\xff\xfe", b"...", b"~")
TOP = b"@"
"""Stands for the tree's directory until there is one."""
ROOT = Start(b"/", b"/")
names = st.sampled_from(NAMES)
parts = names | st.sampled_from([b".", b"..", b"", b"missing", b".", b".."])


@st.composite
def paths(draw: st.DrawFn) -> bytes:
    """Relative and absolute, with dots, doubled and trailing slashes, far above the root too."""
    path = draw(
        st.sampled_from([b"", b"", b"", TOP + b"/", TOP + b"//", b"/.." + TOP + b"/", b"./"])
    )
    path += b"/".join(draw(st.lists(parts, max_size=5)))
    path += draw(st.sampled_from([b"", b"", b"/", b"/.", b"/..", b"//"]))
    return draw(st.sampled_from([path] * 12 + [b"/", b"..", b"../" * 30, b"/..//", b"."])) or b"."


@st.composite
def trees(draw: st.DrawFn) -> dict[bytes, bytes | None]:
    """path below the top -> the text of a link, None for a directory, b"" for a file."""
    tree: dict[bytes, bytes | None] = {}
    directories = [b""]
    for _ in range(draw(st.integers(1, 9))):
        parent = draw(st.sampled_from(directories))
        path = parent + b"/" + draw(names)
        if path in tree:
            continue
        kind = draw(st.sampled_from(["directory", "directory", "file", "link", "link"]))
        tree[path] = {"directory": None, "file": b""}.get(kind, b"-")
        if kind == "directory":
            directories.append(path)
        elif kind == "link":
            tree[path] = draw(paths())
    return tree


@dataclass(frozen=True)
class Ground:
    """A directory in which trees are made, one after the other."""

    top: bytes

    def make(self, tree: dict[bytes, bytes | None]) -> None:
        shutil.rmtree(self.top)
        os.mkdir(self.top)
        for path, what in tree.items():
            if what is None:
                os.mkdir(self.top + path)
            elif what == b"":
                os.close(os.open(self.top + path, os.O_CREAT | os.O_WRONLY, 0o644))
            else:
                os.symlink(what.replace(TOP, self.top), self.top + path)

    def named(self, path: bytes) -> bytes:
        return path.replace(TOP, self.top)


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    base = os.fsencode(tempfile.mkdtemp(prefix="viewos-tree-"))
    here = os.getcwd()
    os.mkdir(base + b"/t")
    yield Ground(base + b"/t")
    os.chdir(here)
    shutil.rmtree(base)


class Slow(Resolver):
    """Has no fast path."""

    def _fast(self, *_: object) -> Place | None:
        return None


pytestmark = pytest.mark.timeout(300)
MOUNTS, TASK = MountTable(), Tasks().get(os.getpid())[0]
thoroughly = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def claims_of(*pairs: tuple[bytes, bytes]) -> ClaimMap:
    claims = [Claim(VirtualPath(prefix), RealPath(backing)) for prefix, backing in pairs]
    return ClaimMap().with_layer(claims, 0)


def resolve(
    resolver: Resolver,
    top: bytes,
    path: bytes,
    *,
    follow: bool,
    keep_last: bool = False,
    root: Start = ROOT,
) -> Place | int:
    """Where it leads from `top`, or the errno."""
    virtual = resolver.claims.reverse(top)
    start = None if virtual is None else Start(virtual, top)
    try:
        return resolver.resolve(TASK, root, start, path, follow=follow, keep_last=keep_last)
    except OSError as error:
        return error.errno or 0


def outcome(call: Callable[[], object]) -> object:
    try:
        return call()
    except OSError as error:
        return error.errno


def identity(path: bytes, follow: bool, fd: int | None = None) -> tuple[int, int]:
    found = os.stat(path, follow_symlinks=follow, dir_fd=fd)
    return found.st_dev, found.st_ino


# ---- against the kernel -------------------------------------------------------------------------

IDENTITIES = [claims_of(), claims_of((b"/", b"/")), claims_of((b"/tmp", b"/tmp"))]


@thoroughly
@given(tree=trees(), wanted=st.lists(paths(), min_size=1, max_size=8), follow=st.booleans())
def test_the_identity_is_what_the_kernel_does(
    ground: Ground, tree: dict[bytes, bytes | None], wanted: list[bytes], follow: bool
) -> None:
    """The place's real path leads to the same object, or fails in the same way."""
    ground.make(tree)
    fd = os.open(ground.top, os.O_PATH)
    try:
        for path in map(ground.named, wanted):
            native = outcome(lambda path=path: identity(path, follow, fd))  # type: ignore[misc]
            for claims in IDENTITIES:
                for kind in (Resolver, Slow):
                    place = resolve(kind(claims, MOUNTS), ground.top, path, follow=follow)
                    if isinstance(place, Place):
                        assert place.plain, (path, place)
                        found = outcome(lambda p=place: identity(p.real, follow))  # type: ignore[misc]
                        assert found == native, (path, place, kind)
                    else:
                        assert place == native, (path, kind)
    finally:
        os.close(fd)


def searched(resolver: Resolver, start: Start, path: bytes, follow: bool) -> list[bytes]:
    at = ROOT if path[:1] == b"/" else start
    return list(resolver.searched(TASK, ROOT, at, path, follow=follow, keep_last=False, rules=0))


@thoroughly
@given(tree=trees(), wanted=st.lists(paths(), min_size=1, max_size=8), follow=st.booleans())
def test_names_are_looked_up_where_the_letters_say(
    ground: Ground, tree: dict[bytes, bytes | None], wanted: list[bytes], follow: bool
) -> None:
    """Where no link has led elsewhere: as far as the walk got."""
    ground.make(tree)
    resolver, start = Resolver(IDENTITIES[0], MOUNTS), Start(ground.top, ground.top)
    for path in map(ground.named, wanted):
        place = resolve(resolver, ground.top, path, follow=follow)
        found, end = by_letters(b"/" if path[:1] == b"/" else ground.top, path)
        if isinstance(place, Place) and place.virtual == end:
            walked = searched(resolver, start, path, follow)
            assert walked == found[: len(walked)], path
            if os.path.lexists(end):
                assert len(walked) == len(found), path


def test_names_are_looked_up_behind_links_and_dots(ground: Ground) -> None:
    ground.make({b"/a": None, b"/a/b": None, b"/a/l": b"../b/.", b"/b": None, b"/b/up": b".."})
    resolver, start = Resolver(IDENTITIES[0], MOUNTS), Start(ground.top, ground.top)
    for path, expected in (
        (b"a/../b", [b"", b"/a", b""]),
        (b"a/l/x", [b"", b"/a", b"/a", b"", b"/b", b"/b"]),
        (b"b/up/a", [b"", b"/b", b"/b", b""]),
        (b"a/.", [b"", b"/a"]),
        (b"a/", [b""]),
        (b"none/x", [b""]),
    ):
        found = searched(resolver, start, path, follow=True)
        assert found == [ground.top + name for name in expected], path


@thoroughly
@given(tree=trees(), wanted=st.lists(paths(), min_size=1, max_size=8))
def test_a_name_is_made_where_the_kernel_makes_it(
    ground: Ground, tree: dict[bytes, bytes | None], wanted: list[bytes]
) -> None:
    """With `keep_last`: mkdir at the place does what mkdir of the path does."""
    ground.make(tree)
    os.chdir(ground.top)

    def made(path: bytes, directory: bytes = ground.top) -> object:
        os.mkdir(path)
        found = [
            os.path.join(at, name) for at, names, _ in os.walk(directory) for name in names
            if os.path.join(at, name)[len(directory):] not in tree
        ]  # fmt: skip
        os.rmdir(path.rstrip(b"/"))
        return found

    for path in map(ground.named, wanted):
        if not os.path.normpath(os.path.join(ground.top, path)).startswith(ground.top + b"/"):
            continue
        native = outcome(lambda path=path: made(path))  # type: ignore[misc]
        for kind in (Resolver, Slow):
            place = resolve(
                kind(IDENTITIES[1], MOUNTS), ground.top, path, follow=False, keep_last=True
            )
            found = (
                outcome(lambda p=place: made(p.real))  # type: ignore[misc]
                if isinstance(place, Place)
                else place
            )
            assert found == native, (path, place, kind)


# ---- the fast path ------------------------------------------------------------------------------


def standing(
    tree: dict[bytes, bytes | None], top: bytes, chosen: set[int]
) -> list[tuple[bytes, bytes]]:
    """The chosen ones of `mappings` whose prefix leads through no link: a claim's prefix is
    canonical. Nor do they stand in a directory that is there, and not in the view: set-up makes
    such a one."""
    links = [top + path for path, text in tree.items() if text]
    found = [
        (prefix, backing)
        for prefix, backing in (mappings(top)[number] for number in chosen)
        if not any(prefix.startswith(link + b"/") for link in links)
    ]
    parents = {prefix: os.path.dirname(prefix) for prefix, _ in found}
    forward = claims_of(*found).forward
    return [
        (prefix, backing)
        for prefix, backing in found
        if not os.path.isdir(parents[prefix]) or os.path.isdir(forward(parents[prefix])[1])
    ]


def mappings(top: bytes) -> list[tuple[bytes, bytes]]:
    """Pairs that swap, shorten, lengthen, hide and nest."""
    above = os.path.dirname(top)
    return [
        (b"/", b"/"),
        (b"/mnt", top),
        (top + b"/a", top + b"/b"),
        (top + b"/b", top + b"/a"),
        (top + b"/a/b", b"/usr"),
        (top, above),
        (b"/v/long/way/down", top + b"/a"),
        (top + b"/missing", top),
    ]


@thoroughly
@given(
    tree=trees(),
    chosen=st.sets(st.integers(0, 7), max_size=4),
    wanted=st.lists(paths() | paths().map(lambda p: b"/mnt/" + p), min_size=1, max_size=8),
    follow=st.booleans(),
    keep_last=st.booleans(),
)
def test_the_fast_path_gives_the_answer_of_the_walk(
    ground: Ground,
    tree: dict[bytes, bytes | None],
    chosen: set[int],
    wanted: list[bytes],
    follow: bool,
    keep_last: bool,
) -> None:
    ground.make(tree)
    claims = claims_of(*standing(tree, ground.top, chosen))
    fast, slow = Resolver(claims, MOUNTS), Slow(claims, MOUNTS)
    for path in map(ground.named, wanted):
        one, other = (
            resolve(r, ground.top, path, follow=follow, keep_last=keep_last) for r in (fast, slow)
        )
        assert comparable(one) == comparable(other), (path, sorted(chosen), one, other)


def comparable(place: Place | int) -> object:
    """A place, without what makes no difference: the slash behind a directory, and the dots that
    follow the first missing name."""
    if not isinstance(place, Place):
        return place
    real: object = place.real
    found = outcome(lambda: os.lstat(place.real))
    if not isinstance(found, os.stat_result):
        assert found in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
        real, place = found, place._replace(virtual=b"")
    elif stat.S_ISDIR(found.st_mode):
        real = place.real.rstrip(b"/")
    return real, place._replace(real=b"")


@thoroughly
@given(tree=trees(), wanted=st.lists(paths(), min_size=1, max_size=8), follow=st.booleans())
def test_a_swap_mirrors(
    ground: Ground, tree: dict[bytes, bytes | None], wanted: list[bytes], follow: bool
) -> None:
    """A tree whose links are relative looks at /mnt as it looks at its own place."""
    ground.make({p: t for p, t in tree.items() if not t or not (t.startswith((b"/", TOP)))})
    resolver = Resolver(claims_of((b"/mnt", ground.top)), MOUNTS)
    for path in (p.replace(TOP, b".").lstrip(b"/") or b"." for p in wanted):
        if b".." in path.split(b"/"):
            continue
        native = outcome(lambda p=path: identity(ground.top + b"/" + p, follow))  # type: ignore[misc]
        place = resolve(resolver, ground.top, b"/mnt/" + path, follow=follow)
        if isinstance(place, Place):
            if not links_leave(tree):
                found = outcome(lambda p=place: identity(p.real, follow))  # type: ignore[misc]
                assert found == native, (path, place)
        else:
            assert place == native, path


def links_leave(tree: dict[bytes, bytes | None]) -> bool:
    return any(text and b".." in text.split(b"/") for text in tree.values())


# ---- single facts -------------------------------------------------------------------------------


@pytest.fixture
def top(ground: Ground) -> bytes:
    ground.make({
        b"/a": None, b"/a/b": None, b"/file": b"", b"/up": b"..", b"/abs": TOP + b"/a",
        b"/loop": b"loop", b"/dangling": b"missing", b"/slash": b"a/",
    })  # fmt: skip
    return ground.top


def test_an_absolute_link_is_a_path_of_the_view(top: bytes) -> None:
    os.symlink(b"/mnt/a", top + b"/there")
    resolver = Resolver(claims_of((b"/mnt", top)), MOUNTS)
    place = resolve(resolver, top, b"/mnt/there/b", follow=True)
    assert isinstance(place, Place)
    assert (place.virtual, place.real, place.plain) == (b"/mnt/a/b", top + b"/a/b", False)


def test_dots_above_a_claim_lead_to_its_parent(top: bytes) -> None:
    resolver = Resolver(claims_of((b"/usr/lib/here", top)), MOUNTS)
    for path in (b"/usr/lib/here/..", b"/usr/lib/here/a/../..", b"/usr/lib/here/up"):
        place = resolve(resolver, top, path, follow=True)
        assert isinstance(place, Place)
        assert (place.virtual, place.real) == (b"/usr/lib", b"/usr/lib"), path
    place = resolve(resolver, top, b"..", follow=True)
    assert isinstance(place, Place)
    assert (place.virtual, place.plain) == (b"/usr/lib", False)


def test_endless_links(top: bytes) -> None:
    resolver = Resolver(IDENTITIES[1], MOUNTS)
    assert resolve(resolver, top, b"loop", follow=True) == errno.ELOOP
    assert resolve(resolver, top, b"loop/", follow=False) == errno.ELOOP
    assert isinstance(resolve(resolver, top, b"loop", follow=False), Place)
    for number in range(45):
        os.symlink(b"n%d" % (number + 1), top + b"/n%d" % number)
    os.mkdir(top + b"/n45")
    for number in range(45):
        native = outcome(lambda n=number: identity(top + b"/n%d" % n, True))  # type: ignore[misc]
        place = resolve(resolver, top, b"n%d" % number, follow=True)
        assert (place == errno.ELOOP) is (native == errno.ELOOP), number


def test_long_paths(top: bytes) -> None:
    resolver = Resolver(IDENTITIES[1], MOUNTS)
    longest = b"a/" * (PATH_MAX // 2 - 1) + b"x"
    assert len(longest) == PATH_MAX - 1
    assert isinstance(resolve(resolver, top, longest, follow=True), Place)
    assert resolve(resolver, top, longest + b"/", follow=True) == errno.ENAMETOOLONG
    place = resolve(resolver, top, b"./" * 2047 + b"a", follow=True)
    assert isinstance(place, Place)
    assert place.real == top + b"/a"


def test_proc_self_is_the_tracees(top: bytes) -> None:
    resolver = Resolver(IDENTITIES[1], MOUNTS)
    for path, leads in (
        (b"/proc/self/status", b"/proc/%d/status" % TASK.tgid),
        (b"/proc/thread-self/comm", b"/proc/%d/task/%d/comm" % (TASK.tgid, TASK.tid)),
    ):
        place = resolve(resolver, top, path, follow=True)
        assert isinstance(place, Place)
        assert (place.real, place.native) == (leads, True)


def test_a_canonical_path_for_a_claim(top: bytes) -> None:
    resolver = Resolver(claims_of((b"/mnt", top)), MOUNTS)
    assert resolver.canonical(b"/mnt/slash//b/../new/x") == (b"/mnt/a/new/x", top + b"/a/new/x")
    assert resolver.canonical(b"/") == (b"/", b"/")
