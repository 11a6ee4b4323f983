"""Memory and descriptors of a program that the monitor may not read itself, by its helper.

Yama's ptrace_scope 1 lets only an ancestor look. The monitor has one connection to the helper for
each of its threads that ask; at the other end a thread answers.
"""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from viewos import kernel
from viewos.monitor.helper.wire import Hangup, receive, send
from viewos.monitor.memory import Fault, Memory, TraceeGone, Unreadable

_FAILURES: dict[str, Callable[[str], BaseException]] = {
    "fault": Fault, "gone": TraceeGone, "unreadable": Unreadable,
}  # fmt: skip


class Helper:
    """The monitor's end: one program's helper."""

    def __init__(self, control: socket.socket) -> None:
        from viewos.monitor.helper.fixups import far_fix_up

        self._control = control
        self._lock = threading.Lock()
        self._local = threading.local()
        self.fix_up = far_fix_up(control, self._lock)

    def read(self, tid: int, address: int, size: int) -> bytes:
        """As `Memory.read`."""
        data: bytes = self._ask("read", tid, address, size)[0]
        return data

    def write(self, tid: int, address: int, data: bytes) -> None:
        """As `Memory.write`."""
        self._ask("write", tid, address, data)

    def descriptor(self, tid: int, fd: int, pid: int) -> int:
        """As `kernel.descriptor_of`."""
        return self._ask("descriptor", tid, fd, pid)[1][0]

    def over(self) -> None:
        """The last tracee has gone: so may the helper."""
        with suppress(OSError):
            send(self._control, ("over",))
        self._control.close()

    def _ask(self, *message: Any) -> tuple[Any, list[int]]:
        try:
            connection = self._connection()
            send(connection, message)
            (kind, value), descriptors = receive(connection)
        except (Hangup, OSError):
            raise TraceeGone("the helper beside the program has gone") from None
        if kind == "errno":
            raise OSError(value, os.strerror(value))
        if kind != "value":
            raise _FAILURES[kind](value)
        return value, descriptors

    def _connection(self) -> socket.socket:
        connection: socket.socket | None = getattr(self._local, "connection", None)
        if connection is None:
            connection, far = socket.socketpair()
            with far, self._lock:
                send(self._control, ("look",), (far.fileno(),))
            self._local.connection = connection
        return connection


# ---- beside the program -----------------------------------------------------------------------


def look(connection: socket.socket) -> None:
    """Answer one thread of the monitor, until it hangs up."""
    memory = Memory()
    with connection, suppress(Hangup, OSError):
        while True:
            (what, *asked), _ = receive(connection)
            answer, descriptors = _answer(memory, what, asked)
            send(connection, answer, descriptors)
            for fd in descriptors:
                os.close(fd)


def _answer(memory: Memory, what: str, asked: list[Any]) -> tuple[Any, tuple[int, ...]]:
    try:
        if what == "read":
            return ("value", memory.read(*asked)), ()
        if what == "write":
            memory.write(*asked)
            return ("value", None), ()
        tid, fd, pid = asked
        return ("value", None), (kernel.descriptor_of(tid, fd, lambda: pid),)
    except OSError as error:
        return ("errno", error.errno or errno.EIO), ()
    except (Fault, TraceeGone, Unreadable) as error:
        kind = next(name for name, made in _FAILURES.items() if isinstance(error, made))  # type: ignore[arg-type]
        return (kind, str(error)), ()
