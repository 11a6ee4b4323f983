"""fail=connect:ECONNREFUSED:0.1 and delay=connect:50ms: a network that is worse than it is."""

from __future__ import annotations

import errno
import os
import random
import re
import select
import time
from typing import TYPE_CHECKING, NamedTuple

from viewos import InetAddress
from viewos.modules.net.families import INET, SOCK_STREAM
from viewos.modules.net.memory import Memory
from viewos.modules.net.states import is_fresh

if TYPE_CHECKING:
    from viewos import Call, SharedSocket

CALLS = ("connect", "bind")
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


class Fault(NamedTuple):
    """What happens to a call. Every `share` of calls fails, or all of them wait."""

    call: str
    error: int = 0
    share: float = 1.0
    seconds: float = 0.0


def parse_failure(text: str) -> Fault:
    """connect:ERRNO[:SHARE]. Raises ValueError."""
    call, name, share = [*text.split(":"), "", "", ""][:3]
    number = getattr(errno, name, None)
    try:
        part = float(share) if share else 1.0
    except ValueError:
        part = -1.0
    if call not in CALLS or not isinstance(number, int) or not 0 < part <= 1:
        raise ValueError(f"expected fail=CALL:ERRNO[:SHARE], CALL one of {', '.join(CALLS)}")
    return Fault(call, number, part)


def parse_delay(text: str) -> Fault:
    """connect:50ms. Raises ValueError."""
    call, _, length = text.partition(":")
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(us|ms|s)", length)
    if call not in CALLS or found is None:
        raise ValueError(f"expected delay=CALL:TIME (50ms), CALL one of {', '.join(CALLS)}")
    return Fault(call, seconds=float(found[1]) * _UNITS[found[2]])


class _Struck(NamedTuple):
    """What a call has begun to suffer."""

    until: float
    error: int


class Faults:
    """The faults of a view."""

    def __init__(self, faults: list[Fault]) -> None:
        self._faults = faults
        self._struck: Memory[_Struck] = Memory(1024)
        self.calls = frozenset(fault.call for fault in faults)

    def strike(self, call: Call, what: str) -> None:
        """Wait, and fail, as the faults of `what` say, where the kernel would not refuse it at
        once, or tell how the last one ended. Raises OSError, Interrupted.

        A call that a signal has interrupted while it waited goes on, and does not begin again.
        """
        if what not in self.calls:
            return
        socket = call.socket()
        if socket.family not in INET or not _BEGINS[what](socket):
            return
        struck = self._struck.find(socket.identity) or self._rolled(what)
        left = struck.until - time.monotonic()
        if left > 0:
            self._struck.keep(socket.identity, struck)
            call.sleep(left)
        self._struck.set(socket.identity, None)
        if struck.error:
            raise OSError(struck.error, os.strerror(struck.error))

    def _rolled(self, what: str) -> _Struck:
        until = time.monotonic()
        for fault in self._faults:
            if fault.call != what:
                continue
            until += fault.seconds
            if fault.error and random.random() < fault.share:
                return _Struck(until, fault.error)
        return _Struck(until, 0)


def _connects(socket: SharedSocket) -> bool:
    if socket.type != SOCK_STREAM:
        return True
    poll = select.poll()
    poll.register(socket.fileno(), 0)
    failed = any(events & select.POLLERR for _, events in poll.poll(0))
    return is_fresh(socket) and not failed


def _binds(socket: SharedSocket) -> bool:
    name = socket.name()
    return isinstance(name, InetAddress) and not name.port


_BEGINS = {"connect": _connects, "bind": _binds}
