"""mount(2) and fsconfig(2) whose options are paths: overlay's directories."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from viewos.abi.fcntl import (
    FSCONFIG_SET_STRING,
    MS_BIND,
    MS_MOVE,
    MS_PRIVATE,
    MS_REMOUNT,
    MS_SHARED,
    MS_SLAVE,
    MS_UNBINDABLE,
)
from viewos.monitor.memory import Fault
from viewos.monitor.overlay import Real, in_options, in_value
from viewos.monitor.pathcalls import resolve_all, resolve_path, tracee_string

if TYPE_CHECKING:
    from viewos.call import Call
    from viewos.monitor.router import Router

_OF_A_MOUNT = MS_BIND | MS_MOVE | MS_REMOUNT | MS_UNBINDABLE | MS_PRIVATE | MS_SLAVE | MS_SHARED
"""Flags of a call that makes no new file system."""
_MOST = 4096
"""Bytes of mount(2)'s data."""
_FSCONFIG_MOST = 256


def arguments(router: Router, call: Call) -> dict[int, bytes]:
    """The strings that mount(2) or fsconfig(2) are to have instead, by index; empty: none.

    Raises OSError as the kernel does: EINVAL for an upperdir or workdir that is read-only.
    """

    def real(path: bytes, writes: bool) -> bytes:
        try:
            place = resolve_path(router, call, path)
        except OSError:
            return path  # the kernel finds out as well
        if writes and place.is_read_only:
            raise OSError(errno.EINVAL, "read-only claim")
        return path if place.plain or not place.real else tracee_string(router, call, place)

    if resolve_all(router, call) is None:
        return {}
    try:
        return _OF_CALLS[call.name](router, call, real)
    except Fault:
        return {}


def _of_mount(router: Router, call: Call, real: Real) -> dict[int, bytes]:
    _, _, kind, flags, data = call.raw[:5]
    if flags & _OF_A_MOUNT or not data or router.memory.read_string(call.tid, kind) != b"overlay":
        return {}
    given = router.memory.read_string(call.tid, data, _MOST)
    wanted = in_options(given, real)
    return {} if wanted == given else {4: wanted}


def _of_fsconfig(router: Router, call: Call, real: Real) -> dict[int, bytes]:
    if call.decode(1) != FSCONFIG_SET_STRING:
        return {}
    key = router.memory.read_string(call.tid, call.raw[2], _FSCONFIG_MOST)
    given = router.memory.read_string(call.tid, call.raw[3], _FSCONFIG_MOST)
    wanted = in_value(key, given, real)
    return {} if wanted == given else {3: wanted}


_OF_CALLS = {"mount": _of_mount, "fsconfig": _of_fsconfig}
