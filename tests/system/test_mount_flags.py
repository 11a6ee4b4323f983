"""Flags of mounts: what is not enforced in a view is said, once."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.system.control import NAME, SLEEP, Ground, ground
from tests.system.view import run_in_view

__all__ = ["ground"]  # the fixture
pytestmark = pytest.mark.timeout(60)
MODULES = ("uid:0", "mount")
NOEXEC = (
    "viewos: mount: noexec is accepted and not enforced in a view: what stands there can be"
    " executed (chmod -x keeps it from that)\n"
)
NODEV = (
    "viewos: mount: nodev is accepted and not enforced in a view: devices that stand in the source"
    " can be opened by who may open them there\n"
)
NOSUID = (
    "viewos: mount: nosuid is accepted and not enforced in a view of the real root:"
    " set-user-ID programs that stand there have their power\n"
)


def says(ground: Ground, script: str) -> tuple[str, str]:
    """(stdout, stderr) of a script, as the virtual root of a view."""
    done = run_in_view(MODULES, ["sh", "-c", script], user=ground.user, cwd=ground.path, timeout=30)
    return done.stdout.decode(), done.stderr.decode()


def test_noexec_is_said_once(ground: Ground) -> None:
    shutil.copy("/usr/bin/true", ground.path / "a" / "true")
    script = (
        "mount --bind -o noexec a b && b/true && echo ran; umount b;"
        "mount --bind a b && mount -o remount,bind,noexec b; umount b;"
        "mount -t tmpfs -o noexec none b && umount b"
    )
    assert says(ground, script) == ("ran\n", NOEXEC)


@pytest.mark.parametrize("mount", ["--bind -o noexec a", "-t tmpfs -o noexec none"])
def test_noexec_of_each_kind(ground: Ground, mount: str) -> None:
    assert says(ground, f"mount {mount} b") == ("", NOEXEC)


def test_where_nothing_can_be_executed_it_is_not_said(ground: Ground) -> None:
    """These options are usual for proc; and what fails is told by its errno alone."""
    script = "mount -t proc -o nosuid,nodev,noexec proc b && umount b"
    assert says(ground, script) == ("", "")
    said = says(ground, "mount --bind -o noexec nono b")[1]
    assert "noexec is accepted" not in said and said


def test_nodev(ground: Ground) -> None:
    """It is not so: who may open a device where it stands may open it here."""
    script = "mount --bind -o nodev /dev b && head -c1 b/zero | wc -c; mount --bind -o nodev /dev b"
    assert says(ground, script) == ("1\n", NODEV)
    assert says(ground, "mount -t tmpfs -o nodev none b") == ("", "")


def test_nosuid(ground: Ground) -> None:
    """The view of an ordinary user has no_new_privs, which is stronger."""
    is_real_root = ground.user == 0 and os.getuid() == 0
    expected = NOSUID if is_real_root else ""
    assert says(ground, "mount --bind -o nosuid a b") == ("", expected)


READ_ONLY = """
mount -t tmpfs {} none b; touch b/x; findmnt -no OPTIONS b | cut -c1-2
mount -o remount,bind,rw b; touch b/x && ls b; umount b
"""


@pytest.mark.parametrize("option", ["-o ro", "-r", "-o mode=0755,ro", "-o rw,ro"])
def test_a_read_only_tmpfs(ground: Ground, option: str) -> None:
    refused = "touch: cannot touch 'b/x': Read-only file system\n"
    assert says(ground, READ_ONLY.format(option)) == ("ro\nx\n", refused)


def test_a_read_only_tmpfs_from_outside(ground: Ground) -> None:
    top: Path = ground.path
    with ground.view([f"vfs:/mnt={top}/a", "mount"], SLEEP):
        words = ("mount", "-V", NAME, "-t", "tmpfs", "-o", "ro", "none", "/mnt")
        assert ground.says(*words) == ""
        said = ground.says("exec", NAME, "sh", "-c", "echo > /mnt/x")
        assert "Read-only file system" in said
        assert ground.says("umount", "-V", NAME, "/mnt") == ""
        said = ground.says(*words[:6], "ro,size=1m", *words[7:])
        assert said == (
            "viewos: tmpfs: the options are mode=OCTAL and ro, and not size=1m\nstatus 2\n"
        )
