"""The lines of mounts as they read in a view."""

from __future__ import annotations

import os

import pytest

from viewos.claims import Claim, ClaimMap, RealPath, VirtualPath
from viewos.monitor.mountlines import MOUNTINFO, MOUNTS, translate

REAL = b"""\
20 1 8:1 / / rw,relatime - ext4 /dev/a rw
21 20 0:5 / /proc rw - proc proc rw
22 20 8:2 / /srv/my\\040root rw - ext4 /dev/b rw
23 22 0:6 / /srv/my\\040root/home rw - tmpfs none rw
"""


@pytest.fixture(autouse=True)
def backings(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them are there, but /gone."""
    monkeypatch.setattr(os.path, "lexists", lambda path: path != b"/gone")


def claims(*pairs: tuple[bytes, bytes], read_only: bool = False) -> ClaimMap:
    made = [Claim(VirtualPath(a), RealPath(b), read_only=read_only) for a, b in pairs]
    return ClaimMap().with_layer(made, 0)


def test_the_identity_changes_nothing() -> None:
    assert translate(MOUNTINFO, claims((b"/", b"/")), REAL) == REAL


def test_a_claim_has_a_line_with_its_root() -> None:
    said = translate(MOUNTINFO, claims((b"/mnt/a b", b"/usr/x"), read_only=True), REAL)
    assert said.startswith(REAL)
    assert said[len(REAL) :] == b"24 20 8:1 /usr/x /mnt/a\\040b ro,relatime - ext4 /dev/a rw\n"


def test_a_backing_that_was_removed() -> None:
    said = translate(MOUNTINFO, claims((b"/mnt", b"/gone")), REAL)
    assert said[len(REAL) :] == b"24 20 8:1 /gone//deleted /mnt rw,relatime - ext4 /dev/a rw\n"


def test_another_root() -> None:
    """Only what it shows is there, its own root first; ids that are free are not given away."""
    said = translate(MOUNTINFO, claims((b"/", b"/srv/my root/sub"), (b"/proc", b"/proc")), REAL)
    assert said == (b"22 20 8:2 /sub / rw - ext4 /dev/b rw\n21 22 0:5 / /proc rw - proc proc rw\n")


def test_what_hangs_below_comes_along() -> None:
    said = translate(MOUNTINFO, claims((b"/", b"/srv/my root")), REAL)
    assert said == (b"22 20 8:2 / / rw - ext4 /dev/b rw\n23 22 0:6 / /home rw - tmpfs none rw\n")


def test_a_mount_with_two_names_has_two_lines() -> None:
    said = translate(MOUNTINFO, claims((b"/old", b"/srv/my root")), REAL)
    assert said == REAL + (
        b"24 20 8:2 / /old rw - ext4 /dev/b rw\n25 24 0:6 / /old/home rw - tmpfs none rw\n"
    )


def test_a_mount_on_another_one_hangs_on_that() -> None:
    stacked = REAL + b"25 23 0:7 / /srv/my\\040root/home rw - tmpfs none rw\n"
    said = translate(MOUNTINFO, claims((b"/old", b"/srv/my root")), stacked)
    assert said.endswith(
        b"27 26 0:6 / /old/home rw - tmpfs none rw\n28 27 0:7 / /old/home rw - tmpfs none rw\n"
    ), said


def test_mounts() -> None:
    text = b"/dev/a / ext4 rw,relatime 0 0\nproc /proc proc rw 0 0\n"
    said = translate(MOUNTS, claims((b"/mnt", b"/usr"), read_only=True), text)
    assert said == text + b"/dev/a /mnt ext4 ro,relatime 0 0\n"


def test_the_directories_of_an_overlay() -> None:
    options = rb"rw,lowerdir=/usr/a:/usr/b\134\054c,upperdir=/usr/up,workdir=/other/work,index=off"
    shown = rb"rw,lowerdir=/mnt/a:/mnt/b\134\054c,upperdir=/mnt/up,workdir=/other/work,index=off"
    said = translate(MOUNTS, claims((b"/mnt", b"/usr")), b"x /y overlay %s 0 0\n" % options)
    assert said == b"x /y overlay %s 0 0\n" % shown
    said = translate(
        MOUNTINFO, claims((b"/mnt", b"/usr")), b"30 20 0:9 / /y rw - overlay x %s\n" % options
    )
    assert said == b"30 20 0:9 / /y rw - overlay x %s\n" % shown


def test_the_name_by_which_it_was_mounted() -> None:
    text = translate(
        MOUNTS, claims((b"/mnt", b"/srv")), b"a / ext4 rw 0 0\nb /srv/x tmpfs rw 0 0\n"
    )
    assert text.count(b" tmpfs ") == 2
    both = b"a / ext4 rw 0 0\nb /srv/x tmpfs rw 0 0\n"
    told = translate(MOUNTS, claims((b"/mnt", b"/srv")), both, {b"/srv/x": b"/mnt/x"})
    assert b"b /mnt/x tmpfs" in told and b"/srv/x" not in told
    told = translate(MOUNTS, claims((b"/mnt", b"/srv")), both, {b"/srv/x": b"/srv/x"})
    assert b"b /srv/x tmpfs" in told and b"/mnt/x" not in told


def test_the_root_of_a_process() -> None:
    shown = claims((b"/mnt", b"/usr"), (b"/srv/my root/m", b"/usr/x"))
    said = translate(MOUNTINFO, shown, REAL, root=b"/srv/my root")
    assert said == (
        b"22 20 8:2 / / rw - ext4 /dev/b rw\n"
        b"23 22 0:6 / /home rw - tmpfs none rw\n25 22 8:1 /usr/x /m rw,relatime - ext4 /dev/a rw\n"
    )
    said = translate(MOUNTS, claims((b"/mnt/in", b"/usr")), b"a / ext4 rw 0 0\n", root=b"/mnt")
    assert said == b"a /in ext4 rw 0 0\n"
