"""Proxies: how an item names them, and how a connection goes through them."""

from __future__ import annotations

import errno
import os
import socket as sockets
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from viewos import InetAddress
from viewos.modules.net import handshake
from viewos.modules.net.handshake import CLOSED, Credentials, Handshake, Target, Words
from viewos.modules.net.memory import Memory
from viewos.modules.net.patterns import parse_port
from viewos.modules.net.relay import Relays

if TYPE_CHECKING:
    from viewos import Call, SharedSocket, Verdict

    Connect = Callable[[InetAddress], Verdict]

POLLOUT = 4


class Scheme(NamedTuple):
    """A kind of proxy."""

    words: Callable[[Target, Credentials | None], Words]
    resolves: bool
    """Names go to the proxy, which resolves them."""


SCHEMES = {
    "socks5": Scheme(handshake.socks5, False),
    "socks5h": Scheme(handshake.socks5, True),
    "socks4": Scheme(handshake.socks4, False),
    "socks4a": Scheme(handshake.socks4, True),
    "http": Scheme(handshake.http, True),
}


class Proxy(NamedTuple):
    """One proxy."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    @property
    def resolves(self) -> bool:
        """Does it resolve names?"""
        return SCHEMES[self.scheme].resolves

    def address(self) -> InetAddress:
        """Where it is: by the names of the machine, outside of the view. Raises OSError."""
        found = sockets.getaddrinfo(self.host, self.port, type=sockets.SOCK_STREAM)
        found.sort(key=lambda one: one[0] != sockets.AF_INET)  # which every socket can reach
        return InetAddress.of(str(found[0][4][0]).partition("%")[0], self.port)


Chain = tuple[Proxy, ...]


def parse_chain(text: str) -> Chain:
    """`direct` (no proxy), or proxies in the order of the way, with + between them.

    Raises ValueError, whose text has no password.
    """
    return () if text == "direct" else tuple(map(_parse, text.split("+")))


def _parse(text: str) -> Proxy:
    scheme, colon, rest = text.partition("://")
    if "@" in rest:
        raise ValueError(
            "a user and a password do not stand in a command, where everybody can read them: use"
            " proxy-auth=env:VARIABLE, file:PATH or fd:NUMBER"
        )
    if not colon or scheme not in SCHEMES:
        raise ValueError(f"expected direct, or {', '.join(SCHEMES)} with ://HOST:PORT behind it")
    host, port = _host_and_port(rest.rstrip("/"))
    if not host or not port:
        raise ValueError(f"{scheme}:// needs a HOST:PORT behind it")
    return Proxy(scheme, host, parse_port(port))


def _host_and_port(text: str) -> tuple[str, str]:
    if text.startswith("["):
        host, _, port = text[1:].partition("]:")
        return host, port
    host, _, port = text.rpartition(":")
    return host, port


# ---- connections --------------------------------------------------------------------------------


@dataclass(slots=True)
class _Begun:
    """A connection that is not done."""

    shaking: Handshake
    chain: Chain
    reached: bool = False


class Proxies:
    """Connections through proxies, also those that a signal has interrupted."""

    def __init__(self, who: Credentials | None, seconds: float) -> None:
        """`seconds`: what a connection and its handshakes may take."""
        self._who, self._seconds = who, seconds
        self.relays = Relays(seconds)
        self._begun: Memory[_Begun] = Memory(1024)
        self._addresses: dict[Proxy, InetAddress] = {}

    def resolve(self, chains: list[Chain]) -> None:
        """Look up where the proxies are. Raises OSError with the proxy as its file name."""
        for proxy in {proxy for chain in chains for proxy in chain}:
            try:
                self._addresses[proxy] = proxy.address()
            except OSError as error:
                number = error.errno if isinstance(error, sockets.gaierror) else None
                text = error.strerror or str(number)
                raise OSError(errno.EHOSTUNREACH, text, str(proxy)) from None

    def connect(self, call: Call, socket: SharedSocket, chain: Chain, target: Target) -> None:
        """Connect the program's socket. When it returns the data can flow, also for a socket that
        does not want to wait: a handshake that went on would show its bytes to poll and MSG_PEEK.

        Raises OSError, Interrupted.
        """
        if not self.is_begun(socket):
            shaking = Handshake(self._words(chain, target), self._seconds)
            self._begun.keep(socket.identity, _Begun(shaking, chain))
        self.finish(call, socket)

    def is_begun(self, socket: SharedSocket) -> bool:
        """Has a signal interrupted a handshake on this socket?"""
        return self._begun.find(socket.identity) is not None

    def finish(self, call: Call, socket: SharedSocket) -> None:
        """Do what is left of a connection. Raises OSError, Interrupted."""
        begun = self._begun.find(socket.identity)
        if begun is None:
            return
        try:
            if not begun.reached:
                self._reach(socket, self._addresses[begun.chain[0]], begun.shaking)
                begun.reached = True
            begun.shaking.go_on(socket)
        except OSError as error:
            self._begun.set(socket.identity, None)
            if error.errno != errno.EISCONN:
                self._give_up(call, socket, begun, error)
            raise
        self._begun.set(socket.identity, None)

    def _give_up(self, call: Call, socket: SharedSocket, begun: _Begun, error: OSError) -> None:
        _tell(call, begun.chain, error, reached=begun.reached)
        socket.disconnect()  # as after a connect that failed: the program may try again

    def relayed(
        self, call: Call, socket: SharedSocket, chain: Chain, target: Target, connect: Connect
    ) -> Verdict:
        """Connect the program's socket to the monitor, which passes on what is said.

        `connect` makes the connection as the program would. Raises OSError, Interrupted.
        """
        call.warn(
            "net: proxy-mode=relay: what programs say to proxies, and hear, crosses the monitor",
            once="net relay",
        )

        def failed(error: OSError, reached: bool) -> None:
            _tell(call, chain, error, reached=reached)

        words = self._words(chain, target)
        with self.relays.to(self._addresses[chain[0]], words, failed) as relay:
            try:
                verdict = connect(relay.address)
            except BlockingIOError:
                relay.expect(socket.name())
                raise
            relay.expect(socket.name())
            return verdict

    def _reach(self, socket: SharedSocket, first: InetAddress, shaking: Handshake) -> None:
        try:
            socket.connect(first)
        except BlockingIOError:
            if not socket.wait(POLLOUT, shaking.left):
                raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT)) from None
            number = socket.error
            if number:
                raise OSError(number, os.strerror(number)) from None

    def _words(self, chain: Chain, target: Target) -> Words:
        for index, proxy in enumerate(chain):
            last = index + 1 == len(chain)
            to = target if last else Target(self._addresses[chain[index + 1]])
            yield from SCHEMES[proxy.scheme].words(to, self._who)


def _tell(call: Call, chain: Chain, error: OSError, *, reached: bool) -> None:
    number = errno.ETIMEDOUT if isinstance(error, TimeoutError) else error.errno
    text = error.strerror or os.strerror(number or errno.ECONNREFUSED)
    if reached and number == errno.ECONNRESET:  # as one who closes it with nothing left to read
        text = CLOSED
    way = " and ".join(map(str, chain))
    text = text if reached else f"cannot be reached: {text}"
    reason = getattr(error, "reason", "") or text
    call.warn(f"net: the proxy {way}: {text}", once=f"net proxy {way} {reason}")
