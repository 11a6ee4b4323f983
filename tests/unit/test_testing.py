"""viewos.testing: the fake call does as the monitor would, and the suite finds what is wrong."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Any

import pytest

from viewos import PASS, Call, Entry, FileModule, TreeModule, Utsname, VirtualModule, hook
from viewos.testing import FakeCall, FakeMemory, FakeProcess, FileModuleConformance


class Recorder(VirtualModule):
    """Answers and looks, and says in which order."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.label, self.log = name, log

    @hook("uname")
    def look(self, call: Call) -> object:
        self.log.append(f"{self.label} looks")
        return PASS

    def uname(self, call: Call) -> object:
        self.log.append(f"{self.label} answers")
        return f"{self.label}({call.below()})"


def test_hooks_first_and_each_from_the_top_down() -> None:
    log: list[str] = []
    process = FakeProcess(Recorder("low", log), Recorder("high", log))
    assert FakeCall(process, "uname", below="kernel").answer() == "high(low(kernel))"
    assert log == ["high looks", "low looks", "high answers", "low answers"]


class Passing(VirtualModule):
    """Answers nothing."""

    def openat(self, call: Call) -> object:
        return PASS


def test_a_passed_call() -> None:
    assert FakeCall(Passing(), "openat", path=b"/x").answer() is PASS
    assert FakeCall(Passing(), "getpid").answer() is PASS


class Counter(VirtualModule):
    """Counts the calls of each process."""

    def getpid(self, call: Call) -> int:
        count = int(call.recall(0)) + 1
        call.keep(count)
        return count


def test_each_layer_keeps_its_own() -> None:
    class Both(Counter):
        def getpid(self, call: Call) -> int:
            below = call.below()
            count = int(call.recall(100)) + 1
            call.keep(count)
            return int(below) * 1000 + count

    process = FakeProcess(Counter(), Both())
    assert FakeCall(process, "getpid").answer() == 1101
    child = process.fork()
    assert FakeCall(child, "getpid").answer() == 2102
    assert FakeCall(process, "getpid").answer() == 2102
    assert FakeCall(FakeProcess(*process.modules), "getpid").answer() == 1101


def test_what_is_kept_has_to_be_hashable() -> None:
    class Wrong(VirtualModule):
        def getpid(self, call: Call) -> int:
            call.keep([1])
            return 0

    with pytest.raises(TypeError, match="unhashable"):
        FakeCall(Wrong(), "getpid").answer()


class Asks(VirtualModule):
    """Returns what it sees of an open."""

    def open(self, call: Call) -> Any:
        if call.name == "creat":
            return call.below()
        return call.path, call.args.flags, call.args.path, call.operation


def test_arguments_are_decoded() -> None:
    process = FakeProcess(Asks(), cwd=b"/home")
    call = FakeCall(process, "openat", path=b"a/../b", flags=os.O_WRONLY)
    assert call.args.dirfd == -100
    assert call.answer() == (b"/home/b", os.O_WRONLY, b"a/../b", "open")
    assert FakeCall(process, "openat", dirfd=-1, path=b"/x").args.dirfd == -1
    assert call.pid == 1000
    assert call.searched() == [b"/", b"/home"]
    with pytest.raises(TypeError, match="openat has no argument pathname"):
        FakeCall(Asks(), "openat", pathname=b"/x")
    with pytest.raises(KeyError):
        FakeCall(Asks(), "opnat")


def _fail(call: Call) -> object:
    raise OSError(errno.EIO, os.fsdecode(call.path or b""))


@pytest.mark.parametrize(
    ("below", "number"), [(OSError(errno.EACCES, "no"), errno.EACCES), (_fail, errno.EIO)]
)
def test_below_raises(below: object, number: int) -> None:
    with pytest.raises(OSError) as caught:  # noqa: PT011
        FakeCall(Asks(), "creat", path=b"/x", below=below).answer()
    assert caught.value.errno == number


def test_without_below_there_is_none() -> None:
    with pytest.raises(OSError, match="no `below` was given"):
        FakeCall(Asks(), "creat", path=b"/x").answer()


def test_an_async_handler_is_run() -> None:
    class Waits(VirtualModule):
        async def uname(self, call: Call) -> Utsname:
            import anyio

            await anyio.sleep(0)
            return Utsname(b"", b"async", b"", b"", b"", b"")

    assert FakeCall(Waits(), "uname").answer().nodename == b"async"


def test_memory() -> None:
    memory = FakeMemory()
    one, other = memory.place(b"abc\0def"), memory.allocate(4)
    assert memory.read(one + 1, 3) == b"bc\0"
    assert memory.read_string(one) == b"abc"
    memory.write(other + 1, b"xy")
    assert memory.read(other, 4) == b"\0xy\0"
    for bad in (
        lambda: memory.read(0, 1),
        lambda: memory.read(one, 8),
        lambda: memory.read(one - 1, 2),
        lambda: memory.write(other + 3, b"ab"),
        lambda: memory.read_string(one + 4),  # no zero byte before the end
    ):
        with pytest.raises(OSError, match="bad address"):
            bad()


# ---- the suite: right modules pass, wrong ones are found ----------------------------------------


class Tree(TreeModule):
    """A tree of all kinds."""

    mount_point = b"/tree"

    def entries(self, path: bytes) -> list[Entry]:
        if path == b"/d":
            return [Entry.directory(b"\xff", mode=0o500)]
        if path:
            return []
        return [
            Entry.file(b"a", 5, mode=0o400, mtime_ns=10**18),
            Entry.file(b"unknown"),
            Entry.file(b"empty", 0),
            Entry.directory(b"d", mtime_ns=10**18 + 1),
            Entry.symlink(b"l", b"d"),
            Entry.symlink(b"out", b"/etc/passwd"),
        ]

    def read(self, path: bytes) -> bytes:
        return {b"/a": b"hello", b"/unknown": b"found by reading", b"/empty": b""}[path]


class Folder(FileModule):
    """A writable directory, by all defaults."""

    mount_point = b"/folder"


class TestTree(FileModuleConformance):
    module = staticmethod(Tree)


class TestFolder(FileModuleConformance):
    module = staticmethod(Folder)


class WrongSize(Tree):
    def read(self, path: bytes) -> bytes:
        return super().read(path) + b"!"


class Escapes(Folder):
    def locate(self, path: bytes, intent: str) -> bytes:
        return self.root + path


class Appends(Folder):
    def prepare(self, path: bytes, intent: str) -> None:
        with open(self.root + b"/log", "ab") as file:
            file.write(b"x")


class Invents(Folder):
    def locate(self, path: bytes, intent: str) -> bytes:
        return self.root


class Follows(Tree):
    def locate(self, path: bytes, intent: str) -> bytes:
        return os.path.realpath(super().locate(path, intent))


class SaysNothing(Folder):
    mount_point = b""


class Forgets(Folder):
    """Another object each time."""

    def prepare(self, path: bytes, intent: str) -> None:
        if path in (b"", b"/f"):
            with open(self.root + b"/new", "wb"):
                os.rename(self.root + b"/new", self.root + b"/f")


@pytest.mark.parametrize(
    ("module", "test"),
    [
        (WrongSize, "test_a_look_tells_what_a_read_finds"),
        (Escapes, "test_locate_stays_below_the_root"),
        (Appends, "test_prepare_is_idempotent"),
        (Invents, "test_missing_names_do_not_exist"),
        (Follows, "test_links_lead_nowhere_by_themselves"),
        (SaysNothing, "test_the_claim_is_absolute_and_located_by_the_module"),
        (Forgets, "test_locate_is_stable"),
    ],
)
def test_the_suite_finds_what_is_wrong(module: Callable[[], FileModule], test: str) -> None:
    suite = type("Suite", (FileModuleConformance,), {"module": staticmethod(module), "most": 50})()
    with pytest.raises(AssertionError):
        getattr(suite, test)()
