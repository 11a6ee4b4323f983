"""Random calls by one who has dropped a virtual root and kept a capability or none, against the
kernel's for a real one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.test_uid import as_root, scratch
from tests.system.test_uid_changes import _place
from tests.system.test_uid_drop import BEGIN, USER
from tests.system.view import run_in_view

__all__ = ["scratch"]  # the fixture
pytestmark = pytest.mark.timeout(120)

RANDOM = (
    BEGIN
    + """
import random, sys
where, seed = sys.argv[1:]
chance = random.Random(int(seed))
os.makedirs(where + "/in/top")  # ../.. of what is in it is nobody else's
os.chdir(where + "/in/top")
top = os.getcwd()
ids = (0, 0), (6, 6), (7, 7), (0, 5), (6, 5)
closed = 0o755, 0o1777, 0o700, 0o777, 0o2775, 0o711, 0o744, 0o3770, 0o555, 0o70, 0o3777
modes = 0o644, 0o600, 0o666, 0o4755, 0o2755, 0o640, 0o6, 0o60, 0o777, 0o6775, 0o444
names = ["d%d" % number for number in range(6)]
for name in names:
    made(name, chance.choice(closed), *chance.choice(ids), True)
    for inner in "ab":
        made(f"{name}/{inner}", chance.choice(closed), *chance.choice(ids), True)
        for file in "xy": made(f"{name}/{inner}/{file}", chance.choice(modes), *chance.choice(ids))
    for file in "xyz": made(f"{name}/{file}", chance.choice(modes), *chance.choice(ids))
    text = chance.choice(["x", "../d1/x", "a", "../d2/a", "none", "../d3/new", "lp", ".."])
    os.symlink(text, name + "/l"); os.lchown(name + "/l", *chance.choice(ids))
    os.mkfifo(name + "/p"); os.symlink("lp", name + "/lp")
os.chmod(".", chance.choice([0o755, 0o777, 0o1777]))
directories = [os.open(name, os.O_RDONLY) for name in names]
files = [os.open(name + "/x", os.O_RDWR) for name in names]
group, groups = chance.choice([6, 5, 9]), chance.choice([[], [5], [5, 6], [7]])
libc.prctl(8, 1, 0, 0, 0); becomes(chance.choice([6, 7, 8]), group, groups)
kept = chance.choice([0, 0, 0, 1, 2, 4, 8, 16, 18, 10])
raw(126, struct.pack("Ii", 0x20080522, 0), struct.pack("6I", kept, kept, 0, 0, 0, 0))

def one(*values):
    used.append(chance.choice(values))
    return used[-1]

def path():
    path, much = chance.choice(names), chance.random()
    if much < .8: path += "/" + chance.choice("a b x y z l p lp new n2 ..".split())
    if much < .35: path += "/" + chance.choice("x y x .. . n".split())
    return one(path + chance.choice(["", "", "", "", "", "/", "/."]))

def listed(first, second):
    entries = (1, 7, -1), (2, *first), (4, *second), (16, 7, -1), (32, 5, -1)
    return struct.pack("I", 2) + b"".join(struct.pack("HHi", *entry) for entry in entries)

def shown(found):
    size = 0 if stat.S_ISDIR(found.st_mode) else found.st_size
    return "%o %d:%d %d" % (found.st_mode, found.st_uid, found.st_gid, size)

flags = (
    os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_RDWR | os.O_CREAT, os.O_WRONLY | os.O_TRUNC,
    os.O_WRONLY | os.O_CREAT | os.O_EXCL, os.O_RDWR | os.O_CREAT | os.O_TRUNC, os.O_DIRECTORY,
    os.O_TMPFILE | os.O_RDWR, os.O_NOATIME, os.O_PATH, os.O_NOFOLLOW, os.O_CREAT, os.O_TRUNC, 3,
    os.O_PATH | os.O_NOFOLLOW, os.O_CREAT | os.O_NOFOLLOW, os.O_APPEND | os.O_WRONLY,
)
kinds = stat.S_IFREG, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK
lists = listed((7, 6), (5, -1)), listed((0, 7), (7, -1)), listed((5, 8), (0, -1))
ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
calls = {
    "open": lambda: opened(path(), one(*flags) | os.O_NONBLOCK, mode=one(*modes)),
    "openat": lambda: opened(one("x", "a/y", "l", "../d0/x", "new"), one(*flags) | os.O_NONBLOCK,
                             dir_fd=one(*directories)),
    "mkdir": lambda: os.mkdir(path(), one(*closed)),
    "mknod": lambda: os.mknod(path(), one(*kinds) | one(*modes), 0x103),
    "symlink": lambda: os.symlink(one("x", "../d1/y"), path()),
    "link": lambda: os.link(path(), path(), follow_symlinks=one(True, False)),
    "rename": lambda: os.rename(path(), path()),
    "renameat2": lambda: raw(316, -100, path().encode(), -100, path().encode(), one(0, 1, 2, 3, 8)),
    "unlink": lambda: os.unlink(path()), "rmdir": lambda: os.rmdir(path()),
    "unlinkat": lambda: raw(263, one(*directories), one(*b"x a l a/ b/. x/ l/ lp/".split()),
                            one(0, 0x200, 0x200, 1)),
    "utime": lambda: os.utime(path(), one(None, (1, 2)), follow_symlinks=one(True, False)),
    "chmod": lambda: os.chmod(path(), one(*modes)),
    "fchmod": lambda: os.fchmod(one(*files), one(*modes)),
    "chown": lambda: os.chown(path(), one(-1, 0, 6, 7), one(-1, 0, 5, 6, 9),
                              follow_symlinks=one(True, False)),
    "fchown": lambda: os.fchown(one(*files), one(-1, 6, 7), one(-1, 5, 6)),
    "access": lambda: os.access(path(), one(0, 1, 2, 4, 7), effective_ids=one(True, False)),
    "readlink": lambda: os.readlink(path()), "listdir": lambda: sorted(os.listdir(path())),
    "stat": lambda: shown(os.stat(path(), follow_symlinks=one(True, False))),
    "truncate": lambda: os.truncate(path(), one(0, 3, -1)), "chdir": lambda: os.chdir(path()),
    "setxattr": lambda: os.setxattr(path(), one("user.a", "trusted.a", "security.a"), b"1",
                                    one(0, 1, 2, 5), follow_symlinks=one(True, False)),
    "getxattr": lambda: os.getxattr(path(), one("user.a", "trusted.a", ACCESS, "q")),
    "removexattr": lambda: os.removexattr(path(), one("user.a", "trusted.a", ACCESS, DEFAULT)),
    "listxattr": lambda: sorted(os.listxattr(path())), "watch": lambda: watched(path()),
    "list": lambda: os.setxattr(path(), one(ACCESS, DEFAULT), chance.choice(lists)),
}
inside = "", "/a", "/b", "/x", "/y", "/z", "/l", "/new", "/n2", "/a/x", "/a/n", "/b/x", "/b/y"
for turn in range(400):
    name, used = chance.choice(list(calls)), []
    told((turn, name), lambda: (calls[name](), *used))
    try: os.chdir(top)
    except OSError: break  # it has been closed
    for file in [] if turn % 5 else [name + part for name in names for part in inside]:
        told(file, lambda: shown(os.lstat(file)))
"""
)
VIEWS = {"alone": [], "claimed": ["vfs:/=/"]}


@as_root
@pytest.mark.parametrize("pure", ["", "1"])
@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("seed", [2, 24])
def test_random_calls_are_as_one_who_was_a_real_root_has_them(
    scratch: Path, seed: int, view: str, pure: str
) -> None:
    place, real = _place(scratch), _place(scratch, "native", 0)
    words = ["/usr/bin/python3", "-c", RANDOM]
    native = run_in_view(None, [*words, real, str(seed)], user=0, check=True)
    said = run_in_view(
        [*VIEWS[view], "uid:0:0,drop"], [*words, str(place), str(seed)], user=USER, check=True,
        env={"VIEWOS_PURE": pure},
    )  # fmt: skip
    for ours, theirs in zip(said.stdout.splitlines(), native.stdout.splitlines(), strict=True):
        assert ours == theirs
