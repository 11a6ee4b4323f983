"""The accelerator's tables and resolver: never another answer than Python's, on random trees."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.test_resolver import (
    MOUNTS,
    ROOT,
    Ground,
    claims_of,
    comparable,
    ground,
    paths,
    resolve,
    standing,
    thoroughly,
    trees,
)
from viewos.abi.syscalls import BY_NUMBER, TABLE
from viewos.claims import ClaimMap
from viewos.monitor.accelerator import extension, rules, tables
from viewos.monitor.accelerator.native import Receiver
from viewos.monitor.paths import Resolver
from viewos.monitor.place import Place, Start

__all__ = ["ground"]  # the fixture
pytestmark = pytest.mark.timeout(300)
NO_HINT, REAL = -2, -1


def receiver_of(claims: ClaimMap) -> Receiver:
    native = extension()
    assert native is not None, "the accelerator is not built"
    table = tables.of_claims(claims)
    assert table is not None
    accelerator = native.Accelerator(credentials=b"", user_namespace=b"", label=b"", token_base=0)
    accelerator.add_view(0, table, bytes(rules.CALLS * rules.SIZE), False)
    accelerator.set_mounts(tables.of_mounts(MOUNTS.types()), False)
    receiver: Receiver = native.Receiver(accelerator)
    return receiver


def sure(
    receiver: Receiver,
    claims: ClaimMap,
    top: bytes,
    path: bytes,
    follow: bool,
    keep_last: bool,
    root: bytes | None = None,
) -> Place | None:
    """The accelerator's answer, in Python's form; None: it leaves it to Python."""
    found = receiver.resolve(top, path, follow, keep_last, NO_HINT, root)
    if found is None:
        return None
    virtual, real, claim, plain, absolute, native = found
    return Place(
        virtual, real, list(claims)[claim] if claim >= 0 else None, plain, absolute, native
    )


# ---- the resolver ----


def _agree(
    claims: ClaimMap,
    top: bytes,
    wanted: Iterable[bytes],
    follow: bool,
    keep_last: bool,
    root: bytes | None = None,
) -> None:
    """What the accelerator is sure of is what Python says. `root`: of the process, in the view."""
    receiver, resolver = receiver_of(claims), Resolver(claims, MOUNTS)
    start = ROOT if root is None else Start(root, b"/")
    for path in wanted:
        found = sure(receiver, claims, top, path, follow, keep_last, root)
        if found is not None:
            known = resolve(resolver, top, path, follow=follow, keep_last=keep_last, root=start)
            assert comparable(found) == comparable(known), (path, list(claims), found, known)


@thoroughly
@given(
    tree=trees(),
    chosen=st.sets(st.integers(0, 7), max_size=4),
    wanted=st.lists(paths() | paths().map(lambda p: b"/mnt/" + p), min_size=1, max_size=8),
    follow=st.booleans(),
    keep_last=st.booleans(),
)
def test_what_it_is_sure_of_is_what_python_says(
    ground: Ground,
    tree: dict[bytes, bytes | None],
    chosen: set[int],
    wanted: list[bytes],
    follow: bool,
    keep_last: bool,
) -> None:
    ground.make(tree)
    claims = claims_of(*standing(tree, ground.top, chosen))
    _agree(claims, ground.top, map(ground.named, wanted), follow, keep_last)


@thoroughly
@given(
    tree=trees(),
    chosen=st.sets(st.integers(0, 7), max_size=4),
    wanted=st.lists(paths() | paths().map(lambda p: b"/" + p), min_size=1, max_size=8),
    below=st.sampled_from([b"", b"/a", b"/a/b", b"/c"]),
    follow=st.booleans(),
    keep_last=st.booleans(),
)
def test_in_a_root_of_its_own(
    ground: Ground,
    tree: dict[bytes, bytes | None],
    chosen: set[int],
    wanted: list[bytes],
    below: bytes,
    follow: bool,
    keep_last: bool,
) -> None:
    """As above, for a process that has changed its root directory in the view."""
    ground.make(tree)
    claims = claims_of(*standing(tree, ground.top, chosen))
    is_one = os.path.isdir(ground.top + below)  # no process has anything else for its root
    root = ground.top + below if is_one else ground.top
    _agree(claims, ground.top, wanted, follow, keep_last, root)


def test_it_is_sure_in_a_root_of_its_own(ground: Ground) -> None:
    ground.make({b"/a": None, b"/a/b": b"", b"/a/link": b"/b", b"/b": b""})
    claims = claims_of((b"/", b"/"))
    for path, real in ((b"/b", b"/a/b"), (b"/../b", b"/a/b"), (b"/link", b"/a/b"), (b"b", b"/b")):
        found = sure(receiver_of(claims), claims, ground.top, path, True, False, ground.top + b"/a")
        assert (
            found is not None
            and found.real == ground.top + real
            and not (found.plain and path.startswith(b"/"))
        )


@pytest.mark.parametrize("path", [
    b"/usr/bin/env", b"/etc/passwd", b"/bin/sh", b"/mnt", b"/mnt/a/b", b"/mnt/link/file",
    b"/mnt/a/../file", b"a", b"a/b/", b"../t/a", b"./file", b"/mnt/missing", b"missing/x",
    b"/mnt/there/b", b"/usr/../mnt/a", b"/", b".", b"..", b"/mnt/a/.", b"//usr///lib/",
])  # fmt: skip
def test_it_is_sure_of_what_programs_do(ground: Ground, path: bytes) -> None:
    """The other half of the property above: it does not leave everything to Python."""
    ground.make({
        b"/a": None, b"/a/b": None, b"/file": b"", b"/link": b".", b"/there": b"/mnt/a",
    })  # fmt: skip
    claims = claims_of((b"/mnt", ground.top))
    found = sure(receiver_of(claims), claims, ground.top, path, True, False)
    known = resolve(Resolver(claims, MOUNTS), ground.top, path, follow=True)
    assert found is not None
    assert comparable(found) == comparable(known)


@pytest.mark.parametrize("path", [
    b"loop", b"/proc/self/exe", b"/proc/thread-self/comm", b"", b"a/../../x/..", b"missing/..",
    b"file/.", b"a" * 5000, b"a/" * 2047 + b"x", b"./" * 3000,
])  # fmt: skip
def test_it_leaves_what_needs_judgement(ground: Ground, path: bytes) -> None:
    ground.make({b"/a": None, b"/file": b"", b"/loop": b"loop"})
    claims = claims_of((b"/mnt", ground.top))
    assert receiver_of(claims).resolve(ground.top, path, True, False, NO_HINT) is None


# ---- names of real paths ----

places = st.lists(st.sampled_from([b"a", b"b", b"aa", b"a b"]), max_size=3).map(
    lambda names: b"/" + b"/".join(names)
)


@thoroughly
@given(
    pairs=st.dictionaries(places, places, max_size=5),
    wanted=st.lists(places, min_size=1, max_size=5),
    data=st.data(),
)
def test_names_are_mapped_back_as_python_does(
    pairs: dict[bytes, bytes], wanted: list[bytes], data: st.DataObject
) -> None:
    claims = claims_of(*pairs.items())
    receiver = receiver_of(claims)
    prefixes = [bytes(claim.prefix) for claim in claims]
    hints: list[tuple[bytes | None, int]] = [(None, NO_HINT), (b"", REAL)]
    hints += [(prefix, index) for index, prefix in enumerate(prefixes)]
    for real in wanted:
        name, index = data.draw(st.sampled_from(hints))
        known = claims.reverse(real, name)
        found = receiver.resolve(real, b"missing-name", True, True, index)
        if known is None:
            assert found is None
        else:
            assert found is not None
            assert found[0] == os.path.join(known, b"missing-name")


def test_a_thousand_claims_are_found() -> None:
    pairs = {b"/v/%d/x" % number: b"/r/%d" % (number % 7) for number in range(1000)}
    claims = claims_of(*pairs.items())
    receiver = receiver_of(claims)
    for number in range(0, 1000, 37):
        found = receiver.resolve(b"/", b"/v/%d/x/y" % number, True, False, NO_HINT)
        assert found is not None
        assert found[:3] == (b"/v/%d/x/y" % number, b"/r/%d/y" % (number % 7), number)
    outside = receiver.resolve(b"/", b"/v/1000/x/y", True, False, NO_HINT)
    assert outside is not None and outside[2] == -1


# ---- the rules ----


def test_rules_come_from_the_table_of_system_calls() -> None:
    packed = rules.pack(lambda row: row.name != "stat", lambda row: row.name == "truncate")
    assert len(packed) == rules.CALLS * rules.SIZE

    def of(name: str) -> tuple[int, int, int, int]:
        """(action, number of paths, index of the first path, index of its dirfd)."""
        at = TABLE[name].number * rules.SIZE
        return struct.unpack_from("=BB", packed, at) + struct.unpack_from("=bb", packed, at + 8)

    assert of("openat") == (2, 1, 1, 0)
    assert of("renameat2") == (11, 2, 1, 0)
    assert of("lstat") == (3, 1, 0, -1)
    assert of("stat")[0] == 0  # a module answers it
    assert of("truncate")[0] == 0  # there is more to it
    assert of("chown")[:2] == (1, 1)  # looked at: continued, or Python's
    assert of("openat2")[0] == 0 and of("mount")[0] == 0
    assert of("getuid")[0] == 17  # trapped for nested views, and answered by nobody
    assert all(number < rules.CALLS for number in BY_NUMBER)


# ---- bad arguments ----


def test_bad_arguments_are_refused() -> None:
    native = extension()
    assert native is not None
    receiver = receiver_of(claims_of())
    with pytest.raises(TypeError):
        native.Receiver(object())
    with pytest.raises(TypeError):
        receiver.resolve("text", b"", True, True, 0)  # type: ignore[arg-type]
    good = {
        "credentials": b"", "user_namespace": b"", "label": b"", "token_base": 0,
    }  # fmt: skip
    for name, value in (
        ("credentials", bytes(5000)),
        ("user_namespace", bytes(100)),
        ("label", bytes(5000)),
    ):
        with pytest.raises(ValueError, match="longer"):
            native.Accelerator(**{**good, name: value})
    accelerator = native.Accelerator(**good)
    with pytest.raises(RuntimeError):
        accelerator.__init__(**good)
    with pytest.raises(ValueError, match="table"):
        accelerator.set_mounts(b"", False)
    with pytest.raises(ValueError, match="thread"):
        accelerator.forget(-1)
    table, packed = tables.pack([]), bytes(rules.CALLS * rules.SIZE)
    for number, claims, calls in ((0, b"short", packed), (0, table, b""), (10**6, table, packed)):
        with pytest.raises(ValueError, match=r"table|layout"):
            accelerator.add_view(number, claims, calls, False)
    accelerator.add_view(3, table, packed, False)
    with pytest.raises(ValueError, match="known"):
        accelerator.add_view(3, table, packed, False)
    accelerator.set_state(10**6, 1, 0, 0)  # beyond what is kept: Python's
