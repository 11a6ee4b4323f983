"""A link that takes the place of a file between its look-up and the call leads where it leads in
the view: never to the machine's file of that name."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .view import run_in_view, scratch_directory

NOBODY = 65534
SECONDS = 1.5
pytestmark = pytest.mark.timeout(60)
EXCHANGES = """
import ctypes, os, sys, time
libc = ctypes.CDLL(None)
os.chdir(sys.argv[1])
while os.getppid() == int(sys.argv[2]):
    libc.renameat2(-100, b"conf", -100, b"link", 2)
    time.sleep(.0001)
"""
USES = """
import os, sys, time
name, seconds = sys.argv[1], float(sys.argv[2])
def read(flags=os.O_RDONLY, text=None):
    fd = os.open(name, flags, 0o644)
    try:
        return os.read(fd, 8) if text is None else os.write(fd, text)
    finally:
        os.close(fd)
def looks():
    return os.stat(name).st_mode & 0o170000
def reads():
    return read()
def writes():
    read(os.O_WRONLY | os.O_CREAT | os.O_TRUNC, b"file")
def truncates():
    os.truncate(name, 4)
def modes():
    os.chmod(name, 0o666)
def attributes():
    os.setxattr(name, "user.who", b"view")
    return os.getxattr(name, "user.who")
uses, seen, end = (looks, reads, writes, truncates, modes, attributes), set(), time.time() + seconds
use = uses[0]
while time.time() < end:
    for use in uses:
        for _ in range(10):
            try:
                seen.add((use.__name__, use()))
            except OSError as error:
                seen.add((use.__name__, error.errno))
            if time.time() > end:
                break
print(sorted(map(repr, seen)))
"""
SEEN = {
    "('attributes', b'view')", "('looks', 32768)", "('modes', None)", "('reads', b'')",
    "('reads', b'file')", "('truncates', None)", "('writes', None)", "('reads', b'TREE')",
    "('attributes', 61)",  # of a link, which has none: the program itself has asked
    "('reads', b'\\x00\\x00\\x00\\x00')",  # truncate(2) of the empty file
}  # fmt: skip


@contextmanager
def exchanging(directory: Path) -> Iterator[None]:
    with subprocess.Popen(
        [sys.executable, "-c", EXCHANGES, str(directory), str(os.getpid())]
    ) as exchanger:
        try:
            yield
        finally:
            exchanger.kill()


@pytest.mark.parametrize("tier", ["in process", "accelerator", "python"])
@pytest.mark.parametrize("user", [0, NOBODY] if os.getuid() == 0 else [None])
def test_calls_while_a_file_and_a_link_are_exchanged(
    tier: str, user: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if tier != "in process":
        monkeypatch.setenv("VIEWOS_TEST_INPROC", "0")
    if tier == "python":
        monkeypatch.setenv("VIEWOS_PURE", "1")
    with scratch_directory("viewos-exchanged-") as top:
        for name in ("tree", "machine", "other"):
            (top / name).mkdir()
        machines, seen = top / "machine/conf", top / "other/conf"
        machines.write_text("REAL")
        seen.write_text("TREE")
        (top / "tree/conf").write_text("file")
        (top / "tree/link").symlink_to(machines)
        for file in (machines, seen, top / "tree/conf", top / "tree"):
            file.chmod(0o777)
            if user:
                os.chown(file, user, user)
        before = machines.stat()
        with exchanging(top / "tree"):
            done = run_in_view(
                (f"vfs:{top}/at={top}/tree,{top}/machine={top}/other",),
                ["python3", "-c", USES, f"{top}/at/conf", str(SECONDS)],
                user=user,
                check=True,
            )
        assert machines.read_text() == "REAL"
        assert os.listxattr(machines) == []
        assert (machines.stat().st_mode, machines.stat().st_ctime_ns) == (
            before.st_mode,
            before.st_ctime_ns,
        )
    assert set(ast.literal_eval(done.stdout.decode())) <= SEEN
