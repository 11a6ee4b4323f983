"""Proxies: real ones, and ones that misbehave as real ones do."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .servers import closed_port, serving


@contextmanager
def running(argv: list[str], port: int) -> Iterator[int]:
    """A program that serves a port; waits until it does."""
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(400):
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert process.poll() is None, argv
            time.sleep(0.02)
        yield port
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def microsocks(*options: str) -> Iterator[int]:
    """A SOCKS5 proxy."""
    port = closed_port()
    with running(["microsocks", "-i", "127.0.0.1", "-p", str(port), *options], port):
        yield port


@contextmanager
def tinyproxy(directory: Path, *lines: str) -> Iterator[int]:
    """An HTTP proxy."""
    port = closed_port()
    file = directory / "tinyproxy.conf"
    text = [f"Port {port}", "Listen 127.0.0.1", "Allow 127.0.0.1", "Timeout 30", *lines]
    file.write_text("\n".join(text) + "\n")
    with running(["tinyproxy", "-d", "-c", str(file)], port):
        yield port


@contextmanager
def dante(directory: Path, *, deny: int | None = None) -> Iterator[int]:
    """A SOCKS5 proxy that asks for nothing; `deny` is a port to which it lets nobody."""
    port = closed_port()
    file = directory / "danted.conf"
    rules = "client pass { from: 127.0.0.0/8 to: 0.0.0.0/0 }\n"
    if deny is not None:
        rules += f"socks block {{ from: 127.0.0.0/8 to: 0.0.0.0/0 port = {deny} }}\n"
    rules += "socks pass { from: 127.0.0.0/8 to: 0.0.0.0/0 }\n"
    file.write_text(
        f"logoutput: {directory}/danted.log\ninternal: 127.0.0.1 port = {port}\n"
        f"external: 127.0.0.1\nclientmethod: none\nsocksmethod: none\n{rules}"
    )
    words = ["danted", "-f", str(file), "-p", str(directory / "danted.pid"), "-N", "1"]
    with running(words, port):
        yield port


# ---- a proxy in the test's process --------------------------------------------------------------

Asked = list[str]
_RESOLVE = 0xF0
"""A command of Tor's own, by which torsocks resolves names."""


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            raise OSError("closed")
        data += more
    return data


def _pump(one: socket.socket, other: socket.socket) -> None:
    ends = {one: other, other: one}
    while ends:
        for ready in select.select(list(ends), [], [], 10)[0] or [None]:
            if ready is None:
                return
            data = ready.recv(65536)
            if data:
                ends[ready].sendall(data)
            else:  # one direction has ended
                ends.pop(ready).shutdown(socket.SHUT_WR)


def socks5(
    asked: Asked, *, to: int = 0, delay: float = 0, early: bytes = b"", reply: int = 0
) -> Callable[[socket.socket], None]:
    """SOCKS5 that writes down what it is asked for. `to`: the port that every connection leads to,
    `early`: what it sends in one packet with its reply."""

    def handler(connection: socket.socket) -> None:
        _, count = _exactly(connection, 2)
        _exactly(connection, count)
        connection.sendall(b"\5\0")
        _, command, _, kind = _exactly(connection, 4)
        if kind == 3:
            host = _exactly(connection, _exactly(connection, 1)[0]).decode()
        else:
            family = socket.AF_INET if kind == 1 else socket.AF_INET6
            host = socket.inet_ntop(family, _exactly(connection, 4 if kind == 1 else 16))
        port = int.from_bytes(_exactly(connection, 2))
        if command == _RESOLVE:
            connection.sendall(b"\5\0\0\1" + socket.inet_aton("198.51.100.9") + bytes(2))
            return
        asked.append(f"{host}:{port}")
        time.sleep(delay)
        connection.sendall(bytes((5, reply, 0, 1)) + bytes(6) + early)
        if to and not reply:
            with socket.create_connection(("127.0.0.1", to)) as server:
                _pump(connection, server)

    return handler


@contextmanager
def asking(**kw: object) -> Iterator[tuple[int, Asked]]:
    """A SOCKS5 proxy of the test's own: (port, what it was asked for)."""
    asked: Asked = []
    with serving(socks5(asked, **kw)) as port:  # type: ignore[arg-type]
        yield port, asked


def dying(after: bytes) -> Callable[[socket.socket], None]:
    """Says that much and is gone."""

    def handler(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(after)

    return handler


def silent(connection: socket.socket) -> None:
    """Accepts, and says nothing until the client goes."""
    with suppress(OSError):
        while connection.recv(4096):
            pass


# ---- what leaves the machine --------------------------------------------------------------------


@contextmanager
def dns_packets() -> Iterator[list[bytes]]:
    """All packets from or to port 53 that any interface sees meanwhile. Needs root."""
    seen: list[bytes] = []
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3)) as capture:
        reader, writer = os.pipe()

        def read() -> None:
            while True:
                ready, _, _ = select.select([capture, reader], [], [])
                if reader in ready:
                    return
                packet = capture.recv(65536)
                if packet[:1] and packet[0] >> 4 == 4 and packet[9] in (6, 17):
                    at = (packet[0] & 15) * 4
                    if b"\0\x35" in (packet[at : at + 2], packet[at + 2 : at + 4]):
                        seen.append(packet)

        thread = threading.Thread(target=read)
        thread.start()
        try:
            yield seen
        finally:
            os.write(writer, b"x")
            thread.join()
            os.close(reader)
            os.close(writer)
