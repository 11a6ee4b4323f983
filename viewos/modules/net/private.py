"""A loopback interface of the view's own: ports stay, addresses move.

127.0.0.N becomes 127.V.W.N, which any user may bind; ::1 becomes 127.V.W.254 in its IPv4-mapped
form, because IPv6 has no second loopback address. 0.0.0.0 and :: are bound at 127.V.W.1, and what
is bound so is remembered by its port: at the other addresses it answers where nothing else does.
These are other names, and no isolation: who knows V and W reaches them from outside.
"""

from __future__ import annotations

import errno
import os
import socket as sockets
from typing import TYPE_CHECKING

from viewos import InetAddress

if TYPE_CHECKING:
    from viewos import SharedSocket

NAME = "viewos-net"
"""What the abstract names of views begin with: @viewos-net/V.W/PID."""
IPPROTO_IPV6, IPV6_V6ONLY = 41, 26
AF_INET6 = 10
_ANY4, _ANY6 = bytes(4), bytes(16)
_LOOPBACK6 = bytes(15) + b"\1"
_SIX = 254
"""The last byte of the address that stands for ::1."""
_ATTEMPTS = 200


class Private:
    """The addresses of one view."""

    def __init__(self) -> None:
        self._lock: sockets.socket | None = None
        self._network = b""
        self._wild: dict[tuple[int, int], int] = {}
        """(type of socket, port) -> the family of the wildcard address that was bound last."""

    def open(self) -> None:
        """Choose V and W, which no other view has. Raises OSError."""
        for _ in range(_ATTEMPTS):
            v, w = (1 + byte % 254 for byte in os.urandom(2))
            lock = sockets.socket(sockets.AF_UNIX, sockets.SOCK_DGRAM)
            try:
                lock.bind(f"\0{NAME}/{v}.{w}")
            except OSError:
                lock.close()
                continue
            self._lock, self._network = lock, bytes((127, v, w))
            self._told = sockets.socket(sockets.AF_UNIX, sockets.SOCK_DGRAM)
            self._told.bind(f"\0{NAME}/{v}.{w}/{os.getpid()}")
            return
        raise OSError(errno.EADDRNOTAVAIL, "all private loopback networks are taken")

    def close(self) -> None:
        """Give them back."""
        if self._lock is not None:
            self._lock.close()
            self._told.close()
            self._lock = None

    # ---- from what the program says to what is real ---------------------------------------------

    def place(self, address: InetAddress, socket: SharedSocket) -> InetAddress | None:
        """Where a socket that binds that address is bound; None: there."""
        host = address.plain.host
        if host == _ANY6:
            only = self._takes_only_six(socket)
            return self._at(_SIX if only else 1, address.port, socket)
        if host == _LOOPBACK6:
            return self._at(_SIX, address.port, socket)
        return self._four(address.plain, socket)

    def bound(self, asked: InetAddress, socket: SharedSocket) -> None:
        """A socket has been bound where `place` says for that address."""
        real = socket.name()
        if not isinstance(real, InetAddress) or real.plain.host != self._network + b"\1":
            return
        key = socket.type, real.port
        if is_wildcard(asked):
            self._wild[key] = asked.plain.family
        else:
            self._wild.pop(key, None)

    def reach(self, address: InetAddress, socket: SharedSocket) -> InetAddress | None:
        """Where a connection or a datagram to that address goes; None: there."""
        host = address.plain.host
        if host in (_LOOPBACK6, _ANY6):
            return self._at(self._answering(_SIX, address.port, socket), address.port, socket)
        there = self._four(address.plain, socket)
        if there is None:
            return None
        return self._at(self._answering(there.host[3], there.port, socket), there.port, socket)

    def _answering(self, last: int, port: int, socket: SharedSocket) -> int:
        """The last byte of the address at which a server for that one stands."""
        family = self._wild.get((socket.type, port))
        if last == 1 or family is None or (last == _SIX and family != AF_INET6):
            return last
        return last if self._is_taken(last, port, socket.type) else 1

    def _four(self, plain: InetAddress, socket: SharedSocket) -> InetAddress | None:
        if plain.host == _ANY4:
            return self._at(1, plain.port, socket)
        if len(plain.host) == 4 and plain.host[:3] == b"\x7f\0\0" and plain.host[3] != _SIX:
            return self._at(plain.host[3], plain.port, socket)
        return None

    def _at(self, last: int, port: int, socket: SharedSocket) -> InetAddress:
        if socket.family == AF_INET6:
            socket.admit_ipv4()
        return InetAddress(self._network + bytes((last,)), port)

    def _takes_only_six(self, socket: SharedSocket) -> bool:
        return bool(socket.option(IPPROTO_IPV6, IPV6_V6ONLY))

    def _is_taken(self, last: int, port: int, kind: int) -> bool:
        """Is there a server of that address alone?"""
        with sockets.socket(sockets.AF_INET, kind) as probe:
            if kind == sockets.SOCK_STREAM:  # connections that have ended are no server
                probe.setsockopt(sockets.SOL_SOCKET, sockets.SO_REUSEADDR, 1)
            try:
                probe.bind((sockets.inet_ntoa(self._network + bytes((last,))), port))
            except OSError as error:
                return error.errno == errno.EADDRINUSE
        return False

    def source(self, host: bytes, near: bytes = b"") -> bytes:
        """What stands for an address of the loopback interface, in the same family. `near`: the one
        from which an answer to its peer comes."""
        plain = InetAddress(host, 0).plain.host
        if host == _LOOPBACK6 and near[:3] == self._network:
            return _in_family_of(host, InetAddress(near, 0))
        last = _SIX if host == _LOOPBACK6 else plain[3]
        if host != _LOOPBACK6 and (plain != b"\x7f\0\0" + plain[3:4] or last == _SIX):
            return host
        return _in_family_of(host, InetAddress(self._network + bytes((last,)), 0))

    def origin(self, asked: InetAddress, to: InetAddress) -> bytes:
        """Where a socket at a wildcard address sends from; b"": it leads out of the view."""
        host = to.plain.host
        if host[:3] != self._network:
            return b""
        is_six = host[3] == _SIX or asked.plain.host in (_LOOPBACK6, _ANY6)
        return self._network + bytes((_SIX if is_six else 1,))

    # ---- and back -------------------------------------------------------------------------------

    def told(self, real: InetAddress, family: int, near: InetAddress | None = None) -> InetAddress:
        """What the program is told of an address; `near` is the other end of the connection, by
        its real address or the one that was asked for."""
        plain = real.plain
        if family == AF_INET6 and self._is_six(plain, near):
            return InetAddress(_LOOPBACK6, plain.port)
        if plain.host[:3] == self._network:
            plain = InetAddress(b"\x7f\0\0" + plain.host[3:], plain.port)
            return plain.on(family)
        return real

    def told_host(self, host: bytes, sender: InetAddress | None) -> bytes:
        """The same of an address alone, in the same family; `sender`: who has reached it, as the
        program is told."""
        family = AF_INET6 if len(host) == 16 else sockets.AF_INET
        told = self.told(InetAddress(host, 0), family)
        is_ours = InetAddress(host, 0).plain.host[:3] == self._network
        if family == AF_INET6 and is_ours and sender is not None and sender.host == _LOOPBACK6:
            return _LOOPBACK6
        return _in_family_of(host, told)

    def _is_six(self, plain: InetAddress, near: InetAddress | None) -> bool:
        six = self._network + bytes((_SIX,))
        # The kernel gives a client the address 127.0.0.1, whichever of 127.0.0.0/8 it connects to.
        is_client = near is not None and near.plain.host in (six, _LOOPBACK6)
        return plain.host == six or (is_client and plain.host == b"\x7f\0\0\1")

    @property
    def abstract(self) -> bytes:
        """What abstract names of AF_UNIX begin with in the view."""
        return b"\0viewos/%d.%d/" % (self._network[1], self._network[2])

    @property
    def network(self) -> str:
        """The network as the user reads it: 127.V.W."""
        return ".".join(map(str, self._network))


def _in_family_of(host: bytes, address: InetAddress) -> bytes:
    return address.on(AF_INET6).host if len(host) == 16 else address.plain.host


def is_wildcard(address: InetAddress) -> bool:
    """0.0.0.0 or ::, also in mapped form."""
    return not any(address.plain.host)
