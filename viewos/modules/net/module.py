"""The module: what it asks for, and what it answers."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from viewos import (
    PASS,
    CallTest,
    Claim,
    InetAddress,
    RealPath,
    UnixAddress,
    VirtualModule,
    VirtualPath,
)
from viewos.modules.net import datagrams
from viewos.modules.net.families import BYPASSES, INET, SOCK_STREAM, protocol_of
from viewos.modules.net.handshake import Target
from viewos.modules.net.items import Settings, read_items
from viewos.modules.net.journal import Journal
from viewos.modules.net.memory import Memory
from viewos.modules.net.names import Names
from viewos.modules.net.patterns import OTHER, UDP
from viewos.modules.net.proxy import Proxies
from viewos.modules.net.resolver import Resolver
from viewos.modules.net.rules import Rule, Rules

if TYPE_CHECKING:
    from viewos import Call, Items, Message, SharedSocket, Verdict

MSG_FASTOPEN = 0x20000000
SOL_SOCKET, SO_ERROR = 1, 4
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
        self._rules = Rules(settings.rules, dns=settings.dns)
        self._journal = Journal(settings.log)
        self._proxies = Proxies(settings.who, settings.seconds)
        self._known = Names(
            settings.names, fakes=settings.fakes, fake4=settings.fake4, fake6=settings.fake6
        )
        self._resolver = Resolver(self._known.answer)
        self._peers: Memory[InetAddress] = Memory()
        self._senders = datagrams.Senders()

    @classmethod
    def from_items(cls, items: Items) -> Self:
        """Items that each begin with a verb; see docs/net.md."""
        return cls(read_items(items))

    def start(self, scratch: bytes) -> None:
        """Open the log, look up where the proxies are, and take ports for the name server."""
        self._journal.open()
        self._proxies.resolve([rule.chain for rule in self._settings.rules])
        if self._settings.dns:
            self._resolver.open()
            self._rules.lead_dns(self._resolver.udp, self._resolver.tcp)

    def stop(self) -> None:
        """Close the log and the name server."""
        self._journal.close()
        self._resolver.close()

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
        if self._rules.maps:
            wanted.add("getpeername")
        if self._rules.maps_udp:
            wanted.update(RECEIVING)
        if self._rules.restricts:
            wanted.add("socket")
        if self._rules.proxies:
            wanted.add("getsockopt")
        return frozenset(wanted)

    def tests(self) -> Iterable[CallTest]:
        """Sockets of the families that rules look at; TCP_FASTOPEN, which connects by sending;
        addresses, where BPF sees them."""
        if self._rules.restricts:
            for family in (*INET, *BYPASSES.values()):
                yield CallTest("socket", "family", "==", family)
        if self._rules.proxies:
            yield CallTest("getsockopt", "optname", "==", SO_ERROR)
        yield CallTest("sendto", "flags", "&", MSG_FASTOPEN)
        if self._rules.judges_udp:
            yield CallTest("sendto", "addr", "!=", 0)
            yield CallTest("recvfrom", "addr", "!=", 0)
        else:
            for name in ("sendmsg", "sendmmsg"):
                yield CallTest(name, "flags", "&", MSG_FASTOPEN)

    # ---- sockets --------------------------------------------------------------------------------

    def socket(self, call: Call) -> Verdict:
        """socket(2): what would pass the rules by is refused."""
        family, kind, number = call.args.family, call.args.type, call.args.protocol
        if family in INET:
            protocol = protocol_of(kind, number)
            if protocol == OTHER:
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
        self._journal.write(call, protocol, None, result="EPERM")
        raise OSError(errno.EPERM, "net")

    # ---- connections ----------------------------------------------------------------------------

    def connect(self, call: Call) -> Verdict:
        """connect(2): by the rules, on the program's own socket."""
        address = call.address
        if not isinstance(address, InetAddress):
            if isinstance(address, UnixAddress) and self._settings.dns:
                self._hide_resolvers(address)
            return PASS
        return self._reach(call, address, lambda to: call.below(address=to))

    def _hide_resolvers(self, address: UnixAddress) -> None:
        """Daemons of the machine that would look a name up by themselves are not there."""
        if address.name.replace(b"/var/run/", b"/run/") in RESOLVERS:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))

    def _reach(
        self, call: Call, address: InetAddress, connect: Callable[[InetAddress], Verdict]
    ) -> Verdict:
        plain, socket = address.plain, call.socket()
        protocol = protocol_of(socket.type, socket.protocol)
        rule = self._rules.find(plain, protocol)
        to = address if rule is None or rule.to is None else rule.target(plain)
        is_another = to is not address or (rule is not None and bool(rule.chain))
        result = "ok"
        try:
            if rule is not None and rule.refuses(protocol):
                raise OSError(rule.error, os.strerror(rule.error))
            name = self._name_behind(plain, rule)
            if to is not address and protocol == UDP:
                self._senders.keep(socket, address, to)
            if to.port in self._resolver.ports:
                self._resolver.run()
            with self._remembered(socket, address if is_another else None):
                if rule is not None and rule.chain:
                    self._proxies.connect(call, socket, rule.chain, Target(plain, name))
                    return 0
                return connect(to)
        except OSError as error:
            result = errno.errorcode.get(error.errno or 0, "?")
            raise
        finally:
            self._note(call, protocol, plain, rule, result)

    def _name_behind(self, address: InetAddress, rule: Rule | None) -> str | None:
        """The name that a proxy is told in the place of an address. Raises OSError EHOSTUNREACH
        where there is none for it, or nobody who knows it."""
        if not self._known.is_fake(address):
            return None
        name = self._known.of(address)
        can_resolve = rule is not None and rule.chain and rule.chain[-1].resolves
        if name is None or not can_resolve:
            raise OSError(errno.EHOSTUNREACH, os.strerror(errno.EHOSTUNREACH))
        return name

    @contextmanager
    def _remembered(self, socket: SharedSocket, asked: InetAddress | None) -> Iterator[None]:
        """The peer that getpeername tells from now on, unless the connection fails at once."""
        if not self._rules.maps:
            yield
            return
        before = self._peers.find(socket.identity)
        self._peers.set(socket.identity, asked)
        try:
            yield
        except OSError as error:
            if error.errno not in (errno.EINPROGRESS, errno.EALREADY):
                self._peers.set(socket.identity, before)
            raise

    def _note(
        self, call: Call, protocol: str, address: InetAddress, rule: Rule | None, result: str
    ) -> None:
        if self._journal:
            to: InetAddress | str | None = None
            if rule is not None and rule.to is not None:
                to = rule.target(address)
            elif rule is not None and rule.chain:
                name = self._known.of(address) if self._known.is_fake(address) else None
                to = "+".join(map(str, rule.chain)) + f" {Target(address, name)}"
            text = None if rule is None else rule.text
            self._journal.write(call, protocol, address, rule=text, to=to, result=result)

    def getpeername(self, call: Call) -> Verdict:
        """getpeername(2): the address that the program asked for."""
        socket = call.socket()
        asked = self._peers.find(socket.identity)
        if asked is None:
            return PASS
        socket.peer()  # ENOTCONN where it is not connected
        return asked.on(socket.family)

    def getsockopt(self, call: Call) -> Verdict:
        """getsockopt(2) of SO_ERROR: who asks after a connect that a signal interrupted believes
        that it is over, so it is finished first (connect(2), EINTR)."""
        if (call.args.level, call.args.optname) != (SOL_SOCKET, SO_ERROR):
            return PASS
        socket, number = call.socket(), 0
        if not self._proxies.is_begun(socket):
            return PASS
        try:
            self._proxies.finish(call, socket)
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
        return self._send(call)

    def sendmsg(self, call: Call) -> Verdict:
        """sendmsg(2)."""
        return self._send(call)

    def sendmmsg(self, call: Call) -> Verdict:
        """sendmmsg(2)."""
        return self._send(call)

    def recvfrom(self, call: Call) -> Verdict:
        """recvfrom(2)."""
        return datagrams.receive(call, self._senders)

    def recvmsg(self, call: Call) -> Verdict:
        """recvmsg(2)."""
        return datagrams.receive(call, self._senders)

    def recvmmsg(self, call: Call) -> Verdict:
        """recvmmsg(2)."""
        return datagrams.receive(call, self._senders)

    def _send(self, call: Call) -> Verdict:
        messages = call.messages()
        addresses = [message.address for message in messages]
        if not any(isinstance(address, InetAddress) for address in addresses):
            return PASS
        socket = call.socket()
        if socket.family not in INET:
            return PASS
        if socket.type == SOCK_STREAM:
            return self._open_fast(call, messages[0]) if call.args.flags & MSG_FASTOPEN else PASS
        protocol = protocol_of(socket.type, socket.protocol)
        targets: list[InetAddress | None] = []
        try:
            for address in addresses:
                to = None
                if isinstance(address, InetAddress):
                    to = self._target(call, socket, protocol, address)
                targets.append(to)
        except OSError:
            if not targets:
                raise  # else those before it are sent, and the next call gets the error
        if targets == addresses:
            return PASS
        return datagrams.send(call, targets, messages[: len(targets)])

    def _target(
        self, call: Call, socket: SharedSocket, protocol: str, address: InetAddress
    ) -> InetAddress:
        """Where a datagram to that address goes. Raises OSError where a rule denies it."""
        plain = address.plain
        rule = self._rules.find(plain, protocol)
        if rule is not None and rule.refuses(protocol):
            self._note(call, protocol, plain, rule, errno.errorcode[rule.error])
            raise OSError(rule.error, os.strerror(rule.error))
        self._note(call, protocol, plain, rule, "ok")
        if rule is None or rule.to is None:
            return address
        to = rule.target(plain)
        self._senders.keep(socket, address, to)
        if to.port in self._resolver.ports:
            self._resolver.run()
        return to

    def _open_fast(self, call: Call, message: Message) -> Verdict:
        """MSG_FASTOPEN: a plain connect, and then the data."""
        address, socket = message.address, call.socket()
        if not isinstance(address, InetAddress):
            return PASS
        self._reach(call, address, socket.connect)
        data = message.payload()
        socket.send(data, None)
        message.sent(len(data))
        return 1 if call.name == "sendmmsg" else len(data)
