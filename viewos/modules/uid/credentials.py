"""Who a process is in the view, and the kernel's rules by which that changes.

kernel/sys.c for the ids, security/commoncap.c for the capabilities.
"""

from __future__ import annotations

import errno
from functools import lru_cache
from typing import NamedTuple

UNCHANGED = 0xFFFFFFFF
"""(uid_t) -1: not an id; in a set*id call, "leave this one"."""
LAST_CAPABILITY = 40
ALL = (1 << LAST_CAPABILITY + 1) - 1
CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER, FSETID, SETGID, SETUID, SETPCAP = (
    1 << number for number in range(9) if number != 5
)
KILL, SYS_CHROOT, SYS_PTRACE, SYS_ADMIN, SYS_NICE, SYS_RESOURCE, MKNOD, SETFCAP = (
    1 << number for number in (5, 18, 19, 21, 23, 24, 27, 31)
)
FILE_CAPABILITIES = (
    CHOWN | DAC_OVERRIDE | DAC_READ_SEARCH | FOWNER | FSETID | 1 << 9 | MKNOD | 1 << 32
)
"""CAP_FS_MASK of linux/capability.h: what setfsuid(2) takes and gives."""
AUDIT_WRITE, PERFMON = 1 << 29, 1 << 38
NO_ROOT, NO_SETUID_FIXUP, KEEP_CAPS = 1, 4, 16
"""Secure bits (linux/securebits.h); the one behind each locks it."""


class Ids(NamedTuple):
    """The four ids of one kind, credentials(7)."""

    real: int
    effective: int
    saved: int
    fs: int

    @classmethod
    def all(cls, identity: int) -> Ids:
        """The ids of a process that never changed them."""
        return cls(identity, identity, identity, identity)


class Credentials(NamedTuple):
    """Who a process is in the view; what the module keeps for it."""

    uid: Ids
    gid: Ids
    groups: tuple[int, ...]
    permitted: int
    effective: int
    inheritable: int = 0
    bounding: int = ALL
    ambient: int = 0
    secure: int = 0
    """Secure bits."""
    no_new_privileges: bool = False
    """The program has asked for it (the real flag may be set by the launch)."""
    nice: int | None = None
    """The nice value that it shows, where the kernel has another one."""
    io_priority: int | None = None
    """Of ioprio_get(2), likewise."""
    dumpable: int = 1
    """What PR_GET_DUMPABLE tells, if not 1: a change of ids has taken that, or the program."""

    @classmethod
    def of(cls, uid: int, gid: int, groups: tuple[int, ...]) -> Credentials:
        """Those of a user who has just logged in."""
        capabilities = 0 if uid else ALL
        return cls(Ids.all(uid), Ids.all(gid), groups, capabilities, capabilities)

    def may(self, capability: int) -> bool:
        """Has it the capability?"""
        return bool(self.effective & capability)

    def in_group(self, gid: int) -> bool:
        """Is it the file system gid, or a supplementary group?"""
        return gid == self.gid.fs or gid in self.groups

    def with_uid(self, new: Ids) -> Credentials:
        """With other uids, and what becomes of capabilities (capabilities(7), "Effect of user ID
        changes")."""
        if self.secure & NO_SETUID_FIXUP:
            return self._replace(uid=new)
        old, permitted, effective, ambient = self.uid, self.permitted, self.effective, self.ambient
        if 0 in old[:3] and 0 not in new[:3]:
            if not self.secure & KEEP_CAPS:
                permitted = effective = 0
            ambient = 0
        if old.effective == 0 != new.effective:
            effective = 0
        elif new.effective == 0 != old.effective:
            effective = permitted
        return self._replace(uid=new, permitted=permitted, effective=effective, ambient=ambient)

    def with_fs(self, new: Ids) -> Credentials:
        """With another file system uid."""
        effective = self.effective
        if not self.secure & NO_SETUID_FIXUP:
            if self.uid.fs == 0 != new.fs:
                effective &= ~FILE_CAPABILITIES
            elif new.fs == 0 != self.uid.fs:
                effective |= FILE_CAPABILITIES & self.permitted
        return self._replace(uid=new, effective=effective)

    def as_real(self) -> Credentials:
        """Whose permissions access(2) asks about (access_override_creds)."""
        effective = self.effective
        if not self.secure & NO_SETUID_FIXUP:
            effective = 0 if self.uid.real else self.permitted
        uid, gid = self.uid._replace(fs=self.uid.real), self.gid._replace(fs=self.gid.real)
        return self._replace(uid=uid, gid=gid, effective=effective)

    def after_exec(self, program: Privileges | None = None) -> Credentials:
        """execve(2): the effective ids are saved, and root has its capabilities again.

        `program`: what its file gives (cap_bprm_creds_from_file). Raises OSError EPERM.
        """
        given = program or Privileges()
        uid, gid = _executed(self.uid, given.owner), _executed(self.gid, given.group)
        is_root = 0 in uid[:2] and not self.secure & NO_ROOT
        changed = uid.effective != self.uid.effective or gid.effective != self.gid.effective
        permitted = given.permitted & self.bounding | given.inheritable & self.inheritable
        effective = permitted if given.effective else 0
        if given.effective and given.permitted & ~permitted and not is_root:
            raise OSError(errno.EPERM, "a capability of the file's is not in the bounding set")
        ambient = 0 if changed or given.permitted or given.inheritable else self.ambient
        permitted |= ambient
        effective |= ambient
        if is_root:
            permitted |= self.inheritable | self.bounding
            effective = permitted if uid.effective == 0 else effective
        was_plain = self.uid.effective == self.uid.real and self.gid.effective == self.gid.real
        return self._replace(
            uid=uid, gid=gid, permitted=permitted, effective=effective, ambient=ambient,
            secure=self.secure & ~KEEP_CAPS, dumpable=1 if was_plain else suid_dumpable(),
        ).committed(self)  # fmt: skip

    def committed(self, before: Credentials) -> Credentials:
        """With what becomes of the process's memory when it acts as another (commit_creds)."""
        acts_alike = all(
            getattr(new, kind) == getattr(old, kind)
            for new, old in ((self.uid, before.uid), (self.gid, before.gid))
            for kind in ("effective", "fs")
        )
        if acts_alike and not self.permitted & ~before.permitted:
            return self
        return self._replace(dumpable=suid_dumpable())

    @property
    def is_secure(self) -> bool:
        """AT_SECURE of a program that begins so: may its environment not be trusted?"""
        gained = self.uid.real != 0 and self.permitted & ~self.ambient
        return (
            self.uid.effective != self.uid.real or self.gid.effective != self.gid.real
            or bool(gained)
        )  # fmt: skip


@lru_cache
def suid_dumpable() -> int:
    """PR_GET_DUMPABLE of a process whose ids have changed."""
    with open("/proc/sys/fs/suid_dumpable", "rb") as file:
        return int(file.read())


class Privileges(NamedTuple):
    """What the file of a program gives to a process that executes it."""

    owner: int | None = None
    """With the set-user-ID bit."""
    group: int | None = None
    """With the set-group-ID bit."""
    permitted: int = 0
    """File capabilities, capabilities(7)."""
    inheritable: int = 0
    effective: bool = False


def _executed(ids: Ids, owner: int | None) -> Ids:
    effective = ids.effective if owner is None else owner
    return Ids(ids.real, effective, effective, effective)


# ---- kernel/sys.c, for uids and gids alike ------------------------------------------------------


def set_one(ids: Ids, privileged: bool, identity: int) -> Ids:
    """setuid(2), setgid(2). Raises OSError EINVAL, EPERM."""
    if identity == UNCHANGED:
        raise OSError(errno.EINVAL, "-1 is no id")
    if privileged:
        return Ids.all(identity)
    if identity not in (ids.real, ids.saved):
        raise OSError(errno.EPERM, "neither the real nor the saved id")
    return ids._replace(effective=identity, fs=identity)


def set_two(ids: Ids, privileged: bool, real: int, effective: int) -> Ids:
    """setreuid(2), setregid(2). Raises OSError EPERM."""
    new_real = ids.real if real == UNCHANGED else real
    new_effective = ids.effective if effective == UNCHANGED else effective
    if not privileged and (
        new_real not in (ids.real, ids.effective)
        or new_effective not in (ids.real, ids.effective, ids.saved)
    ):
        raise OSError(errno.EPERM, "not one of the process's ids")
    saves = real != UNCHANGED or effective not in (UNCHANGED, ids.real)
    return Ids(new_real, new_effective, new_effective if saves else ids.saved, new_effective)


def set_three(ids: Ids, privileged: bool, *wanted: int) -> Ids:
    """setresuid(2), setresgid(2): real, effective, saved. Raises OSError EPERM."""
    old = ids[:3]
    new = tuple(was if want == UNCHANGED else want for was, want in zip(old, wanted, strict=True))
    if new == old and wanted[1] == UNCHANGED:
        return ids  # since Linux 6.3 a call that changes nothing leaves the file system id alone
    if not privileged and not set(new) <= set(old):
        raise OSError(errno.EPERM, "not one of the process's ids")
    return Ids(new[0], new[1], new[2], new[1])


def set_fs(ids: Ids, privileged: bool, identity: int) -> Ids:
    """setfsuid(2), setfsgid(2), which never fail: what is not allowed changes nothing."""
    if identity == UNCHANGED or not (privileged or identity in ids):
        return ids
    return ids._replace(fs=identity)
