"""The module: what it asks for, and what it answers."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Self

from viewos import (
    PASS,
    CallTest,
    Claim,
    InetAddress,
    RealPath,
    UnixAddress,
    ViewosError,
    VirtualModule,
    VirtualPath,
)
from viewos.modules.net import datagrams
from viewos.modules.net.connecting import Connecting
from viewos.modules.net.families import (
    BYPASSES,
    INET,
    IPPROTO_MPTCP,
    SOCK_STREAM,
    TCP_PROTOCOLS,
    TYPE_MASK,
    is_foreign,
    is_type,
    protocol_of,
)
from viewos.modules.net.faults import Faults
from viewos.modules.net.items import Settings, read_items
from viewos.modules.net.listening import Listening
from viewos.modules.net.patterns import OTHER, UDP
from viewos.modules.net.pktinfo import has_own
from viewos.modules.net.private import Private
from viewos.modules.net.states import (
    MSG_DONTWAIT,
    MSG_FASTOPEN,
    POLLOUT,
    SO_SNDTIMEO,
    begin,
    connect_by_layers,
    countdown,
    is_fresh,
)
from viewos.modules.net.unix import UnixNames

if TYPE_CHECKING:
    from viewos import Call, Items, Message, Verdict

SOL_SOCKET, SO_ERROR = 1, 4
MOST_ADDRESS = 128
"""Bytes: what is longer the kernel refuses unread."""
RESOLVERS = frozenset(
    {
        b"/run/nscd/socket",
        b"/run/systemd/resolve/io.systemd.Resolve",
        b"/run/systemd/resolve/io.systemd.Resolve.Monitor",
        b"/run/avahi-daemon/socket",
    }
)
SENDING = ("sendto", "sendmsg", "sendmmsg")
RECEIVING = ("recvfrom", "recvmsg", "recvmmsg")


class Net(VirtualModule):
    """Decide which addresses a program reaches, and where they lead."""

    name = "net"
    grammar = "net:VERB=...[,VERB=...]..."
    example = "net:allow=127.0.0.0/8,deny=any"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._private = Private() if settings.private else None
        self._listening = Listening(settings.binds, self._private, alone=settings.alone)
        self._unix = UnixNames(settings.unix, self._private)
        self._faults = Faults(settings.faults)
        self._connecting = Connecting(settings, self._listening)
        self._rules = self._connecting.rules

    @classmethod
    def from_items(cls, items: Items) -> Self:
        """Items that each begin with a verb; see docs/net.md."""
        return cls(read_items(items))

    def stand_on(self, below: Sequence[VirtualModule]) -> None:
        """The next one of its kind is what its own connections go through."""
        found = next((one for one in reversed(below) if isinstance(one, Net)), None)
        if found is not None and self._settings.relay:
            raise ViewosError(
                "proxy-mode=relay connects past the module net below, whose rules would not count:"
                " leave it out, or let these items stand in that module"
            )
        self._connecting.stand_on(None if found is None else found._connecting)

    def start(self, scratch: bytes) -> None:
        """Open and take what the view needs."""
        if self._private is not None:
            self._private.open()
        self._connecting.open()

    def stop(self) -> None:
        """Give it back."""
        self._connecting.close()
        if self._private is not None:
            self._private.close()

    def claims(self) -> Iterable[Claim]:
        """The file that is seen as /etc/hosts, for which only opening has to be trapped."""
        hosts = self._settings.hosts
        if hosts is not None:
            yield Claim(
                VirtualPath(b"/etc/hosts"), RealPath(os.fsencode(hosts)), read_only=True,
                operations=frozenset({"open"}),
            )  # fmt: skip

    # ---- what is trapped ------------------------------------------------------------------------

    def calls(self) -> frozenset[str]:
        """Only what the rules need."""
        wanted = {"connect", *SENDING}
        if self._rules.maps or self._unix:
            wanted.add("getpeername")
        if self._rules.maps_udp:
            wanted.update(RECEIVING)
        if self._rules.restricts:
            wanted.add("socket")
        if self._rules.proxies:
            wanted.add("getsockopt")
        if self._listening or self._unix:
            wanted.update(("bind", "getsockname"))
        if self._unix:
            wanted.update((*RECEIVING, "accept"))
        wanted.update(self._faults.calls)
        if self._private is not None:
            wanted.add("listen")
        return frozenset(wanted)

    def tests(self) -> Iterable[CallTest]:
        """Sockets of the families that rules look at; TCP_FASTOPEN, which connects by sending;
        addresses, where BPF sees them."""
        if self._rules.restricts:
            for family in (*INET, *BYPASSES.values()):
                yield CallTest("socket", "family", "==", family)
        if self._unix:
            yield CallTest("accept", "addr", "!=", 0)
            yield CallTest("accept4", "addr", "!=", 0)
        if self._rules.proxies:
            yield CallTest("getsockopt", "optname", "==", SO_ERROR)
        yield CallTest("sendto", "flags", "&", MSG_FASTOPEN)
        if self._rules.judges_udp or self._unix:
            yield CallTest("recvfrom", "addr", "!=", 0)
            yield CallTest("sendto", "addr", "!=", 0)
        if not self._rules.judges_udp and not self._unix:
            for name in ("sendmsg", "sendmmsg"):
                yield CallTest(name, "flags", "&", MSG_FASTOPEN)

    def passes(self) -> Iterable[tuple[str, Mapping[str, tuple[int, int]]]]:
        """Sockets of TCP."""
        for family in INET:
            for protocol in TCP_PROTOCOLS:
                yield (
                    "socket",
                    {
                        "family": (0xFFFFFFFF, family),
                        "type": (TYPE_MASK, SOCK_STREAM),
                        "protocol": (0xFFFFFFFF, protocol),
                    },
                )

    def show_socket_names(self) -> Callable[[bytes], bytes] | None:
        """Names of the view's own."""
        return self._unix.shown if self._unix else None

    def lead_socket_names(self) -> Callable[[Call, bytes], bytes] | None:
        """The same on the way in."""
        return self._unix.led if self._unix else None

    # ---- sockets --------------------------------------------------------------------------------

    def socket(self, call: Call) -> Verdict:
        """socket(2): what would pass the rules by is refused."""
        family, kind, number = call.args.family, call.args.type, call.args.protocol
        if family in INET:
            protocol = protocol_of(kind, number)
            if protocol == OTHER and is_type(kind):
                return self._refuse(call, protocol, "raw and other sockets than TCP and UDP")
            if protocol == UDP and self._rules.refuses_udp:
                return self._refuse(
                    call, protocol,
                    "UDP, which these rules would change, (a rule with /udp has every datagram"
                    " looked at)",
                )  # fmt: skip
        elif family in BYPASSES.values():
            name = next(name for name, value in BYPASSES.items() if value == family)
            return self._refuse(call, name, f"{name} sockets, which pass the rules by,")
        return PASS

    def _refuse(self, call: Call, protocol: str, what: str) -> Verdict:
        call.warn(f"net: {what} fail with EPERM in this view", once=f"net {protocol}")
        self._connecting.journal.write(call, protocol, None, result="EPERM")
        raise OSError(errno.EPERM, "net")

    # ---- connections ----------------------------------------------------------------------------

    def connect(self, call: Call) -> Verdict:
        """connect(2): by the rules, on the program's own socket."""
        address = call.address
        if isinstance(address, UnixAddress):
            if self._settings.dns:
                self._hide_resolvers(address)
            return self._unix.lead(call, address)
        if address is None:
            if self._connecting.proxies and _takes_address_away(call):
                self._connecting.proxies.forget(call.socket())
            return PASS
        socket = call.socket()
        if is_foreign(socket, call.given_family) and socket.type == SOCK_STREAM:
            return PASS
        self._faults.strike(call, "connect")
        return self._connecting.reach(
            call, address, lambda to: call.below(address=to), call.past, fast=call.bottom is begin
        )

    def _hide_resolvers(self, address: UnixAddress) -> None:
        """Daemons of the machine that would look a name up by themselves are not there."""
        if address.name.replace(b"/var/run/", b"/run/") in RESOLVERS:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))

    def getpeername(self, call: Call) -> Verdict:
        """getpeername(2): the address that the program asked for."""
        socket = call.socket()
        if socket.family not in INET:
            return PASS
        below = call.ask()
        real = socket.peer() if below is PASS else below  # ENOTCONN where it is not connected
        if not isinstance(real, InetAddress):
            return below
        told = self._connecting.peer(socket) or self._listening.sender(socket, real)
        return below if told == real else told.on(socket.family)

    # ---- servers --------------------------------------------------------------------------------

    def bind(self, call: Call) -> Verdict:
        """bind(2)."""
        address = call.address
        if isinstance(address, UnixAddress):
            return self._unix.lead(call, address)
        if address is None:
            return PASS
        if is_foreign(call.socket(), call.given_family):
            return PASS
        self._faults.strike(call, "bind")
        return self._listening.bind(call, address)

    def listen(self, call: Call) -> Verdict:
        """listen(2)."""
        return self._listening.listen(call)

    def accept(self, call: Call) -> Verdict:
        """accept(2), accept4(2)."""
        return self._listening.accept(call)

    def getsockname(self, call: Call) -> Verdict:
        """getsockname(2): the address that the program has bound."""
        socket = call.socket()
        peer = self._connecting.peer(socket) if socket.family in INET else None
        return self._listening.name(call, peer)

    def getsockopt(self, call: Call) -> Verdict:
        """getsockopt(2) of SO_ERROR: who asks after a connect that a signal interrupted believes
        that it is over, so it is finished first (connect(2), EINTR)."""
        if (call.args.level, call.args.optname) != (SOL_SOCKET, SO_ERROR):
            return PASS
        proxies = self._connecting.proxies
        if not proxies:
            return PASS
        socket, number = call.socket(), 0
        try:
            if not proxies.settle(call, socket):
                return PASS
        except OSError as error:
            number = error.errno or errno.ECONNREFUSED
        room = int.from_bytes(call.read(call.args.optlen, 4), "little", signed=True)
        if room < 0:
            raise OSError(errno.EINVAL, "the length of an option")
        call.write(call.args.optval, number.to_bytes(4, "little")[:room])
        call.write(call.args.optlen, min(room, 4).to_bytes(4, "little"))
        return 0

    # ---- messages -------------------------------------------------------------------------------

    def sendto(self, call: Call) -> Verdict:
        """sendto(2)."""
        if self._unix and isinstance(call.address, UnixAddress):
            return self._unix.lead(call, call.address)
        return self._send(call)

    def sendmsg(self, call: Call) -> Verdict:
        """sendmsg(2)."""
        return self._send(call)

    def sendmmsg(self, call: Call) -> Verdict:
        """sendmmsg(2)."""
        return self._send(call)

    def recvfrom(self, call: Call) -> Verdict:
        """recvfrom(2)."""
        return self._receive(call)

    def recvmsg(self, call: Call) -> Verdict:
        """recvmsg(2)."""
        return self._receive(call)

    def recvmmsg(self, call: Call) -> Verdict:
        """recvmmsg(2)."""
        return self._receive(call)

    def _receive(self, call: Call) -> Verdict:
        told = None
        if self._private is not None:
            told = datagrams.Told(self._listening.sender, self._private.told_host)
        return datagrams.receive(call, self._connecting.senders, told)

    def _send(self, call: Call) -> Verdict:
        messages = call.messages()
        addresses = [message.address for message in messages]
        pins = self._private is not None and any(map(_has_own_source, messages))
        if not pins and not any(isinstance(address, InetAddress) for address in addresses):
            return PASS
        socket = call.socket()
        if socket.family not in INET:
            return PASS
        if socket.type == SOCK_STREAM:
            return self._open_fast(call, messages[0]) if call.args.flags & MSG_FASTOPEN else PASS
        protocol = protocol_of(socket.type, socket.protocol)
        ways: list[datagrams.Way] = []
        try:
            for address in addresses:
                way = datagrams.Way()
                if isinstance(address, InetAddress):
                    way = self._connecting.way(call, socket, protocol, address)
                ways.append(way)
        except OSError:
            if not ways:
                raise  # else those before it are sent, and the next call gets the error
        if not pins and ways == [(address, b"", False) for address in addresses]:
            return PASS
        source = None if self._private is None else self._listening.pinned
        return datagrams.send(call, ways, messages[: len(ways)], source)

    def _open_fast(self, call: Call, message: Message) -> Verdict:
        """MSG_FASTOPEN: a plain connect. The kernel has yet to tell how it ends: the program's own
        call waits for that, as long as it will, and sends the data with all that belongs to it."""
        address, socket, connecting = message.address, call.socket(), self._connecting
        if not isinstance(address, InetAddress) or is_foreign(socket, address.family):
            return PASS
        if not (connecting.proxies.is_begun(socket) or is_fresh(socket)):
            return PASS
        self._faults.strike(call, "connect")
        if socket.protocol == IPPROTO_MPTCP:  # where what has begun cannot go on so
            connecting.reach(call, address, call.connect, socket.connect)
            flags = call.args.flags & ~MSG_FASTOPEN
            if call.name == "sendmmsg":
                return call.below(flags=flags, vlen=1)
            return call.below(flags=flags)
        waits = not (call.args.flags & MSG_DONTWAIT or socket.nonblocking)

        def past(to: InetAddress) -> None:
            try:
                begin(socket, to)
            except BlockingIOError:
                limit = socket.time_limit(SO_SNDTIMEO) if waits else 0.0
                if not waits or (limit and not socket.wait(POLLOUT, limit)):
                    raise

        def connect(to: InetAddress) -> None:
            connect_by_layers(call, to, begin, countdown(socket) if waits else None)

        below = connect if call.is_asked_below("connect") else past
        connecting.reach(call, address, below, past, fast=True)
        return PASS


def _has_own_source(message: Message) -> bool:
    try:
        return has_own(message.control())
    except OSError:  # it is not sent
        return False


def _takes_address_away(call: Call) -> bool:
    """Is it a connect to an address of AF_UNSPEC?"""
    return 2 <= call.args.addrlen <= MOST_ADDRESS and call.read(call.raw[1], 2) == bytes(2)
