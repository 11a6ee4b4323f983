"""Is this process in a view? Asked at every start, so apart from what nesting takes."""

from __future__ import annotations

import ctypes
import errno

from viewos import kernel
from viewos.abi.nesting import PR_VIEWOS, VIEWOS_CONTACT
from viewos.errors import ViewosError
from viewos.launcher.raw import lifted


def ask(what: int, number: int = 0) -> int:
    """prctl(PR_VIEWOS): the monitor's answer, -1 with errno set."""
    result: int = kernel.libc.prctl(
        ctypes.c_int(PR_VIEWOS), ctypes.c_ulong(what), ctypes.c_ulong(number),
        ctypes.c_ulong(0), ctypes.c_ulong(0),
    )  # fmt: skip
    return result


def contact() -> int | None:
    """A socket to the monitor of the view in which this process is; None: it is in none.

    Raises ViewosError when that monitor refuses.
    """
    number = ask(VIEWOS_CONTACT)
    if number >= 0:
        return lifted(number)
    if ctypes.get_errno() == errno.EPERM:
        raise ViewosError(
            "this process runs in a view, with other credentials than its monitor: only a program"
            " with the same ones can nest a view"
        )
    return None
