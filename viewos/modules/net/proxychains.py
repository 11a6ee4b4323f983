"""From the configuration of proxychains to items."""

from __future__ import annotations

import ipaddress
from typing import NamedTuple

from viewos import ViewosError

_QUIET = {
    "quiet_mode", "strict_chain", "chain_len", "proxy_dns", "proxy_dns_old", "proxy_dns_daemon",
    "remote_dns_subnet", "tcp_read_time_out",
}  # fmt: skip
_LOSSES = {
    "dynamic_chain": "a proxy that does not answer is not left out",
    "random_chain": "the proxies are taken in their order, all of them",
    "round_robin_chain": "the proxies are taken in their order, all of them",
}
_SCHEMES = {
    ("socks5", True): "socks5h", ("socks5", False): "socks5",
    ("socks4", True): "socks4a", ("socks4", False): "socks4",
    ("http", True): "http", ("http", False): "http",
}  # fmt: skip


class Imported(NamedTuple):
    """The items, and what is to be said about them."""

    spec: str
    notes: tuple[str, ...]


def read_proxychains(text: str) -> Imported:
    """The SPEC for `-m`. Raises ViewosError with the number of a line that cannot be read."""
    rules: list[str] = []
    proxies: list[tuple[str, str]] = []
    notes: list[str] = []
    options: set[str] = set()
    timeout = 0.0
    secret = False
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split("#")[0].split()
        if not words or words[0].startswith("["):
            continue
        word, *rest = words
        try:
            if word in ("socks4", "socks5", "http"):
                host = f"[{rest[0]}]" if ":" in rest[0] else rest[0]
                proxies.append((word, f"{host}:{int(rest[1])}"))
                secret = secret or len(rest) > 2
            elif word == "localnet":
                rules.append(f"proxy@{_network(rest[0])}=direct")
            elif word == "dnat":
                rules.append(f"map={rest[0]}={rest[1]}")
            elif word == "tcp_connect_time_out":
                timeout += int(rest[0]) / 1000
            elif word in _LOSSES:
                notes.append(f"line {number}: {word}: {_LOSSES[word]}")
            elif word not in _QUIET:
                notes.append(f"line {number}: {word} means nothing here, and is left out")
            options.add(word)
        except (IndexError, ValueError) as error:
            raise ViewosError(f"line {number}: {line.strip()}: {error}") from None
    if not proxies:
        raise ViewosError("it names no proxy")
    names = bool(options & {"proxy_dns", "proxy_dns_old", "proxy_dns_daemon"})
    chain = "+".join(f"{_SCHEMES[kind, names]}://{place}" for kind, place in proxies)
    # It has no exception for the loopback interface, where no localnet makes one.
    rules.append(f"proxy@any={chain}")
    if timeout:
        rules.append(f"proxy-timeout={timeout:g}")
    if secret:
        notes.append(
            "users and passwords are left out: put USER:PASSWORD into a file, and"
            " proxy-auth=file:PATH behind the items"
        )
    return Imported(f"net:{','.join(rules)}", tuple(notes))


def _network(text: str) -> str:
    """10.0.0.0:80/255.0.0.0 as 10.0.0.0/8:80."""
    address, slash, mask = text.partition("/")
    port = ""
    if address.startswith("["):
        address, _, port = address[1:].partition("]")
    elif address.count(":") == 1:
        address, _, port = address.partition(":")
    network = ipaddress.ip_network(f"{address}/{mask}" if slash else address, strict=False)
    host = f"[{network}]" if network.version == 6 else str(network)
    return f"{host}:{port.lstrip(':')}" if port else host
