"""proxy-mode=relay: the program's socket leads to the monitor, which connects to the proxy and
passes on what either side says."""

from __future__ import annotations

import errno
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

from viewos import InetAddress, SocketAddress
from viewos.modules.net.handshake import CLOSED, Exactly, Refused, Words
from viewos.modules.net.threads import begin

_CHUNK = 1 << 16
_MOST_HEAD = 1 << 16
_RESET = struct.pack("=ii", 1, 0)
LAST_WORDS = 5.0
"""Seconds in which what a program had sent when it ended goes out."""

Failed = Callable[[OSError, bool], None]
"""Told of a connection that is not made, and whether the proxy was reached."""


class Relays:
    """The connections of one view that cross the monitor."""

    def __init__(self, seconds: float) -> None:
        """`seconds`: what reaching a proxy, and its handshake, may take."""
        self._seconds = seconds
        self._sending: set[threading.Thread] = set()

    @contextmanager
    def to(self, proxy: InetAddress, words: Words, failed: Failed) -> Iterator[Relay]:
        """A place to which the program's socket is connected in the block: `address`; when that has
        begun, `expect` says by whom. Raises OSError."""
        relay = Relay(proxy, words, failed, self)
        try:
            yield relay
        finally:
            relay.begin()

    @property
    def seconds(self) -> float:
        """What reaching a proxy, and its handshake, may take."""
        return self._seconds

    @contextmanager
    def sending(self) -> Iterator[None]:
        """This thread passes on what a program sends."""
        me = threading.current_thread()
        self._sending.add(me)
        try:
            yield
        finally:
            self._sending.discard(me)

    def close(self) -> None:
        """Let what programs have sent go out: their sockets are closed, so it has an end."""
        deadline = time.monotonic() + LAST_WORDS
        for thread in tuple(self._sending):
            thread.join(max(deadline - time.monotonic(), 0))


class Relay:
    """One connection."""

    def __init__(self, proxy: InetAddress, words: Words, failed: Failed, relays: Relays) -> None:
        self._proxy, self._words, self._failed, self._relays = proxy, words, failed, relays
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1)
        self._peer: InetAddress | None = None
        self.address = InetAddress.of(*self._listener.getsockname())
        """Where the program's socket is to be connected to."""

    def expect(self, peer: SocketAddress | None) -> None:
        """The name of the program's socket: nobody else is let in."""
        self._peer = peer.plain if isinstance(peer, InetAddress) else None

    def begin(self) -> None:
        """Go on in a thread, if somebody is expected."""
        if self._peer is not None:
            try:
                begin(self._run)
            except OSError as error:
                self._failed(error, False)
            else:
                return
        self._listener.close()

    def _run(self) -> None:
        with suppress(OSError), ExitStack() as both:
            with self._relays.sending():
                with self._listener:
                    program = both.enter_context(self._accept())
                proxy = both.enter_context(self._reached(program))
                back = begin_exchange(program, proxy)
            back.join()

    def _accept(self) -> socket.socket:
        self._listener.settimeout(self._relays.seconds)
        while True:
            connection, peer = self._listener.accept()
            if InetAddress.of(*peer) == self._peer:
                return connection
            connection.close()

    def _reached(self, program: socket.socket) -> socket.socket:
        proxy = None
        try:
            host = socket.inet_ntop(self._proxy.family, self._proxy.host)
            proxy = socket.create_connection((host, self._proxy.port), self._relays.seconds)
            say(self._words, proxy, self._relays.seconds)
            proxy.settimeout(None)
        except OSError as error:
            self._failed(error, proxy is not None)
            if proxy is not None:
                proxy.close()
            reset_at_end(program)
            raise
        return proxy


def say(words: Words, peer: socket.socket, seconds: float) -> None:
    """A handshake. Raises OSError."""
    deadline = time.monotonic() + seconds
    answer = b""
    with suppress(StopIteration):
        wanted = next(words)
        while True:
            peer.settimeout(max(deadline - time.monotonic(), 0.001))
            if isinstance(wanted, bytes):
                peer.sendall(wanted)
                answer = b""
            elif isinstance(wanted, Exactly):
                answer = _exactly(peer, wanted.size)
            else:
                answer = _until(peer, wanted.end)
            wanted = words.send(answer)


def _exactly(peer: socket.socket, size: int) -> bytes:
    answer = b""
    while len(answer) < size:
        answer += _some(peer.recv(size - len(answer)))
    return answer


def _until(peer: socket.socket, end: bytes) -> bytes:
    answer = b""
    while not answer.endswith(end):
        if len(answer) > _MOST_HEAD:
            raise Refused(errno.ECONNREFUSED, "its answer has no end")
        answer += _some(peer.recv(1))  # what stands behind is the program's
    return answer


def _some(data: bytes) -> bytes:
    if not data:
        raise Refused(errno.ECONNRESET, CLOSED)
    return data


def exchange(one: socket.socket, other: socket.socket) -> None:
    """Pass on what both say, until both have ended."""
    begin_exchange(one, other).join()


def begin_exchange(one: socket.socket, other: socket.socket) -> threading.Thread:
    """The same, until `one` has ended; a thread that passes on what the other one says. Raises
    OSError."""
    broken = threading.Event()
    try:
        back = begin(copy, other, one, broken)
    except OSError:
        for end in (one, other):
            reset_at_end(end)
        raise
    copy(one, other, broken)
    return back


def copy(source: socket.socket, target: socket.socket, broken: threading.Event) -> None:
    """Pass on what comes, to its end; a connection that breaks breaks both, in both directions."""
    try:
        while data := source.recv(_CHUNK):
            target.sendall(data)
        if not broken.is_set():
            target.shutdown(socket.SHUT_WR)
    except OSError:
        broken.set()
        for end in (source, target):
            reset_at_end(end)
            with suppress(OSError):
                end.shutdown(socket.SHUT_RD)  # the other thread may wait for it


def reset_at_end(end: socket.socket) -> None:
    """Have the peer see a reset when it is closed."""
    with suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
