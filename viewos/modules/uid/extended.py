"""Extended attributes that only root may set, and access control lists: they exist in the view."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from viewos import PASS
from viewos.modules.uid import acl
from viewos.modules.uid.attributes import CAPABILITY, check_owner, settable
from viewos.modules.uid.credentials import SETFCAP, SYS_ADMIN, Credentials
from viewos.modules.uid.names import NameModule
from viewos.modules.uid.refusals import (
    has_strange_flags,
    names_no_attribute,
    sets_nothing,
    value_of,
)
from viewos.modules.uid.table import Record

if TYPE_CHECKING:
    from viewos import Call, File, Verdict

_TRUSTED, _SECURITY, _USER = b"trusted.", b"security.", b"user."
_LISTS = (acl.ACCESS, acl.DEFAULT)
_CREATE, _REPLACE = 1, 2
_CAPABILITY_SIZES = {0x02000000: 20, 0x03000000: 24}
"""VFS_CAP_REVISION_2 and _3 -> the size of struct vfs_cap_data."""


def is_virtual(name: bytes) -> bool:
    """Does an attribute of that name exist in the view alone?"""
    return name.startswith((_TRUSTED, _SECURITY)) or name in _LISTS


class ExtendedModule(NameModule):
    """Extended attributes."""

    def setxattr(self, call: Call) -> Verdict:
        """setxattr(2), lsetxattr(2), setxattrat(2)."""
        return self._set(call)

    def fsetxattr(self, call: Call) -> Verdict:
        """fsetxattr(2)."""
        return self._set(call)

    def getxattr(self, call: Call) -> Verdict:
        """getxattr(2), lgetxattr(2), getxattrat(2)."""
        return self._get(call) if self._table.holding().attributes else PASS

    def fgetxattr(self, call: Call) -> Verdict:
        """fgetxattr(2)."""
        return self._get(call) if self._table.holding().attributes else PASS

    def listxattr(self, call: Call) -> Verdict:
        """listxattr(2), llistxattr(2), listxattrat(2)."""
        return self._list(call) if self._table.holding().attributes else PASS

    def flistxattr(self, call: Call) -> Verdict:
        """flistxattr(2)."""
        return self._list(call) if self._table.holding().attributes else PASS

    def removexattr(self, call: Call) -> Verdict:
        """removexattr(2), lremovexattr(2), removexattrat(2)."""
        return self._remove(call)

    def fremovexattr(self, call: Call) -> Verdict:
        """fremovexattr(2)."""
        return self._remove(call)

    # ---- what they have in common ---------------------------------------------------------------

    def _set(self, call: Call) -> Verdict:
        name = call.args.name
        if sets_nothing(call):
            return PASS
        if not is_virtual(name):
            return self._unless_device(call, name)
        address, size, flags = value_of(call)
        value = call.read(address, size) if size else b""
        entries = acl.parse(value) if name in _LISTS and value else []
        file = self._writable(call)
        if file is None:
            return PASS
        who = self._who(call)
        with self._table.changing():
            shown, real, record = self._shown(file)
            if name in _LISTS:
                new = _with_list(who, shown, name, entries)
            else:
                _check(who, name)
                _check_flags(flags, shown.attribute(name) is not None or _is_real(file, name))
                new = _with_value(shown, name, value)
            if new == shown and record is None:
                return 0  # cp(1) and install(1) give a file the ACL that it has
            if new.mode != shown.mode:
                self._set_mode(file, new, real, remembered=True)
            else:
                is_real = new.mode == real and (record is None or record.mode is None)
                self._table.put(file, new._replace(mode=None) if is_real else new)
        return 0

    def _get(self, call: Call) -> Verdict:
        name = call.args.name
        if not is_virtual(name) or names_no_attribute(call):
            return PASS
        file = call.file()
        record = None if file is None else self._table.find(file)
        value = None if record is None else record.attribute(name)
        if value is None or (name.startswith(_TRUSTED) and not self._who(call).may(SYS_ADMIN)):
            return PASS
        address, size, _ = value_of(call)
        return _give(call, address, size, value)

    def _list(self, call: Call) -> Verdict:
        if has_strange_flags(call):
            return PASS
        file = call.file()
        record = None if file is None else self._table.find(file)
        if file is None or record is None or not record.attributes:
            return PASS
        names = [os.fsencode(name) for name in _real_names(file)]
        trusted = self._who(call).may(SYS_ADMIN)
        names += [
            name for name, _ in record.attributes
            if name not in names and (trusted or not name.startswith(_TRUSTED))
        ]  # fmt: skip
        return _give(call, call.args.list, call.args.size, b"".join(n + b"\0" for n in names))

    def _remove(self, call: Call) -> Verdict:
        name = call.args.name
        if names_no_attribute(call):
            return PASS
        if not is_virtual(name):
            return self._unless_device(call, name)
        file = self._writable(call)
        if file is None:
            return PASS
        with self._table.changing():
            shown, _, record = self._shown(file)
            if name in _LISTS:
                _with_list(self._who(call), shown, name, [])
            else:
                _check(self._who(call), name)
            if record is None or record.attribute(name) is None:
                if name in _LISTS or _is_real(file, name):
                    return PASS
                raise OSError(errno.ENODATA, "no such attribute")
            self._table.put(file, record.with_attribute(name, None))
        return 0

    def _unless_device(self, call: Call, name: bytes) -> Verdict:
        """A device of the view has no attributes user.*, which the file that stands for it could
        have. Raises OSError EPERM."""
        if name.startswith(_USER) and self._table.holding().devices:
            file = call.file()
            mode = None if file is None else self._shown(file)[0].mode
            if mode is not None and (stat.S_ISCHR(mode) or stat.S_ISBLK(mode)):
                raise OSError(errno.EPERM, "a device has no attributes user.*")
        return PASS


def _give(call: Call, address: int, size: int, data: bytes) -> int:
    if size:
        if size < len(data):
            raise OSError(errno.ERANGE, "size")
        call.write(address, data)
    return len(data)


def _real_names(file: File) -> list[str]:
    try:
        return os.listxattr(file.path)
    except OSError:
        return []


def _is_real(file: File, name: bytes) -> bool:
    return os.fsdecode(name) in _real_names(file)


# ---- the kernel's rules (fs/xattr.c, fs/posix_acl.c, security/commoncap.c) ----------------------


def _check(who: Credentials, name: bytes) -> None:
    """Raise OSError EPERM unless the process may change that attribute, and EINVAL where it has no
    name."""
    if not who.may(SETFCAP if name == CAPABILITY else SYS_ADMIN):
        raise OSError(errno.EPERM, "needs a capability")
    if name in (_TRUSTED, _SECURITY):
        raise OSError(errno.EINVAL, "no name")


def _check_flags(flags: int, exists: bool) -> None:
    if exists and flags & _CREATE:
        raise OSError(errno.EEXIST, "XATTR_CREATE")
    if not exists and flags & _REPLACE:
        raise OSError(errno.ENODATA, "XATTR_REPLACE")


def _with_value(shown: Record, name: bytes, value: bytes) -> Record:
    if name == CAPABILITY:
        magic = int.from_bytes(value[:4], "little") & ~1
        if _CAPABILITY_SIZES.get(magic) != len(value):
            raise OSError(errno.EINVAL, "struct vfs_cap_data")
    return shown.with_attribute(name, value)


def _with_list(who: Credentials, shown: Record, name: bytes, entries: list[acl.Entry]) -> Record:
    """The file with that access control list, or without (set_posix_acl, whatever the flags).
    Raises OSError."""
    mode = shown.mode or 0
    if stat.S_ISLNK(mode):
        raise OSError(errno.EOPNOTSUPP, "a symbolic link has no ACL")
    if name == acl.DEFAULT and not stat.S_ISDIR(mode):
        if entries:
            raise OSError(errno.EACCES, "only a directory has a default ACL")
        return shown
    check_owner(who, shown)
    if not entries:
        return shown.with_attribute(name, None)
    acl.check(entries)
    if name == acl.DEFAULT:
        return shown.with_attribute(name, acl.pack(entries))
    new = acl.with_access(shown, entries)
    return new._replace(mode=settable(who, shown.gid, new.mode or 0))
