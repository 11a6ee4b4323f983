"""Whether a socket of TCP has been connected, and how it begins to be."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from viewos import InetAddress, SharedSocket

MSG_DONTWAIT, MSG_FASTOPEN = 0x40, 0x20000000
POLLOUT, SO_SNDTIMEO = 4, 21
_TCP, _TCP_INFO, _TCP_CLOSE = 6, 11, 7


def is_fresh(socket: SharedSocket) -> bool:
    """Would the kernel take a connect as the beginning of a connection? To one that is begun or
    made it says so, whatever the address."""
    try:
        return socket.option(_TCP, _TCP_INFO) & 0xFF == _TCP_CLOSE  # tcpi_state
    except OSError:  # no TCP
        return not _has_peer(socket)


def _has_peer(socket: SharedSocket) -> bool:
    try:
        socket.peer()
    except OSError as error:
        return error.errno != errno.ENOTCONN
    return True


def begin(socket: SharedSocket, to: InetAddress) -> None:
    """Have the kernel begin a connection without waiting for it, also on a socket that waits: the
    next connect(2), or sendto(2) with MSG_FASTOPEN, waits for it and is told how it ended. Raises
    OSError EINPROGRESS, and others where it has failed at once."""
    socket.send_message(b"", to, flags=MSG_FASTOPEN | MSG_DONTWAIT)
