"""chown and chmod, in all their forms: by the kernel's rules for who the process is in the view.

What a mode means for the real user is kept apart from what it says: a file of the view stays
readable and writable for the user who really owns it, a directory searchable too, and what anybody
may execute executable, as a root could use it whatever its mode; a set-user-ID bit never gets to
the real file, where it would give away the real user.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from viewos import PASS
from viewos.modules.uid import acl
from viewos.modules.uid.credentials import CHOWN, FOWNER, FSETID, UNCHANGED, Credentials
from viewos.modules.uid.shown import OWNER, OWNER_AT, StatModule
from viewos.modules.uid.table import Record

if TYPE_CHECKING:
    from viewos import Call, File, Verdict

PERMISSIONS = 0o7777
_CHOWN_FLAGS = 0x1100
"""AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH."""
CAPABILITY = b"security.capability"


def real_mode(mode: int) -> int:
    """The permissions of the real file behind one that shows `mode`."""
    return mode & 0o1777 | (0o700 if stat.S_ISDIR(mode) or mode & 0o111 else 0o600)


class AttributeModule(StatModule):
    """Owner and mode."""

    # ---- chmod ----------------------------------------------------------------------------------

    def chmod(self, call: Call) -> Verdict:
        """chmod(2), fchmodat(2), fchmodat2(2)."""
        if call.name == "fchmodat2" and call.decode(3) & ~_CHOWN_FLAGS:
            return PASS
        return self._chmod(call, call.args.mode)

    def fchmod(self, call: Call) -> Verdict:
        """fchmod(2)."""
        return self._chmod(call, call.args.mode)

    def _chmod(self, call: Call, mode: int) -> Verdict:
        file = self._writable(call)
        if file is None:
            return PASS
        who = self._who(call)
        with self._table.changing():
            shown, real, record = self._shown(file)
            kind = stat.S_IFMT(shown.mode or 0)
            if kind == stat.S_IFLNK:
                raise OSError(errno.EOPNOTSUPP, "a symbolic link has no mode")
            check_owner(who, shown)
            mode = settable(who, shown.gid, mode & PERMISSIONS)
            new = acl.after_chmod(shown._replace(mode=kind | mode))
            self._set_mode(file, new, real, remembered=record is not None)
        return 0

    def _set_mode(self, file: File, new: Record, real: int, *, remembered: bool) -> None:
        """Change the real mode of a file as far as it has to follow, and remember what it shows."""
        assert new.mode is not None
        wanted = real_mode(stat.S_IFMT(real) | new.mode & PERMISSIONS)
        if remembered or new.mode != stat.S_IFMT(real) | wanted:
            self._table.make_room()
        try:
            os.chmod(file.path, wanted)
        except PermissionError:  # somebody else's
            wanted = real & PERMISSIONS
        if remembered or new.mode != stat.S_IFMT(real) | wanted:
            self._remember(file, new)

    def truncate(self, call: Call) -> Verdict:
        """truncate(2)."""
        if self._who(call).may(FSETID) or call.args.length < 0:
            return PASS
        file = call.file()
        return PASS if file is None else self._cut(call, file)

    def _cut(self, call: Call, file: File) -> Verdict:
        """A call that may cut a file: set-ID bits end with that (dentry_needs_remove_privs)."""
        who, shown = self._who(call), self._shown(file)[0]
        is_cut = stat.S_ISREG(shown.mode or 0) and not who.may(FSETID)
        if not is_cut or without_set_ids(who, shown) == shown.mode:
            return PASS
        self._table.make_room()
        try:
            result: Verdict = call.below()
        except OSError as error:
            if error.errno == errno.EOPNOTSUPP:
                return PASS
            raise
        with self._table.changing():
            shown, real, _ = self._shown(file)
            mode = settable(who, shown.gid, without_set_ids(who, shown))
            self._set_mode(file, shown._replace(mode=mode), real, remembered=True)
        return result

    # ---- chown ----------------------------------------------------------------------------------

    def chown(self, call: Call) -> Verdict:
        """chown(2), lchown(2), fchownat(2)."""
        if call.name == "fchownat" and call.decode(4) & ~_CHOWN_FLAGS:
            return PASS
        return self._chown(call)

    def fchown(self, call: Call) -> Verdict:
        """fchown(2)."""
        return self._chown(call)

    def _chown(self, call: Call) -> Verdict:
        file = self._writable(call)
        if file is None:
            return PASS
        who, uid, gid = self._who(call), call.args.owner, call.args.group
        with self._table.changing():
            shown, real, record = self._shown(file)
            new = chowned(who, shown, uid, gid)
            if record is not None or new != shown:
                self._table.make_room()
            file.touch()
            if record is None:
                if new == shown:
                    return 0
                if new.mode == real:
                    new = new._replace(mode=None)
            elif record.mode is None and new.mode == real:
                new = new._replace(mode=None)
            self._remember(file, new)
        return 0

    def _remember(self, file: File, new: Record) -> None:
        """What the view shows of a file whose owner or mode has been changed: nothing is remembered
        of one that shows so by itself."""
        mode, uid, gid = OWNER.unpack_from(file.stat(), OWNER_AT)
        by_itself = Record(*self._owners.show(uid, gid), mode)
        if new.mode is None:
            by_itself = by_itself._replace(mode=None)
        if new._replace(real=0, device=0) == by_itself:
            self._table.forget(file, by_itself)
        else:
            self._table.put(file, new)

    def _writable(self, call: Call) -> File | None:
        """The file that a call changes. Raises OSError EROFS behind a read-only claim."""
        file = call.file()
        if file is not None and file.read_only:
            raise OSError(errno.EROFS, "read-only claim")
        return file


# ---- the kernel's rules (fs/attr.c) -------------------------------------------------------------


def check_owner(who: Credentials, shown: Record) -> None:
    """Raise OSError EPERM unless the file is the process's own (inode_owner_or_capable)."""
    if who.uid.fs != shown.uid and not who.may(FOWNER):
        raise OSError(errno.EPERM, "not the owner")


def chowned(who: Credentials, shown: Record, uid: int, gid: int) -> Record:
    """The file after a chown to these ids. Raises OSError EPERM."""
    own, capable = who.uid.fs == shown.uid, who.may(CHOWN)
    if uid != UNCHANGED and not (capable or (own and uid == shown.uid)):
        raise OSError(errno.EPERM, "needs CAP_CHOWN")
    if gid != UNCHANGED and not (capable or (own and (gid == shown.gid or who.in_group(gid)))):
        raise OSError(errno.EPERM, "needs CAP_CHOWN")
    mode = shown.mode
    assert mode is not None
    new = shown._replace(
        uid=shown.uid if uid == UNCHANGED else uid, gid=shown.gid if gid == UNCHANGED else gid
    )
    if stat.S_ISDIR(mode):
        return new
    new = new.with_attribute(CAPABILITY, None)
    kept = mode if stat.S_ISLNK(mode) else without_set_ids(who, shown)
    if kept != mode:  # the kernel makes a chmod of it
        check_owner(who, shown)
        kept = settable(who, new.gid, kept)
    return new._replace(mode=kept)


def settable(who: Credentials, gid: int, mode: int) -> int:
    """What remains of a mode that a process sets (setattr_copy)."""
    return mode if who.may(FSETID) or who.in_group(gid) else mode & ~stat.S_ISGID


def without_set_ids(who: Credentials, shown: Record) -> int:
    """The mode of a file whose owner or contents change (setattr_should_drop_suidgid)."""
    mode = (shown.mode or 0) & ~stat.S_ISUID
    if mode & stat.S_ISGID and (
        mode & stat.S_IXGRP or not (who.in_group(shown.gid) or who.may(FSETID))
    ):
        mode &= ~stat.S_ISGID
    return mode
