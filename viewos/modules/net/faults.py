"""fail=connect:ECONNREFUSED:0.1 and delay=connect:50ms: a network that is worse than it is."""

from __future__ import annotations

import errno
import os
import random
import re
import time
from typing import TYPE_CHECKING, NamedTuple

from viewos.modules.net.memory import Memory

if TYPE_CHECKING:
    from viewos import Call

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


class Faults:
    """The faults of a view."""

    def __init__(self, faults: list[Fault]) -> None:
        self._faults = faults
        self._until: Memory[float] = Memory(1024)
        self.calls = frozenset(fault.call for fault in faults)

    def strike(self, call: Call) -> None:
        """Wait, and fail, as the faults say. Raises OSError, Interrupted.

        A wait that a signal has interrupted goes on, and does not begin again.
        """
        for fault in self._faults:
            if fault.call != call.name:
                continue
            if fault.error and random.random() < fault.share:
                raise OSError(fault.error, os.strerror(fault.error))
            if fault.seconds:
                self._wait(call, fault.seconds)

    def _wait(self, call: Call, seconds: float) -> None:
        identity = call.socket().identity
        until = self._until.find(identity)
        if until is None:
            until = time.monotonic() + seconds
            self._until.keep(identity, until)
        call.sleep(until - time.monotonic())
        self._until.set(identity, None)
