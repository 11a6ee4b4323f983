"""Calls as strace prints them; strace itself is the witness where it is installed."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from viewos.abi import fcntl as f
from viewos.abi.syscalls import TABLE
from viewos.abi.text import at_flags, format_call, open_flags, quoted

pytestmark = pytest.mark.timeout(60)

CWD = 0xFFFFFF9C
STRINGS = {0x1000: b"/tmp/a b\n", 0x2000: b"new", 0x3000: b'"\\\xff1\x01'}


def read(address: int) -> bytes:
    if address not in STRINGS:
        raise OSError(14, "Bad address")
    return STRINGS[address]


@pytest.mark.parametrize(
    ("name", "args", "text"),
    [
        ("openat", (CWD, 0x2000, 0o2000000, 0), 'openat(AT_FDCWD, "new", O_RDONLY|O_CLOEXEC)'),
        ("open", (0x2000, 0o1101, 0o644), 'open("new", O_WRONLY|O_CREAT|O_TRUNC, 0644)'),
        ("openat", (3, 0x2000, 0o20200002, 0o600), 'openat(3, "new", O_RDWR|O_TMPFILE, 0600)'),
        ("creat", (0x2000, 0o600), 'creat("new", 0600)'),
        ("unlinkat", (CWD, 0x1000, 0x200), 'unlinkat(AT_FDCWD, "/tmp/a b\\n", AT_REMOVEDIR)'),
        ("mkdir", (0x3000, 0), 'mkdir("\\"\\\\\\3771\\1", 000)'),
        ("chown", (0x2000, 0xFFFFFFFF, 7), 'chown("new", -1, 7)'),
        ("kill", (0xFFFFFFFF, 15), "kill(-1, SIGTERM)"),
        ("acct", (0,), "acct(NULL)"),
        ("chdir", (0x9999,), "chdir(0x9999)"),
        ("getpid", (1, 2, 3), "getpid()"),
        ("lseek", (3, 0xFFFFFFFFFFFFFFFF, 1), "lseek(3, -1, 1)"),
    ],
)
def test_calls(name: str, args: tuple[int, ...], text: str) -> None:
    assert format_call(TABLE[name], args, read) == text


def test_without_memory() -> None:
    assert format_call(TABLE["mkdir"], (0x2000, 0o755)) == "mkdir(0x2000, 0755)"


def test_every_row_can_be_printed() -> None:
    for row in TABLE.values():
        for value in (0, 1, 0xFFFFFFFFFFFFFFFF):
            text = format_call(row, (value,) * 6, read)
            assert text.startswith(row.name + "(")
            assert text.endswith(")")


def test_flags() -> None:
    assert open_flags(0o4010000) == "O_RDONLY|O_SYNC"
    assert open_flags(0o10000) == "O_RDONLY|O_DSYNC"
    assert open_flags(0x80000003) == "O_ACCMODE|0x80000000"
    assert at_flags(0) == "0"
    assert at_flags(0x200, "faccessat2") == "AT_EACCESS"
    assert at_flags(0x200) == "0x200"


def test_long_strings_are_cut() -> None:
    assert quoted(b"abcdef", 3) == '"abc"...'


@pytest.mark.parametrize("first", [1, 128])
def test_as_strace_prints_it(first: int) -> None:
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    # Every byte but zero and the slash, with a digit behind it and without.
    some = [value for value in range(first, min(first + 128, 256)) if value != ord("/")]
    name = bytes(byte for value in some for byte in (value, 0x37)) + bytes(some)
    flags = f.O_WRONLY | f.O_NOFOLLOW | f.O_DIRECTORY | f.O_NONBLOCK | f.O_CLOEXEC
    program = f"import os\ntry: os.open({name!r}, {flags})\nexcept OSError: pass"
    done = subprocess.run(
        [strace, "-s", "999", "-e", "trace=openat", "-o", "/dev/stdout", sys.executable,
         "-c", program],
        capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    row, strings = TABLE["openat"], {0x1000: name}
    ours = format_call(row, (CWD, 0x1000, flags, 0), strings.__getitem__)
    prefix = ours.rpartition(", ")[0]
    line = next(line for line in done.stdout.splitlines() if line.startswith(prefix))
    words = line[len(prefix) + 2 :].partition(")")[0].split("|")
    assert set(words) == set(ours[len(prefix) + 2 : -1].split("|"))
