"""bind, listen, accept and the names of sockets, where ports or addresses move."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from viewos import PASS, InetAddress
from viewos.modules.net.families import (
    INET,
    SOCK_DGRAM,
    SOCK_FLAGS,
    SOCK_STREAM,
    as_told,
    check_family,
)
from viewos.modules.net.memory import Memory
from viewos.modules.net.origins import Origins
from viewos.modules.net.patterns import Pattern, is_loopback
from viewos.modules.net.private import Private, is_wildcard

if TYPE_CHECKING:
    from viewos import Call, SharedSocket, Verdict


class BindRule(NamedTuple):
    """bind=80=8080: who binds an address gets another one."""

    pattern: Pattern
    host: bytes | None
    """None: the same."""
    port: int

    def target(self, address: InetAddress) -> InetAddress:
        """What is bound."""
        if self.host is None:
            return address._replace(port=self.port)
        return InetAddress(self.host, self.port or address.port)


class Listening:
    """What a view's servers believe to be bound to."""

    def __init__(self, rules: list[BindRule], private: Private | None, *, alone: bool) -> None:
        """`alone`: nothing leads out of the view, so every socket is private."""
        self._rules, self._private, self._alone = rules, private, alone
        self._origins = None if private is None else Origins(private)
        self._bound: Memory[InetAddress] = Memory()
        self._ports = {rule.pattern.first: rule.port for rule in rules if rule.port}
        self._asked_ports = {real: asked for asked, real in self._ports.items()}

    def __bool__(self) -> bool:
        return bool(self._rules) or self._private is not None

    def bind(self, call: Call, address: InetAddress) -> Verdict:
        """bind(2)."""
        socket = call.socket()
        if socket.family not in INET:
            return PASS
        check_family(socket, address)
        to, identity = self._place(address, socket), socket.identity
        if to == address:
            return PASS
        answer = call.below(address=to)
        self._bound.keep(identity, as_told(address))
        if self._private is not None:
            self._private.bound(address, call.socket())
        return answer

    def _place(self, address: InetAddress, socket: SharedSocket) -> InetAddress:
        to = address
        for rule in self._rules:
            if rule.pattern.matches(address.plain, ""):
                to = rule.target(address)
                break
        if self._private is None:
            return to
        is_client = socket.type == SOCK_DGRAM and not to.port and is_wildcard(to)
        if is_client and not self._alone:
            return to  # it may send to anywhere, and no server is found at such a port
        return self._private.place(to, socket) or to

    def listen(self, call: Call) -> Verdict:
        """listen(2) of a socket that was not bound: the kernel would take the wildcard address."""
        socket = call.socket()
        if self._private is None or socket.family not in INET or socket.type != SOCK_STREAM:
            return PASS
        name = socket.name()
        if isinstance(name, InetAddress) and not name.port:
            place = self._private.place(name, socket)
            if place is not None:
                socket.bind(place)
                self._bound.keep(socket.identity, name)
                self._private.bound(name, socket)
        return PASS

    def reach(self, address: InetAddress, socket: SharedSocket) -> InetAddress:
        """Where a connection that no rule is about goes."""
        to = address
        if self._ports and (is_loopback(address.plain) or is_wildcard(address)):
            to = address._replace(port=self._ports.get(address.port, address.port))
        if self._private is None:
            return to
        return self._private.reach(to, socket) or to

    def connected(self, socket: SharedSocket, asked: InetAddress, to: InetAddress) -> None:
        """A socket for datagrams has been connected, and no rule was about it."""
        if self._origins is not None:
            self._origins.connected(socket, asked, to)

    def source(self, socket: SharedSocket, asked: InetAddress, to: InetAddress) -> bytes:
        """Where a datagram that no rule is about comes from; b"": the kernel's choice is right."""
        if self._origins is None:
            return b""
        return self._origins.source(socket, self._bound.find(socket.identity), asked, to)

    def pinned(self, socket: SharedSocket, source: bytes, host: bytes) -> bytes:
        """What stands for an address from which a datagram is to come by its program's own word;
        `source`: from where it would come (see `source`)."""
        if self._private is None:
            return host
        near = source or getattr(socket.name(), "plain", InetAddress(b"", 0)).host
        return self._private.source(host, near)

    # ---- what is told ---------------------------------------------------------------------------

    def name(self, call: Call, asked_peer: InetAddress | None) -> Verdict:
        """getsockname(2). `asked_peer`: what its program has connected the socket to."""
        socket = call.socket()
        if socket.family not in INET:
            return PASS
        below = call.ask()
        real = socket.name() if below is PASS else below
        if not isinstance(real, InetAddress):
            return below
        asked = self._bound.find(socket.identity)
        peer = self._peer(socket)
        if asked is not None and (peer is None or not is_wildcard(asked)):
            return asked._replace(port=asked.port or real.port)
        told = self._told(real, socket, peer and (asked_peer or peer))
        return below if told == real else told

    def sender(self, socket: SharedSocket, real: InetAddress) -> InetAddress:
        """Who is at the other end, or sent a datagram, by the real address."""
        if self._private is None:
            return real
        asked = None
        if self._origins is not None and socket.type == SOCK_DGRAM:
            asked = self._origins.asked_by(real)
        near = asked or socket.name()
        near = near if isinstance(near, InetAddress) else None
        return self._private.told(real, socket.family, near)

    def accept(self, call: Call) -> Verdict:
        """accept(2), accept4(2) with room for an address."""
        if not call.raw[1] or self._private is None:
            return PASS
        listener = call.socket()
        if listener.family not in INET:
            return PASS
        flags = call.args.flags if call.name == "accept4" else 0
        if flags & ~SOCK_FLAGS:
            return PASS  # which the kernel refuses
        below = call.ask()
        connection: SharedSocket = listener.accept(flags) if below is PASS else below
        try:
            peer = connection.accepted_from
            if isinstance(peer, InetAddress):
                connection.accepted_from = self.sender(connection, peer)
                call.tell_address(connection.accepted_from)
        except OSError:
            connection.close()
            raise
        return connection

    def _told(
        self, real: InetAddress, socket: SharedSocket, peer: InetAddress | None
    ) -> InetAddress:
        port = self._asked_ports.get(real.port, real.port) if peer is not None else real.port
        real = real._replace(port=port)
        return real if self._private is None else self._private.told(real, socket.family, peer)

    def _peer(self, socket: SharedSocket) -> InetAddress | None:
        try:
            found = socket.peer()
        except OSError:
            return None
        return found if isinstance(found, InetAddress) else None
