"""Names and the addresses that stand for them in a view."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping

from viewos import InetAddress
from viewos.modules.net import dns
from viewos.modules.net.patterns import Pattern, parse_pattern

FAKE4 = parse_pattern("198.18.0.0/15")
"""RFC 2544: for benchmarks of routers, so no network has them."""
FAKE6 = parse_pattern("[fd76:6965:776f:73::/64]")
"""A prefix of unique local addresses (RFC 4193), with `viewos` in it."""
LOCAL = frozenset({b"localhost"})
"""Never a proxy's business (RFC 6761)."""
_SIZES = {dns.A: 4, dns.AAAA: 16}
_FORBIDDEN = re.compile(rb"[\0- \x7f\"#%/:<>?@\[\\\]^`{|}]")
"""In no name that a proxy is told: there it would end the name, or begin a line of HTTP's."""


class Names:
    """Fixed names, and for others addresses that mean nothing outside of the view, remembered as
    long as it lives."""

    def __init__(
        self,
        fixed: Mapping[str, tuple[bytes, ...]],
        *,
        fakes: bool,
        fake4: Pattern = FAKE4,
        fake6: Pattern = FAKE6,
    ) -> None:
        self._fixed = {name: hosts for text, hosts in fixed.items() for name in dns.spellings(text)}
        self.fakes = fakes
        self._fake4, self._fake6 = fake4, fake6
        self.below: Names | None = None
        """Those of the layers below."""
        self._lock = threading.Lock()
        self._numbers: dict[bytes, int] = {}
        self._names: list[bytes] = []

    def is_fake(self, address: InetAddress) -> bool:
        """Does it lie in one of the prefixes, so that it leads nowhere by itself?"""
        return self.fakes and any(
            pattern.matches(address, "") for pattern in (self._fake4, self._fake6)
        )

    def of(self, address: InetAddress) -> bytes | None:
        """The name that an address stands for."""
        pattern = self._fake4 if len(address.host) == 4 else self._fake6
        number = int.from_bytes(address.host) - pattern.network - 1
        return self._names[number] if 0 <= number < len(self._names) else None

    def fake(self, name: bytes, size: int) -> bytes | None:
        """The address of 4 or 16 bytes for a name; None when there are no more."""
        with self._lock:
            number = self._numbers.get(name)
            if number is None:
                number = self._numbers[name] = len(self._names)
                self._names.append(name)
        pattern = self._fake4 if size == 4 else self._fake6
        value = pattern.network + number + 1
        if value & pattern.mask != pattern.network:
            return None
        return value.to_bytes(size)

    def answer(self, data: bytes) -> bytes | None:
        """The reply to a query, b"" to what is none; None: somebody else has to answer it."""
        try:
            question = dns.parse_query(data)
        except ValueError:
            return dns.refusal(data, dns.NOTIMP) or b""
        is_ours = question.group in (dns.IN, dns.ANY_CLASS)
        known = self._known(question) if is_ours else None
        if known is not None:
            return known
        if not self.fakes:
            return None if self.below is None else self.below.answer(data)
        if not is_ours:
            return dns.reply(question, [], dns.REFUSED)
        return self._faked(question)

    def _known(self, question: dns.Question) -> bytes | None:
        """The reply by what is fixed, or remembered, here or below."""
        if question.kind == dns.PTR:
            name = self._pointed_at(dns.reversed_host(question.name))
            if name is not None:
                return dns.reply(question, [dns.encode_name(name)])
        else:
            fixed = self._fixed.get(question.name)
            if fixed is not None:
                size = _SIZES.get(question.kind)  # others: NODATA
                return dns.reply(question, [host for host in fixed if len(host) == size])
        return None if self.below is None else self.below._known(question)

    def _pointed_at(self, host: bytes | None) -> bytes | None:
        if host is None:
            return None
        fixed = next((name for name, hosts in self._fixed.items() if host in hosts), None)
        if fixed is None and self.is_fake(InetAddress(host, 0)):
            return self.of(InetAddress(host, 0))
        return fixed

    def _faked(self, question: dns.Question) -> bytes:
        if question.kind == dns.PTR:
            return dns.reply(question, [], dns.NXDOMAIN)
        size = _SIZES.get(question.kind)
        if size is None:
            return dns.reply(question, [])  # NODATA
        if question.name in LOCAL:
            return dns.reply(question, [b"\x7f\0\0\1" if size == 4 else bytes(15) + b"\1"])
        if not 0 < len(question.name) <= 255 or _FORBIDDEN.search(question.name):
            return dns.reply(question, [], dns.NXDOMAIN)
        host = self.fake(question.name, size)
        return dns.reply(question, [] if host is None else [host])
