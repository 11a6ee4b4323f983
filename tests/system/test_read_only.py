"""`ro` is a read-only mount: each call says what it says on one, which runs beside it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from .swapped import Tree, tree
from .view import run_in_view

pytestmark = pytest.mark.timeout(60)

CALLS = """
import ctypes, errno, os, socket, stat
os.chdir("T/c")
libc = ctypes.CDLL(None, use_errno=True)
def bind():
    socket.socket(socket.AF_UNIX).bind("new")
def connect():
    socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).connect("socket")
def inotify():
    if libc.inotify_add_watch(libc.inotify_init1(0), b"f", 2) < 0:
        raise OSError(ctypes.get_errno(), "")
def c_access(name):
    if libc.access(name, os.W_OK) < 0:
        raise OSError(ctypes.get_errno(), "")
def descriptor(call, *args):
    fd = os.open("f", os.O_RDONLY)
    try:
        return call(fd, *args)
    finally:
        os.close(fd)
W, R, D = os.O_WRONLY, os.O_RDONLY, os.O_DIRECTORY
for what, call in {
    "open for reading": lambda: os.open("f", R),
    "open a directory": lambda: os.open("sub", R | D),
    "open O_PATH": lambda: os.open("f", os.O_PATH),
    "open O_CREAT of a file": lambda: os.open("f", R | os.O_CREAT),
    "open O_EXCL of a file": lambda: os.open("f", W | os.O_CREAT | os.O_EXCL),
    "open for writing": lambda: os.open("f", W),
    "open for both": lambda: os.open("f", os.O_RDWR),
    "open O_TRUNC": lambda: os.open("f", R | os.O_TRUNC),
    "open O_APPEND": lambda: os.open("f", W | os.O_APPEND),
    "open O_CREAT": lambda: os.open("new", W | os.O_CREAT, 0o644),
    "open O_CREAT for reading": lambda: os.open("new", R | os.O_CREAT, 0o644),
    "open O_TMPFILE": lambda: os.open("sub", os.O_TMPFILE | os.O_RDWR, 0o644),
    "open of nothing for writing": lambda: os.open("new", W),
    "open through a link": lambda: os.open("rel", W),
    "open below": lambda: os.open("sub/g", W),
    "open by dirfd": lambda: os.open("g", W, dir_fd=os.open("sub", R)),
    "open of a FIFO for writing": lambda: os.open("fifo", os.O_RDWR),
    "stat": lambda: os.stat("f"),
    "readlink": lambda: os.readlink("rel"),
    "listdir": lambda: os.listdir("."),
    "access R_OK": lambda: os.access("f", os.R_OK) or 1 / 0,
    "access X_OK": lambda: os.access("script", os.X_OK) or 1 / 0,
    "access W_OK": lambda: c_access(b"f"),
    "access W_OK of a FIFO": lambda: c_access(b"fifo"),
    "mkdir": lambda: os.mkdir("new"),
    "mkdir of what is there": lambda: os.mkdir("sub"),
    "mknod": lambda: os.mknod("new", 0o644 | stat.S_IFREG),
    "mkfifo": lambda: os.mkfifo("new"),
    "bind": bind,
    "connect": connect,
    "symlink": lambda: os.symlink("x", "new"),
    "link": lambda: os.link("f", "new"),
    "rename": lambda: os.rename("f", "new"),
    "rename of nothing": lambda: os.rename("nothing", "new"),
    "unlink": lambda: os.unlink("f"),
    "unlink of nothing": lambda: os.unlink("new"),
    "rmdir": lambda: os.rmdir("sub"),
    "chmod": lambda: os.chmod("f", 0o600),
    "chown": lambda: os.chown("f", -1, -1),
    "lchown": lambda: os.lchown("rel", -1, -1),
    "utime": lambda: os.utime("f"),
    "utime set": lambda: os.utime("f", (1, 1)),
    "utime of a link": lambda: os.utime("rel", follow_symlinks=False),
    "truncate": lambda: os.truncate("f", 1),
    "setxattr": lambda: os.setxattr("f", "user.x", b"x"),
    "removexattr": lambda: os.removexattr("f", "user.x"),
    "getxattr": lambda: os.getxattr("f", "user.x"),
    "listxattr": lambda: os.listxattr("f"),
    "inotify": inotify,
    "execve": lambda: os.spawnv(os.P_WAIT, "T/c/say", ["say"]) and 1 / 0,
    "chdir": lambda: os.chdir("sub") or os.chdir(".."),
    "statvfs says ro": lambda: os.statvfs("f").f_flag & os.ST_RDONLY or 1 / 0,
    "fstatvfs says ro": lambda: descriptor(os.fstatvfs).f_flag & os.ST_RDONLY or 1 / 0,
    "fchmod": lambda: descriptor(os.fchmod, 0o600),
    "fchown": lambda: descriptor(os.fchown, -1, -1),
    "futimens": lambda: descriptor(os.utime),
    "fsetxattr": lambda: descriptor(os.setxattr, "user.x", b"x"),
    "out of the mount": lambda: os.mkdir("../d/new"),
    "the backing itself": lambda: os.truncate("T/b/f", 2),
}.items():
    try:
        call()
        print(what, "ok")
    except OSError as error:
        print(what, errno.errorcode[error.errno])
    except ZeroDivisionError:
        print(what, "no")
"""

NAMES = (
    "f sub sub/ rel out abs none none/ none/x f/x f/ fifo socket . sub/. sub/.. script/.. T/c T/c/"
    " T/c/."
)
PRODUCT = """
import errno, os, socket
os.chdir("T/c")
W, R, RW = os.O_WRONLY | os.O_NONBLOCK, os.O_RDONLY | os.O_NONBLOCK, os.O_RDWR | os.O_NONBLOCK
C = os.O_CREAT
FLAGS = (
    W, RW, R | os.O_TRUNC, W | os.O_TRUNC, R | C, W | C, W | C | os.O_EXCL, R | C | os.O_EXCL,
    os.O_TMPFILE | RW, W | os.O_NOFOLLOW, W | os.O_DIRECTORY, R | C | os.O_DIRECTORY,
    os.O_PATH | os.O_WRONLY, os.O_PATH | C, 3, 3 | C, R | os.O_NOFOLLOW | os.O_TRUNC,
)
def tell(what, call, *args):
    try:
        call(*args)
        print(*what, "ok")
    except OSError as error:
        print(*what, errno.errorcode[error.errno])
def bind(name):
    with socket.socket(socket.AF_UNIX) as box:
        box.bind(name)
for name in NAMES.split() + [""]:
    for flags in FLAGS:
        tell((name, oct(flags)), lambda: os.close(os.open(name, flags)))
    for call, *args in (
        (os.mkdir,), (os.mknod,), (os.mkfifo,), (bind,), (os.rmdir,), (os.unlink,),
        (os.truncate, 1), (os.chmod, 0o600), (os.chown, -1, -1), (os.lchown, -1, -1), (os.utime,),
        (os.setxattr, "user.x", b"x"), (os.removexattr, "user.x"), (os.rename, "zz"),
        (os.link, "zz"), (os.rename, "f"), (os.link, "none"),
    ):
        tell((name, call.__name__, *args), call, name, *args)
    for call, first in ((os.symlink, "x"), (os.rename, "f"), (os.link, "f"), (os.rename, "none"),
                        (os.link, "none"), (os.rename, "f/x"), (os.rename, ""), (os.link, "")):
        tell((call.__name__, first, name), call, first, name)
"""
BY_DESCRIPTOR = ("fstatvfs says ro", "fchmod", "fchown", "futimens", "fsetxattr")


@pytest.fixture(params=[0, 65534])
def ground(request: pytest.FixtureRequest) -> Iterator[Tree]:
    with tree(request.param) as made:
        behind = made.root / "b"
        os.mkfifo(behind / "fifo")
        os.chown(behind / "fifo", made.user, made.user)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as box:
            box.bind(str(behind / "socket"))
            (behind / "socket").chmod(0o777)
            yield made


def _ask(ground: Tree, how: str) -> dict[str, str]:
    program = ground.name(CALLS)
    done = ground.run(how, ["vfs:T/c=T/b,ro"], ["/usr/bin/python3", "-I", "-c", program])
    assert done.returncode == 0, done.stderr.decode()
    lines = [line.rpartition(" ") for line in done.stdout.decode().splitlines()]
    return {what: answer for what, _, answer in lines if what != "b says"}


def test_read_only_is_a_read_only_mount(ground: Tree) -> None:
    expected = _ask(ground, "mounts")
    assert expected["chmod"] == expected["open for writing"] == expected["access W_OK"] == "EROFS"
    assert sum(answer == "EROFS" for answer in expected.values()) > 25
    assert expected["the backing itself"] == expected["out of the mount"] == "ok"
    os.rmdir(ground.root / "d" / "new")
    got = _ask(ground, "view")
    for what in BY_DESCRIPTOR:
        del expected[what], got[what]
    assert got == expected


@pytest.mark.parametrize("what", BY_DESCRIPTOR)
def test_read_only_by_descriptor(what: str, ground: Tree) -> None:
    """A descriptor of a read-only claim is as read-only as one of a read-only mount."""
    assert _ask(ground, "mounts")[what] == ("ok" if what == "fstatvfs says ro" else "EROFS")
    os.rmdir(ground.root / "d" / "new")
    assert _ask(ground, "view")[what] == ("ok" if what == "fstatvfs says ro" else "EROFS")


def test_nothing_was_changed(ground: Tree) -> None:
    """The tree behind a read-only claim is the same after all these calls, but for what the
    program changed under the tree's own name.
    """

    def look() -> dict[str, tuple[int, int, bytes]]:
        return {
            str(path): (
                path.lstat().st_mode,
                path.lstat().st_nlink,
                os.readlink(path).encode() if path.is_symlink() else path.read_bytes(),
            )
            for path in sorted((ground.root / "b").rglob("*"))
            if (path.is_file() or path.is_symlink()) and path.name != "f"
        }

    before = look()
    _ask(ground, "view")
    assert look() == before
    assert (ground.root / "b" / "f").stat().st_size == 2


IOCTLS = """
import errno, fcntl, os
fd = os.open("T/c", os.O_RDONLY)
for request in (0x40086602, 0x401C5820, 0x40087602, 0x40086604, 0x41009432, 0x40087601):
    try:
        print(fcntl.ioctl(fd, request, bytes(256)))
    except OSError as error:
        print(errno.errorcode[error.errno])
"""
"""The one of the label reaches no file system but the tmpfs that is mounted for it."""
TMPFS = 'mount -t tmpfs none "$0" && mkdir "$0/b" "$0/c" && exec "$@"'


@pytest.mark.skipif(os.getuid() != 0, reason="mount(2) needs root")
@pytest.mark.parametrize("user", [0, 65534])
def test_changing_ioctls(user: int) -> None:
    with tree(user) as ground:
        before = ("unshare", "-m", "--propagation", "private", "sh", "-c", TMPFS, str(ground.root))
        module, program = (ground.name(text) for text in ("vfs:T/c=T/b,ro", IOCTLS))
        done = run_in_view([module], ["python3", "-c", program], user=user, before=before)
    label = "EROFS" if user == 0 else "ENOTTY"
    assert done.stdout.decode().split() == ["EROFS"] * 4 + [label, "ENOTTY"], done


@pytest.mark.skipif(os.getuid() != 0, reason="mount --bind takes CAP_SYS_ADMIN")
def test_what_is_wrong_besides_comes_in_the_kernels_order(ground: Tree) -> None:
    script = ground.name(PRODUCT.replace("NAMES.split()", f"{NAMES!r}.split()"))

    def says(how: str) -> list[str]:
        done = ground.run(how, ("vfs:T/c=T/b,ro",), ["/usr/bin/python3", "-IS", "-c", script])
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().splitlines()

    both = list(zip(says("mounts"), says("view"), strict=True))
    assert len(both) > 500
    assert [pair for pair in both if pair[0] != pair[1]] == []
