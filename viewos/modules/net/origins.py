"""Where datagrams of a view's own loopback interface come from.

The kernel sends from 127.0.0.1 what a socket at a wildcard address sends to any of 127.0.0.0/8. Who
has connected to another of them would not hear the answer, and ::1 would answer as 127.0.0.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from viewos import InetAddress
from viewos.modules.net.memory import Memory
from viewos.modules.net.private import Private, is_wildcard

if TYPE_CHECKING:
    from viewos import SharedSocket

_ONE = b"\x7f\0\0\1"


class _Client(NamedTuple):
    """What the socket at a port of 127.0.0.1 is connected to."""

    asked: InetAddress
    to: InetAddress


class Origins:
    """The addresses from which the sockets of a view send."""

    def __init__(self, private: Private) -> None:
        self._private = private
        self._clients: Memory[_Client] = Memory()

    def connected(self, socket: SharedSocket, asked: InetAddress, to: InetAddress) -> None:
        """A socket for datagrams has been connected: those that come from its port are for `to`
        to answer."""
        near = socket.name()
        if isinstance(near, InetAddress) and near.plain.host == _ONE:
            self._clients.keep(near.port, _Client(asked, to))

    def source(
        self, socket: SharedSocket, bound: InetAddress | None, asked: InetAddress, to: InetAddress
    ) -> bytes:
        """The address from which a datagram goes to `to`; b"": the kernel's choice is right.
        `bound`: what its program has bound the socket to."""
        if bound is not None and not is_wildcard(bound):
            return b""
        near = socket.name()
        if not isinstance(near, InetAddress) or not (bound or is_wildcard(near)):
            return b""
        client = self._client(to)
        source = client.to.plain.host if client else self._private.origin(asked, to)
        return b"" if source == near.plain.host else source

    def asked_by(self, real: InetAddress) -> InetAddress | None:
        """What the socket at that address has connected to, as its program calls it."""
        client = self._client(real)
        return None if client is None else client.asked

    def _client(self, real: InetAddress) -> _Client | None:
        return self._clients.find(real.port) if real.plain.host == _ONE else None
