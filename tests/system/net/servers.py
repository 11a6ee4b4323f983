"""Servers that live in the test's process: each on a port that the kernel chooses."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

BODY = b"made by the test\n"
PATIENCE = 20.0
"""Seconds after which a server gives a silent client up."""


def http(connection: socket.socket) -> None:
    """Answers one request of HTTP with BODY."""
    request = b""
    while b"\r\n\r\n" not in request:
        data = connection.recv(4096)
        if not data:
            return
        request += data
    head = b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n"
    connection.sendall(head % len(BODY) + BODY)


def echo(connection: socket.socket) -> None:
    """Sends everything back."""
    while data := connection.recv(65536):
        connection.sendall(data)


@contextmanager
def serving(
    handler: Callable[[socket.socket], None] = http, host: str = "127.0.0.1"
) -> Iterator[int]:
    """A TCP server; its port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, 0), family=family, backlog=64)
    threads: list[threading.Thread] = []

    def serve(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.settimeout(PATIENCE)
            handler(connection)

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                thread = threading.Thread(target=serve, args=(connection,))
                threads.append(thread)
                thread.start()

    acceptor = threading.Thread(target=accept)
    acceptor.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        acceptor.join()
        listener.close()
        for thread in threads:
            thread.join()


@contextmanager
def datagrams(answer: Callable[[bytes], bytes | None] = lambda data: data) -> Iterator[int]:
    """A UDP server that answers each datagram; its port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        ended = threading.Event()

        def serve() -> None:
            while not ended.is_set():
                data, sender = server.recvfrom(65536)
                reply = None if ended.is_set() else answer(data)
                if reply is not None:
                    server.sendto(reply, sender)

        thread = threading.Thread(target=serve)
        thread.start()
        port = server.getsockname()[1]
        try:
            yield port
        finally:
            ended.set()
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
                last.sendto(b"", ("127.0.0.1", port))
            thread.join()


@contextmanager
def full_backlog() -> Iterator[int]:
    """A port to which a connect waits for ever: nobody accepts, and the queue is full."""
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        first.connect(("127.0.0.1", port))
        second.setblocking(False)
        with suppress(BlockingIOError):
            second.connect(("127.0.0.1", port))
        yield port


def closed_port() -> int:
    """A port at which nobody listens, as far as one can know."""
    with socket.socket() as once:
        once.bind(("127.0.0.1", 0))
        return int(once.getsockname()[1])
