"""When the monitor has no descriptor left: programs do not hear of it that have some."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from viewos.monitor.emulate import room_for_descriptor

if TYPE_CHECKING:
    from viewos.call import Call
    from viewos.monitor.log import Log

_MOST_FOR_A_CALL = 16
"""As many descriptors one call may need in the monitor, or fewer."""


def is_ours(error: BaseException) -> bool:
    """Did a call fail because the monitor has hardly a descriptor left?"""
    return isinstance(error, OSError) and error.errno == errno.EMFILE and _is_short()


def _is_short() -> bool:
    taken: list[int] = []
    try:
        with suppress(OSError):
            while len(taken) < _MOST_FOR_A_CALL:
                taken.append(os.dup(2))
            return False
        return True
    finally:
        for fd in taken:
            os.close(fd)


def answer(call: Call, log: Log) -> int:
    """Of a call that failed so although all has been given up that can be."""
    if not room_for_descriptor(call):
        return -errno.EMFILE  # as natively
    log.warning(
        "the monitor has no descriptor left, and calls fail with ENOMEM (see ulimit -n)",
        once="descriptors",
    )
    return -errno.ENOMEM
