"""One launched program: its listener, its monitor, and the line to the helper beside it."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
from typing import TYPE_CHECKING

from viewos.monitor.control.server import Server
from viewos.monitor.engine import Engine
from viewos.monitor.helper.fixups import far_fix_up
from viewos.monitor.helper.wire import send
from viewos.monitor.log import NORMAL, Log
from viewos.monitor.router import Router

if TYPE_CHECKING:
    from viewos.library.view import View

LOGGER = logging.getLogger("viewos")


class LoggingLog(Log):
    """What the monitor has to say goes to the logger `viewos` of the calling program."""

    def __init__(self) -> None:
        super().__init__(None, NORMAL)

    def warning(self, text: str, *, once: str | None = None) -> None:
        """A line for the user. With `once`, only the first of that key is said."""
        if once is None or self._is_new(once):
            LOGGER.warning("%s", text)

    def detail(self, text: str) -> None:
        """A line for those who look closely."""
        LOGGER.debug("%s", text)

    def exception(self, what: str) -> None:
        """The traceback of the exception being handled."""
        LOGGER.exception("%s", what)


class Served:
    """Answers the calls of one program and its descendants, in threads of this process."""

    def __init__(self, view: View, control: socket.socket, listener: int, pid: int) -> None:
        self._view = view
        self._control = control
        self._listener = listener
        self._pid = pid
        log = LoggingLog()
        self._router = Router(
            view, view.cookie, log, mounts=view.mounts, fix_up=far_fix_up(control, threading.Lock())
        )
        Server(self._router.nesting, None, pid)  # for programs that nest views; there is no socket
        self._engine = Engine(listener, self._router.handle, log, self._router.accelerator)
        self._thread = threading.Thread(target=self._serve, name="viewos monitor", daemon=True)
        self._ready = threading.Event()

    def start(self) -> None:
        """Return when calls are being answered. Raises ViewosError when the view is closed,
        RuntimeError when there are no more threads."""
        try:
            self._view.serve(self)
            self._view.states.mark(self._pid)
            self._thread.start()
        except BaseException:
            listener, self._listener = self._listener, -1
            os.close(listener)
            raise
        self._ready.wait()
        with contextlib.suppress(OSError):  # it has gone meanwhile, and the program with it
            send(self._control, ("serving",))

    def let_go(self) -> None:
        """In a forked child: what it inherited of the parent's would keep calls waiting for ever
        when the parent ends."""
        for fd in (self._listener, self._control.detach()):
            if fd >= 0:
                os.close(fd)
        self._router.nesting.let_go()

    def _serve(self) -> None:
        try:
            self._engine.serve(self._ready.set)
        finally:
            self._ready.set()
            with contextlib.suppress(OSError):
                send(self._control, ("over",))
            self._control.close()
            self._listener = -1  # first: a child forked now must not close what gets its number
            self._engine.close()
            self._router.nesting.tear_down()
            if self._router.accelerator is not None:
                self._router.accelerator.close()
            self._router.tasks.forget_all()  # descriptors: they are not left to the collector
            self._view.forget(self)

    def wait(self) -> None:
        """Until the last process under the listener has ended."""
        self._thread.join()
