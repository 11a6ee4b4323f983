"""Hard links to what a descriptor stands for stay in its mount, as those of a path do."""

from __future__ import annotations

import os

import pytest

from .swapped import SWAP, tree

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.skipif(os.getuid() != 0, reason="the native twin mounts"),
]
NOBODY = 65534
LINKS = """
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
def tell(what, *args):
    ends = errno.errorcode[ctypes.get_errno()] if libc.linkat(*args) else "done"
    print(what, ends)
    if ends == "done":
        os.unlink(args[3])
def link(top, others):
    file = os.open(top + "/f", os.O_RDONLY)
    paths = os.open(top + "/f", os.O_PATH)
    fds = {"file": file, "paths": paths}
    if os.access(top, os.W_OK):
        fds["temporary"] = os.open(top, os.O_TMPFILE | os.O_RDWR)
        fds["exclusive"] = os.open(top, os.O_TMPFILE | os.O_RDWR | os.O_EXCL)
        fds["deleted"] = os.open(top + "/gone", os.O_CREAT | os.O_RDWR)
        os.unlink(top + "/gone")
    for other in others:
        new = (other + "/new").encode()
        for name, fd in fds.items():
            tell((top, other, name, "empty"), fd, b"", -100, new, 0x1000)
            tell((top, other, name, "proc"), -100, b"/proc/self/fd/%d" % fd, -100, new, 0x400)
            tell((top, other, name, "exists"), fd, b"", -100, (other + "/..").encode(), 0x1000)
            tell((top, other, name, "nowhere"), fd, b"", -100, b"none/new", 0x1000)
            os.chdir(other)
            tell((top, other, name, "relative"), fd, b"", -100, b"new", 0x1000)
            os.chdir("T/")
"""
CASES = {
    "swapped": (SWAP, 'link("T/a", ("T/a", "T/b", "T/d")); link("T/d", ("T/d", "T/a"))'),
    "read-only": (
        ("vfs:T/c=T/b", "vfs:T/mnt=T/a,ro"),
        'link("T/mnt", ("T/mnt", "T/c", "T/d")); link("T/c", ("T/mnt",))',
    ),
}  # fmt: skip


@pytest.mark.parametrize("pure", [False, True])
@pytest.mark.parametrize("user", [0, NOBODY])
@pytest.mark.parametrize("case", CASES)
def test_links_of_descriptors(
    case: str, user: int, pure: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    modules, calls = CASES[case]
    said = {}
    if pure:
        monkeypatch.setenv("VIEWOS_PURE", "1")
    for how in ("mounts", "view"):
        with tree(user) as ground:
            (ground.root / "d" / "f").write_text("in d")
            for name in ("d", "d/f"):
                os.chown(ground.root / name, user, user)
            done = ground.run(how, modules, ["python3", "-c", f"{LINKS}{calls}"])
        said[how] = (done.stdout + done.stderr).decode().replace(str(ground.root), "T")
    assert "EXDEV" in said["mounts"]
    assert "Traceback" not in said["mounts"]
    assert said["view"] == said["mounts"]
