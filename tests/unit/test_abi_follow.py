"""What the table says of links, empty and null paths, against the running kernel.

Each path is a symbolic link to itself: a call that follows it gives ELOOP, one that does not gives
something else (or, where a link itself is refused with ELOOP, is asked in a way that tells).
"""

from __future__ import annotations

import ctypes
import errno
import itertools
import os
import pathlib
import struct
from collections.abc import Iterator

import pytest

from viewos.abi import fcntl as f
from viewos.abi.row import Flag, Intent, Kind, PathArg, Row, follows, may_be_empty
from viewos.abi.syscalls import PATH_SYSCALLS, TABLE

pytestmark = pytest.mark.timeout(60)

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long

# Not asked of the kernel here, and why.
NOT_ASKED = {
    "bpf": "its path stands in a structure",
    "fsconfig": "needs a file system that takes a path",
    "uselib": "no x86-64 kernel of today has it",
    "quotactl": "looks at the device only in kernels with CONFIG_QUOTA",
}
CAPABLE = os.geteuid() == 0
# These ask for privileges before they look at the path (or need a descriptor that takes them).
NEEDS_ROOT = {
    "acct", "fanotify_mark", "fspick", "mount", "mount_setattr", "move_mount",
    "open_tree_attr", "pivot_root", "swapoff", "swapon", "umount2",
}  # fmt: skip


def needs_root(name: str) -> None:
    if name in NEEDS_ROOT and not CAPABLE:
        pytest.skip(f"{name} needs root before it looks at a path")


def flag_sets(where: PathArg) -> Iterator[tuple[int | None, int]]:
    """(argument, flags) that tell the ways apart: none, and each flag of `follow`."""
    yield None, 0
    if isinstance(where.follow, Flag):
        yield where.follow.arg, where.follow.mask
    elif isinstance(where.follow, tuple):
        for flag in where.follow:
            yield flag.arg, flag.mask
            yield flag.arg, flag.mask | flag.unless


def call(row: Row, values: dict[int, int | bytes]) -> int:
    """Make a system call with null, zero and harmless arguments but `values`: its errno, or 0."""
    keep = []
    arguments: list[ctypes.c_long | ctypes.c_char_p] = []
    scratch = ctypes.create_string_buffer(8192)
    keep.append(scratch)
    for index, arg in enumerate(row.args):
        value = values.get(index, HARMLESS.get(arg.kind, 0))
        if arg.kind in (Kind.PTR, Kind.BUF) and index not in values and arg.name not in NULLS:
            value = ctypes.addressof(scratch)
        if (row.name, arg.name) in SPECIAL and index not in values:
            value = SPECIAL[row.name, arg.name]
        arguments.append(
            ctypes.c_char_p(value) if isinstance(value, bytes) else ctypes.c_long(value)
        )
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(row.number), *arguments)
    if result < 0:
        return ctypes.get_errno()
    if row.operation in ("open", "open_tree", "open_tree_attr"):
        os.close(result)
    return 0


FLAGS_TOO = {"fanotify_mark": 0x1}  # FAN_MARK_ADD
NULLS = {"times"}
HARMLESS: dict[Kind, int | bytes] = {
    Kind.DIRFD: f.AT_FDCWD,
    Kind.STR: b"user.viewos",
    Kind.MODE: 0o600,
    Kind.UID: 0xFFFFFFFF,
    Kind.GID: 0xFFFFFFFF,
    Kind.PATH: b"other",
}
SPECIAL: dict[tuple[str, str], int | bytes] = {
    ("openat2", "size"): f.OPEN_HOW.size,
    ("file_getattr", "size"): 24,
    ("file_setattr", "size"): 24,
    ("getxattrat", "size"): 16,
    ("setxattrat", "size"): 16,
    ("mount_setattr", "size"): 32,
    ("open_tree_attr", "size"): 32,
    ("inotify_add_watch", "mask"): 0x2,
    ("readlink", "bufsiz"): 100,
    ("readlinkat", "bufsiz"): 100,
    ("mknod", "mode"): 0o010600,
    ("mknodat", "mode"): 0o010600,
    # With nothing to set the call returns before it looks.
    ("mount_setattr", "attr"): struct.pack("=QQQQ", 8, 0, 0, 0),
    ("move_mount", "from_path"): b".",
    ("move_mount", "to_path"): b".",
    ("pivot_root", "new_root"): b".",
    ("pivot_root", "put_old"): b".",
    ("mount", "source"): b".",
    ("mount", "target"): b".",
    ("mount", "fstype"): 0,
    ("mount", "flags"): f.MS_BIND,
    ("mount", "data"): 0,
    ("fanotify_mark", "mask"): 0x20,
}


@pytest.fixture
def loop(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[bytes]:
    monkeypatch.chdir(tmp_path)
    os.symlink("loop", "loop")
    descriptors = [libc.inotify_init(), libc.fanotify_init(0, 0)]
    monkeypatch.setitem(SPECIAL, ("inotify_add_watch", "fd"), descriptors[0])
    monkeypatch.setitem(SPECIAL, ("fanotify_mark", "fd"), descriptors[1])
    yield b"loop"
    for fd in descriptors:
        if fd >= 0:
            os.close(fd)


def cases() -> list[tuple[str, int, int | None, int]]:
    return [
        (name, which, arg, flags)
        for name in sorted(PATH_SYSCALLS - set(NOT_ASKED))
        for which, where in enumerate(TABLE[name].paths)
        for arg, flags in flag_sets(where)
    ]


@pytest.mark.parametrize(("name", "which", "arg", "flags"), cases())
def test_follows_as_the_kernel(
    name: str, which: int, arg: int | None, flags: int, loop: bytes
) -> None:
    row = TABLE[name]
    where = row.paths[which]
    needs_root(name)
    if row.operation == "link" or (row.operation == "rename" and which == 1):
        pathlib.Path("other").touch()
    values: dict[int, int | bytes] = {where.path: loop}
    if row.operation in ("rename", "link") and which == 1:
        values[row.paths[0].path] = b"other"
    elif row.operation in ("rename", "link"):
        values[row.paths[1].path] = b"new"
    if arg is not None:
        values[arg] = flags | FLAGS_TOO.get(name, 0)
    elif name in FLAGS_TOO:
        values[row.position("flags")] = FLAGS_TOO[name]
    raw = [value if isinstance(value := values.get(i, 0), int) else 1 for i in range(6)]
    expected = follows(where, raw)
    got = call(row, values)
    assert got != errno.ENOSYS, f"{name}: this kernel lacks the call"
    assert got != errno.EFAULT
    if row.operation == "open" and not expected and not flags & (f.O_CREAT | f.O_PATH):
        # O_NOFOLLOW refuses a link with ELOOP too; O_PATH tells.
        assert got == errno.ELOOP
        got = call(row, {**values, arg or 0: flags | f.O_PATH})
    if name == "execveat" and not expected:
        # It refuses a final link with ELOOP in both ways (its manual page).
        assert got == errno.ELOOP
        return
    assert (got == errno.ELOOP) is expected, errno.errorcode.get(got)


@pytest.mark.parametrize("flags", [0, f.O_NOFOLLOW, f.O_CREAT | f.O_EXCL])
def test_openat2_follows_as_the_kernel(flags: int, loop: bytes) -> None:
    row = TABLE["openat2"]
    mode = 0o600 if flags & f.O_CREAT else 0
    how = f.OPEN_HOW.pack(flags if flags & f.O_CREAT else flags | f.O_PATH, mode, 0)
    got = call(row, {1: loop, 2: how})
    assert (got == errno.ELOOP) is follows(row.paths[0], [0] * 6, flags)


EMPTY_CALLS = sorted(
    name
    for name in PATH_SYSCALLS - set(NOT_ASKED)
    if any(where.empty for where in TABLE[name].paths)
)


@pytest.mark.parametrize("name", EMPTY_CALLS)
@pytest.mark.parametrize("flagged", [False, True])
def test_empty_paths_as_the_kernel(
    name: str, flagged: bool, tmp_path: pathlib.Path, loop: bytes
) -> None:
    needs_root(name)
    row = TABLE[name]
    where = row.paths[0]
    assert where.empty is not None
    assert where.dirfd is not None
    (tmp_path / "link").symlink_to("target")
    # readlinkat takes an O_PATH descriptor of a link, the others one of any object.
    place = (tmp_path / "link") if row.operation == "readlink" else tmp_path
    fd = os.open(place, f.O_PATH | f.O_NOFOLLOW)
    values: dict[int, int | bytes] = {where.path: b"", where.dirfd: fd}
    if flagged and where.empty.mask:
        values[where.empty.arg] = where.empty.mask
    raw = [value if isinstance(value := values.get(i, 0), int) else 1 for i in range(6)]
    try:
        got = call(row, values)
        assert got != errno.ENOSYS, f"{name}: this kernel lacks the call"
        assert (got != errno.ENOENT) is may_be_empty(where, raw), errno.errorcode.get(got)
    finally:
        os.close(fd)


KERNEL = tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2])


@pytest.mark.skipif(KERNEL < (6, 17), reason="null paths as Linux 6.17 and later take them")
@pytest.mark.parametrize(
    "name",
    sorted(
        name for name in PATH_SYSCALLS - set(NOT_ASKED) if TABLE[name].paths[0].dirfd is not None
    ),
)
def test_null_paths_as_the_kernel(name: str, tmp_path: pathlib.Path, loop: bytes) -> None:
    needs_root(name)
    row = TABLE[name]
    where = row.paths[0]
    assert where.dirfd is not None
    fd = os.open(tmp_path, os.O_RDONLY)
    values: dict[int, int | bytes] = {where.path: 0, where.dirfd: fd}
    if where.empty and where.empty.mask:
        values[where.empty.arg] = where.empty.mask
    elif name in FLAGS_TOO:
        values[row.position("flags")] = FLAGS_TOO[name]
    try:
        got = call(row, values)
        assert (got != errno.EFAULT) is where.null_ok, errno.errorcode.get(got)
    finally:
        os.close(fd)


def test_every_call_that_is_not_asked_is_there() -> None:
    assert set(NOT_ASKED) <= PATH_SYSCALLS


def test_trees_of_flags() -> None:
    opening = TABLE["openat"].paths[0]
    for nofollow, create, only_path in itertools.product((False, True), repeat=3):
        flags = nofollow * f.O_NOFOLLOW | create * (f.O_CREAT | f.O_EXCL) | only_path * f.O_PATH
        expected = not nofollow and (not create or only_path)
        assert follows(opening, [0, 0, flags, 0, 0, 0]) is expected
    assert follows(opening, [0, 0, f.O_CREAT, 0, 0, 0])
    assert follows(opening, [0, 0, f.O_EXCL, 0, 0, 0])
    assert opening.intent == Intent.OPEN
    assert struct.calcsize("=QQQ") == f.OPEN_HOW.size
