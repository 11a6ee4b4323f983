"""execve: the set-user-ID and set-group-ID bits, and the file capabilities, that a program has in
the view."""

from __future__ import annotations

import errno
import os
import stat
import struct
from typing import TYPE_CHECKING

from viewos import PASS, hook
from viewos.modules.uid.attributes import CAPABILITY
from viewos.modules.uid.credentials import (
    SYS_ADMIN,
    SYS_CHROOT,
    Credentials,
    Privileges,
)
from viewos.modules.uid.removed import RemovalModule
from viewos.modules.uid.table import Record

if TYPE_CHECKING:
    from viewos import Call, File, Verdict

AT_UID, AT_EUID, AT_GID, AT_EGID, AT_SECURE = 11, 12, 13, 14, 23
_CAPABILITIES = struct.Struct("=5I")
"""struct vfs_cap_data: magic, permitted and inheritable of 0 to 31, the same of 32 to 63."""
_EFFECTIVE = 1


class ExecModule(RemovalModule):
    """What is executed."""

    def executed(self, call: Call, program: File) -> tuple[Credentials | None, dict[int, int]]:
        """Who the process is when the program begins, and what its auxiliary vector says of that.

        Raises OSError EPERM.
        """
        before = self._who(call)
        given = None if before.no_new_privileges else self._privileges(program)
        who = before.after_exec(given)
        return None if who == before else who, {
            AT_UID: who.uid.real, AT_EUID: who.uid.effective,
            AT_GID: who.gid.real, AT_EGID: who.gid.effective, AT_SECURE: int(who.is_secure),
        }  # fmt: skip

    def keeps_at_exec(self, kept: Credentials | None) -> bool:
        """As `executed` has it."""
        who = self._initial if kept is None else kept
        return who.after_exec() == who and not who.is_secure

    def chroot(self, call: Call) -> Verdict:
        """chroot(2): where all paths of the view are claimed, and so looked at."""
        if self._is_real_root:
            return PASS
        may = self._who(call).may(SYS_CHROOT)
        try:
            if may:
                call.change_root()
                return 0
            os.stat(call.path or b"")
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise
            call.warn(
                "chroot needs a view with a claim on all paths: -m vfs:/=/ in front of -m uid",
                once="chroot",
            )
        raise OSError(errno.EPERM, "chroot")

    @hook("sethostname", "setdomainname")
    def name_the_host(self, call: Call) -> Verdict:
        """Whoever answers, only a root may."""
        if not self._who(call).may(SYS_ADMIN):
            raise OSError(errno.EPERM, "needs CAP_SYS_ADMIN")
        return PASS

    def _privileges(self, program: File) -> Privileges:
        try:
            shown, _, _ = self._shown(program)
            if os.statvfs(program.path).f_flag & os.ST_NOSUID:
                return Privileges()
        except OSError:
            return Privileges()  # the kernel will say what is wrong
        return _of_file(shown)


def _of_file(shown: Record) -> Privileges:
    mode = shown.mode or 0
    given = Privileges()
    if mode & stat.S_ISUID:
        given = given._replace(owner=shown.uid)
    if mode & stat.S_ISGID and mode & stat.S_IXGRP:
        given = given._replace(group=shown.gid)
    value = shown.attribute(CAPABILITY)
    if value is None:
        return given
    magic, permitted, inheritable, more, more_inheritable = _CAPABILITIES.unpack_from(value)
    return given._replace(
        permitted=permitted | more << 32,
        inheritable=inheritable | more_inheritable << 32,
        effective=bool(magic & _EFFECTIVE),
    )
