"""viewos trace: lines for calls, and what the program does is what it does without."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from .view import run_in_view

VIEWOS = [sys.executable, "-m", "viewos"]


def trace(*words: str) -> tuple[str, list[str]]:
    """(what the program said, the lines without the thread's id)."""
    done = run_in_view(None, [*VIEWOS, "trace", *words])
    lines = done.stderr.decode().splitlines()
    assert done.returncode == 0, lines
    return done.stdout.decode(), [re.sub(r"^\d+ ", "", line) for line in lines]


@pytest.fixture
def work(tmp_path: Path) -> Path:
    (tmp_path / "file").write_text("text\n")
    return tmp_path


def test_what_is_done_stands_in_the_line(work: Path) -> None:
    script = "cat /mnt/file; cd /mnt; uname -n; > /mnt/new; rm new; cat /mnt/none 2>/dev/null; :"
    modules = ("-m", f"vfs:/mnt={work}", "-m", "hostname:h")
    said, lines = trace(*modules, "-e", "!continued", "--", "sh", "-c", script)
    assert said == "text\nh\n"
    calls = [
        re.sub(r"0x[0-9a-f]+", "PTR", line) for line in lines if "/mnt" in line or "uname" in line
    ]
    assert calls == [
        f'openat(AT_FDCWD, "/mnt/file", O_RDONLY) = 3 <emulated at {work}/file>',
        f'chdir("/mnt") = 0 <fix-up {work}>',
        "uname(PTR) = 0 <hostname: answers>",
        'openat(AT_FDCWD, "/mnt/new", O_WRONLY|O_CREAT|O_TRUNC, 0666) = 3'
        f" <emulated at {work}/new>",
        'openat(AT_FDCWD, "/mnt/none", O_RDONLY) = -1 ENOENT (No such file or directory)'
        f" <emulated at {work}/none>",
    ]


def test_all_shows_what_no_module_asks_for() -> None:
    _, lines = trace("-a", "-e", "open", "--", "cat", "/etc/hostname")
    assert 'openat(AT_FDCWD, "/etc/hostname", O_RDONLY) = ? <continue>' in lines
    assert all(line.startswith("open") for line in lines)


BAD = """
import ctypes, mmap, os, sys
libc = ctypes.CDLL(None, use_errno=True)
page = mmap.mmap(-1, 8192); page[:] = b"a" * 8192
start = ctypes.addressof(ctypes.c_char.from_buffer(page))
libc.mprotect(ctypes.c_void_p(start + 4096), 4096, 0)
for path in (ctypes.c_void_p(8), ctypes.c_void_p(start + 4000), b"/mnt/" + b"a/" * 2500):
    for name in ("open", "access", "mkdir"):
        print(getattr(libc, name)(path, 0), os.strerror(ctypes.get_errno()))
"""


def test_pointers_that_lead_nowhere(work: Path) -> None:
    """What the program gets is what it gets without; the pointer is shown, as strace does."""
    words = ["-m", f"vfs:/mnt={work}", "-e", "open,access,mkdir", "--", "python3", "-c", BAD]
    native = run_in_view(None, ["python3", "-c", BAD], check=True).stdout.decode()
    said, lines = trace(*words)
    assert said == native and native.count("Bad address") == 6
    assert len([line for line in lines if "(0x8" in line or ", 0x8" in line]) == 3, lines
    assert len([line for line in lines if '/a/a/a"...' in line]) == 3
    assert not any("Traceback" in line or "a bug" in line for line in lines)


def test_expressions(work: Path) -> None:
    words = ("-m", f"vfs:/mnt={work}", "-m", "hostname:h")
    ls = ("--", "sh", "-c", "ls /mnt /mnt/none 2>/dev/null; uname -n; :")
    _, lines = trace(*words, "-e", "path=/mnt", "-e", "failed", *ls)
    assert lines and all('"/mnt/none"' in line and "ENOENT" in line for line in lines)
    _, lines = trace(*words, "-e", "module=hostname", *ls)
    assert len(lines) == 1 and lines[0].startswith("uname(")
    _, lines = trace(*words, "-e", "!stat,open,execve,access", "-e", "!uname", *ls)
    assert not any(line.startswith(("newfstatat", "openat", "uname")) for line in lines)


def test_the_lines_in_a_file(work: Path) -> None:
    said, lines = trace("-a", "-o", str(work / "out"), "--", "cat", str(work / "file"))
    assert (said, lines) == ("text\n", [])
    assert str(work / "file") in (work / "out").read_text()


def test_lines_that_are_lost(work: Path) -> None:
    """Nobody heard of it."""
    said = "viewos: lines of the trace are lost: No space left on device"
    assert trace("-a", "-o", "/dev/full", "--", "cat", str(work / "file")) == ("text\n", [said])


def test_without_a_standard_output(work: Path) -> None:
    """It is stderr that gets the lines."""
    script = f"exec python3 -m viewos trace -a -e open -- sh -c 'true < {work}/file' >&-"
    done = run_in_view(None, ["sh", "-c", script])
    assert f'"{work}/file"'.encode() in done.stderr


def test_a_nested_view_has_its_number() -> None:
    inner = "python3 -m viewos run -m hostname:h -- uname -n"
    said, lines = trace("-m", "vfs:/=/", "-e", "uname", "--", "sh", "-c", inner)
    assert said == "h\n"
    assert any(
        re.fullmatch(r"\[1\] uname\(0x[0-9a-f]+\) = 0 <hostname: answers>", x) for x in lines
    )


@pytest.mark.parametrize(("words", "status", "said"), [
    (["-e", "nonsense", "--", "true"], 2, "-e nonsense: 'nonsense' is no system call"),
    (["-e", "!", "--", "true"], 2, "-e !: '' is no system call"),
    (["-e", "!open,zz", "--", "true"], 2, "-e !open,zz: 'zz' is no system call"),
    (["-e", "", "--", "true"], 2, "-e '': '' is no system call"),
    (["-o", "/no/such/file", "--", "true"], 125, "/no/such/file: No such file or directory"),
    (["-o", "", "--", "true"], 125, "viewos: '': No such file or directory"),
    ([], 2, "which COMMAND?"),
])  # fmt: skip
def test_bad_input(words: list[str], status: int, said: str) -> None:
    done = subprocess.run(
        [*VIEWOS, "trace", *words], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == status
    assert said in done.stderr and done.stderr.count("\n") == 1


def test_in_a_view_it_says_so() -> None:
    done = run_in_view(["hostname:x"], [*VIEWOS, "trace", "--", "true"])
    assert done.returncode == 125
    assert b"`viewos trace -V VIEW` shows its calls" in done.stderr
