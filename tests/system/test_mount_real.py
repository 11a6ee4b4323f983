"""Real mounts, which a program of the real root could unmount for all of the machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.mounts import CALLS
from tests.system.view import prefix, run_in_view, scratch_directory

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.skipif(os.getuid() != 0, reason="mount(2) needs root"),
]
LINE = (
    "viewos: {}: what was mounted before the view began is not for its programs to change (EPERM);"
    " with -m mount:real they do, for all of the machine, unless viewos is started below"
    " `unshare --mount --propagation private`\n"
)
BEFORE = 'mount -t tmpfs x old && exec "$@"'
UMOUNT = f"{CALLS}\nprint(umount(b'old/'), umount(b'old', 2), umount(b'new'))"
REMOUNT = f"{CALLS}\nprint(mount(None, b'old', None, 0x21), mount(None, b'new', None, 0x21))"
MOVE = f"""{CALLS}
def move(source, target):
    words = -100, source, -100, target, 0
    return errno.errorcode[ctypes.get_errno()] if libc.syscall(429, *words) else "done"
print(move(b'old', b'new'), move(b'new', b'old'), os.path.ismount('new'))"""
MOVE_OPEN = f"""{CALLS}
def move(fd, target):
    words = fd, b"", -100, target, 4
    return errno.errorcode[ctypes.get_errno()] if libc.syscall(429, *words) else "done"
fd, new = os.open("old", os.O_PATH), os.path.abspath(b"new")
os.chdir("old")
print(move(-100, new), move(fd, new), move(99, new), os.path.ismount(new))"""
NEWER = f"{CALLS}\nprint(mount(b'x', b'new', b'ramfs'), umount(b'new'), umount(b'new'))"


@pytest.fixture
def top() -> Iterator[Path]:
    with scratch_directory("viewos-real-") as path:
        for name in ("old", "new"):
            (path / name).mkdir()
        yield path


def says(top: Path, module: str, program: str, *before: str) -> str:
    done = run_in_view(
        [module], [*before, "python3", "-c", program], cwd=top, timeout=30,
        before=("unshare", "-m", "--propagation", "private", "sh", "-c", BEFORE, "sh"),
    )  # fmt: skip
    return (done.stdout + done.stderr).decode()


@pytest.mark.parametrize(
    ("program", "name", "expected"),
    [
        (UMOUNT, "umount2", "EPERM EPERM EINVAL"),
        (REMOUNT, "mount", "EPERM EINVAL"),
        (MOVE, "move_mount", "EPERM EINVAL False"),
        (MOVE_OPEN, "move_mount", "EPERM EPERM EBADF False"),
    ],
)
def test_what_was_mounted_before(top: Path, program: str, name: str, expected: str) -> None:
    assert says(top, "mount", program) == f"{expected}\n{LINE.format(name)}"


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        (UMOUNT, "done EINVAL EINVAL"),
        (REMOUNT, "done EINVAL"),
        (MOVE, "done done False"),
        (MOVE_OPEN, "done ELOOP EBADF True"),
    ],
)
def test_for_real(top: Path, program: str, expected: str) -> None:
    assert says(top, "mount:real", program) == f"{expected}\n"


def test_what_was_mounted_since(top: Path) -> None:
    assert says(top, "mount", NEWER) == "done done EINVAL\n"


def test_a_copy(top: Path) -> None:
    """A mount name space of the program's own is the kernel's, as ever."""
    apart = ("unshare", "-m", "--propagation", "private")
    assert says(top, "mount", UMOUNT, *apart) == "done EINVAL EINVAL\n"


def test_a_wrong_option(top: Path) -> None:
    assert "expected nothing, or real" in says(top, "mount:x", "")


REUSED = f"""{CALLS}
def number():
    return open("/proc/self/mountinfo").read().splitlines()[-1].split()[0]
print("ready", flush=True)
wanted, others = input(), []
while True:
    mount(b"x", b"new", b"ramfs")
    if number() == wanted or len(others) > 5000:
        break
    others.append(number())
print(number() == wanted, *{{umount(b"new") for _ in range(len(others) + 1)}})"""
OUTSIDE = """
coproc "$@" 2>&1
read -r line <&"${COPROC[0]}"
number=$(grep " $PWD/old " /proc/self/mountinfo | cut -d" " -f1)
umount old
echo "$number" >&"${COPROC[1]}"
cat <&"${COPROC[0]}"
wait
"""


def test_a_number_that_is_given_out_again(top: Path) -> None:
    """The kernel gives a mount the lowest number that is free."""
    words = [*prefix(["mount"]), "python3", "-c", REUSED]
    done = run_in_view(
        None, ["bash", "-c", f"mount -t tmpfs x old;{OUTSIDE}", "bash", *words],
        cwd=top, timeout=50, before=("unshare", "-m", "--propagation", "private"),
    )  # fmt: skip
    assert (done.stdout + done.stderr).decode() == "True done\n"
