"""A link that takes the place of a file, or of a directory on the way to one, between its look-up
and the call leads where it leads in the view: never to what the machine has by that name."""

from __future__ import annotations

import ast
import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .command import USERS, viewos
from .users import python
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
    libc.renameat2(-100, b"dir", -100, b"way", 2)
    time.sleep(.0001)
"""
USES = """
import os, sys, threading, time
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
def executes():
    return os.access(name, os.X_OK)
def times():
    os.utime(name, (5, 5))
def owns():
    os.chown(name, os.geteuid() or 5, os.getegid() or 5)
within = os.path.dirname(name) + "/dir/"
def looks_within():
    return max(os.stat(within + "conf").st_size, os.lstat(within + "conf").st_size)
def makes_within():
    os.mkdir(within + "made")
    os.symlink("text", within + "linked")
    os.mknod(within + "node")
def removes_within():
    os.unlink(within + "node")
    for remove, what in ((os.rmdir, "made"), (os.unlink, "linked"), (os.unlink, "moved")):
        try:
            remove(within + what)
        except FileNotFoundError:
            pass
def renames_within():
    os.rename(within + "linked", within + "moved")
def links_within():
    os.link(within + "conf", within + "node")
def changes_within():
    os.chmod(within + "conf", 0o600)
    os.utime(within + "conf", (5, 5))
    os.utime(within + "conf", (5, 5), follow_symlinks=False)
    os.chown(within + "conf", os.geteuid() or 5, os.getegid() or 5, follow_symlinks=False)
    os.setxattr(within + "conf", "user.who", b"view", follow_symlinks=False)
uses = (
    looks, reads, writes, truncates, modes, attributes, executes, times, owns, looks_within,
    makes_within, removes_within, renames_within, links_within, changes_within,
)
if sys.argv[3] == "threads":
    threading.Thread(target=time.sleep, args=[3600], daemon=True).start()
    def opens_within():
        for what in ("linked", "node"):
            os.close(os.open(within + what, os.O_CREAT | os.O_WRONLY))
    unsafe = makes_within, links_within, changes_within
    uses = [use for use in uses if use not in unsafe] + [opens_within]
seen, end = set(), time.time() + seconds
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
    "('attributes', b'view')", "('looks', 32768)", "('executes', False)", "('times', None)",
    "('owns', None)", "('looks_within', 4)", "('modes', None)", "('reads', b'')",
    "('reads', b'file')", "('truncates', None)", "('writes', None)", "('reads', b'TREE')",
    "('reads', b'\\x00\\x00\\x00\\x00')",  # truncate(2) of the empty file
}  # fmt: skip
ONCE_HERE_ONCE_THERE = {
    f"('{use}_within', {result})"
    for use in ("makes", "opens", "removes", "renames", "links", "changes")
    for result in (None, errno.ENOENT, errno.EEXIST, errno.EXDEV)
}


@contextmanager
def exchanging(directory: Path) -> Iterator[None]:
    with subprocess.Popen(
        [sys.executable, "-c", EXCHANGES, str(directory), str(os.getpid())]
    ) as exchanger:
        try:
            yield
        finally:
            exchanger.kill()


@pytest.mark.parametrize("tier", ["in process", "threads", "accelerator", "python"])
@pytest.mark.parametrize("user", [0, NOBODY] if os.getuid() == 0 else [None])
def test_calls_while_a_file_and_a_link_are_exchanged(
    tier: str, user: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if tier in ("accelerator", "python"):
        monkeypatch.setenv("VIEWOS_TEST_INPROC", "0")
    if tier == "python":
        monkeypatch.setenv("VIEWOS_PURE", "1")
    with scratch_directory("viewos-exchanged-") as top:
        for name in ("tree", "machine", "other", "tree/dir"):
            (top / name).mkdir()
        machines, tree = top / "machine", top / "tree"
        for file, text in (("machine", "REAL, and no other"), ("other", "TREE"), ("tree", "file")):
            (top / file / "conf").write_text(text)
        (tree / "dir/conf").write_text("file")
        (machines / "made").mkdir()
        for name in ("linked", "moved", "node"):
            (machines / name).touch()
        (tree / "link").symlink_to(machines / "conf")
        (tree / "way").symlink_to(machines)
        for name in ("tree", "machine", "other", "tree/dir"):
            for path in (top / name, top / name / "conf"):
                path.chmod(0o777 if path.is_dir() else 0o666)
                os.setxattr(path, "user.who", b"view" if name != "machine" else b"real")
        if user:
            for path in (tree, *top.rglob("*")):
                os.chown(path, user, user, follow_symlinks=False)
        os.utime(tree / "link", (7, 7), follow_symlinks=False)
        before = state(machines)
        with exchanging(tree):
            done = run_in_view(
                (f"vfs:{top}/at={tree},{machines}={top}/other",),
                ["python3", "-c", USES, f"{top}/at/conf", str(SECONDS), tier],
                user=user,
                check=True,
            )
        assert state(machines) == before
        link = next(path for path in (tree / "link", tree / "conf") if path.is_symlink())
        assert (link.lstat().st_mtime, link.lstat().st_uid) == (7, user or os.geteuid())
    seen = set(ast.literal_eval(done.stdout.decode())) - ONCE_HERE_ONCE_THERE
    if tier in ("in process", "threads"):  # what only looks is made without a descriptor there
        seen = {use for use in seen if not use.startswith("('looks_within'")}
    assert seen <= SEEN


def state(directory: Path) -> list[tuple[object, ...]]:
    """All that a call could change of a directory and its files, or has read from them."""
    return [
        (path.name, *path.lstat()[:7], path.lstat().st_ctime_ns, os.listxattr(path))
        for path in (directory, *sorted(directory.iterdir()))
    ]


REFUSED = """
import os, sys, time
end = time.time() + float(sys.argv[2])
while time.time() < end:
    try:
        os.chmod(sys.argv[1], 0o640)
    except PermissionError:
        pass
"""


@pytest.mark.skipif(os.getuid() != 0, reason="files of two users")
@pytest.mark.parametrize("tier", ["in process", "accelerator", "python"])
def test_a_chmod_that_is_refused_is_made_of_nothing_else(
    tier: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if tier != "in process":
        monkeypatch.setenv("VIEWOS_TEST_INPROC", "0")
    if tier == "python":
        monkeypatch.setenv("VIEWOS_PURE", "1")
    with scratch_directory("viewos-exchanged-") as top:
        for name in ("tree", "machine", "other"):
            (top / name).mkdir()
            (top / name / "conf").touch(mode=0o644)
        (top / "tree/link").symlink_to(top / "machine/conf")
        os.chown(top / "machine/conf", NOBODY, NOBODY)
        with exchanging(top / "tree"):
            run_in_view(
                (f"vfs:{top}/at={top}/tree,{top}/machine={top}/other",),
                ["python3", "-c", REFUSED, f"{top}/at/conf", "1"],
                user=NOBODY,
                check=True,
            )
        assert (top / "machine/conf").stat().st_mode & 0o7777 == 0o644


CHMODS = """
import os, sys
def mode(*names):
    result = []
    for name in names:
        try:
            os.chmod(name, 0o640 + len(result))
            result.append(os.stat(name).st_mode & 0o7777)
        except OSError as error:
            result.append(error.errno)
    return result
os.chdir(sys.argv[1])
print(mode("f", sys.argv[1] + "/f", "l", "../dir/f", "no", "no/f", "f/f", "f/", "dir", "another's"))
"""


@pytest.mark.parametrize("tier", ["in process", "accelerator", "python"])
@pytest.mark.parametrize("forbidden", [None, "fchmodat2=EPERM", "fchmodat2=ENOSYS"])
@pytest.mark.parametrize("user", USERS)
def test_chmod_where_fchmodat2_is_filtered(
    forbidden: str | None, tier: str, user: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = ("--no-inproc",) if tier != "in process" else ()
    if tier == "python":
        monkeypatch.setenv("VIEWOS_PURE", "1")
    with scratch_directory("viewos-exchanged-") as top:
        directory = top / "dir"
        (directory / "dir").mkdir(parents=True)
        for name in ("f", "another's"):
            (directory / name).touch()
        (directory / "l").symlink_to("f")
        if user:
            for path in (directory, directory / "f", directory / "dir"):
                os.chown(path, user, user)
        program = [python(user), "-c", CHMODS]
        done = viewos(
            "run", *flags, "-m", f"vfs:{top}/mnt={top}", "--", *program, f"{top}/mnt/dir",
            user=user, forbid=[forbidden] if forbidden else (), check=True,
        )  # fmt: skip
        natively = run_in_view(None, [*program, str(directory)], user=user, check=True)
    assert done.stdout == natively.stdout
