"""Addresses in the ancillary data of datagrams: which one of its own a socket was reached at, and
is to answer from (ip(7) and ipv6(7), IP_PKTINFO and IPV6_PKTINFO)."""

from __future__ import annotations

import struct
from collections.abc import Callable

_HEAD = struct.Struct("=Qii")
"""struct cmsghdr: its size with the data, level, type."""
_HOSTS = {(0, 8): ((4, 4), (8, 4)), (41, 50): ((0, 16),)}
"""(level, type) -> (offset in the data, size) of the addresses: struct in_pktinfo, in6_pktinfo."""


def translated(control: bytes, how: Callable[[bytes], bytes]) -> bytes:
    """The same ancillary data with what `how` makes of each address."""
    changed, at = bytearray(control), 0
    while at + _HEAD.size <= len(control):
        size, level, kind = _HEAD.unpack_from(control, at)
        if not _HEAD.size <= size <= len(control) - at:
            break  # cut off, or what the kernel refuses
        for offset, length in _HOSTS.get((level, kind), ()):
            start, end = at + _HEAD.size + offset, at + _HEAD.size + offset + length
            if end <= at + size:
                changed[start:end] = how(control[start:end])
        at += size + 7 & ~7
    return bytes(changed)
