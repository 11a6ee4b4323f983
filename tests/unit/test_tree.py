"""TreeModule: what is mirrored, when, and how often."""

from __future__ import annotations

import errno
import os
import resource
import stat
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from viewos import Entry, TreeModule
from viewos.testing import started


class Notes(TreeModule):
    """Counts what is asked of it."""

    mount_point = b"/notes"

    def __init__(self) -> None:
        self.asked: Counter[tuple[str, bytes]] = Counter()
        self.failing: set[bytes] = set()
        self.delay = 0.0

    def entries(self, path: bytes) -> Iterable[Entry]:
        self._ask("entries", path)
        if path == b"/deep":
            yield Entry.directory(b"er", mode=0o711)
        elif path == b"/deep/er":
            yield Entry.file(b"file", 3, mtime_ns=123456789)
        elif not path:
            yield Entry.file(b"big", 1 << 30)
            yield Entry.file(b"secret", 4, mode=0o400)
            yield Entry.directory(b"deep", mtime_ns=10**18)
            yield Entry.symlink(b"link", b"deep")

    def read(self, path: bytes) -> bytes:
        self._ask("read", path)
        return b"abc" if path == b"/deep/er/file" else b"data"

    def _ask(self, what: str, path: bytes) -> None:
        self.asked[what, path] += 1
        if self.delay:
            threading.Event().wait(self.delay)
        if path in self.failing:
            raise OSError(errno.EHOSTDOWN, "no answer")


@pytest.fixture
def notes() -> Iterator[Notes]:
    module = Notes()
    with started(module):
        yield module


def test_placeholders_cost_no_contents(notes: Notes) -> None:
    seen = os.lstat(notes.locate(b"/big", "look"))
    assert (seen.st_size, seen.st_blocks) == (1 << 30, 0)
    assert stat.S_IMODE(seen.st_mode) == 0o644
    assert notes.asked == {("entries", b""): 1}


def test_the_first_open_fills_in_place(notes: Notes) -> None:
    path = b"/deep/er/file"
    before = os.lstat(notes.locate(path, "look"))
    with open(notes.locate(path, "read"), "rb") as file:
        assert file.read() == b"abc"
        after = os.fstat(file.fileno())
    assert after.st_ino == before.st_ino
    assert after.st_mtime_ns == before.st_mtime_ns == 123456789
    notes.locate(path, "read")
    assert notes.asked["read", path] == 1


def test_a_size_that_was_wrong_is_put_right(notes: Notes) -> None:
    with open(notes.locate(b"/big", "read"), "rb") as file:
        assert file.read() == b"data"


def test_only_what_is_on_the_way_is_listed(notes: Notes) -> None:
    notes.locate(b"/big", "look")
    assert ("entries", b"/deep") not in notes.asked
    notes.locate(b"/deep", "look")
    assert ("entries", b"/deep/er") not in notes.asked
    assert os.lstat(notes.root + b"/deep").st_nlink == 3
    assert os.lstat(notes.root + b"/deep").st_mtime_ns == 10**18
    notes.locate(b"/deep/er/file", "look")
    assert os.lstat(notes.root + b"/deep").st_mtime_ns == 10**18
    assert stat.S_IMODE(os.lstat(notes.root + b"/deep/er").st_mode) == 0o711


def test_a_name_below_a_file_or_a_link_makes_nothing(notes: Notes) -> None:
    for path in (b"/big/x", b"/link/er/file", b"/missing/x"):
        assert notes.locate(path, "read") == notes.root + path
    assert ("read", b"/big") not in notes.asked
    assert ("entries", b"/deep/er") not in notes.asked


@pytest.mark.parametrize("path", [b"/..", b"/deep/../big", b"/./big", b"/missing/../big"])
def test_paths_that_are_not_canonical(notes: Notes, path: bytes) -> None:
    with pytest.raises(FileNotFoundError):
        notes.locate(path, "look")


def test_an_error_is_the_programs_and_is_tried_again(notes: Notes) -> None:
    notes.failing = {b"/deep", b"/secret"}
    for path, intent in ((b"/deep/er", "look"), (b"/secret", "read")):
        with pytest.raises(OSError, match="no answer") as caught:
            notes.locate(path, intent)
        assert caught.value.errno == errno.EHOSTDOWN
    notes.failing = set()
    assert stat.S_ISDIR(os.lstat(notes.locate(b"/deep/er", "look")).st_mode)
    with open(notes.locate(b"/secret", "read"), "rb") as file:
        assert file.read() == b"data"


@pytest.mark.parametrize("given", [None, "", "text", 3, [b"data"]])
@pytest.mark.parametrize("size", [None, 4])
def test_contents_that_are_no_bytes(given: object, size: int | None) -> None:
    class Wrong(TreeModule):
        mount_point = b"/wrong"

        def entries(self, path: bytes) -> Iterable[Entry]:
            return [Entry.file(b"file", size)]

        def read(self, path: bytes) -> bytes:
            return given  # type: ignore[return-value]

    module = Wrong()
    with started(module):
        for _ in range(2):
            with pytest.raises(TypeError, match=r"read\(b'/file'\) gave a .*, and no bytes"):
                module.locate(b"/file", "read")


def test_many_threads_ask_once(notes: Notes) -> None:
    notes.delay = 0.02
    paths = [b"/deep/er/file", b"/big", b"/secret", b"/missing"]
    wrong: list[object] = []
    together = threading.Barrier(16)

    def work(path: bytes) -> None:
        together.wait(10)
        real = notes.locate(path, "read")
        if path != b"/missing":
            with open(real, "rb") as file:
                content = file.read()
            if content not in (b"abc", b"data"):
                wrong.append((path, content))

    threads = [threading.Thread(target=work, args=(paths[i % 4],)) for i in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert not wrong
    assert set(notes.asked.values()) == {1}


def test_a_slow_file_holds_up_no_other(notes: Notes) -> None:
    entered, go_on = threading.Event(), threading.Event()
    whole = notes.read

    def read(path: bytes) -> bytes:
        if path == b"/big":
            entered.set()
            assert go_on.wait(10)
        return whole(path)

    notes.read = read  # type: ignore[method-assign]
    slow = threading.Thread(target=notes.locate, args=(b"/big", "read"))
    slow.start()
    assert entered.wait(10)
    try:
        with open(notes.locate(b"/secret", "read"), "rb") as file:
            assert file.read() == b"data"
        assert os.lstat(notes.locate(b"/big", "look")).st_size == 1 << 30
    finally:
        go_on.set()
        slow.join(10)


@pytest.mark.parametrize("name", [b"", b".", b"..", b"a/b", b"a\0b"])
def test_names_that_no_directory_holds(name: bytes) -> None:
    with pytest.raises(ValueError, match="is no name"):
        Entry.file(name)


@pytest.mark.parametrize(
    "more",
    [{"name": b"x" * 256}, {"size": -5}, {"size": 1 << 63},
     {"kind": "symlink", "target": b"x" * 4096}],
    ids=["name", "negative", "size", "target"],
)  # fmt: skip
def test_what_is_too_much_for_any_directory(more: dict[str, Any]) -> None:
    """No errno of a file system, which the program would take for its own mistake."""
    with pytest.raises(ValueError, match=r"is too long|no size of a file"):
        Entry(**{"name": b"a", **more})
    Entry(b"x" * 255, size=(1 << 63) - 1)
    Entry.symlink(b"a", b"x" * 4095)


def test_a_size_that_the_file_system_has_not() -> None:
    class Big(TreeModule):
        mount_point = b"/big"

        def entries(self, path: bytes) -> Iterable[Entry]:
            return [Entry.file(b"a", 1 << 30)]

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    module = Big()
    with started(module):
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
        try:
            with pytest.raises(ValueError, match="no room for b'a' of 1073741824 bytes"):
                module.locate(b"/a", "look")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_only_a_link_has_a_target() -> None:
    with pytest.raises(ValueError, match="target"):
        Entry.symlink(b"a", b"")
    with pytest.raises(ValueError, match="target"):
        Entry(b"a", "file", target=b"b")


def test_a_name_twice() -> None:
    class Twice(Notes):
        def entries(self, path: bytes) -> Iterable[Entry]:
            return [Entry.file(b"a", 0), Entry.directory(b"a")]

    module = Twice()
    with started(module), pytest.raises(ValueError, match="two entries b'a'"):
        module.locate(b"", "look")


def test_a_mount_point_has_to_be_absolute(tmp_path: os.PathLike[str]) -> None:
    class Nowhere(Notes):
        mount_point = b"notes"

    with pytest.raises(ValueError, match="not absolute"):
        Nowhere().start(os.fsencode(tmp_path))
