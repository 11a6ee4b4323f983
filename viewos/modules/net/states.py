"""Whether a socket of TCP has been connected, and how it begins to be."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from viewos import Call, SharedSocket, SocketAddress

MSG_DONTWAIT, MSG_FASTOPEN = 0x40, 0x20000000
POLLOUT, SO_SNDTIMEO = 4, 21
LOOK = 0.01
"""Seconds between two looks at another thread's handshake."""
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


def begin(socket: SharedSocket, to: SocketAddress) -> None:
    """Have the kernel begin a connection without waiting for it, also on a socket that waits: the
    next connect(2), or sendto(2) with MSG_FASTOPEN, waits for it and is told how it ended. Raises
    OSError EINPROGRESS, and others where it has failed.

    Of one that has begun it says whether it is made; else OSError EALREADY.
    """
    if is_fresh(socket):  # or has failed, and this gives the reason
        socket.send_message(b"", to, flags=MSG_FASTOPEN | MSG_DONTWAIT)
    elif not socket.wait(POLLOUT, 0):
        raise OSError(errno.EALREADY, os.strerror(errno.EALREADY))


def connect_by_layers(
    call: Call,
    to: SocketAddress,
    how: Callable[[SharedSocket, SocketAddress], None],
    left: Callable[[], float | None] | None,
    *,
    again: bool = False,
) -> None:
    """Have the layers below connect the call's socket: see `Call.connect`. They may have proxies,
    and alone know when they are done, so they are asked until they say it.

    `left`: what is left of the time that this may take, None: it does not wait; `again`: they have
    been asked before. Raises OSError (EINPROGRESS, EALREADY: not yet), Interrupted.
    """
    pause = 0.0
    while True:
        try:
            call.connect(to, how)
            return
        except BlockingIOError:
            if left is None or not call.socket().wait(POLLOUT, left()):
                raise
        except OSError as error:
            if again and error.errno == errno.EISCONN:
                return
            raise
        call.sleep(pause)
        again, pause = True, LOOK


def countdown(socket: SharedSocket) -> Callable[[], float | None]:
    """What is left of the time for which the program's call waits (SO_SNDTIMEO); None: no end."""
    limit = socket.time_limit(SO_SNDTIMEO)
    end = time.monotonic() + limit
    return lambda: max(end - time.monotonic(), 0) if limit else None
