"""The ids and capabilities that a process has in the view, and the calls that tell and change
them."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

from viewos import PASS, VirtualModule
from viewos.modules.uid.credentials import (
    ALL,
    KEEP_CAPS,
    LAST_CAPABILITY,
    SETGID,
    SETPCAP,
    SETUID,
    UNCHANGED,
    Credentials,
    Ids,
    set_fs,
    set_one,
    set_three,
    set_two,
)

if TYPE_CHECKING:
    from viewos import Call, Verdict

NGROUPS_MAX = 65536
_CAPABILITY_WORDS = {0x19980330: 1, 0x20071026: 2, 0x20080522: 2}
"""Version of capset(2) -> how many times 32 capabilities it knows."""
_ALL_SECURE_BITS, _LOCKS = 0xFF, 0xAA
_AMBIENT_IS_SET, _AMBIENT_RAISE, _AMBIENT_LOWER, _AMBIENT_CLEAR = 1, 2, 3, 4
_NO_AMBIENT_RAISE = 64


class IdentityModule(VirtualModule):
    """Who a process is."""

    _says_what_ids_are = True
    """Is the user told, once, that a virtual root that is given up takes no access with it?"""

    def __init__(self, initial: Credentials) -> None:
        """Argument: who the first process of the view is."""
        self._initial = initial

    def _who(self, call: Call) -> Credentials:
        who: Credentials = call.recall(self._initial)
        return who

    def _change_uid(self, call: Call, rule: Callable[..., Ids]) -> int:
        """Apply a rule to the uids, with the call's arguments; the previous file system id."""
        who = self._who(call)
        new = rule(who.uid, who.may(SETUID), *_arguments(call))
        changed = who.with_fs(new) if rule is set_fs else who.with_uid(new)
        call.keep(changed.committed(who))
        if self._says_what_ids_are and who.uid.effective == 0 != new.effective:
            call.warn(
                "uid: with another uid the program still has the real user's access"
                " (-m uid:...,drop takes it away)",
                once="uid ids only",
            )
        return who.uid.fs

    def _change_gid(self, call: Call, rule: Callable[..., Ids]) -> int:
        """The same for the gids."""
        who = self._who(call)
        changed = who._replace(gid=rule(who.gid, who.may(SETGID), *_arguments(call)))
        call.keep(changed.committed(who))
        return who.gid.fs

    def show_ids(self, kept: Credentials | None) -> tuple[int, int, int, int]:
        """As getuid(2), geteuid(2), getgid(2) and getegid(2) answer."""
        who = self._initial if kept is None else kept
        return who.uid.real, who.uid.effective, who.gid.real, who.gid.effective

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
        if not who.may(SETGID):
            raise OSError(errno.EPERM, "needs CAP_SETGID")
        size = call.args.size & 0xFFFFFFFF
        if size > NGROUPS_MAX:
            raise OSError(errno.EINVAL, "size")
        data = call.read(call.args.list, 4 * size) if size else b""
        groups = tuple(sorted(struct.unpack(f"={size}I", data)))
        if UNCHANGED in groups:
            raise OSError(errno.EINVAL, "-1 is no id")
        call.keep(who._replace(groups=groups))
        return 0

    # ---- capabilities, all of which are virtual -------------------------------------------------

    def prctl(self, call: Call) -> Verdict:
        """prctl(2): what concerns capabilities, PR_CAP_AMBIENT to PR_SET_SECUREBITS."""
        option = _PRCTL.get(call.args.option)
        return PASS if option is None else option(self, call, self._who(call))

    def capget(self, call: Call) -> Verdict:
        """capget(2) of the calling process; others are what they really are."""
        words = _words_of_own(call)
        if not words or not call.args.data:
            return PASS
        who = self._who(call)
        sets = (who.effective, who.permitted, who.inheritable)
        parts = [part >> 32 * word & UNCHANGED for word in range(words) for part in sets]
        call.write(call.args.data, struct.pack(f"={len(parts)}I", *parts))
        return 0

    def capset(self, call: Call) -> Verdict:
        """capset(2)."""
        words = _words_of_own(call)
        if not words:
            return PASS
        data = struct.unpack(f"={3 * words}I", call.read(call.args.data, 12 * words))
        effective, permitted, inheritable = (
            sum(part << 32 * i for i, part in enumerate(data[at::3])) & ALL for at in range(3)
        )
        who = self._who(call)
        raises = inheritable & ~who.inheritable
        if (
            (raises & ~who.permitted and not who.may(SETPCAP))
            or raises & ~who.bounding
            or permitted & ~who.permitted
            or effective & ~permitted
        ):
            raise OSError(errno.EPERM, "more than is permitted")
        ambient = who.ambient & permitted & inheritable
        call.keep(
            who._replace(
                permitted=permitted,
                effective=effective,
                inheritable=inheritable,
                ambient=ambient,
            )
        )
        return 0


def _arguments(call: Call) -> list[int]:
    return [call.decode(index) for index in range(len(call.row.args))]


def _words_of_own(call: Call) -> int:
    """How many words a set has in this capget or capset; 0: not about the caller, or wrong."""
    version, pid = struct.unpack("=Ii", call.read(call.args.hdrp, 8))
    return _CAPABILITY_WORDS.get(version, 0) if pid in (0, call.tid) else 0


# ---- options of prctl(2), security/commoncap.c --------------------------------------------------


def _capability(number: int) -> int:
    if number > LAST_CAPABILITY:
        raise OSError(errno.EINVAL, "no capability")
    return 1 << number


def _get_dumpable(module: IdentityModule, call: Call, who: Credentials) -> Verdict:
    return PASS if who.dumpable == 1 else who.dumpable


def _set_dumpable(module: IdentityModule, call: Call, who: Credentials) -> Verdict:
    if call.args.arg2 in (0, 1) and who.dumpable != call.args.arg2:
        call.keep(who._replace(dumpable=call.args.arg2))
    return PASS  # what the program sets itself the monitor remembers


def _get_keep(module: IdentityModule, call: Call, who: Credentials) -> int:
    return int(bool(who.secure & KEEP_CAPS))


def _set_keep(module: IdentityModule, call: Call, who: Credentials) -> int:
    if call.args.arg2 > 1:
        raise OSError(errno.EINVAL, "neither 0 nor 1")
    if who.secure & KEEP_CAPS << 1:
        raise OSError(errno.EPERM, "locked")
    call.keep(who._replace(secure=who.secure & ~KEEP_CAPS | KEEP_CAPS * call.args.arg2))
    return 0


def _read_bounding(module: IdentityModule, call: Call, who: Credentials) -> int:
    return int(bool(who.bounding & _capability(call.args.arg2)))


def _drop_bounding(module: IdentityModule, call: Call, who: Credentials) -> int:
    if not who.may(SETPCAP):
        raise OSError(errno.EPERM, "needs CAP_SETPCAP")
    call.keep(who._replace(bounding=who.bounding & ~_capability(call.args.arg2)))
    return 0


def _get_secure(module: IdentityModule, call: Call, who: Credentials) -> int:
    return who.secure


def _set_secure(module: IdentityModule, call: Call, who: Credentials) -> int:
    wanted, locked = call.args.arg2, who.secure & _LOCKS
    changes = wanted ^ who.secure
    if locked >> 1 & changes or locked & ~wanted or wanted & ~_ALL_SECURE_BITS:
        raise OSError(errno.EPERM, "locked")
    if not who.may(SETPCAP):
        raise OSError(errno.EPERM, "needs CAP_SETPCAP")
    call.keep(who._replace(secure=wanted))
    return 0


def _ambient(module: IdentityModule, call: Call, who: Credentials) -> int:
    args = call.args
    if args.arg2 == _AMBIENT_CLEAR:
        if args.arg3 or args.arg4 or args.arg5:
            raise OSError(errno.EINVAL, "arguments")
        call.keep(who._replace(ambient=0))
        return 0
    if args.arg4 or args.arg5:
        raise OSError(errno.EINVAL, "arguments")
    capability = _capability(args.arg3)
    if args.arg2 == _AMBIENT_IS_SET:
        return int(bool(who.ambient & capability))
    if args.arg2 not in (_AMBIENT_RAISE, _AMBIENT_LOWER):
        raise OSError(errno.EINVAL, "option")
    if args.arg2 == _AMBIENT_LOWER:
        call.keep(who._replace(ambient=who.ambient & ~capability))
        return 0
    if not who.permitted & who.inheritable & capability or who.secure & _NO_AMBIENT_RAISE:
        raise OSError(errno.EPERM, "not permitted and inheritable")
    call.keep(who._replace(ambient=who.ambient | capability))
    return 0


def _set_no_new(module: IdentityModule, call: Call, who: Credentials) -> Verdict:
    if call.args.arg2 == 1 and not (call.args.arg3 or call.args.arg4 or call.args.arg5):
        call.keep(who._replace(no_new_privileges=True))
    return PASS


def _get_no_new(module: IdentityModule, call: Call, who: Credentials) -> Verdict:
    if call.args.arg2 or call.args.arg3 or call.args.arg4 or call.args.arg5:
        return PASS
    return int(who.no_new_privileges)


_PRCTL: dict[int, Callable[[IdentityModule, Call, Credentials], Verdict]] = {
    3: _get_dumpable, 4: _set_dumpable, 7: _get_keep, 8: _set_keep, 23: _read_bounding,
    24: _drop_bounding, 27: _get_secure, 28: _set_secure, 38: _set_no_new, 39: _get_no_new,
    47: _ambient,
}  # fmt: skip
"""PR_GET_DUMPABLE, PR_SET_DUMPABLE, PR_GET_KEEPCAPS, PR_SET_KEEPCAPS, PR_CAPBSET_READ,
PR_CAPBSET_DROP, PR_GET_SECUREBITS, PR_SET_SECUREBITS, PR_SET_NO_NEW_PRIVS, PR_GET_NO_NEW_PRIVS,
PR_CAP_AMBIENT."""
