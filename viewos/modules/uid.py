"""uid: the program sees itself as another user, by the kernel's own rules.

Only what a process is told of itself changes. The real ids stay, so access to files, and who owns
a new one, are as they were.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, Self

from viewos import PASS, VirtualModule

if TYPE_CHECKING:
    from viewos import Call, Items, Verdict

UNCHANGED = 0xFFFFFFFF
"""(uid_t) -1: not an id; in a set*id call, "leave this one"."""
NGROUPS_MAX = 65536
AT_UID, AT_EUID, AT_GID, AT_EGID = 11, 12, 13, 14
PR_GET_KEEPCAPS, PR_SET_KEEPCAPS = 7, 8
SETGID, SETUID = 1 << 6, 1 << 7
CAPABILITIES = SETGID | SETUID
"""The capabilities that are virtual, as bits; the others are what the process really has."""
_CAPABILITY_WORDS = {0x19980330: 1, 0x20071026: 2, 0x20080522: 2}
"""Version of capset(2) -> how many times 32 capabilities it knows."""


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


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who a process is in the view; what the module keeps for it."""

    uid: Ids
    gid: Ids
    groups: tuple[int, ...]
    permitted: int
    effective: int
    keep_caps: bool = False

    @classmethod
    def of(cls, uid: int, gid: int, groups: tuple[int, ...]) -> Credentials:
        """Those of a user who has just logged in."""
        capabilities = 0 if uid else CAPABILITIES
        return cls(Ids.all(uid), Ids.all(gid), groups, capabilities, capabilities)

    def with_uid(self, new: Ids) -> Credentials:
        """With other uids, and what becomes of capabilities (capabilities(7), "Effect of user ID
        changes")."""
        old, permitted, effective = self.uid, self.permitted, self.effective
        if 0 in old[:3] and 0 not in new[:3] and not self.keep_caps:
            permitted = effective = 0
        if old.effective == 0 != new.effective:
            effective = 0
        elif new.effective == 0 != old.effective:
            effective = permitted
        return replace(self, uid=new, permitted=permitted, effective=effective)

    def after_exec(self) -> Credentials:
        """execve(2): the effective ids are saved, and root has its capabilities again."""
        uid, gid = _executed(self.uid), _executed(self.gid)
        permitted = CAPABILITIES if 0 in uid[:2] else 0
        effective = permitted if uid.effective == 0 else 0
        return Credentials(uid, gid, self.groups, permitted, effective)


def _executed(ids: Ids) -> Ids:
    return Ids(ids.real, ids.effective, ids.effective, ids.effective)


# ---- the kernel's rules (kernel/sys.c), for uids and gids alike ---------------------------------


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


# ---- the module ---------------------------------------------------------------------------------


class Uid(VirtualModule):
    """Let the program see itself as another user."""

    name = "uid"
    grammar = "uid:USER|UID[:GROUP|GID]"
    example = "uid:0"

    def __init__(self, user: int | str, group: int | str | None = None) -> None:
        """Arguments: ids or names of the user and group databases. Without `group` the user's
        own groups count; a uid that nobody has gets the gid of the same number, and no others.

        Raises LookupError for a name that does not exist, ValueError for a number that is no id.
        """
        uid, gid, groups = _user(user)
        if group is not None:
            gid, groups = _group(group), ()
        self._initial = Credentials.of(uid, gid, groups)

    @classmethod
    def from_items(cls, items: Items) -> Self:
        """USER or USER:GROUP, each a name or a number."""
        words = list(items)
        if len(words) != 1 or words[0].key is not None or not words[0].value:
            raise items.error(words[1] if words[1:] else None, "expected one USER[:GROUP]")
        user, colon, group = words[0].value.partition(":")
        if not user or (colon and not group):
            raise items.error(words[0], "expected USER or USER:GROUP")
        try:
            return cls(_number(user), _number(group) if colon else None)
        except (LookupError, ValueError) as error:
            raise items.error(words[0], str(error.args[0])) from None

    def auxiliary(self, call: Call) -> dict[int, int]:
        """The ids that a new program finds in its auxiliary vector, getauxval(3)."""
        who = self._who(call)
        return {
            AT_UID: who.uid.real, AT_EUID: who.uid.effective,
            AT_GID: who.gid.real, AT_EGID: who.gid.effective,
        }  # fmt: skip

    def executed(self, kept: Credentials) -> Credentials:
        """What is kept for a process whose execve(2) has succeeded."""
        return kept.after_exec()

    def _who(self, call: Call) -> Credentials:
        who: Credentials = call.recall(self._initial)
        return who

    def _change_uid(self, call: Call, rule: Callable[..., Ids]) -> int:
        """Apply a rule to the uids, with the call's arguments; the previous file system id."""
        who = self._who(call)
        new = rule(who.uid, bool(who.effective & SETUID), *_arguments(call))
        call.keep(replace(who, uid=new) if rule is set_fs else who.with_uid(new))
        return who.uid.fs

    def _change_gid(self, call: Call, rule: Callable[..., Ids]) -> int:
        """The same for the gids."""
        who = self._who(call)
        new = rule(who.gid, bool(who.effective & SETGID), *_arguments(call))
        call.keep(replace(who, gid=new))
        return who.gid.fs

    def getuid(self, call: Call) -> int:
        """getuid(2)."""
        return self._who(call).uid.real

    def geteuid(self, call: Call) -> int:
        """geteuid(2)."""
        return self._who(call).uid.effective

    def getresuid(self, call: Call) -> tuple[int, ...]:
        """getresuid(2)."""
        return self._who(call).uid[:3]

    def getgid(self, call: Call) -> int:
        """getgid(2)."""
        return self._who(call).gid.real

    def getegid(self, call: Call) -> int:
        """getegid(2)."""
        return self._who(call).gid.effective

    def getresgid(self, call: Call) -> tuple[int, ...]:
        """getresgid(2)."""
        return self._who(call).gid[:3]

    def getgroups(self, call: Call) -> tuple[int, ...]:
        """getgroups(2)."""
        return self._who(call).groups

    def setuid(self, call: Call) -> int:
        """setuid(2)."""
        self._change_uid(call, set_one)
        return 0

    def setgid(self, call: Call) -> int:
        """setgid(2)."""
        self._change_gid(call, set_one)
        return 0

    def setreuid(self, call: Call) -> int:
        """setreuid(2)."""
        self._change_uid(call, set_two)
        return 0

    def setregid(self, call: Call) -> int:
        """setregid(2)."""
        self._change_gid(call, set_two)
        return 0

    def setresuid(self, call: Call) -> int:
        """setresuid(2)."""
        self._change_uid(call, set_three)
        return 0

    def setresgid(self, call: Call) -> int:
        """setresgid(2)."""
        self._change_gid(call, set_three)
        return 0

    def setfsuid(self, call: Call) -> int:
        """setfsuid(2): the answer is always the previous id."""
        return self._change_uid(call, set_fs)

    def setfsgid(self, call: Call) -> int:
        """setfsgid(2): the answer is always the previous id."""
        return self._change_gid(call, set_fs)

    def setgroups(self, call: Call) -> int:
        """setgroups(2)."""
        who = self._who(call)
        if not who.effective & SETGID:
            raise OSError(errno.EPERM, "needs CAP_SETGID")
        size = call.args.size & 0xFFFFFFFF
        if size > NGROUPS_MAX:
            raise OSError(errno.EINVAL, "size")
        data = call.read(call.args.list, 4 * size) if size else b""
        groups = tuple(sorted(struct.unpack(f"={size}I", data)))
        if UNCHANGED in groups:
            raise OSError(errno.EINVAL, "-1 is no id")
        call.keep(replace(who, groups=groups))
        return 0

    # ---- CAP_SETUID and CAP_SETGID, which setpriv(1) keeps over a change of ids -----------------

    def prctl(self, call: Call) -> Verdict:
        """prctl(2): PR_SET_KEEPCAPS and PR_GET_KEEPCAPS."""
        who = self._who(call)
        if call.args.option == PR_GET_KEEPCAPS:
            return int(who.keep_caps)
        if call.args.option != PR_SET_KEEPCAPS:
            return PASS
        if call.args.arg2 > 1:
            raise OSError(errno.EINVAL, "neither 0 nor 1")
        call.keep(replace(who, keep_caps=bool(call.args.arg2)))
        return 0

    def capget(self, call: Call) -> Verdict:
        """capget(2) of the calling process; others are what they really are."""
        words = _words_of_own(call)
        if not words or not call.args.data:
            return PASS
        who = self._who(call)
        sets = list(_real_capabilities(call.tid))
        for index, virtual in enumerate((who.effective, who.permitted)):
            sets[index] = sets[index] & ~CAPABILITIES | virtual
        parts = [part >> 32 * word & UNCHANGED for word in range(words) for part in sets]
        call.write(call.args.data, struct.pack(f"={len(parts)}I", *parts))
        return 0

    def capset(self, call: Call) -> Verdict:
        """capset(2). What the process really has is the kernel's business, where it has any."""
        words = _words_of_own(call)
        if not words:
            return PASS
        data = struct.unpack(f"={3 * words}I", call.read(call.args.data, 12 * words))
        wanted = [sum(part << 32 * i for i, part in enumerate(data[at::3])) for at in range(3)]
        effective, permitted, _ = (one & CAPABILITIES for one in wanted)
        who, real = self._who(call), _real_capabilities(call.tid)
        others = [one & ~CAPABILITIES for one in wanted]
        if permitted & ~who.permitted or effective & ~permitted or others[1] & ~real[1]:
            raise OSError(errno.EPERM, "more than is permitted")
        call.keep(replace(who, permitted=permitted, effective=effective))
        return PASS if real[1] else 0


def _arguments(call: Call) -> list[int]:
    return [call.decode(index) for index in range(len(call.row.args))]


def _words_of_own(call: Call) -> int:
    """How many words a set has in this capget or capset; 0: not about the caller, or wrong."""
    version, pid = struct.unpack("=Ii", call.read(call.args.hdrp, 8))
    return _CAPABILITY_WORDS.get(version, 0) if pid in (0, call.tid) else 0


def _real_capabilities(tid: int) -> tuple[int, int, int]:
    """(effective, permitted, inheritable)"""
    with open(f"/proc/{tid}/status", "rb", buffering=0) as file:
        lines = dict(line.split(b":", 1) for line in file.read().splitlines() if b":" in line)
    effective, permitted, inheritable = (
        int(lines[name], 16) for name in (b"CapEff", b"CapPrm", b"CapInh")
    )
    return effective, permitted, inheritable


# ---- users and groups by name -------------------------------------------------------------------


def _number(word: str) -> int | str:
    return int(word) if word.isascii() and word.isdigit() else word


def _checked(identity: int, what: str) -> int:
    if not 0 <= identity < UNCHANGED:
        raise ValueError(f"{identity} is no {what}: it lies between 0 and {UNCHANGED - 1}")
    return identity


def _user(user: int | str) -> tuple[int, int, tuple[int, ...]]:
    """(uid, primary gid, supplementary groups as initgroups(3) finds them)."""
    import os
    import pwd

    try:
        entry = pwd.getpwnam(user) if isinstance(user, str) else pwd.getpwuid(_checked(user, "uid"))
    except KeyError:
        if isinstance(user, str):
            raise LookupError(f"there is no user {user!r}") from None
        return user, user, ()
    groups = os.getgrouplist(entry.pw_name, entry.pw_gid)
    return entry.pw_uid, entry.pw_gid, tuple(sorted(set(groups)))


def _group(group: int | str) -> int:
    if isinstance(group, int):
        return _checked(group, "gid")
    import grp

    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise LookupError(f"there is no group {group!r}") from None
