"""What mount(2) and umount2(2) say in a view is what they say to a real root."""

from __future__ import annotations

import os

import pytest

from tests.system.control import Ground, ground
from tests.system.mounts import CALLS
from tests.system.view import run_in_view

__all__ = ["ground"]  # the fixture
pytestmark = pytest.mark.timeout(60)
MODULES = ("uid:0", "mount")
PRELUDE = f"""{CALLS}
RDONLY, REMOUNT, BIND, PRIVATE = 1, 0x20, 0x1000, 1 << 18
FORCE, DETACH, EXPIRE, NOFOLLOW = 1, 2, 4, 8
os.symlink("b", "link"), os.symlink("gone", "dangling")
def touch(name):
    try:
        open(name, "w").close()
    except OSError as error:
        return errno.errorcode[error.errno]
    return "made"
"""
CASES = {
    "what is not mounted": (
        'umount(b"b"), umount(b"b/b"), umount(b"nono"), umount(b""), umount(b"b/b/x"),'
        ' umount(b"b", DETACH), umount(b"dangling"), umount(None)',
        "EINVAL EINVAL ENOENT ENOENT ENOTDIR EINVAL ENOENT EFAULT",
    ),
    "flags": (
        'umount(b"b", 16), umount(b"nono", 16), umount(b"b", 1 << 31),'
        ' mount(b"a", b"b", None, BIND), umount(b"b", EXPIRE | DETACH),'
        ' umount(b"b", EXPIRE | FORCE), umount(b"nono", EXPIRE | DETACH), umount(b"b", FORCE)',
        "EINVAL EINVAL EINVAL done EINVAL EINVAL ENOENT done",
    ),
    "a link that is not followed": (
        'mount(b"a", b"b", None, BIND), umount(b"link", NOFOLLOW), umount(b"dangling", NOFOLLOW),'
        ' umount(b"b", NOFOLLOW), mount(b"a", b"b", None, BIND), umount(b"link/", NOFOLLOW),'
        ' mount(b"a", b"b", None, BIND), umount(b"link")',
        "done EINVAL EINVAL done done done done done",
    ),
    "no source": (
        'mount(b"", b"b", None, BIND), mount(None, b"b", None, BIND), mount(b"", b"", None, BIND),'
        ' mount(b"a", b"", None, BIND), mount(b"", b"nono", None, BIND),'
        ' mount(b"a", None, None, BIND)',
        "EINVAL EINVAL ENOENT ENOENT ENOENT EFAULT",
    ),
    "no type": (
        'mount(b"a", b"b"), mount(None, b"b"), mount(b"a", b"nono")',
        "EINVAL EINVAL ENOENT",
    ),
    "a tmpfs of nothing": (
        'mount(None, b"b", b"tmpfs"), touch("b/x"), umount(b"b"), os.listdir("b"),'
        ' mount(b"", b"b", b"tmpfs"), umount(b"b"), mount(b"x", b"nono", b"tmpfs"),'
        ' mount(b"x", b"b/b", b"tmpfs")',
        "done made done ['b'] done done ENOENT ENOTDIR",
    ),
    "a remount": (
        'mount(b"a", b"b", None, BIND | REMOUNT), mount(b"a", b"nono", None, BIND | REMOUNT),'
        ' mount(None, b"nono", None, PRIVATE)',
        "EINVAL ENOENT ENOENT",
    ),
}  # fmt: skip


def says(ground: Ground, case: str, *, natively: bool) -> str:
    """What the calls of a case give: natively in a mount name space of its own."""
    before = ("unshare", "-m", "--propagation", "private") if natively else ()
    done = run_in_view(
        None if natively else MODULES, ["python3", "-c", f"{PRELUDE}\nprint({CASES[case][0]})"],
        user=ground.user, cwd=ground.path, before=before, timeout=30,
    )  # fmt: skip
    return (done.stdout + done.stderr).decode().rstrip("\n")


@pytest.mark.parametrize("case", CASES)
def test_as_a_real_root_hears_it(ground: Ground, case: str) -> None:
    expected = CASES[case][1]
    if ground.user == 0 and os.getuid() == 0:
        assert says(ground, case, natively=True) == expected
        for link in ("link", "dangling"):
            (ground.path / link).unlink()
    assert says(ground, case, natively=False) == expected


def test_a_real_mount_is_the_kernels(ground: Ground) -> None:
    """An ordinary user may not unmount it, root in the view or not."""
    if ground.user == 0:
        return
    done = run_in_view(
        MODULES, ["python3", "-c", f"{PRELUDE}\nprint(umount(b'/proc'))"],
        user=ground.user, cwd=ground.path,
    )  # fmt: skip
    assert done.stdout == b"EPERM\n"


def test_a_mount_that_should_expire(ground: Ground) -> None:
    """Whether it was used in between nobody knows, so it is refused, and stays."""
    calls = 'mount(b"a", b"b", None, BIND), umount(b"b", EXPIRE), umount(b"b", EXPIRE)'
    program = f"{PRELUDE}\nprint({calls}, os.listdir('b'))"
    done = run_in_view(MODULES, ["python3", "-c", program], user=ground.user, cwd=ground.path)
    assert done.stdout == b"done EINVAL EINVAL ['a']\n"
    assert done.stderr == (
        b"viewos: umount2: mounts of a view do not expire: MNT_EXPIRE fails with EINVAL, use"
        b" umount without it\n"
    )
