"""The rules of a view: what becomes of a destination. The first that matches wins."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from typing import NamedTuple

from viewos import InetAddress
from viewos.modules.net.patterns import TCP, UDP, Pattern

ALLOW, DENY, MAP = "allow", "deny", "map"


class Rule(NamedTuple):
    """One item."""

    verb: str
    pattern: Pattern
    text: str
    """The item as the user wrote it, for the log."""
    to: InetAddress | None = None
    """Where a `map` leads; port 0: the same port."""
    error: int = errno.EACCES
    """What a `deny` answers."""

    def target(self, address: InetAddress) -> InetAddress:
        """Where it leads."""
        if self.to is None:
            return address
        return self.to if self.to.port else self.to._replace(port=address.port)


class Rules:
    """The rules in their order."""

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self.all = tuple(rules)
        self.maps = any(rule.verb == MAP for rule in self.all)
        self.judges_udp = any(rule.pattern.protocol == UDP for rule in self.all)
        """Datagrams are looked at one by one."""
        self.changes_udp = any(
            rule.verb != ALLOW and rule.pattern.protocol != TCP for rule in self.all
        )
        self.maps_udp = any(rule.verb == MAP and rule.pattern.protocol == UDP for rule in self.all)
        self.restricts = any(rule.verb != ALLOW for rule in self.all)

    @property
    def refuses_udp(self) -> bool:
        """A datagram could go where a rule forbids it, and nobody looks: there are none."""
        return self.changes_udp and not self.judges_udp

    def find(self, address: InetAddress, protocol: str) -> Rule | None:
        """The rule for a destination; None: it is allowed."""
        for rule in self.all:
            if rule.pattern.matches(address, protocol):
                return rule
        return None

    def unreached(self) -> tuple[Rule, Rule] | None:
        """(a rule that can never match, the one before it that takes all)."""
        for index, rule in enumerate(self.all):
            for before in self.all[:index]:
                if before.pattern.covers(rule.pattern):
                    return rule, before
        return None
