"""fakeroot's own format (faked.c): a line a file, found by st_dev and inode number.

    dev=fe00,ino=1234,mode=100644,uid=0,gid=0,nlink=1,rdev=0

dev is hexadecimal, mode octal. It holds no attributes, and no generation: a file that has got the
inode number of a removed one since is taken for that.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from viewos import Identity, ViewosError
from viewos.modules.uid.table import Place, Record

_LINE = re.compile(
    rb"dev=([0-9a-f]+),ino=(\d+),mode=([0-7]+),uid=(\d+),gid=(\d+),nlink=\d+,rdev=(\d+)\s*"
)


def parse(text: bytes, name: str) -> Iterator[tuple[Place, Record]]:
    """The records of a file of fakeroot's. Raises ViewosError for a line that is none."""
    for number, line in enumerate(text.splitlines(), 1):
        match = _LINE.fullmatch(line)
        if match is None:
            raise ViewosError(
                f"{name}:{number}: this is no line of fakeroot's (dev=,ino=,mode=...)"
            )
        device, mode = int(match[1], 16), int(match[3], 8)
        inode, uid, gid, rdev = (int(match[at]) for at in (2, 4, 5, 6))
        yield (device, inode), Record(uid & 0xFFFFFFFF, gid & 0xFFFFFFFF, mode, rdev)


class Export(NamedTuple):
    """Lines in fakeroot's format, and how much they cannot hold."""

    lines: bytes
    attributes: int
    """Files whose extended attributes are lost."""


def export(
    records: Iterable[tuple[Identity, Record]], waiting: Iterable[tuple[Place, Record]] = ()
) -> Export:
    """Records that have a name still, and those of files that have not been seen."""
    lines, lost = [], 0
    for identity, record in records:
        if not record.gone:
            lines.append(_line((record.device, identity.inode), record))
            lost += bool(record.attributes)
    lines += [_line(place, record) for place, record in waiting]
    return Export(b"".join(lines), lost)


def _line(place: Place, record: Record) -> bytes:
    mode = record.real if record.mode is None else record.mode
    return b"dev=%x,ino=%d,mode=%o,uid=%d,gid=%d,nlink=1,rdev=%d\n" % (
        *place, mode, record.uid, record.gid, record.rdev,
    )  # fmt: skip


def write(path: str, export: Export) -> None:
    """Replace the file at once; a FIFO, as fakeroot has it too, is written to."""
    if os.path.exists(path) and not os.path.isfile(path):
        with open(path, "wb") as file:
            file.write(export.lines)
        return
    part = f"{path}.{os.getpid()}"
    with open(part, "wb") as file:
        file.write(export.lines)
    os.replace(part, path)
