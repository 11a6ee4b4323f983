"""struct stat of x86-64 (asm/stat.h) and struct statx (linux/stat.h)."""

from __future__ import annotations

import os
import struct

from viewos.tuples import NamedTuple

STAT = struct.Struct("=QQQIIIIQqqqqQqQqQ3q")
STATX = struct.Struct("=IIQIIIHHQQQQ" + "qIi" * 4 + "IIIIQIIQIIIIII8Q")

STATX_BASIC_STATS = 0x7FF
STATX_BTIME = 0x800
STATX_MNT_ID = 0x1000

_SECOND = 1_000_000_000


class Stat(NamedTuple):
    """What stat(2) says; times in nanoseconds since 1970."""

    dev: int
    ino: int
    nlink: int
    mode: int
    uid: int
    gid: int
    rdev: int
    size: int
    blksize: int
    blocks: int
    atime: int
    mtime: int
    ctime: int

    def encode(self) -> bytes:
        """The structure as the kernel writes it."""
        times = [part for time in self[10:] for part in divmod(time, _SECOND)]
        return STAT.pack(*self[:6], 0, *self[6:10], *times, 0, 0, 0)

    @classmethod
    def decode(cls, data: bytes) -> Stat:
        """The structure's fields. Raises struct.error for another size."""
        raw = STAT.unpack(data)
        times = (raw[at] * _SECOND + raw[at + 1] for at in (11, 13, 15))
        return cls(*raw[:6], *raw[7:11], *times)

    @classmethod
    def of(cls, result: os.stat_result) -> Stat:
        """The same from os.stat."""
        return cls(
            result.st_dev, result.st_ino, result.st_nlink, result.st_mode, result.st_uid,
            result.st_gid, result.st_rdev, result.st_size, result.st_blksize, result.st_blocks,
            result.st_atime_ns, result.st_mtime_ns, result.st_ctime_ns,
        )  # fmt: skip


class Statx(NamedTuple):
    """What statx(2) says, as far as Linux 6.18; times in nanoseconds since 1970."""

    mask: int
    blksize: int
    attributes: int
    nlink: int
    uid: int
    gid: int
    mode: int
    ino: int
    size: int
    blocks: int
    attributes_mask: int
    atime: int
    btime: int
    ctime: int
    mtime: int
    rdev: int
    dev: int
    mnt_id: int
    rest: tuple[int, ...] = (0,) * 17
    """Direct I/O alignment, subvolume, atomic writes, spare: the words after mnt_id."""

    def encode(self) -> bytes:
        """The structure as the kernel writes it."""
        times: list[int] = []
        for time in (self.atime, self.btime, self.ctime, self.mtime):
            times += (*divmod(time, _SECOND), 0)
        devices = (os.major(self.rdev), os.minor(self.rdev), os.major(self.dev), os.minor(self.dev))
        return STATX.pack(*self[:7], 0, *self[7:11], *times, *devices, self.mnt_id, *self.rest)

    @classmethod
    def decode(cls, data: bytes) -> Statx:
        """The structure's fields. Raises struct.error for another size."""
        raw = STATX.unpack(data)
        times = [raw[at] * _SECOND + raw[at + 1] for at in (12, 15, 18, 21)]
        rdev, dev = os.makedev(raw[24], raw[25]), os.makedev(raw[26], raw[27])
        return cls._make((*raw[:7], *raw[8:12], *times, rdev, dev, raw[28], raw[29:]))
