"""What is said to a proxy before the data: SOCKS4, SOCKS5 and HTTP CONNECT, one after the other.

The words are generators that know of no socket; `Handshake` says them on the program's own. It can
be stopped at any point, when a signal is due, and goes on with the program's next call.
"""

from __future__ import annotations

import base64
import errno
import os
import struct
import time
from collections.abc import Generator
from typing import TYPE_CHECKING, NamedTuple

from viewos import InetAddress

if TYPE_CHECKING:
    from viewos import SharedSocket

POLLOUT = 4
MSG_PEEK = 2
CLOSED = "it closed the connection"
_MOST_HEAD = 1 << 16
"""Bytes of an HTTP proxy's answer."""


class Target(NamedTuple):
    """Where a proxy shall connect to: an address, or a name that it resolves."""

    address: InetAddress
    name: bytes | None = None

    def __bytes__(self) -> bytes:
        if self.name is None:
            return str(self.address).encode()
        return b"%s:%d" % (self.name, self.address.port)

    def __str__(self) -> str:
        return bytes(self).decode(errors="backslashreplace")


class Credentials(NamedTuple):
    """Who we are for the proxy."""

    user: bytes
    password: bytes

    def __repr__(self) -> str:
        return "Credentials(...)"


class Refused(OSError):
    """The proxy does not do it. `strerror` says what the user reads."""

    reason = ""
    """Why, whichever destination it is about; "": `strerror` names none."""


def _not_connected(target: Target, number: int, why: str) -> Refused:
    """It speaks for what is behind it, too: a line that did not name that would blame the proxy."""
    refused = Refused(number, f"it does not connect to {target}: {why}")
    refused.reason = why
    return refused


class Exactly(NamedTuple):
    """So many bytes are wanted."""

    size: int


class Until(NamedTuple):
    """All bytes up to these are wanted, and none behind them."""

    end: bytes


Words = Generator[bytes | Exactly | Until, bytes, None]
"""Yields what is to be sent, or what is wanted; then gets it."""


# ---- SOCKS --------------------------------------------------------------------------------------

_SOCKS5 = {
    1: errno.ECONNREFUSED, 2: errno.EACCES, 3: errno.ENETUNREACH, 4: errno.EHOSTUNREACH,
    5: errno.ECONNREFUSED, 6: errno.ETIMEDOUT, 7: errno.EOPNOTSUPP, 8: errno.EAFNOSUPPORT,
}  # fmt: skip
"""The reply field (RFC 1928, section 6)."""
_REPLIES = {
    1: "failure", 2: "its rules do not allow it", 3: "network unreachable", 4: "host unreachable",
    5: "connection refused", 6: "TTL expired", 7: "it knows no CONNECT",
    8: "it does not know this type of address",
}  # fmt: skip


def socks5(target: Target, who: Credentials | None) -> Words:
    """RFC 1928, and RFC 1929 for the password."""
    methods = b"\0\2" if who is not None else b"\0"
    yield bytes((5, len(methods))) + methods
    version, method = yield Exactly(2)
    _check_socks5(version == 5)
    if method == 2 and who is not None:
        yield (bytes((1, len(who.user))) + who.user + bytes((len(who.password),)) + who.password)
        _, status = yield Exactly(2)
        if status:
            raise Refused(errno.EACCES, "it refuses the user or the password of proxy-auth")
    elif method:
        raise Refused(errno.EACCES, "it wants a user and a password (proxy-auth=env:VARIABLE)")
    yield b"\5\1\0" + _destination(target)
    version, reply, _, kind = yield Exactly(4)
    _check_socks5(version == 5)
    if reply:
        number = _SOCKS5.get(reply, errno.ECONNREFUSED)
        raise _not_connected(target, number, _REPLIES.get(reply, f"reply {reply}"))
    _check_socks5(kind in (1, 3, 4))
    length = {1: 4, 4: 16}.get(kind) or (yield Exactly(1))[0]
    yield Exactly(length + 2)


def _check_socks5(speaks: bool) -> None:
    if not speaks:
        raise Refused(errno.ECONNREFUSED, "it does not speak SOCKS5")


def _destination(target: Target) -> bytes:
    port = struct.pack("!H", target.address.port)
    if target.name is not None:
        return bytes((3, len(target.name))) + target.name + port
    host = target.address.host
    return bytes((1 if len(host) == 4 else 4,)) + host + port


def socks4(target: Target, who: Credentials | None) -> Words:
    """SOCKS4, and SOCKS4a where the proxy resolves the name."""
    user = b"" if who is None else who.user
    host, name = target.address.host, b""
    if target.name is not None:
        host, name = b"\0\0\0\1", target.name + b"\0"
    if len(host) != 4:
        raise Refused(errno.EAFNOSUPPORT, "SOCKS4 knows no IPv6 address")
    yield struct.pack("!BBH", 4, 1, target.address.port) + host + user + b"\0" + name
    _, reply = (yield Exactly(8))[:2]
    if reply != 90:
        number = errno.EACCES if reply in (92, 93) else errno.ECONNREFUSED
        raise _not_connected(target, number, f"reply {reply}")


# ---- HTTP ---------------------------------------------------------------------------------------

_HTTP = {403: errno.EACCES, 407: errno.EACCES, 404: errno.EHOSTUNREACH, 504: errno.ETIMEDOUT}


def http(target: Target, who: Credentials | None) -> Words:
    """CONNECT (RFC 9110, section 9.3.6)."""
    there = bytes(target)
    lines = [b"CONNECT " + there + b" HTTP/1.1", b"Host: " + there]
    if who is not None:
        word = base64.b64encode(who.user + b":" + who.password)
        lines.append(b"Proxy-Authorization: Basic " + word)
    yield b"\r\n".join([*lines, b"", b""])
    status, reason = 100, ""
    while status // 100 == 1:  # they announce another one
        status, reason = _status((yield Until(b"\r\n\r\n")))
    if status == 407:
        hint = "it refuses the user or the password of proxy-auth"
        if who is None:
            hint = "it wants a user and a password (proxy-auth=env:VARIABLE)"
        raise Refused(errno.EACCES, hint)
    if status // 100 != 2:
        number = _HTTP.get(status, errno.ECONNREFUSED)
        raise _not_connected(target, number, f"{status} {reason}".strip())


def _status(head: bytes) -> tuple[int, str]:
    """The status of a response, and the phrase behind it as it may be shown."""
    words = head.split(b"\r\n")[0].split(None, 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        raise Refused(errno.ECONNREFUSED, "it does not speak HTTP")
    phrase = b"".join(words[2:]).decode(errors="replace")
    return int(words[1]), "".join(filter(str.isprintable, phrase))


# ---- on a socket --------------------------------------------------------------------------------


class Handshake:
    """Words that are being said on the program's socket."""

    def __init__(self, words: Words, seconds: float) -> None:
        self._words = words
        self._deadline = time.monotonic() + seconds
        self.limit: float | None = None
        """When the call that goes on with it ends (time.monotonic); None: not before that."""
        self._out = b""
        self._in = b""
        self._wanted: Exactly | Until | None = None
        self._started = False

    def go_on(self, socket: SharedSocket) -> None:
        """Say the rest. Raises OSError (Refused, ETIMEDOUT, ECONNRESET), Interrupted."""
        while self._step(socket):
            pass

    @property
    def left(self) -> float:
        """Seconds until it has taken too long. Raises OSError ETIMEDOUT."""
        end = self._deadline if self.limit is None else min(self._deadline, self.limit)
        left = end - time.monotonic()
        if left <= 0:
            raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
        return left

    @property
    def may_go_on(self) -> bool:
        """Has the limit passed, and nothing else?"""
        return self.limit is not None and self.limit <= time.monotonic() < self._deadline

    def _step(self, socket: SharedSocket) -> bool:
        if self._out:
            self._send(socket)
            return True
        answer = b""
        if self._wanted is not None:
            if not self._receive(socket, self._wanted):
                return True
            answer, self._in, self._wanted = self._in, b"", None
        try:
            said = self._words.send(answer) if self._started else next(self._words)
        except StopIteration:
            return False
        self._started = True
        if isinstance(said, bytes):
            self._out = said
        else:
            self._wanted = said
        return True

    def _send(self, socket: SharedSocket) -> None:
        try:
            self._out = self._out[socket.send_message(self._out, None) :]
        except BlockingIOError:
            socket.wait(POLLOUT, self.left)

    def _receive(self, socket: SharedSocket, wanted: Exactly | Until) -> bool:
        """Take what is there and wanted, nothing behind it; is it all?"""
        if isinstance(wanted, Exactly):
            most = wanted.size - len(self._in)
            self._in += self._take(socket, most)
            return len(self._in) == wanted.size
        seen = self._in + self._take(socket, 4096, MSG_PEEK)
        at = seen.find(wanted.end)
        size = len(seen) if at < 0 else at + len(wanted.end)
        if size > _MOST_HEAD:
            raise Refused(errno.ECONNREFUSED, "its answer has no end")
        self._in += self._take(socket, size - len(self._in))
        return at >= 0

    def _take(self, socket: SharedSocket, most: int, flags: int = 0) -> bytes:
        data = socket.receive(most, self.left, flags)
        if not data:
            raise Refused(errno.ECONNRESET, CLOSED)
        return data
