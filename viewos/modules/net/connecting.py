"""Where a connection or a datagram goes, and how it gets there."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from socket import inet_ntop
from typing import TYPE_CHECKING

from viewos import InetAddress, Interrupted
from viewos.modules.net.datagrams import Senders, Way
from viewos.modules.net.families import PROTOCOLS, SOCK_DGRAM, as_told, check_family
from viewos.modules.net.handshake import Target
from viewos.modules.net.items import Settings
from viewos.modules.net.journal import Journal
from viewos.modules.net.listening import Listening
from viewos.modules.net.memory import Memory
from viewos.modules.net.names import Names
from viewos.modules.net.patterns import OTHER, UDP, is_loopback
from viewos.modules.net.private import is_wildcard
from viewos.modules.net.proxy import Proxies
from viewos.modules.net.resolver import Resolver
from viewos.modules.net.rules import ALLOW, Rule, Rules

if TYPE_CHECKING:
    from viewos import Call, SharedSocket, Verdict

    Connect = Callable[[InetAddress], Verdict]


class Connecting:
    """The ways out of one view."""

    def __init__(self, settings: Settings, listening: Listening) -> None:
        self._settings, self._listening = settings, listening
        self.rules = Rules(settings.rules, dns=settings.dns, private=settings.private)
        self.rules.maps = self.rules.maps or bool(settings.binds)
        self.journal = Journal(settings.log)
        self.proxies = Proxies(settings.who, settings.seconds)
        self.senders = Senders()
        self._known = Names(
            settings.names, fakes=settings.fakes, fake4=settings.fake4, fake6=settings.fake6
        )
        self._resolver = Resolver(self._known.answer, self._leads_below)
        self._below: Connecting | None = None
        self._peers: Memory[InetAddress] = Memory()
        private = settings.private or settings.names or settings.binds
        self._is_simple = not (self.rules.maps or self.journal or private)
        """Nothing is to be done about a connection that is allowed, but to make it."""

    def open(self) -> None:
        """Open the log, look up where the proxies are, take ports for the name server.

        Raises OSError.
        """
        self.journal.open()
        self.proxies.resolve([rule.chain for rule in self._settings.rules])
        if self._settings.dns:
            self._resolver.open()
            self.rules.lead_dns(self._resolver.udp, self._resolver.tcp)

    def close(self) -> None:
        """Give all of it back."""
        self.proxies.relays.close()
        self.journal.close()
        self._resolver.close()

    def stand_on(self, below: Connecting | None) -> None:
        """`below`: of the next module net, through which all of this one's ways lead."""
        self._below = below
        self._known.below = None if below is None else below._known

    def reach(
        self,
        call: Call,
        address: InetAddress,
        connect: Connect,
        past: Connect,
        *,
        fast: bool = False,
    ) -> Verdict:
        """connect(2) to that address. `connect` makes the connection by the layers below, `past`
        past them; `fast`: for MSG_FASTOPEN. Raises OSError, Interrupted."""
        plain, socket = address.plain, call.socket()
        check_family(socket, address)
        protocol = PROTOCOLS.get(socket.protocol, OTHER)
        rule = self.rules.find(plain, protocol)
        if self._is_simple and (rule is None or rule.verb == ALLOW):
            return connect(address)
        to = self._way(socket, address, rule)
        is_another = to is not address or (rule is not None and bool(rule.chain))
        is_another = is_another and not is_wildcard(address)  # which the kernel tells as 127.0.0.1
        result = "ok"
        try:
            if self.proxies.go_on(call, socket, fast=fast):
                return 0
            if rule is not None and rule.refuses(protocol):
                raise OSError(rule.error, os.strerror(rule.error))
            name = self._name_behind(plain, rule)
            if to is not address and protocol == UDP:
                self.senders.keep(socket, address, to)
            if to.port in self._resolver.ports:
                self._resolver.run()
            if self.rules.is_dns(rule):
                connect = past
            if not self.rules.maps:
                return connect(to)
            with self._remembered(socket, address if is_another else None):
                if rule is not None and rule.chain:
                    there = Target(plain, name)
                    if self._is_relayed(socket, rule):
                        return self.proxies.relayed(call, socket, rule.chain, there, connect)
                    self.proxies.connect(call, socket, rule.chain, there, fast=fast)
                    return 0
                verdict = connect(to)
                if rule is None and protocol == UDP:
                    self._listening.connected(socket, address, to)
                return verdict
        except OSError as error:
            result = errno.errorcode.get(error.errno or 0, "?")
            raise
        except Interrupted:
            result = "EINTR"
            raise
        finally:
            self.note(call, protocol, plain, rule, result)

    def _is_relayed(self, socket: SharedSocket, rule: Rule) -> bool:
        """A relay would connect past the layers below."""
        has_to_be = self._below is None and self.proxies.is_out_of_reach(socket, rule.chain)
        return self._settings.relay or has_to_be

    def _way(self, socket: SharedSocket, address: InetAddress, rule: Rule | None) -> InetAddress:
        """Where a destination leads, proxies apart."""
        if rule is not None:
            return address if rule.to is None else rule.target(address.plain)
        if not self._listening:
            return address
        known = self.senders.real(socket, address) if socket.type == SOCK_DGRAM else None
        return known or self._listening.reach(address, socket)

    def _name_behind(self, address: InetAddress, rule: Rule | None) -> bytes | None:
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
        before = self._peers.find(socket.identity)
        self._peers.set(socket.identity, None if asked is None else as_told(asked))
        try:
            yield
        except OSError as error:
            if error.errno != errno.EINPROGRESS:
                self._peers.set(socket.identity, before)
            raise

    def note(
        self, call: Call, protocol: str, address: InetAddress, rule: Rule | None, result: str
    ) -> None:
        if self.journal:
            to: InetAddress | str | None = None
            if rule is not None and rule.to is not None:
                to = rule.target(address)
            elif rule is not None and rule.chain:
                name = self._known.of(address) if self._known.is_fake(address) else None
                to = "+".join(map(str, rule.chain)) + f" {Target(address, name)}"
            text = None if rule is None else rule.text
            self.journal.write(call, protocol, address, rule=text, to=to, result=result)

    def way(self, call: Call, socket: SharedSocket, protocol: str, address: InetAddress) -> Way:
        """How a datagram gets to that address. Raises OSError where a rule denies it."""
        check_family(socket, address)
        plain = address.plain
        rule = self.rules.find(plain, protocol)
        if rule is not None and rule.refuses(protocol):
            self.note(call, protocol, plain, rule, errno.errorcode[rule.error])
            raise OSError(rule.error, os.strerror(rule.error))
        self.note(call, protocol, plain, rule, "ok")
        to = self._way(socket, address, rule)
        if to is address:
            return Way(address)
        self.senders.keep(socket, address, to)
        if to.port in self._resolver.ports:
            self._resolver.run()
        is_ours = rule is None and protocol == UDP
        source = self._listening.source(socket, address, to) if is_ours else b""
        return Way(to, source, is_past=self.rules.is_dns(rule))

    def _leads_below(self, host: str, port: int, protocol: str) -> tuple[str, int]:
        """Where the monitor's own question goes by the layers below. Raises OSError."""
        at, found = self._below, host
        while at is not None:
            address = InetAddress.of(found.partition("%")[0], port).plain
            to = at._leads_plainly(address, protocol)
            if to != address:
                found, port = inet_ntop(to.family, to.host), to.port
            at = at._below
        return found, port

    def _leads_plainly(self, address: InetAddress, protocol: str) -> InetAddress:
        """Raises OSError EHOSTUNREACH where only programs get there."""
        rule = self.rules.find_plainly(address, protocol)
        is_private = self._settings.private and is_loopback(address) and rule is None
        if is_private or (rule is not None and (rule.chain or rule.refuses(protocol))):
            raise OSError(errno.EHOSTUNREACH, os.strerror(errno.EHOSTUNREACH))
        return address if rule is None else rule.target(address)

    def peer(self, socket: SharedSocket) -> InetAddress | None:
        """Whom the program has connected a socket to; None: the kernel knows it."""
        return self._peers.find(socket.identity)
