"""The rules of a view: what becomes of a destination. The first that matches wins."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from typing import NamedTuple

from viewos import InetAddress
from viewos.modules.net.patterns import LOOPBACK, TCP, UDP, Pattern, is_loopback
from viewos.modules.net.proxy import Chain

ALLOW, DENY, MAP, PROXY = "allow", "deny", "map", "proxy"
DNS_PORT = 53


class Rule(NamedTuple):
    """One item."""

    verb: str
    pattern: Pattern
    text: str
    """The item as the user wrote it, for the log."""
    to: InetAddress | None = None
    """Where a `map` leads; port 0: the same port."""
    error: int = errno.EACCES
    """What a `deny` answers; for a datagram also a `proxy`."""
    chain: Chain = ()
    """The proxies of a `proxy`, in the order of the way."""
    spares_loopback: bool = False

    def matches(self, address: InetAddress, protocol: str) -> bool:
        """Is it the rule for this destination? `address` is plain."""
        if self.spares_loopback and is_loopback(address):
            return False
        return self.pattern.matches(address, protocol)

    def covers(self, other: Rule) -> bool:
        """Does nothing get as far as the other one, which stands behind?"""
        spares = self.spares_loopback and any(one.covers(other.pattern) for one in LOOPBACK)
        return self.pattern.covers(other.pattern) and not spares

    def refuses(self, protocol: str) -> bool:
        """Does a destination of that protocol fail?"""
        return self.verb == DENY or (self.verb == PROXY and protocol != TCP)

    def target(self, address: InetAddress) -> InetAddress:
        """Where it leads."""
        if self.to is None:
            return address
        return self.to if self.to.port else self.to._replace(port=address.port)


class Rules:
    """The rules in their order."""

    def __init__(
        self, rules: Iterable[Rule] = (), *, dns: bool = False, private: bool = False
    ) -> None:
        """`dns`: what goes to port 53 is led elsewhere, see `lead_dns`. `private`: the loopback
        interface is the view's own."""
        self.all = tuple(rules)
        self._has_dns, self._dns = dns, dict[str, Rule]()
        self.proxies = any(rule.verb == PROXY for rule in self.all)
        self.maps = dns or private or self.proxies or any(rule.verb == MAP for rule in self.all)
        """Peers are not who they seem to be."""
        self.judges_udp = dns or private or any(rule.pattern.protocol == UDP for rule in self.all)
        """Datagrams are looked at one by one."""
        self.changes_udp = any(
            rule.verb != ALLOW and rule.pattern.protocol != TCP for rule in self.all
        )
        self.maps_udp = (
            dns
            or private
            or any(rule.verb == MAP and rule.pattern.protocol == UDP for rule in self.all)
        )
        self.restricts = any(rule.verb != ALLOW for rule in self.all)

    @property
    def refuses_udp(self) -> bool:
        """A datagram could go where a rule forbids it, and nobody looks: there are none."""
        return self.changes_udp and not self.judges_udp

    def find(self, address: InetAddress, protocol: str) -> Rule | None:
        """The rule for a destination; None: it is allowed."""
        if self._has_dns and address.port == DNS_PORT and protocol in self._dns:
            return self._dns[protocol]
        return self.find_plainly(address, protocol)

    def find_plainly(self, address: InetAddress, protocol: str) -> Rule | None:
        """The same where the view answers no questions."""
        for rule in self.all:
            if rule.matches(address, protocol):
                return rule
        return None

    def is_dns(self, rule: Rule | None) -> bool:
        """Does it lead questions to the view's own name server?"""
        return rule is not None and rule in self._dns.values()

    def lead_dns(self, udp: InetAddress, tcp: InetAddress) -> None:
        """Where the questions of the view go."""
        for protocol, to in ((UDP, udp), (TCP, tcp)):
            pattern = Pattern(first=DNS_PORT, last=DNS_PORT, protocol=protocol)
            self._dns[protocol] = Rule(MAP, pattern, "the view's own DNS", to)

    def unreached(self) -> tuple[Rule, Rule] | None:
        """(a rule that can never match, the one before it that takes all)."""
        for index, rule in enumerate(self.all):
            for before in self.all[:index]:
                if before.covers(rule):
                    return rule, before
        return None
