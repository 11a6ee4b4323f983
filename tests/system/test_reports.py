"""What the kernel reports of mounts has the names of the view."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .swapped import SWAP, Tree, tree
from .view import run_in_view
from .witness import build

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.skipif(os.getuid() != 0, reason="mounting takes CAP_SYS_ADMIN"),
]
MOUNT = 'mount -t tmpfs a-mount "$1" && shift && exec "$@"'


@pytest.fixture
def ground() -> Iterator[Tree]:
    with tree(0) as made:
        made.root.chmod(0o755)
        yield made


def says(ground: Tree, modules: tuple[str, ...], argv: list[str]) -> str:
    """What a program prints, run where a tmpfs is mounted at T/b/sub."""
    before = ("unshare", "-m", "--propagation", "private", "sh", "-c", MOUNT, "sh")
    done = run_in_view(
        [ground.name(module) for module in modules],
        [ground.name(word) for word in argv],
        before=(*before, str(ground.root / "b" / "sub")),
        timeout=30,
    )
    return done.stdout.decode().replace(str(ground.root), "T")


@pytest.mark.parametrize("name", ["/proc/self/mounts", "/proc/mounts", "/proc/self/mountinfo"])
def test_lines_of_mounts(name: str, ground: Tree) -> None:
    def points(modules: tuple[str, ...]) -> list[str]:
        text = says(ground, modules, ["grep", "a-mount", name])
        return [word for word in text.split() if word.startswith("T/")]

    assert points(("vfs:/=/",)) == ["T/b/sub"]
    assert points(SWAP) == ["T/a/sub"]
    # What the view does not show is not there.
    assert points(("vfs:T/b=T/d",)) == []


def test_statmount(ground: Tree, tmp_path: Path) -> None:
    program = shutil.copy(build("statmount"), tmp_path / "statmount")
    probe = subprocess.run([program, "/"], capture_output=True, timeout=20, check=False)
    if probe.stdout == b"ENOSYS\n":
        pytest.skip("the kernel lacks statmount(2) (Linux 6.8)")
    for modules, path, expected in (
        (("vfs:/=/",), "T/b/sub", "T/b/sub"),
        (SWAP, "T/a/sub", "T/a/sub"),
        (("vfs:T/mnt=T/b",), "T/mnt/sub", "T/mnt/sub"),
    ):
        text = says(ground, modules, [str(program), path])
        assert text == f"{expected}\nshort: {errno.errorcode[errno.EOVERFLOW]}\n"


MOUNTED = {
    "swapped": SWAP,
    "a directory": ("vfs:T/c=T/b",),
    "a file": ("vfs:T/other=T/a/f",),
    "read-only": ("vfs:T/mnt=T/a,ro",),
    "one in another": ("vfs:T/a=T/b,T/a/sub=T/d",),
    "a file system twice": ("vfs:T/c=/proc",),
    "file systems in it": ("vfs:T/c=/dev",),
}
LOOKS = r"""
    findmnt -rn -o TARGET,FSTYPE,FSROOT,OPTIONS,SOURCE | sort
    df --output=target,source,fstype | sort; df T/c T/a/f T/other | awk '{print $NF}'
    findmnt -n -o TARGET -T T/a/f; mountpoint T/a; mountpoint T/c
    cut -d' ' -f2- /proc/self/mounts | sort; sort /proc/self/mountstats
    awk '{print $1}' /proc/self/mountinfo | sort | uniq -d; grep -c . /proc/self/mountinfo
    findmnt -rn --submounts -o TARGET T/c | sort
"""


@pytest.mark.parametrize("name", MOUNTED)
def test_a_claim_is_a_mount(name: str, ground: Tree) -> None:
    """df, findmnt and mountpoint tell what they tell of the kernel's own bind mounts."""
    expected = ground.says("mounts", MOUNTED[name], LOOKS)
    assert "T/" in expected
    assert ground.says("view", MOUNTED[name], LOOKS) == expected
