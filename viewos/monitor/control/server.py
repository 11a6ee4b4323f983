"""The control socket of a monitor: there from the start, served when the first client comes."""

from __future__ import annotations

# Not `socket`, which costs 4 ms of every start (enum, selectors).
import _socket
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from viewos import kernel
from viewos.control import places

if TYPE_CHECKING:
    import socket

    from viewos.monitor.control.talk import Talk
    from viewos.monitor.nesting import Nesting
    from viewos.monitor.serving import Serving

_BACKLOG = 64


class Server:
    """The control socket of a monitor, and what stands behind it."""

    def __init__(self, nesting: Nesting, serving: Serving | None, pid: int) -> None:
        """`pid` is that of `viewos run`: the socket and the views are named for it."""
        self._nesting, self._serving = nesting, serving
        self._log = nesting.levels[0].router.log
        self._socket: _socket.socket | None = None
        self._path = ""
        nesting.welcome = self.welcome
        self._pid = pid
        self._lock = threading.Lock()
        self._made: Talk | None = None

    def fileno(self) -> int:
        """Of the socket; -1: there is none."""
        return -1 if self._socket is None else self._socket.fileno()

    def open(self) -> bool:
        """Make the socket. Where that cannot be, the view goes on without."""
        try:
            self._open(places.directory(os.geteuid()))
        except OSError as error:
            where = error.filename or places.directory(os.geteuid())
            self._log.detail(f"no control socket: {where}: {error.strerror or error}")
        return self._socket is not None

    def _open(self, directory: str) -> None:
        with suppress(FileExistsError):
            os.mkdir(directory, 0o700)
        if not places.is_safe(directory, os.geteuid()):
            self._log.detail(f"no control socket: {directory} is not this user's alone")
            return
        path = os.path.join(directory, f"{self._pid}{places.SUFFIX}")
        # Under another name until it is listened to: a client removes what refuses it.
        early = os.path.join(directory, f".{os.getpid()}")
        name, held = places.reached(early)
        with suppress(FileNotFoundError):
            os.unlink(early)
        listening = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_NONBLOCK)
        try:
            listening.bind(name)
            os.chmod(early, 0o600)
            listening.listen(_BACKLOG)
            os.rename(early, path)
        except BaseException:
            listening.close()
            raise
        finally:
            if held is not None:
                os.close(held)
        self._socket, self._path = listening, path

    def close(self) -> None:
        """After the last tracee: remove the socket."""
        if self._path:
            with suppress(OSError):
                os.unlink(self._path)

    def answer(self) -> None:
        """The first client has come: serve from now on, in a thread of its own."""
        _start(self._serve)

    def welcome(self, connection: socket.socket, view: int, pid: int) -> None:
        """Serve a connection that a process of a view has asked for."""
        _start(lambda: self._talk().with_process(connection, view, pid))

    def _serve(self) -> None:
        import socket

        early = self._socket
        assert early is not None
        listening = self._socket = socket.socket(fileno=early.fileno())
        early.detach()  # one of them closes it
        self._talk().over_socket(listening)

    def _talk(self) -> Talk:
        with self._lock:
            if self._made is None:
                from viewos.monitor.control.talk import Talk  # what nobody asks for costs nothing

                self._made = Talk(self._nesting, self._serving, self._pid)
            return self._made


def _start(body: Callable[[], object]) -> None:
    kernel.start_thread(body, "viewos control")
