"""What the accelerator does for each system call, made from the one table of them in `abi`."""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection

from viewos.abi.row import Flag, How, Intent, PathArg, Row
from viewos.abi.syscalls import BY_NUMBER
from viewos.monitor.trapped import ASKED_NAMES, CREDENTIAL_CALLS

CALLS = 512
_FLAG = struct.Struct("=3I")
_PATH = struct.Struct("=bbBBB3x24s")
_RULE = struct.Struct("=BB4bBx64s")
SIZE = _RULE.size
_LOOK, _LINK, _NOTHING_TO_DO = 1, 12, 17
_INTENTS = {
    Intent.READ: 0, Intent.EXECUTE: 0, Intent.WRITE: 1, Intent.CREATE: 2, Intent.REMOVE: 3,
    Intent.OPEN: 4,
}  # fmt: skip

# Name -> (enum action of accelerator.h, the further arguments that the action takes).
_ACTIONS: dict[str, tuple[int, tuple[str, ...]]] = {
    **dict.fromkeys(("open", "openat", "creat"), (2, ("flags", "mode"))),
    **dict.fromkeys(("stat", "lstat", "newfstatat"), (3, ("statbuf", "flags"))),
    "statx": (4, ("flags", "mask", "statxbuf")),
    **dict.fromkeys(("access", "faccessat", "faccessat2"), (5, ("mode", "flags"))),
    **dict.fromkeys(("readlink", "readlinkat"), (6, ("buf", "bufsiz"))),
    "getcwd": (7, ("buf", "size")),
    "chdir": (8, ()),
    **dict.fromkeys(("mkdir", "mkdirat"), (9, ("mode",))),
    **dict.fromkeys(("unlink", "rmdir", "unlinkat"), (10, ("flags",))),
    **dict.fromkeys(("rename", "renameat", "renameat2"), (11, ("flags",))),
    **dict.fromkeys(("link", "linkat"), (_LINK, ("flags",))),
    **dict.fromkeys(("symlink", "symlinkat"), (13, ())),
    **dict.fromkeys(("chmod", "fchmodat"), (14, ("mode",))),
    "execve": (16, ()),
    "prctl": (18, ("option",)),
    **dict.fromkeys(("sendmsg", "recvmsg"), (19, ("msg",))),
    **dict.fromkeys(("sendmmsg", "recvmmsg"), (19, ("msgvec", "vlen"))),
    **dict.fromkeys(("bind", "sendto"), (20, ("addr",))),
    "connect": (20, ("addr", "addrlen")),
    **dict.fromkeys(("getsockname", "getpeername", "accept", "accept4", "recvfrom"), (21, ("fd",))),
    "fstat": (32, ("statbuf", "flags", "fd")),
    "utimensat": (15, ("times", "flags")),
    **dict.fromkeys(CREDENTIAL_CALLS - {"unshare", "setns"}, (22, ())),
}

_CHANGES: dict[str, tuple[int, tuple[str, ...]]] = {
    **dict.fromkeys(("chown", "lchown", "fchownat"), (36, ("owner", "group", "flags"))),
    "fchown": (37, ("owner", "group", "fd")),
    **dict.fromkeys(("chmod", "fchmodat", "fchmodat2"), (38, ("mode", "", "flags"))),
    "fchmod": (39, ("mode", "", "fd")),
}
"""The same for calls that change what a module shows of owners."""
CHANGES = frozenset(_CHANGES)
OPENS = ("open", "openat")
"""The calls of paths of which a module can pass some."""


def _packed_path(path: PathArg) -> bytes | None:
    if path.when is not None or path.inside is not None or path.intent not in _INTENTS:
        return None
    follow = path.follow
    if isinstance(follow, How):
        return None
    flags: tuple[Flag, ...] = ()
    if isinstance(follow, bool):
        default = follow
    else:
        flags = (follow,) if isinstance(follow, Flag) else follow
        default = not flags[0].means_follow
    if len(flags) > 2 or any(flag.mask >> 32 or flag.unless >> 32 for flag in flags):
        return None
    dirfd = -1 if path.dirfd is None else path.dirfd
    words = b"".join(_FLAG.pack(flag.mask, flag.unless, flag.arg) for flag in flags)
    return _PATH.pack(path.path, dirfd, _INTENTS[path.intent], default, len(flags), words)


def _packed(row: Row, action: int, names: tuple[str, ...], asks: bool) -> bytes:
    paths = [_packed_path(path) for path in row.paths]
    if len(paths) > 2 or any(path is None for path in paths):
        return bytes(SIZE)
    places = {arg.name: index for index, arg in enumerate(row.args)}
    values = [places.get(name, -1) for name in names]
    values += [-1] * (4 - len(values))
    words = b"".join(path for path in paths if path)
    return _RULE.pack(action, len(paths), *values, asks, words)


_ID, _UNAME, _FILTER = 33, 34, 35
IDS = ("getuid", "geteuid", "getgid", "getegid")


def pack(
    is_ours: Callable[[Row], bool],
    has_more: Callable[[Row], bool],
    constants: Collection[str] = (),
    passed: Collection[str] = (),
    changes: Collection[str] = (),
) -> bytes:
    """The rules of all calls.

    Arguments: `is_ours` says whether only the monitor answers a call, and no module; `has_more`
    whether there is more to it than its paths; `constants`: the calls that a module answers by data
    (`IDS`, uname), or passes; `passed`: calls of paths of which it passes some;
    `changes`: those of `CHANGES` that are done as a module would, and those of `ASKED_NAMES` for
    which it is asked where it remembers the file, or has to remember the one that is made.
    """
    rules = [bytes(SIZE)] * CALLS
    nothing = _RULE.pack(_NOTHING_TO_DO, 0, -1, -1, -1, -1, False, b"")
    for number, row in BY_NUMBER.items():
        if row.name in constants:
            which = IDS.index(row.name) if row.name in IDS else -1
            kind = _UNAME if row.name == "uname" else _FILTER if which < 0 else _ID
            rules[number] = _RULE.pack(kind, 0, which, -1, -1, -1, False, b"")
            continue
        if row.name in changes and row.name in CHANGES:
            rules[number] = _packed(row, *_CHANGES[row.name], False)
            continue
        asks = row.name in passed or (row.name in changes and row.name in ASKED_NAMES)
        if number >= CALLS or not (is_ours(row) or asks):
            continue
        action = _ACTIONS.get(row.name)
        if action is None and not has_more(row):
            if not row.paths:  # most calls
                rules[number] = nothing
                continue
            action = _LOOK, ()
        if action is not None:
            rules[number] = _packed(row, *action, asks)
    return b"".join(rules)
