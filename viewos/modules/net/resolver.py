"""The name server of a view: its port 53, wherever the program believes that to be.

It listens on a port of the loopback interface, to which the module leads every DNS packet.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from viewos import InetAddress
from viewos.modules.net import dns
from viewos.modules.net.patterns import TCP, UDP
from viewos.modules.net.threads import begin, serve

RESOLV_CONF = "/etc/resolv.conf"
_SECONDS = 5.0
Leads = Callable[[str, int, str], tuple[str, int]]
"""Where a host, port and protocol lead. Raises OSError: nowhere."""


def _there(host: str, port: int, protocol: str) -> tuple[str, int]:
    return host, port


_MOST = 65535


class Resolver:
    """Answers over UDP and TCP; what `answer` gives None for goes to the machine's name server."""

    def __init__(self, answer: Callable[[bytes], bytes | None], leads: Leads = _there) -> None:
        self._answer, self._leads = answer, leads
        self._lock = threading.Lock()
        self._running = 0
        self._sockets: tuple[socket.socket, ...] = ()
        self.udp = self.tcp = InetAddress(b"\x7f\0\0\1", 0)
        self.ports: frozenset[int] = frozenset()
        """Who goes there needs the server to run."""

    def open(self) -> None:
        """Take ports. Raises OSError."""
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(("127.0.0.1", 0))
        tcp = socket.create_server(("127.0.0.1", 0))
        for one in (udp, tcp):
            one.setblocking(True)  # whatever the default of the process
        self.udp = self.udp._replace(port=udp.getsockname()[1])
        self.tcp = self.tcp._replace(port=tcp.getsockname()[1])
        self._sockets = (udp, tcp)
        self.ports = frozenset({self.udp.port, self.tcp.port})

    def close(self) -> None:
        """Give them back."""
        for one in self._sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self._sockets = ()

    def run(self) -> None:
        """Serve from now on, in the process that calls: what forked before has no threads.
        Raises OSError EAGAIN."""
        if self._running == os.getpid():
            return
        with self._lock:
            if self._running == os.getpid() or not self._sockets:
                return
            udp, tcp = self._sockets
            begin(self._serve_udp, udp)
            begin(serve, tcp, self._serve_one)
            self._running = os.getpid()

    def _reply(self, data: bytes) -> bytes | None:
        try:
            return self._answer(data)
        except Exception:  # one question is no reason to leave all others without an answer
            return dns.failure(data)

    def _serve_udp(self, udp: socket.socket) -> None:
        while True:
            try:
                data, sender = udp.recvfrom(_MOST)
            except OSError:
                return
            if sender is None:  # it has been shut down
                return
            reply = self._reply(data)
            if reply is not None:
                if not reply:
                    continue
                with suppress(OSError):
                    udp.sendto(reply, sender)
                continue

            def ask(data: bytes = data, sender: Any = sender) -> None:
                with suppress(OSError):  # TimeoutError: nothing has come, and so it is here
                    udp.sendto(_asked(self._ask_udp, data), sender)

            with suppress(OSError):  # it asks again
                begin(ask)

    def _serve_one(self, connection: socket.socket) -> None:
        with connection, suppress(OSError, EOFError):
            connection.settimeout(_SECONDS)
            while True:
                data = _read_message(connection)
                reply = self._reply(data)
                if reply is None:
                    reply = _asked(self._ask_tcp, data)
                connection.sendall(struct.pack("!H", len(reply)) + reply)

    def _ask_udp(self, data: bytes) -> bytes:
        host, port = self._leads(*_name_server(), UDP)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as s:
            s.settimeout(_SECONDS)
            s.connect((host, port))
            s.send(data)
            return s.recv(_MOST)

    def _ask_tcp(self, data: bytes) -> bytes:
        there = self._leads(*_name_server(), TCP)
        with socket.create_connection(there, _SECONDS) as connection:
            connection.sendall(struct.pack("!H", len(data)) + data)
            return _read_message(connection)


def _read_message(connection: socket.socket) -> bytes:
    (size,) = struct.unpack("!H", _read(connection, 2))
    return _read(connection, size)


def _read(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            raise EOFError
        data += more
    return data


# ---- the machine's own name server --------------------------------------------------------------


def _name_server() -> tuple[str, int]:
    with open(RESOLV_CONF, encoding="utf-8", errors="replace") as file:
        for line in file:
            words = line.split()
            if len(words) > 1 and words[0] == "nameserver":
                return words[1], 53
    return "127.0.0.1", 53


def _asked(ask: Callable[[bytes], bytes], data: bytes) -> bytes:
    """The answer; where it is certain that none comes it says so. Raises TimeoutError."""
    try:
        return ask(data)
    except TimeoutError:
        raise
    except (OSError, EOFError):
        return dns.failure(data)
