"""What the caller and the process beside a program say to each other: pickles with descriptors.

Both ends are one user's and one version's, so pickle's powers over the receiver matter to nobody.
"""

from __future__ import annotations

import pickle
import socket
import struct
from typing import Any

_LENGTH = struct.Struct("=I")
_DESCRIPTOR = struct.Struct("@i")
_MOST = 4
"""Descriptors of one message."""


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
    space = socket.CMSG_SPACE(_MOST * _DESCRIPTOR.size)
    try:
        # Not socket.recv_fds: it ignores its flags, and programs that are started otherwise
        # would inherit what comes.
        head, ancillary, _, _ = connection.recvmsg(_LENGTH.size, space, socket.MSG_CMSG_CLOEXEC)
    except ConnectionError:
        raise Hangup from None
    descriptors = [
        number
        for level, kind, data in ancillary
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
        for (number,) in _DESCRIPTOR.iter_unpack(data[: len(data) // 4 * 4])
    ]
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
