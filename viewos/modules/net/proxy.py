"""Proxies: how an item names them, and how a connection goes through them."""

from __future__ import annotations

import errno
import os
import socket as sockets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from viewos import InetAddress, SharedSocket, SocketAddress
from viewos.modules.net import handshake
from viewos.modules.net.families import AF_INET
from viewos.modules.net.handshake import CLOSED, Credentials, Handshake, Target, Words
from viewos.modules.net.memory import Memory
from viewos.modules.net.patterns import parse_port
from viewos.modules.net.relay import Relays
from viewos.modules.net.states import LOOK, POLLOUT, SO_SNDTIMEO, begin, connect_by_layers, is_fresh

if TYPE_CHECKING:
    from viewos import Call, Verdict

    Connect = Callable[[InetAddress], Verdict]

NOWHERE = InetAddress(b"\x7f\0\0\1", 0)
_OF_THE_SOCKET = (errno.EISCONN, errno.EOPNOTSUPP)
"""What no proxy is to blame for: it is connected, or MSG_FASTOPEN is turned off (tcp(7))."""


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
        return InetAddress.of(str(found[0][4][0]).partition("%")[0], self.port).plain


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
    """A connection of which no connect(2) has told yet that it is made."""

    shaking: Handshake
    chain: Chain
    open: Callable[[SharedSocket, SocketAddress], None]
    """How the first proxy is reached."""
    asked: bool = False
    """The layers below have been asked for it."""
    reached: bool = False
    ended: bool = False
    failed: bool = False
    connected: bool = False
    """So it is for the kernel too, which says EISCONN to another connect."""
    turn: threading.Lock = field(default_factory=threading.Lock)
    """Of the call that goes on with it: two would steal each other's answers."""


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

    def connect(
        self, call: Call, socket: SharedSocket, chain: Chain, target: Target, *, fast: bool
    ) -> None:
        """Connect the program's socket. When it returns the data can flow, also for a socket that
        does not want to wait: a handshake that went on would show its bytes to poll and MSG_PEEK.

        `fast`: for MSG_FASTOPEN, and the kernel has yet to tell the program that it is connected.
        Raises OSError, Interrupted.
        """
        if not is_fresh(socket):  # the data of another connection may be flowing
            socket.connect(self._addresses[chain[0]])
            return
        shaking = Handshake(self._words(chain, target), self._seconds)
        new = _Begun(shaking, chain, begin if fast else SharedSocket.connect)
        begun = self._begun.add(socket.identity, new)
        number = errno.EINPROGRESS if begun is new else errno.EALREADY
        self._finish(call, socket, begun, number, fast=fast)

    def go_on(self, call: Call, socket: SharedSocket, *, fast: bool) -> bool:
        """What is left of a connection, whatever the address of this call. False: none has begun.
        Raises as `connect`."""
        begun = self._find(socket)
        if begun is None:
            return False
        self._finish(call, socket, begun, errno.EALREADY, fast=fast)
        return True

    def settle(self, call: Call, socket: SharedSocket) -> bool:
        """What is left of a connection, without telling the program that it is made. False:
        nothing, or another thread is at it. Raises as `connect`."""
        begun = self._find(socket)
        if begun is None or not begun.turn.acquire(blocking=False):
            return False
        try:
            if begun.ended or begun.failed:
                return False
            begun.shaking.limit = None
            self._shake(call, socket, begun)
            return True
        finally:
            begun.turn.release()

    def is_begun(self, socket: SharedSocket) -> bool:
        """Has no connect told the end of one yet?"""
        return self._find(socket) is not None

    def forget(self, socket: SharedSocket) -> None:
        """The program takes its socket's address away (connect(2), AF_UNSPEC)."""
        if self._begun:
            self._begun.set(socket.identity, None)

    def __bool__(self) -> bool:
        """Is there any that may have to go on?"""
        return bool(self._begun)

    def _find(self, socket: SharedSocket) -> _Begun | None:
        return self._begun.find(socket.identity) if self._begun else None

    def _finish(
        self, call: Call, socket: SharedSocket, begun: _Begun, number: int, *, fast: bool
    ) -> None:
        """`number`: the errno where the socket's own time limit ends first."""
        limit = 0.0 if socket.nonblocking else socket.time_limit(SO_SNDTIMEO)
        end = time.monotonic() + limit if limit else None
        while not begun.turn.acquire(blocking=False):
            if socket.nonblocking or (end is not None and time.monotonic() >= end):
                raise OSError(errno.EALREADY, os.strerror(errno.EALREADY))
            call.sleep(LOOK)
        try:
            if begun.failed:  # which another thread has told
                raise OSError(errno.ECONNABORTED, os.strerror(errno.ECONNABORTED))
            if not begun.ended:
                begun.shaking.limit = end
                self._shake(call, socket, begun, number)
            self._drop(socket, begun)
            if not fast and not begun.connected:
                begun.connected = True
                socket.connect(self._addresses[begun.chain[0]])
        finally:
            begun.turn.release()

    def _shake(self, call: Call, socket: SharedSocket, begun: _Begun, number: int = 0) -> None:
        try:
            if not begun.reached:
                self._reach(call, socket, begun)
                begun.reached = True
            begun.shaking.go_on(socket)
        except OSError as error:
            if isinstance(error, TimeoutError) and begun.shaking.may_go_on:
                raise OSError(number, os.strerror(number)) from None
            begun.failed = True
            is_current = self._drop(socket, begun)
            if is_current and (begun.reached or error.errno not in _OF_THE_SOCKET):
                self._give_up(call, socket, begun, error)
            raise
        begun.ended = True

    def _drop(self, socket: SharedSocket, begun: _Begun) -> bool:
        """Forget it; False: the program has done so (AF_UNSPEC), and may have begun another."""
        is_current = self._begun.find(socket.identity) is begun
        if is_current:
            self._begun.set(socket.identity, None)
        return is_current

    def _give_up(self, call: Call, socket: SharedSocket, begun: _Begun, error: OSError) -> None:
        _tell(call, begun.chain, error, reached=begun.reached)
        socket.disconnect()  # as after a connect that failed: the program may try again

    def is_out_of_reach(self, socket: SharedSocket, chain: Chain) -> bool:
        """Is the first proxy's address none that the program's socket can be connected to?"""
        return socket.family == AF_INET and self._addresses[chain[0]].family != AF_INET

    def relayed(
        self, call: Call, socket: SharedSocket, chain: Chain, target: Target, connect: Connect
    ) -> Verdict:
        """Connect the program's socket to the monitor, which passes on what is said.

        `connect` makes the connection as the program would. Raises OSError, Interrupted.
        """
        first, why = self._addresses[chain[0]], "proxy-mode=relay"
        if self.is_out_of_reach(socket, chain):
            why = f"{chain[0]} has an IPv6 address, which no socket of IPv4 reaches"
        if not is_fresh(socket):  # nobody would come to another relay
            return connect(NOWHERE if socket.family == AF_INET else first)
        call.warn(
            f"net: {why}: what programs say to proxies, and hear, crosses the monitor",
            once=f"net relay {why}",
        )

        def failed(error: OSError, reached: bool) -> None:
            _tell(call, chain, error, reached=reached)

        words = self._words(chain, target)
        with self.relays.to(first, words, failed) as relay:
            try:
                verdict = connect(relay.address)
            except BlockingIOError:
                relay.expect(socket.name())
                raise
            relay.expect(socket.name())
            return verdict

    def _reach(self, call: Call, socket: SharedSocket, begun: _Begun) -> None:
        if call.is_asked_below("connect"):
            self._reach_below(call, socket, begun)
            return
        if is_fresh(socket):  # else a signal has interrupted this
            with suppress(BlockingIOError):
                begun.open(socket, self._addresses[begun.chain[0]])
                begun.connected = True
                return
        if not socket.wait(POLLOUT, begun.shaking.left):
            raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
        number = socket.error
        if number:
            raise OSError(number, os.strerror(number))

    def _reach_below(self, call: Call, socket: SharedSocket, begun: _Begun) -> None:
        again, begun.asked = begun.asked, True
        first = self._addresses[begun.chain[0]]
        try:
            connect_by_layers(call, first, begun.open, lambda: begun.shaking.left, again=again)
        except BlockingIOError:
            raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT)) from None
        begun.connected = begun.open is not begin

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
