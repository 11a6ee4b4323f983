"""Structures and constants against the running kernel and the standard library."""

from __future__ import annotations

import ctypes
import os
import pathlib
import resource
import socket as sockets
import struct
import subprocess
import sys

import pytest

from viewos.abi import fcntl, prctl
from viewos.abi import resource as limits
from viewos.abi import socket as unix
from viewos.abi.numbers import NUMBERS
from viewos.abi.row import Kind, decode, signed32, signed64
from viewos.abi.stat import STAT, STATX, STATX_BASIC_STATS, STATX_BTIME, Stat, Statx
from viewos.abi.utsname import UTSNAME, Utsname

pytestmark = pytest.mark.timeout(60)

libc = ctypes.CDLL(None, use_errno=True)


def filled(size: int, name: str, *arguments: object) -> bytes:
    """What the system call writes into a buffer of that size; None in `arguments` stands for it."""
    buffer = ctypes.create_string_buffer(size)
    sent = [
        buffer if a is None else ctypes.c_long(a) if isinstance(a, int) else a for a in arguments
    ]
    assert libc.syscall(ctypes.c_long(NUMBERS[name]), *sent) == 0, os.strerror(ctypes.get_errno())
    return buffer.raw


def test_utsname_is_the_kernels() -> None:
    raw = filled(UTSNAME.size, "uname", None)
    assert Utsname.decode(raw) == Utsname.of_host()
    assert Utsname.of_host().encode() == raw


def test_utsname_takes_64_bytes() -> None:
    name = Utsname(b"a" * 64, b"", b"", b"", b"", b"d")
    assert Utsname.decode(name.encode()) == name
    with pytest.raises(ValueError, match="65 bytes"):
        Utsname(b"a" * 65, b"", b"", b"", b"", b"").encode()


@pytest.mark.parametrize("path", ["/", "/dev/null", sys.executable, "/proc/self/status"])
def test_stat_is_the_kernels(path: str) -> None:
    raw = filled(STAT.size, "stat", os.fsencode(path), None)
    decoded = Stat.decode(raw)
    assert decoded.encode() == raw
    if not path.startswith("/proc"):  # whose times are those of the look
        assert decoded == Stat.of(os.stat(path))


def test_times_before_1970(tmp_path: pathlib.Path) -> None:
    os.utime(tmp_path, ns=(-1, -1_500_000_000))
    raw = filled(STAT.size, "stat", os.fsencode(tmp_path), None)
    assert Stat.decode(raw).atime == -1
    assert Stat.decode(raw).mtime == -1_500_000_000
    assert Stat.decode(raw).encode() == raw
    raw = filled(STATX.size, "statx", -100, os.fsencode(tmp_path), 0, STATX_BASIC_STATS, None)
    assert Statx.decode(raw).mtime == -1_500_000_000
    assert Statx.decode(raw).encode() == raw


def test_statx_is_the_kernels(tmp_path: pathlib.Path) -> None:
    mask = STATX_BASIC_STATS | STATX_BTIME
    for path in (os.fsencode(tmp_path), b"/dev/null"):
        raw = filled(STATX.size, "statx", -100, path, 0, mask, None)
        decoded, plain = Statx.decode(raw), os.stat(path)
        assert STATX.size == 256
        assert decoded.encode() == raw
        assert (decoded.dev, decoded.ino, decoded.rdev) == (
            plain.st_dev,
            plain.st_ino,
            plain.st_rdev,
        )
        assert (decoded.mode, decoded.nlink, decoded.uid) == (
            plain.st_mode, plain.st_nlink, plain.st_uid,
        )  # fmt: skip
        assert (decoded.atime, decoded.mtime, decoded.ctime) == (
            plain.st_atime_ns, plain.st_mtime_ns, plain.st_ctime_ns,
        )  # fmt: skip


def socket_name(fd: int) -> bytes:
    buffer, size = ctypes.create_string_buffer(200), ctypes.c_int(200)
    assert libc.getsockname(fd, buffer, ctypes.byref(size)) == 0
    return buffer.raw[: size.value]


@pytest.mark.parametrize(
    ("name", "terminated"),
    [
        (b"short", False),
        (b"short", True),
        (b"x" * 107, True),
        (b"x" * 108, False),
        (b"\0viewos test", False),
        (b"\0viewos\0zeros\0", False),
        (b"\0" + b"y" * 107, False),
        (b"", False),
    ],
)
def test_unix_names_are_the_kernels(
    name: bytes, terminated: bool, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with sockets.socket(sockets.AF_UNIX, sockets.SOCK_DGRAM) as made:
        if name:
            given = struct.pack("=H", unix.AF_UNIX) + name + b"\0" * terminated
            assert libc.bind(made.fileno(), given, len(given)) == 0
            assert unix.decode_unix(given) == name
        said = socket_name(made.fileno())
    assert unix.decode_unix(said) == name
    assert unix.encode_unix(name) == said


def test_other_addresses() -> None:
    assert unix.decode_unix(struct.pack("=H", sockets.AF_INET) + b"\0" * 14) is None
    assert unix.decode_unix(b"\1") is None
    assert unix.family(b"") is None
    with pytest.raises(ValueError, match="109 bytes"):
        unix.encode_unix(b"x" * 109)


def test_a_short_buffer_as_the_kernel(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with sockets.socket(sockets.AF_UNIX) as made:
        made.bind("socket")
        buffer, size = ctypes.create_string_buffer(b"#" * 20, 20), ctypes.c_int(5)
        assert libc.getsockname(made.fileno(), buffer, ctypes.byref(size)) == 0
    written, said = unix.truncated(unix.encode_unix(b"socket"), 5)
    assert buffer.raw == written + b"#" * 15
    assert size.value == said


def test_constants_are_the_standard_librarys() -> None:
    compared = 0
    for name, value in vars(fcntl).items():
        if name.startswith("O_") and hasattr(os, name) and name != "O_LARGEFILE":
            assert getattr(os, name) == value, name
            compared += 1
    for name, value in vars(limits).items():
        if name.startswith("RLIMIT_") and hasattr(resource, name):
            assert getattr(resource, name) == value, name
            compared += 1
    assert compared > 30


HEADERS = (
    "fcntl", "openat2", "fs", "mount", "inotify", "fanotify", "xattr", "quota", "bpf", "prctl",
    "limits", "resource",
)  # fmt: skip
# Ours, not the kernel's; glibc's; or newer than the headers of Linux 6.1.
NOT_IN_HEADERS = {
    "O_TMPFILE_BIT", "QUOTA_TYPE_BITS", "MAX_SYMLINKS", "UMOUNT_NOFOLLOW", "F_OK", "X_OK", "W_OK",
    "R_OK", "AT_EXECVE_CHECK", "BPF_F_PATH_FD", "SUID_DUMP_DISABLE", "SUID_DUMP_USER",
    "SUID_DUMP_ROOT",
}  # fmt: skip


def test_constants_are_the_headers(tmp_path: pathlib.Path) -> None:
    if not os.path.exists("/usr/include/linux/openat2.h"):
        pytest.skip("no linux/openat2.h (Debian: linux-libc-dev)")
    if subprocess.run(["which", "cc"], capture_output=True, timeout=10, check=False).returncode:
        pytest.skip("no C compiler")
    ours = {
        name: value
        for module in (fcntl, prctl, limits)
        for name, value in vars(module).items()
        if name.isupper() and isinstance(value, int) and name not in NOT_IN_HEADERS
    }
    lines = [f"#include <linux/{header}.h>" for header in HEADERS] + [
        "#include <stdio.h>",
        "int main(void) {",
    ]
    lines += [f'printf("{name} %lld\\n", (long long)({name}));' for name in ours]
    source, program = tmp_path / "constants.c", tmp_path / "constants"
    source.write_text("\n".join([*lines, "return 0; }"]), encoding="ascii")
    subprocess.run(["cc", "-o", program, source], timeout=50, check=True)
    output = subprocess.run(
        [program], capture_output=True, text=True, timeout=10, check=True
    ).stdout
    theirs = {name: int(value) for name, value in (line.split() for line in output.splitlines())}
    wide = {name: value & 0xFFFFFFFFFFFFFFFF for name, value in theirs.items()}
    assert wide == {name: value & 0xFFFFFFFFFFFFFFFF for name, value in ours.items()}


def test_registers() -> None:
    assert signed32(0xFFFFFF9C) == signed32(0xFFFFFFFFFFFFFF9C) == fcntl.AT_FDCWD
    assert signed32(0x1_0000_0005) == 5
    assert signed32(0x7FFFFFFF) == 0x7FFFFFFF
    assert signed64(0xFFFFFFFFFFFFFFFF) == -1
    assert decode(Kind.DIRFD, 0xFFFFFF9C) == fcntl.AT_FDCWD
    assert decode(Kind.UID, 0xFFFFFFFFFFFFFFFF) == 0xFFFFFFFF
    assert decode(Kind.OFFSET, 0xFFFFFFFFFFFFFFFE) == -2
    assert decode(Kind.SIZE, 0xFFFFFFFFFFFFFFFE) == 0xFFFFFFFFFFFFFFFE
    assert decode(Kind.PATH, 0x7FFF12345678) == 0x7FFF12345678
