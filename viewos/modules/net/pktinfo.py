"""Addresses in the ancillary data of datagrams: which one of its own a socket was reached at, and
is to answer from (ip(7) and ipv6(7), IP_PKTINFO and IPV6_PKTINFO)."""

from __future__ import annotations

import struct
from collections.abc import Callable

_HEAD = struct.Struct("=Qii")
"""struct cmsghdr: its size with the data, level, type."""
_HOSTS = {(0, 8): ((4, 4), (8, 4)), (41, 50): ((0, 16),)}
"""(level, type) -> (offset in the data, size) of the addresses: struct in_pktinfo, in6_pktinfo."""


_INFO = struct.Struct("=QiiI4s4s4x")
"""A message with struct in_pktinfo: interface, source, destination; padded."""


def coming_from(control: bytes, host: bytes) -> bytes:
    """The same with an IPv4 address to send from, where there is none."""
    at = 0
    while at + _HEAD.size <= len(control):
        size, level, kind = _HEAD.unpack_from(control, at)
        if (level, kind) in _HOSTS or not _HEAD.size <= size <= len(control) - at:
            return control
        at += size + 7 & ~7
    return control[:at].ljust(at, b"\0") + _INFO.pack(_INFO.size - 4, 0, 8, 0, host, bytes(4))


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
