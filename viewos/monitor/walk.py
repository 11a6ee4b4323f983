"""The state of one walk along a path, and its looks at what it meets; the steps are those of
paths.py."""

from __future__ import annotations

import errno
import os
import stat
import struct
from typing import TYPE_CHECKING

from viewos.abi.fcntl import RESOLVE_IN_ROOT, RESOLVE_NO_SYMLINKS
from viewos.kernel import AT_FDCWD, vouch

if TYPE_CHECKING:
    from viewos.claims import Claim
    from viewos.monitor.place import Start
    from viewos.monitor.task import Task


LOOK = struct.pack("=QQQ", os.O_PATH | os.O_CLOEXEC, 0, RESOLVE_NO_SYMLINKS)
LOOK_NOFOLLOW = struct.pack(
    "=QQQ", os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW, 0, RESOLVE_NO_SYMLINKS
)
"""For `vouch`: no symbolic link on the way, nor (the first) at the end."""


def up(path: bytes, root: bytes) -> bytes:
    """The directory above, but for the root's."""
    return path if path == root else os.path.dirname(path)


def is_searchable(directory: bytes) -> bool:
    """Is it a directory in which this process may look a name up? `.` and `..` are such names."""
    seen = vouch(AT_FDCWD, directory + b"/.", LOOK)
    if seen >= 0:
        os.close(seen)
    return seen >= 0


def is_directory(real: bytes) -> bool:
    """A descriptor may also stand for a symbolic link itself (O_PATH)."""
    try:
        return stat.S_ISDIR(os.lstat(real).st_mode)
    except OSError as error:
        return error.errno == errno.EACCES  # some directory above asks for more than a descriptor


def is_above(task: Task, link: str, levels: int, directory: bytes) -> bool:
    """Is it what `..` leads to, so often, from a directory of a task (cwd, fd/N)?"""
    try:
        above = os.stat(link + levels * "/..", dir_fd=task.directory)
        return os.path.samestat(above, os.stat(directory))
    except OSError:
        return False


class Walk:
    """The state of one walk."""

    __slots__ = (
        "absolute", "claim", "entered", "floor", "inside", "kernel", "links", "plain", "real",
        "root", "rooted", "rules", "searched", "slash", "task", "todo", "virtual",
    )  # fmt: skip

    def __init__(
        self, task: Task | None, root: Start, start: Start, real: bytes, path: bytes, rules: int
    ) -> None:
        self.task, self.root, self.rules = task, root, rules
        self.virtual = self.floor = start.virtual
        self.real = real
        """What stands behind `virtual`."""
        self.kernel = start.real
        """Where the kernel would be."""
        self.todo = split(path)
        self.slash = path.endswith(b"/")
        self.absolute = path[:1] == b"/"
        self.plain = self.real == self.kernel or (self.absolute and self.kernel == root.real)
        """So far the kernel finds the same. That the root itself is another one is no matter when
        the first name in it is not: no link can stand there."""
        self.entered = not (self.absolute or start.hidden)
        """The name before this one may be no directory."""
        self.rooted = self.absolute or bool(rules & RESOLVE_IN_ROOT)
        """It began at the root, or has met `..` (fs/namei.c: nd->root is set)."""
        self.inside = not self.absolute or bool(rules & RESOLVE_IN_ROOT)
        """It began in the middle of the tree, where directories above ask for no permission."""
        self.links = 0
        self.claim: Claim | None = None
        self.searched: list[bytes] = []
        """The directories in which names were looked up."""


def split(path: bytes) -> list[bytes]:
    """The components, last first, without empty ones and "."s that change nothing."""
    parts = [part for part in path.split(b"/") if part]
    parts.reverse()
    return parts
