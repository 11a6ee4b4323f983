"""Everything about a directory tree that a program can have made, as plain values."""

from __future__ import annotations

import fcntl
import os
import stat
import time
from contextlib import suppress
from dataclasses import dataclass

NOW = "now"
SLACK = 120 * 10**9
"""Nanoseconds around a run: a time in there was not set but happened."""
FS_IOC_GETFLAGS = 0x80086601
CHATTR_FLAGS = 0x000000FB
"""The flags of chattr(1) that a user sets: s u S i a d A; what the file system sets is left out."""


@dataclass(frozen=True)
class Entry:
    """One name in a tree."""

    kind: str
    mode: int
    owner: int
    group: int
    links: int
    same_file: str
    """The first name of its file: hard links share it."""
    device: int
    size: int
    """Of files and links; what a directory's size says is the file system's business."""
    content: bytes
    data: tuple[tuple[int, int], ...]
    """Where the file has data, start and end; holes lie between."""
    modified: int | str
    """Nanoseconds since 1970, or NOW."""
    accessed: int | str
    attributes: tuple[tuple[str, bytes], ...]
    """Extended attributes of all name spaces, ACLs among them."""
    flags: int
    """Of chattr(1)."""


def scan(top: str) -> dict[str, Entry]:
    """name -> entry of everything in and below `top`, itself as "."."""
    found: dict[str, Entry] = {}
    first: dict[tuple[int, int], str] = {}
    # A directory is looked at before it is read: that changes its time of access.
    waiting = [""]
    while waiting:
        name = waiting.pop()
        path = os.path.join(top, name) if name else top
        status = os.lstat(path)
        same = first.setdefault((status.st_dev, status.st_ino), name or ".")
        found[name or "."] = _entry(path, status, same)
        if stat.S_ISDIR(status.st_mode):
            below = sorted(os.listdir(path), reverse=True)
            waiting += [os.path.join(name, entry) for entry in below]
    return found


def _entry(path: str, status: os.stat_result, same: str) -> Entry:
    regular, link = stat.S_ISREG(status.st_mode), stat.S_ISLNK(status.st_mode)
    content, data, flags = b"", (), 0
    if link:
        content = os.fsencode(os.readlink(path))
    elif regular or stat.S_ISDIR(status.st_mode):
        fd = os.open(path, os.O_RDONLY | os.O_NOATIME)
        try:
            flags = _flags(fd)
            if regular:
                data = _data(fd, status.st_size)
                content = b"".join(os.pread(fd, end - start, start) for start, end in data)
        finally:
            os.close(fd)
    names = os.listxattr(path, follow_symlinks=False)
    return Entry(
        kind=stat.filemode(status.st_mode)[0],
        mode=stat.S_IMODE(status.st_mode),
        owner=status.st_uid,
        group=status.st_gid,
        links=status.st_nlink,
        same_file=same,
        device=status.st_rdev,
        size=status.st_size if regular or link else 0,
        content=content,
        data=data,
        modified=_time(status.st_mtime_ns),
        accessed=_time(status.st_atime_ns),
        attributes=tuple(
            (name, os.getxattr(path, name, follow_symlinks=False)) for name in sorted(names)
        ),
        flags=flags,
    )


def _time(moment: int) -> int | str:
    return NOW if abs(time.time_ns() - moment) < SLACK else moment


def _flags(fd: int) -> int:
    # tmpfs has none, and says ENOTTY.
    with suppress(OSError):
        return int.from_bytes(fcntl.ioctl(fd, FS_IOC_GETFLAGS, bytes(8))[:4], "little") & (
            CHATTR_FLAGS
        )
    return 0


def _data(fd: int, size: int) -> tuple[tuple[int, int], ...]:
    found, at = [], 0
    while at < size:
        try:
            start = os.lseek(fd, at, os.SEEK_DATA)
        except OSError:  # ENXIO: a hole up to the end
            break
        at = os.lseek(fd, start, os.SEEK_HOLE)
        found.append((start, at))
    return tuple(found)
