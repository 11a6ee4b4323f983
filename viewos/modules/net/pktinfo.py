"""Addresses in the ancillary data of datagrams (ip(7), ipv6(7)): which one of its own a socket was
reached at, and is to answer from; where a datagram was to go, and who has refused it."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

_HEAD = struct.Struct("=Qii")
"""struct cmsghdr: its size with the data, level, type."""
_FOUR, _SIX = 0, 41
_OWN = {(_FOUR, 8): ((4, 4), (8, 4)), (_SIX, 50): ((0, 16),)}
"""(level, type) -> (offset in the data, size) of the addresses: struct in_pktinfo, in6_pktinfo."""
_HOSTS = {
    **_OWN,
    (_FOUR, 11): ((20, 4),),
    (_FOUR, 20): ((4, 4),),
    (_SIX, 25): ((24, 16),),
    (_SIX, 74): ((8, 16),),
}
"""The same of all that tells an address: in a struct sockaddr, behind a struct sock_extended_err of
IP_RECVERR and IPV6_RECVERR, at the beginning in IP_ORIGDSTADDR and IPV6_ORIGDSTADDR."""

_INFO = struct.Struct("=QiiI4s4s4x")
"""A message with struct in_pktinfo: interface, source, destination; padded."""


def has_own(control: bytes) -> bool:
    """Does it say from which address a message is to come?"""
    return any((level, kind) in _OWN for _, _, level, kind in _parts(control))


def _parts(control: bytes) -> Iterator[tuple[int, int, int, int]]:
    """(offset, size with the header, level, type) of each, up to one that is cut off, or that the
    kernel refuses."""
    at = 0
    while at + _HEAD.size <= len(control):
        size, level, kind = _HEAD.unpack_from(control, at)
        if not _HEAD.size <= size <= len(control) - at:
            return
        yield at, size, level, kind
        at += size + 7 & ~7


def coming_from(control: bytes, host: bytes) -> bytes:
    """The same with an IPv4 address to send from, where there is none."""
    at = 0
    for start, size, level, kind in _parts(control):
        if (level, kind) in _OWN:
            return control
        at = start + size + 7 & ~7
    if at + _HEAD.size <= len(control):
        return control
    return control[:at].ljust(at, b"\0") + _INFO.pack(_INFO.size - 4, 0, 8, 0, host, bytes(4))


def translated(control: bytes, how: Callable[[bytes], bytes]) -> bytes:
    """The same ancillary data with what `how` makes of each address."""
    changed = bytearray(control)
    for at, size, level, kind in _parts(control):
        for offset, length in _HOSTS.get((level, kind), ()):
            start, end = at + _HEAD.size + offset, at + _HEAD.size + offset + length
            if end <= at + size:
                changed[start:end] = how(control[start:end])
    return bytes(changed)
