"""Mount name spaces that programs of a view make: what the view shows is mounted there for real."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from .swapped import SWAP, Tree, tree
from .view import prefix, run_in_view

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.skipif(os.getuid() != 0, reason="the native twin mounts"),
]
NOBODY = 65534
VIEWS = {
    "swapped": SWAP,
    "a directory": ("vfs:T/c=T/b",),
    "a file": ("vfs:T/other=T/a/f",),
    "read-only": ("vfs:T/mnt=T/a,ro",),
    "one in another": ("vfs:T/a=T/b,T/a/sub=T/d",),
}
SCRIPT = r"""
    cd T/a/sub; {unshare} sh -c '
        pwd; cat T/a/f T/other; ls T/a/sub T/c T/mnt; echo x >T/mnt/new; cat T/d/of-d
        readlink T/a/out
        findmnt -rn -o TARGET,FSROOT,OPTIONS | grep T | sort; mount --bind T/d T/c; ls T/c
        cd ..; pwd
        cat T/a/script; T/a/script x; mount -t tmpfs none T/a; ls T/a; cd T/b; cat f; exec pwd'
    pwd; ls T/c T/a; findmnt -rn -o TARGET | grep T | sort
"""


@pytest.fixture(params=[0, NOBODY])
def ground(request: pytest.FixtureRequest) -> Iterator[Tree]:
    with tree(request.param) as made:
        made.root.chmod(0o755)
        yield made


@pytest.mark.parametrize("user", [0, NOBODY])
@pytest.mark.parametrize("name", VIEWS)
def test_claims_are_mounted(name: str, user: int) -> None:
    def says(how: str) -> str:
        with tree(user) as ground:
            ground.root.chmod(0o755)
            words = "unshare -m" if user == 0 else "unshare -rm"
            return ground.says(how, VIEWS[name], ground.name(SCRIPT.replace("{unshare}", words)))

    expected = says("mounts")
    assert "of-d" in expected
    assert says("view") == expected


def test_another_root(ground: Tree) -> None:
    for name in ("bin", "proc", "tmp"):
        (ground.root / name).mkdir()
    shutil.copy(shutil.which("busybox") or "", ground.root / "bin" / "busybox")
    for name in ("sh", "ls", "cat", "pwd", "unshare", "mount", "mkdir"):
        (ground.root / "bin" / name).symlink_to("busybox")
    unshare = "unshare -m" if ground.user == 0 else "unshare -mr"
    script = f"""
        cd /d; {unshare} sh -c 'pwd; cat of-d; mount -t tmpfs none /c; mkdir /c/x; ls ../c
        cat /proc/self/comm; cd ..; cd ..; pwd; ls -d ../bin; cat /proc/mounts | wc -l'; ls c; ls /
    """
    done = run_in_view(
        [f"vfs:/={ground.root},/proc=/proc"], ["/bin/sh", "-c", script], user=ground.user,
        cwd="/", timeout=30,
    )  # fmt: skip
    names = sorted(path.name for path in ground.root.iterdir())
    assert done.stdout.decode().splitlines() == [
        "/d", "of d", "x", "cat", "/", "../bin", "3", *names
    ], done  # fmt: skip
    assert done.stderr == b"ls: c: No such file or directory\n"


SHARED = 'mount --make-rshared / && exec "$@"'


def test_nothing_is_mounted_outside(ground: Tree) -> None:
    """With shared mounts, root's new name space is a peer until it says that it is not: so far the
    view goes on, and what it mounts is seen outside."""
    script = ground.name(
        "unshare -m --propagation unchanged sh -c 'cat T/c/f; mkdir T/c/m; mount -t tmpfs n T/c/m;"
        " touch T/c/m/new; cd T/c/m; /bin/pwd; ls ../m'; ls T/c/m; umount T/c/m;"
        " unshare -m cat T/c/f; findmnt -rn | grep T"
    )
    done = run_in_view(
        [ground.name("vfs:T/c=T/b")], ["sh", "-c", script], timeout=30,
        before=("unshare", "-m", "--propagation", "private", "sh", "-c", SHARED, "sh"),
    )  # fmt: skip
    said = done.stdout.decode().replace(str(ground.root), "T")
    assert said.startswith("in b\nT/c/m\nnew\nnew\nin b\nT/c "), (said, done.stderr)
    assert done.stderr == b""
    assert not os.path.ismount(ground.root / "c")


def test_sharing_ends_for_real() -> None:
    """The module mount leaves what is shared with a name space of a program's own to the kernel."""
    done = run_in_view(
        ["mount"], ["unshare", "-m", "grep", "-c", "shared:", "/proc/self/mountinfo"], timeout=30,
        before=("unshare", "-m", "--propagation", "private", "sh", "-c", SHARED, "sh"),
    )  # fmt: skip
    assert (done.stdout, done.stderr) == (b"0\n", b"")


def test_what_cannot_be_mounted_is_named(ground: Tree) -> None:
    done = run_in_view(
        [ground.name("vfs:T/nowhere=T/b,T/c=T/a")],
        ["sh", "-c", ground.name("unshare -rm sh -c 'cat T/c/f; cat T/nowhere/f'")],
        user=ground.user, timeout=30,
    )  # fmt: skip
    assert done.stdout == b"in a\n"
    text = done.stderr.decode().replace(str(ground.root), "T")
    assert "is in another mount name space: the view's T/nowhere cannot be shown there" in text


@pytest.mark.skipif(os.getuid() != 0, reason="mount(2) needs root")
def test_a_mount_has_the_name_that_it_was_given(tmp_path: Path) -> None:
    """As below a bind mount that shares nothing."""
    (tmp_path / "x").mkdir()
    (tmp_path / "y").mkdir()
    script = (
        'mount -t tmpfs one /mnt/x; mount -t tmpfs two "$1/y"; findmnt -rno SOURCE,TARGET |'
        " grep -E '^(one|two) '; umount /mnt/x; umount \"$1/y\"; grep -c '^one\\|^two' /proc/mounts"
    )
    words = ["sh", "-c", f"exec 2>&1; {script}", "sh", str(tmp_path)]
    private = ["unshare", "-m", "--propagation", "private"]
    done = run_in_view(
        None, [*private, *prefix([f"vfs:/mnt={tmp_path}"], nested=True), *words], check=False
    )
    assert done.stdout.decode() == f"one /mnt/x\ntwo {tmp_path}/y\n0\n"
