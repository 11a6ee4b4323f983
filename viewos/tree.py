"""`TreeModule`: a tree made of data, for modules that can list a directory and read a file.

The tree is mirrored into the scratch directory: listing a directory makes placeholders with the
right type, size, mode and time, and the first open of a file fills it. They are real files, so
stat, getdents and inode numbers agree with each other, and read, mmap and seek need nobody.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, BinaryIO, Final, Literal, Self

from viewos.module import FileModule

_LONGEST_NAME, _LONGEST_TARGET = 255, 4095
_KINDS: Final = {"file": 0o644, "directory": 0o755, "symlink": 0o777}


@dataclass(frozen=True, slots=True)
class Entry:
    """A name in a directory, and what stat(2) says of it. `Entry.file`, `Entry.directory` and
    `Entry.symlink` make one. Raises ValueError for what no directory can hold."""

    name: bytes
    kind: Literal["file", "directory", "symlink"] = "file"
    size: int | None = None
    """Bytes of a file; None: read it when its directory is listed, to find out."""
    mode: int | None = None
    """Permission bits; None: 0644 for a file, 0755 for a directory."""
    mtime_ns: int | None = None
    """Time of the last change, in nanoseconds since the epoch; None: when the view started."""
    target: bytes = b""
    """The text of a symbolic link: a path of the view."""

    def __post_init__(self) -> None:
        if self.name in (b"", b".", b"..") or b"/" in self.name or b"\0" in self.name:
            raise ValueError(f"{self.name!r} is no name of a directory entry")
        if len(self.name) > _LONGEST_NAME or len(self.target) > _LONGEST_TARGET:
            raise ValueError(f"{self.name!r}: its name, or its target, is too long")
        if not 0 <= (self.size or 0) < 1 << 63:
            raise ValueError(f"{self.name!r}: {self.size} bytes are no size of a file")
        if self.kind not in _KINDS:
            raise ValueError(f"{self.kind!r} is no kind of entry: {', '.join(_KINDS)}")
        if (self.kind == "symlink") is not bool(self.target) or b"\0" in self.target:
            raise ValueError(f"{self.name!r}: a symbolic link, and nothing else, has a target")

    @classmethod
    def file(cls, name: bytes, size: int | None = None, **more: Any) -> Self:
        """A regular file of `size` bytes; `more` are fields of the class."""
        return cls(name, "file", size, **more)

    @classmethod
    def directory(cls, name: bytes, **more: Any) -> Self:
        """A directory; `more` are fields of the class."""
        return cls(name, "directory", **more)

    @classmethod
    def symlink(cls, name: bytes, target: bytes, **more: Any) -> Self:
        """A symbolic link to `target`; `more` are fields of the class."""
        return cls(name, "symlink", target=target, **more)

    @property
    def permissions(self) -> int:
        """The permission bits, with the default of the kind."""
        return _KINDS[self.kind] if self.mode is None else self.mode & 0o7777


class _Node:
    """What has been mirrored of one entry. The lock is held while it is listed or filled, and
    never together with another: a slow entry holds up nobody who wants a different one."""

    __slots__ = ("children", "entry", "filled", "lock")

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.lock = threading.Lock()
        self.children: dict[bytes, _Node] | None = None
        self.filled = False

    def listed(self) -> bool:
        return self.children is not None


class TreeModule(FileModule):
    """A read-only tree made of data. Subclass it, set `mount_point`, define `entries` and `read`.

    Both may be called by several threads at once, but only once for each directory and file that
    did not fail. An OSError that they raise is what the program gets.
    """

    read_only = True
    reserved = FileModule.reserved | {"read"}
    _top = _Node(Entry.directory(b"root"))
    _started_ns = 0

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not cls.read_only:
            raise TypeError(f"{cls.__name__}: a TreeModule is read-only, a FileModule need not be")

    def entries(self, path: bytes) -> Iterable[Entry]:
        """What the directory `path` holds: b"" for the root, else with its leading slash."""
        raise NotImplementedError(f"{type(self).__name__}.entries")

    def read(self, path: bytes) -> bytes:
        """The contents of the file `path`, which has its leading slash."""
        raise NotImplementedError(f"{type(self).__name__}.read")

    def start(self, scratch: bytes) -> None:
        """See `FileModule.start`. Raises ValueError for a mount point that is not absolute."""
        super().start(scratch)
        if not self.mount_point.startswith(b"/"):
            raise ValueError(f"{self.name}: mount_point {self.mount_point!r} is not absolute")
        self._started_ns = time.time_ns()
        self._top = _Node(Entry.directory(b"root"))

    def stop(self) -> None:
        """Make all directories removable again."""
        _open_up(self.root, self._top)

    def prepare(self, path: bytes, intent: str) -> None:
        """Mirror the directories on the way, and for all but a look the contents of a file.

        A directory is listed as soon as it is looked at: its link count and times then are what
        they stay. Names that do not exist get nothing, so that the kernel says ENOENT.
        """
        names = path.split(b"/")[1:]
        if b".." in names or b"." in names:
            raise OSError(errno.ENOENT, "not a canonical path", path)
        node, at = self._top, b""
        self._list(node, at)
        for name in names:
            if node.children is None or name not in node.children:
                return
            node, at = node.children[name], at + b"/" + name
            if node.entry.kind == "directory":
                self._list(node, at)
        if intent != "look" and node.entry.kind == "file":
            self._fill(node, at)

    # ---- mirroring ----------------------------------------------------------------------------

    def _list(self, node: _Node, at: bytes) -> None:
        if node.listed():
            return
        with node.lock:
            if node.listed():
                return
            children: dict[bytes, _Node] = {}
            for entry in self.entries(at):
                if entry.name in children:
                    raise ValueError(f"{self.name}: {at!r} has two entries {entry.name!r}")
                children[entry.name] = _Node(entry)
            for name, child in children.items():
                self._place(child, at + b"/" + name)
            real = self.root + at
            os.chmod(real, node.entry.permissions)
            self._set_time(real, node.entry)
            node.children = children

    def _place(self, node: _Node, at: bytes) -> None:
        """Make a placeholder. One that an earlier attempt has left is as good."""
        entry, real = node.entry, self.root + at
        try:
            if entry.kind == "directory":
                os.mkdir(real, 0o700)  # its own permissions come when it has been listed
            elif entry.kind == "symlink":
                os.symlink(entry.target, real)
        except FileExistsError:
            pass
        if entry.kind == "file":
            data = self._contents(at) if entry.size is None else None
            self._write(real, entry, data)
            node.filled = data is not None
        else:
            self._set_time(real, entry)

    def _fill(self, node: _Node, at: bytes) -> None:
        if node.filled:
            return
        with node.lock:
            if not node.filled:
                self._write(self.root + at, node.entry, self._contents(at))
                node.filled = True

    def _contents(self, at: bytes) -> bytes:
        data: object = self.read(at)
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"{self.name}: read({at!r}) gave a {type(data).__name__}, and no bytes")
        return bytes(data)

    def _write(self, real: bytes, entry: Entry, data: bytes | None) -> None:
        """In place: a rename would change the inode number that programs have seen."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            fd = os.open(real, flags, 0o600)
        except PermissionError:  # its own mode keeps an ordinary user from writing
            os.chmod(real, entry.permissions | 0o200)
            fd = os.open(real, flags)
        with open(fd, "wb", buffering=0) as file:
            rest = memoryview(data or b"")
            self._resize(file, entry, entry.size or 0 if data is None else len(data))
            while rest:
                rest = rest[file.write(rest) :]
            os.fchmod(fd, entry.permissions)
            self._set_time(fd, entry)

    def _resize(self, file: BinaryIO, entry: Entry, size: int) -> None:
        try:
            file.truncate(size)
        except OSError as error:
            if error.errno != errno.EFBIG:
                raise
            # Of the scratch directory; the program has asked for nothing of that size.
            raise ValueError(f"{self.name}: no room for {entry.name!r} of {size} bytes") from error

    def _set_time(self, where: bytes | int, entry: Entry) -> None:
        when = self._started_ns if entry.mtime_ns is None else entry.mtime_ns
        if isinstance(where, int):
            os.utime(where, ns=(when, when))
        else:
            os.utime(where, ns=(when, when), follow_symlinks=False)


def _open_up(real: bytes, node: _Node) -> None:
    if node.children is None:
        return
    if node.entry.permissions & 0o700 != 0o700:
        os.chmod(real, 0o700)
    for name, child in node.children.items():
        _open_up(real + b"/" + name, child)
