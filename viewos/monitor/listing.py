"""getdents64 of a directory in which a mount point has no real entry: it shows all the same.

Only trapped in views that have such a mount point. The entries come first, when the directory is
read from its beginning: that needs no memory of who has read how far.
"""

from __future__ import annotations

import ctypes
import os
import struct
from typing import TYPE_CHECKING

from viewos import kernel
from viewos.abi.row import signed32
from viewos.monitor.namespaces import is_view
from viewos.monitor.outcome import CONTINUE, Outcome

if TYPE_CHECKING:
    from viewos.call import Call
    from viewos.monitor.router import Router

_ENTRY = struct.Struct("=QqHB")
_OLD_ENTRY = struct.Struct("=QQH")
_LARGEST = 1 << 16


def getdents(router: Router, call: Call) -> int | Outcome:
    """getdents64(2), getdents(2)."""
    task, _ = router.tasks.get(call.tid)
    fd = signed32(call.raw[0])
    try:
        directory = task.link(f"fd/{fd}")
    except OSError:
        return CONTINUE
    missing = router.view.listed.get(directory)
    if not missing or not is_view(task):
        return CONTINUE
    try:
        shared = router.descriptor_of(call, fd)  # the same open file: its position is the tracee's
    except ProcessLookupError:
        return CONTINUE
    except OSError as error:
        router.log.warning(f"mount points cannot be listed: pidfd_getfd: {error}", once="getfd")
        return CONTINUE
    try:
        if os.lseek(shared, 0, os.SEEK_CUR) != 0:
            return CONTINUE
        return _first_read(router, call, directory, missing, shared)
    finally:
        os.close(shared)


def _first_read(
    router: Router,
    call: Call,
    directory: bytes,
    missing: tuple[tuple[bytes, int], ...],
    shared: int,
) -> int | Outcome:
    size = min(call.raw[2] & 0xFFFFFFFF, _LARGEST)
    old_format = call.name == "getdents"
    extra = b""
    for name, kind in missing:
        if os.path.lexists(os.path.join(directory, name)):
            continue
        inode = _inode(router, directory, name)
        extra += _pack_old(inode, kind, name) if old_format else _pack(inode, kind, name)
    room = size - len(extra)
    if not extra or room < 300:
        return CONTINUE
    buffer = ctypes.create_string_buffer(room)
    number = 78 if old_format else kernel.NR["getdents64"]
    count = kernel.syscall(number, shared, buffer, room)
    data = extra + buffer.raw[:count]
    router.memory.write(call.tid, call.raw[1], data)
    return len(data)


def _inode(router: Router, directory: bytes, name: bytes) -> int:
    virtual = router.view.claims.reverse(directory) or directory
    _, real = router.view.claims.forward(os.path.join(virtual, name))
    try:
        return os.lstat(real).st_ino
    except OSError:
        return 1


def _pack(inode: int, kind: int, name: bytes) -> bytes:
    length = _ENTRY.size + len(name) + 1 + 7 & ~7
    return (_ENTRY.pack(inode, 0, length, kind) + name).ljust(length, b"\0")


def _pack_old(inode: int, kind: int, name: bytes) -> bytes:
    length = _OLD_ENTRY.size + len(name) + 2 + 7 & ~7
    record = (_OLD_ENTRY.pack(inode, 0, length) + name).ljust(length - 1, b"\0")
    return record + bytes([kind])
