"""Threads beside those that answer calls. Where the user may have no more of them, or no more
descriptors, that is one connection's misfortune, and those after it are served."""

from __future__ import annotations

import errno
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

_SHORT = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_PAUSE = 0.1


def begin(body: Callable[..., object], *args: object) -> threading.Thread:
    """A thread that ends with the process. Raises OSError EAGAIN: there can be none."""
    thread = threading.Thread(target=body, args=args, name="viewos net", daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        raise OSError(errno.EAGAIN, f"no thread: {error}") from error
    return thread


def serve(listener: socket.socket, body: Callable[[socket.socket], object]) -> None:
    """Have a thread talk to each who connects, until the listener is closed."""
    while True:
        try:
            connection, _ = listener.accept()
        except OSError as error:
            if error.errno not in _SHORT:
                return
            time.sleep(_PAUSE)
            continue
        with suppress(OSError):
            begin(body, connection)
            continue
        connection.close()
