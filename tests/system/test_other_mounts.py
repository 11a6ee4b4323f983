"""Links of procfs to directories of another mount name space, of trees that are mounted nowhere,
and of those that something covers: they lead there, whatever the view has by the same name."""

from __future__ import annotations

import os

import pytest

from .view import run_in_view

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.skipif(os.getuid() != 0, reason="mount(2) needs root"),
]
VIEWS = (
    ("vfs:/=/",),
    ("vfs:/media=/media/claim",),
    ("vfs:/mnt=/media",),
    ("uid:0",),
)

OUTSIDE = r"""
set -e
mount -t tmpfs none /media; mkdir -p /media/claim /media/d
for in in /media /media/claim; do echo out >$in/f; echo out >$in/both; done; echo out >/media/d/g
unshare -m --propagation private sh -c '
    mount -t tmpfs none /media; mkdir /media/d; echo in >/media/f; echo in >/media/both
    echo in >/media/d/g; ln -s d/g /media/l; cd /media; echo; exec sleep 60' >/media/ready &
until [ -s /media/ready ]; do sleep 0.01; done; rm /media/ready
export OTHER=/proc/$!; status=0; "$@" || status=$?
ls /media /media/claim; kill $!; exit $status
"""
"""What other programs have mounted, and where."""

OTHER = r"""
exec 2>&1; cd /; for at in root/media cwd root/media/d/.. cwd/../media; do
    cat $OTHER/$at/f $OTHER/$at/d/g $OTHER/$at/l; ls $OTHER/$at
done
echo new >$OTHER/cwd/new; rm $OTHER/root/media/f; mv $OTHER/cwd/both $OTHER/cwd/moved
mkdir $OTHER/root/media/made; ls $OTHER/cwd/; exec 5<$OTHER/cwd; ls /proc/self/fd/5/
cat /proc/self/fd/5/new; cd $OTHER/cwd; cat moved; rm moved; mv new renamed; ls
"""

TREES = r"""
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
tree = libc.syscall(428, -100, b"/media/d", 1)
print(open(f"/proc/self/fd/{tree}/g").read(), os.listdir(f"/proc/self/fd/{tree}/"))
context = libc.syscall(430, b"tmpfs", 0); libc.syscall(431, context, 6, 0, 0, 0)
made = libc.syscall(432, context, 0, 0)
os.mkdir(f"/proc/self/fd/{made}/x"); print(os.listdir(f"/proc/self/fd/{made}/"))
"""


def says(script: list[str], modules: tuple[str, ...] | None, *, pure: bool = False) -> str:
    before = ("unshare", "-m", "--propagation", "private", "sh", "-c", OUTSIDE, "sh")
    env = {"VIEWOS_PURE": "1"} if pure else {}
    done = run_in_view(modules, script, before=before, timeout=30, env=env)
    return (done.stdout + done.stderr).decode()


@pytest.mark.parametrize("pure", [False, True])
@pytest.mark.parametrize("view", VIEWS)
def test_another_mount_name_space(view: tuple[str, ...], pure: bool) -> None:
    natively = says(["sh", "-c", OTHER], None)
    assert "in\nin\nin\nboth\nd\nf\nl\n" in natively
    assert says(["sh", "-c", OTHER], view, pure=pure) == natively


@pytest.mark.parametrize("pure", [False, True])
def test_trees_that_are_mounted_nowhere(pure: bool) -> None:
    script = ["python3", "-c", TREES]
    natively = says(script, None)
    assert natively.startswith("out\n ['g']\n['x']\n")
    assert says(script, ("vfs:/=/",), pure=pure) == natively


MEMBER = r"""
unshare -m --propagation private sh -c '
    mount -t tmpfs none /media; echo in >/media/f; echo >&9; exec sleep 60' 9>/media/ready &
until [ -s /media/ready ]; do sleep 0.01; done; cat /proc/$!/root/media/f; rm /proc/$!/root/media/f
kill $!; cat /media/f; rm /media/ready
"""
"""A program that leaves a view by itself."""


def test_a_program_of_the_view_with_mounts_of_its_own() -> None:
    for modules in (None, ("vfs:/=/",), ("vfs:/mnt=/media",), ("vfs:/mnt=/media", "uid:0")):
        told = says(["sh", "-c", MEMBER], modules)
        assert told.startswith("in\nout\n/media:\nboth\nclaim\nd\nf\n"), (modules, told)


COVERED = r"""
exec 2>&1; cd /media/d; exec 5<.; echo >/media/go; until [ -e /media/done ]; do sleep 0.01; done
cat /proc/self/cwd/g /proc/self/fd/5/g /media/d/g; rm /proc/self/fd/5/g; ls . /media/d
"""
COVER = r"""
mount -t tmpfs none /media; mkdir /media/d; echo under >/media/d/g
(until [ -e /media/go ]; do sleep 0.01; done
mount -t tmpfs none /media/d; echo over >/media/d/g; echo >/media/done) &
"$@"; wait
"""


@pytest.mark.parametrize("pure", [False, True])
def test_a_directory_that_is_covered_from_outside(pure: bool) -> None:
    before = ("unshare", "-m", "--propagation", "private", "sh", "-c", COVER, "sh")
    env = {"VIEWOS_PURE": "1"} if pure else {}
    for modules in (None, ("vfs:/=/",), ("vfs:/mnt=/media",)):
        done = run_in_view(modules, ["sh", "-c", COVERED], before=before, timeout=30, env=env)
        assert done.stdout == b"under\nunder\nover\n.:\n\n/media/d:\ng\n", (modules, done)
