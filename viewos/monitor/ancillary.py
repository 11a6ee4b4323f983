"""SCM_CREDENTIALS: who sends, in the ancillary data of AF_UNIX messages (unix(7)).

The kernel takes nobody else's ids from a program than its real ones, and tells these: modules that
show others translate them on both ways.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from viewos.abi.socket import SOL_SOCKET, Ucred
from viewos.monitor.authors import translates

if TYPE_CHECKING:
    from viewos.call import Call
    from viewos.module import VirtualModule
    from viewos.monitor.router import Router

_HEAD = struct.Struct("=Qii")
"""struct cmsghdr: its size with the data, level, type."""
_UCRED = struct.Struct("=iII")
_SCM_CREDENTIALS = 2
LEAST = _HEAD.size + _UCRED.size
"""Bytes of ancillary data with credentials in it."""


def _places(control: bytes) -> Iterator[int]:
    """Where each struct ucred stands."""
    at = 0
    while at + _HEAD.size <= len(control):
        size, level, kind = _HEAD.unpack_from(control, at)
        if not _HEAD.size <= size <= len(control) - at:
            return  # the kernel refuses what it is sent
        if (level, kind, size) == (SOL_SOCKET, _SCM_CREDENTIALS, LEAST):
            yield at + _HEAD.size
        at += size + 7 & ~7


def _translated(
    call: Call,
    control: bytes,
    layers: list[tuple[int, VirtualModule]],
    how: Callable[[VirtualModule], Callable[[Call, Ucred], Ucred]],
) -> bytes | None:
    changed = bytearray(control)
    for at in _places(control):
        credentials = Ucred(*_UCRED.unpack_from(control, at))
        for call.layer, module in layers:
            credentials = how(module)(call, credentials)
        _UCRED.pack_into(changed, at, *credentials)
    return None if changed == control else bytes(changed)


def layers(router: Router) -> list[tuple[int, VirtualModule]]:
    """The modules that translate, the lowest first."""
    return [one for one in sorted(router.view.layers.items()) if translates(one[1])]


def sent(router: Router, call: Call, control: bytes) -> bytes | None:
    """What the kernel is to be given in the place of this; None: it stays as it is. Raises OSError
    EPERM."""
    return _translated(call, control, layers(router)[::-1], lambda module: module.send_credentials)


def shown(router: Router, call: Call, control: bytes) -> bytes | None:
    """What the program is to see in the place of what the kernel gave it; None: it stays."""
    return _translated(call, control, layers(router), lambda module: module.show_credentials)
