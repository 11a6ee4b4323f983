"""What a call is about to do with a path."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from viewos.abi.row import HOW, Intent, PathArg, follows
from viewos.monitor.emulate import open_arguments, read_how

if TYPE_CHECKING:
    from viewos.call import Call
    from viewos.monitor.router import Router

NAME_INTENTS = frozenset({Intent.CREATE, Intent.REMOVE})
INTENTS = {
    Intent.READ: "look",
    Intent.EXECUTE: "read",
    Intent.WRITE: "write",
    Intent.CREATE: "create",
    Intent.REMOVE: "remove",
    Intent.MOUNT: "look",
}


def opening(router: Router, call: Call) -> tuple[int, int, int]:
    """(flags, mode, RESOLVE_* bits) of open(2) and its kin."""
    return read_how(router, call) if call.name == "openat2" else (*open_arguments(call), 0)


def open_flags(router: Router, call: Call) -> int:
    """The flags of open, openat, creat or openat2."""
    return opening(router, call)[0] & 0xFFFFFFFF


def intention(router: Router, call: Call, argument: PathArg) -> tuple[str, bool, bool]:
    """(intent, follow a final link, the last component is only a name)."""
    if argument.intent is Intent.OPEN:
        flags = open_flags(router, call)
        follow = follows(argument, call.raw, flags if argument.follow is HOW else 0)
        if flags & os.O_PATH:
            return "read", follow, False
        if flags & os.O_CREAT:
            return "create", follow, False
        # With both bits a descriptor is for ioctl(2) alone (open(2)).
        writes = flags & os.O_ACCMODE in (os.O_WRONLY, os.O_RDWR) or flags & os.O_TRUNC
        return ("write" if writes else "read"), follow, False
    follow = follows(argument, call.raw)
    return INTENTS[argument.intent], follow, argument.intent in NAME_INTENTS
