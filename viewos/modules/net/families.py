"""Address families and protocols: which of them rules can see, and which would pass them by."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from viewos.modules.net.patterns import OTHER, TCP, UDP

if TYPE_CHECKING:
    from viewos import InetAddress, SharedSocket

AF_UNIX, AF_INET, AF_INET6 = 1, 2, 10
INET = (AF_INET, AF_INET6)
SOCK_STREAM, SOCK_DGRAM, SOCK_RAW = 1, 2, 3
TYPE_MASK = 0xF
"""The bits of socket(2)'s type that are no flags."""
SOCK_FLAGS = 0o2004000
"""SOCK_CLOEXEC and SOCK_NONBLOCK."""
_TYPES = (SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, 5, 6, 10)
"""Those that AF_INET has in some kernel: also SOCK_SEQPACKET, SOCK_DCCP and SOCK_PACKET."""
IPPROTO_MPTCP = 262
TCP_PROTOCOLS = (0, 6, IPPROTO_MPTCP)
"""What socket(2) may be given with SOCK_STREAM."""
_PROTOCOLS = {
    **{(SOCK_STREAM, protocol): TCP for protocol in TCP_PROTOCOLS},
    (SOCK_DGRAM, 0): UDP, (SOCK_DGRAM, 17): UDP, (SOCK_DGRAM, 136): UDP,  # 136: UDP-Lite
}  # fmt: skip
PROTOCOLS = {number: protocol for (_, number), protocol in _PROTOCOLS.items() if number}
"""SO_PROTOCOL of a socket of AF_INET or AF_INET6, which is never 0."""
BYPASSES = {
    "AF_AX25": 3, "AF_IPX": 4, "AF_APPLETALK": 5, "AF_X25": 9, "AF_PACKET": 17, "AF_RDS": 21,
    "AF_PPPOX": 24, "AF_LLC": 26, "AF_IB": 27, "AF_CAN": 29, "AF_TIPC": 30, "AF_BLUETOOTH": 31,
    "AF_RXRPC": 33, "AF_PHONET": 35, "AF_IEEE802154": 36, "AF_CAIF": 37, "AF_NFC": 39,
    "AF_VSOCK": 40, "AF_KCM": 41, "AF_QIPCRTR": 42, "AF_SMC": 43, "AF_XDP": 44, "AF_MCTP": 45,
}  # fmt: skip
"""Families that lead out of the machine, or around the rules for AF_INET, with their numbers."""


def protocol_of(kind: int, number: int) -> str:
    """The protocol of an AF_INET socket, by the arguments of socket(2)."""
    return _PROTOCOLS.get((kind & TYPE_MASK, number), OTHER)


def is_type(kind: int) -> bool:
    """May socket(2) be given that type with AF_INET? Else the kernel refuses it."""
    return not kind & ~(TYPE_MASK | SOCK_FLAGS) and kind & TYPE_MASK in _TYPES


def is_foreign(socket: SharedSocket, family: int) -> bool:
    """Is an address of that family one of IPv4, and the socket of IPv6? bind(2), and but for
    datagrams connect(2), refuse it: by its length, or its family."""
    return family == AF_INET and socket.family == AF_INET6


def as_told(address: InetAddress) -> InetAddress:
    """An address that a program gave, as the kernel tells it: without a flow label, and with an
    interface where that belongs to the address."""
    host = address.host
    is_local = len(host) == 16 and host[0] == 0xFE and host[1] & 0xC0 == 0x80
    return address._replace(flowinfo=0, scope=address.scope if is_local else 0)


def check_family(socket: SharedSocket, address: InetAddress) -> None:
    """Raises OSError EAFNOSUPPORT as the kernel does: an address of IPv6 leads from no socket of
    IPv4, also where another one stands for it."""
    if address.family == AF_INET6 and socket.family == AF_INET:
        raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
