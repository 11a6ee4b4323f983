"""Calls that take a file's last name. Nothing of it has to be forgotten in the view, but a format
that knows files by their inode number must not name one that is gone."""

from __future__ import annotations

import errno
import stat
import struct
from contextlib import suppress
from typing import TYPE_CHECKING

from viewos import PASS
from viewos.modules.uid.extended import ExtendedModule

if TYPE_CHECKING:
    from viewos import Call, File, Verdict

_EXCHANGE = 2
_NLINK_MODE, _NLINK_AT = struct.Struct("=QI"), 16
_REMOVING = frozenset({"unlink", "rmdir", "rename"})


class RemovalModule(ExtendedModule):
    """What is removed."""

    _saves = False

    def calls(self) -> frozenset[str]:
        """These only where records are saved, or a hook looks at them."""
        return super().calls() - (set() if self._saves else _REMOVING - self.hooks.keys())

    def unlink(self, call: Call) -> Verdict:
        """unlink(2), unlinkat(2)."""
        return self._remove_name(call, 0)

    def rmdir(self, call: Call) -> Verdict:
        """rmdir(2)."""
        return self._remove_name(call, 0)

    def rename(self, call: Call) -> Verdict:
        """rename(2), renameat(2), renameat2(2) over another file."""
        if call.name == "renameat2" and call.args.flags & _EXCHANGE:
            return PASS
        return self._remove_name(call, 1)

    def _remove_name(self, call: Call, index: int) -> Verdict:
        if not self._saves or not len(self._table):
            return PASS
        try:
            file = call.file(index)
        except OSError:
            return PASS
        if file is None or not _is_last(file):
            return PASS
        record = self._table.find(file)
        if record is None or record.gone:
            return PASS
        try:
            result = call.below()
        except OSError as error:
            if error.errno == errno.EOPNOTSUPP:
                return PASS
            raise
        with suppress(OSError), self._table.changing():  # without a note, its handle tells
            if not _NLINK_MODE.unpack_from(file.stat(), _NLINK_AT)[0]:
                self._table.put(file, record._replace(gone=True))
        return result


def _is_last(file: File) -> bool:
    links, mode = _NLINK_MODE.unpack_from(file.stat(), _NLINK_AT)
    return links == 1 or stat.S_ISDIR(mode)
