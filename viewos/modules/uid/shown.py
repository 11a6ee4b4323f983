"""What the stat family shows: the kernel's structure, with the owner and mode of the view."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

from viewos import PASS, Owners
from viewos.modules.uid.credentials import CHOWN, FOWNER, FSETID, Credentials
from viewos.modules.uid.peers import PeerModule
from viewos.modules.uid.table import Record, Table

if TYPE_CHECKING:
    from viewos import Call, Changing, File, Told, Verdict

OWNER = struct.Struct("=III")
"""st_mode, st_uid, st_gid of struct stat, which stand together (asm/stat.h, x86-64)."""
OWNER_AT, _RDEV, _RDEV_AT = 24, struct.Struct("=Q"), 40
_X_OWNER = struct.Struct("=IIH")
"""stx_uid, stx_gid, stx_mode of struct statx (linux/stat.h)."""
_X_OWNER_AT, _X_RDEV, _X_RDEV_AT = 20, struct.Struct("=II"), 128
_STAT_FLAGS = 0x100 | 0x800 | 0x1000 | 0x6000
"""AT_SYMLINK_NOFOLLOW, AT_NO_AUTOMOUNT, AT_EMPTY_PATH, AT_STATX_SYNC_TYPE (vfs_statx)."""
_BOTH_SYNCS, _STATX_RESERVED = 0x6000, 0x80000000


class StatModule(PeerModule):
    """What files look like."""

    def __init__(self, initial: Credentials, table: Table, owners: Owners) -> None:
        """Arguments: the first process, the records, and how all other files are shown."""
        super().__init__(initial)
        self._table = table
        self._owners = owners

    def _shown(self, file: File) -> tuple[Record, int, Record | None]:
        """(what the view shows, the real st_mode, what is remembered); `mode` is always set."""
        data = file.stat()
        mode, uid, gid = OWNER.unpack_from(data, OWNER_AT)
        record = self._table.find(file, data)
        if record is None:
            return Record(*self._owners.show(uid, gid), mode), mode, None
        return record._replace(mode=_mode_of(record, mode)), mode, record

    def show_owners(self, told: Told) -> Owners | None:
        """As `stat` does."""
        return self._owners._replace(while_equal=self._table.watch(told))

    def change_owners(self, changing: Changing) -> None:
        """As `chown` and `chmod` do."""
        self._table.share(changing)

    def may_change_owners(self, kept: Credentials | None) -> bool:
        """As root may."""
        who = self._initial if kept is None else kept
        return all(who.may(one) for one in (CHOWN, FOWNER, FSETID))

    def stat(self, call: Call) -> Verdict:
        """stat(2), lstat(2), fstatat(2), statx(2)."""
        if call.name == "statx":
            return self._statx(call)
        if call.name == "newfstatat" and call.decode(3) & ~_STAT_FLAGS:
            return PASS
        return self._stat(call)

    def fstat(self, call: Call) -> Verdict:
        """fstat(2)."""
        return self._stat(call)

    def _stat(self, call: Call, others: Owners | None = None) -> Verdict:
        file = call.file()
        if file is None:
            return PASS
        below: bytes = call.below()
        data = bytearray(below)
        mode, uid, gid = OWNER.unpack_from(data, OWNER_AT)
        record = self._table.find(file, below)
        if record is None:
            OWNER.pack_into(data, OWNER_AT, mode, *(others or self._owners).show(uid, gid))
        else:
            OWNER.pack_into(data, OWNER_AT, _mode_of(record, mode), record.uid, record.gid)
            if record.rdev:
                _RDEV.pack_into(data, _RDEV_AT, record.rdev)
        return bytes(data)

    def _statx(self, call: Call, others: Owners | None = None) -> Verdict:
        flags, mask = call.decode(2), call.decode(3)
        if flags & ~_STAT_FLAGS or flags & _BOTH_SYNCS == _BOTH_SYNCS or mask & _STATX_RESERVED:
            return PASS
        file = call.file()
        if file is None:
            return PASS
        data = bytearray(call.below())
        uid, gid, mode = _X_OWNER.unpack_from(data, _X_OWNER_AT)
        record = self._table.find(file)
        if record is None:
            _X_OWNER.pack_into(data, _X_OWNER_AT, *(others or self._owners).show(uid, gid), mode)
        else:
            _X_OWNER.pack_into(data, _X_OWNER_AT, record.uid, record.gid, _mode_of(record, mode))
            if record.rdev:
                numbers = os.major(record.rdev), os.minor(record.rdev)
                _X_RDEV.pack_into(data, _X_RDEV_AT, *numbers)
        return bytes(data)


def _mode_of(record: Record, real: int) -> int:
    return real if record.mode is None else record.mode
