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


NO_LIMIT = (
    "cannot be kept, as the files lie in TMPDIR and have the room that is there: mount it without"
)
OWN = "the module uid shows owners of its own: mount it without, and chown it"
REFUSED = {
    "size=1m": f"size=1m {NO_LIMIT} size=",
    "nr_inodes=10": f"nr_inodes=10 {NO_LIMIT} nr_inodes=",
    "uid=0": f"uid=0: {OWN}",
    "mode=9": "mode=9: a mode is an octal number up to 7777",
    "zz=1": "the options are mode=OCTAL, uid=, gid= and ro, and not zz=1",
}


@pytest.mark.parametrize("option", REFUSED)
def test_what_a_tmpfs_cannot_keep_is_refused_and_said(ground: Ground, option: str) -> None:
    script = f"mount -t tmpfs -o {option} none b 2>/dev/null; mount -t tmpfs -o {option} none b"
    out, err = says(ground, f"({script}) 2>/dev/null; ls b")
    assert (out, err) == ("b\n", f"viewos: mount: tmpfs: {REFUSED[option]}\n")


def test_the_owner_of_a_tmpfs(ground: Ground) -> None:
    """For the real root, where no module shows others."""
    with ground.view(["mount"], SLEEP):
        words = ("mount", "-V", NAME, "-t", "tmpfs", "-o", "uid=12,gid=34", "none", "b")
        said = ground.says(*words, cwd=ground.path)
        if ground.user != 0:
            assert said == (
                "viewos: tmpfs: uid=12: only the real root can give it away: mount it without, and"
                " chown it\nstatus 2\n"
            )
            return
        assert said == ""
        assert ground.says("exec", NAME, "stat", "-c", "%u %g", f"{ground.path}/b") == "12 34\n"


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
        assert said == (f"viewos: tmpfs: size=1m {NO_LIMIT} size=\nstatus 2\n")
