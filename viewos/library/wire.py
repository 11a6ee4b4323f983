"""What the caller and the process beside a program say to each other: pickles with descriptors.

Both ends are one user's and one version's, so pickle's powers over the receiver matter to nobody.
"""

from __future__ import annotations

import pickle
import socket
import struct
from typing import Any

_LENGTH = struct.Struct("=I")


class Hangup(Exception):
    """The other end has gone."""


def send(connection: socket.socket, message: Any, descriptors: tuple[int, ...] = ()) -> None:
    """Send one message. Raises OSError when the other end has gone."""
    data = pickle.dumps(message)
    data = _LENGTH.pack(len(data)) + data
    if descriptors:
        sent = socket.send_fds(connection, [data], list(descriptors))
        data = data[sent:]
    connection.sendall(data)


def receive(connection: socket.socket) -> tuple[Any, list[int]]:
    """The next message and its descriptors. Raises Hangup."""
    try:
        # Without the flag a program that is started at this moment would inherit them.
        head, descriptors, _, _ = socket.recv_fds(
            connection, _LENGTH.size, 4, socket.MSG_CMSG_CLOEXEC
        )
    except ConnectionError:
        raise Hangup from None
    head += _exactly(connection, _LENGTH.size - len(head))
    (size,) = _LENGTH.unpack(head)
    return pickle.loads(_exactly(connection, size)), descriptors


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        try:
            more = connection.recv(size - len(data))
        except ConnectionError:
            more = b""
        if not more:
            raise Hangup
        data += more
    return bytes(data)
