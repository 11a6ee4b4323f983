"""What stands for addresses in an item: `10.0.0.0/8:5432`, `[fd00::/8]:443`, `any:53/udp`."""

from __future__ import annotations

from typing import NamedTuple

from viewos import InetAddress

TCP, UDP, OTHER = "tcp", "udp", "other"
PORTS = 1 << 16


class Pattern(NamedTuple):
    """Addresses, ports and a protocol. Without one it means all."""

    size: int = 0
    """Bytes of the addresses, 4 or 16; 0: any address."""
    mask: int = 0
    network: int = 0
    first: int = 0
    last: int = PORTS - 1
    protocol: str | None = None

    def matches(self, address: InetAddress, protocol: str) -> bool:
        """Is it one of them? `address` is plain: IPv4 where it can be."""
        return (
            (not self.size or self._has(address.host))
            and self.first <= address.port <= self.last
            and (self.protocol is None or self.protocol == protocol)
        )

    def _has(self, host: bytes) -> bool:
        return len(host) == self.size and int.from_bytes(host) & self.mask == self.network

    def covers(self, other: Pattern) -> bool:
        """Does it match all that the other one does?"""
        return (
            (not self.size or (self.size == other.size and self._covers_network(other)))
            and self.first <= other.first
            and other.last <= self.last
            and self.protocol in (None, other.protocol)
        )

    def _covers_network(self, other: Pattern) -> bool:
        return other.mask & self.mask == self.mask and other.network & self.mask == self.network


ANYTHING = Pattern()
LOOPBACK = (
    Pattern(4, 0xFF000000, 127 << 24),
    Pattern(16, (1 << 128) - 1, 1),
)


def is_loopback(address: InetAddress) -> bool:
    """127.0.0.0/8 or ::1, and what a connect takes for that: 0.0.0.0 and ::."""
    host = address.host
    if len(host) == 4:
        return host[0] == 127 or not any(host)
    return host[:15] == bytes(15) and host[15] < 2


def parse_pattern(text: str) -> Pattern:
    """A pattern. Raises ValueError with what is wrong."""
    text, protocol = _protocol(text)
    host, port = _split(text)
    first, last = (0, PORTS - 1) if port in ("", "any") else _ports(port)
    if host == "any":
        return Pattern(first=first, last=last, protocol=protocol)
    name, slash, bits = host.partition("/")
    packed = _host(name)
    size = len(packed)
    if slash and not (bits.isdigit() and int(bits) <= size * 8):
        raise ValueError(f"/{bits} is no length of a prefix: it lies between 0 and {size * 8}")
    width = size * 8
    length = int(bits) if slash else width
    mask = (1 << width) - (1 << width - length)
    number = int.from_bytes(packed)
    if number & ~mask:
        raise ValueError(f"{name} has bits behind its prefix of {length}")
    return Pattern(size, mask, number, first, last, protocol)


def parse_address(text: str) -> InetAddress:
    """HOST or HOST:PORT; port 0 where there is none. Raises ValueError with what is wrong."""
    host, port = _split(text)
    first, last = _ports(port) if port else (0, 0)
    if first != last:
        raise ValueError(f"{port} is more than one port")
    return InetAddress(_host(host), first)


def _protocol(text: str) -> tuple[str, str | None]:
    for protocol in (TCP, UDP):
        if text.endswith("/" + protocol):
            return text.removesuffix("/" + protocol), protocol
    return text, None


def _split(text: str) -> tuple[str, str]:
    """(host, port or "")"""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and rest[0] != ":"):
            raise ValueError(f"{text} has no ] behind the address, or more than :PORT behind that")
        return host, rest[1:]
    if text.count(":") > 1:
        raise ValueError(f"an IPv6 address stands in brackets: [{text}]")
    host, _, port = text.partition(":")
    return host, port


def _ports(text: str) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    numbers = (first, last if dash else first)
    if not all(one.isascii() and one.isdigit() and 0 < int(one) < PORTS for one in numbers):
        raise ValueError(f"{text} is no port: a number between 1 and 65535, two with a -, or any")
    low, high = map(int, numbers)
    if low > high:
        raise ValueError(f"{text}: the first port is above the last")
    return low, high


def parse_port(text: str) -> int:
    """One port. Raises ValueError."""
    first, last = _ports(text)
    if first != last:
        raise ValueError(f"{text} is more than one port")
    return first


def _host(text: str) -> bytes:
    try:
        return InetAddress.of(text, 0).host
    except (OSError, ValueError):
        raise ValueError(
            f"{text or 'nothing'} is no address: a number such as 10.0.0.1 or [fd00::1], or any"
        ) from None
