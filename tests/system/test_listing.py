"""Mount points that do not exist are listed in their parents, however small the caller's buffer."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from .command import USERS
from .view import run_in_view, scratch_directory

pytestmark = pytest.mark.timeout(60)
MOUNTS = {f"mount-point-{number:03}" for number in range(100)}
REAL = {".", "..", "here", "there"}

RAW = """
import ctypes, json, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
def read(fd, call, size):
    buffer = ctypes.create_string_buffer(size)
    count = libc.syscall(call, fd, buffer, size)
    if count < 0:
        print(json.dumps(ctypes.get_errno())); sys.exit()
    at, found = 0, []
    while at < count:
        inode, position, length = struct.unpack_from("=QqH", buffer, at)
        name = buffer.raw[at + 18 + (call == 217) : at + length].split(b"\\0")[0].decode()
        found.append((name, position))
        at += length
    return found
def rest(fd, call, size):
    found = []
    while more := read(fd, call, size):
        found += more
    return found
"""
ALL = """
call, size = int(sys.argv[2]), int(sys.argv[3])
fd = os.open(sys.argv[1], os.O_RDONLY)
found = rest(fd, call, size)
os.lseek(fd, 0, 0)
assert rest(fd, call, size) == found
print(json.dumps([name for name, _ in found]))
"""
FROM_EACH = """
fd = os.open(sys.argv[1], os.O_RDONLY)
found = rest(fd, 217, 4096)
for number, (_, position) in enumerate(found):
    os.lseek(fd, position, 0)
    assert rest(fd, 217, 4096) == found[number + 1 :], number
print(json.dumps([name for name, _ in found]))
"""


@pytest.fixture
def parent() -> Iterator[Path]:
    with scratch_directory("viewos-listing-") as made:
        for name in REAL - {".", ".."}:
            (made / name).mkdir()
        yield made


def listed(parent: Path, script: str, *words: str, user: int) -> object:
    module = "vfs:" + ",".join(f"{parent}/{name}=/usr" for name in sorted(MOUNTS))
    done = run_in_view(
        [module], ["/usr/bin/python3", "-c", RAW + script, str(parent), *words],
        user=user, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("call", ["217", "78"])
@pytest.mark.parametrize("size", ["48", "300", "2048", "4096", "100000"])
def test_all_of_them_over_several_reads(parent: Path, size: str, call: str, user: int) -> None:
    found = listed(parent, ALL, call, size, user=user)
    assert isinstance(found, list)
    assert sorted(found) == sorted(MOUNTS | REAL)


@pytest.mark.parametrize("directory", [None, "/proc/sys", "/sys", "/"])
def test_seeking_behind_each(parent: Path, directory: str | None) -> None:
    """Other file systems take other positions, or fewer."""
    place = parent if directory is None else Path(directory)
    found = listed(place, FROM_EACH, user=USERS[-1])
    assert isinstance(found, list)
    assert set(found) >= MOUNTS and len(found) == len(set(found))


def test_no_room_for_one(parent: Path) -> None:
    assert listed(parent, ALL, "217", "32", user=USERS[-1]) == errno.EINVAL


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("claim", ["mount/none/..", "link/none/../mount", "none/../link/mount"])
def test_a_mount_point_behind_what_does_not_exist(parent: Path, claim: str, user: int) -> None:
    (parent / "link").symlink_to(".")
    (parent / "here" / "file").touch()
    module, command = f"vfs:{parent}/{claim}={parent}/here", ["ls", f"{parent}/mount"]
    assert run_in_view([module], command, user=user, check=True).stdout == b"file\n"
