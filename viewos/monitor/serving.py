"""The life of a monitor: the listeners that it serves, until the last tracee of each has gone.

The program that `viewos run` starts has the first listener; each program that is brought into the
view from outside (`viewos exec`) brings one along.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from viewos import kernel
from viewos.errors import ViewosError, reason
from viewos.monitor.engine import Engine

if TYPE_CHECKING:
    from viewos.monitor.helper.looks import Helper
    from viewos.monitor.log import Log
    from viewos.monitor.router import Router

_RETRY = 0.1
"""Seconds until a thread is asked for again, where there was none."""


class Serving:
    """Engines, one for each listener, which share what they answer with."""

    def __init__(self, router: Router, log: Log) -> None:
        self._router = router
        self._log = log
        self._engines: dict[int, Engine] = {}
        self._lock = threading.Lock()
        self._ended = False
        self._news = os.eventfd(0, os.EFD_CLOEXEC)

    def add(self, listener: int, helper: Helper | None = None) -> None:
        """Answer the calls of one more listener, which is taken over; with a helper, what looks at
        its tracees. Raises ViewosError: the last program of the view has ended meanwhile; OSError
        EAGAIN: there can be no threads for it."""
        # Who may not look itself can do nothing in C either.
        fast = self._router.accelerator if helper is None else None
        engine = Engine(listener, self._router.handle, self._log, fast, helper)
        with self._lock:
            if self._ended:
                os.close(listener)
                raise ViewosError("the view has ended")
            self._engines[listener] = engine
            try:
                engine.start()
            except OSError:
                engine.stop()
                del self._engines[listener]
                os.close(listener)
                raise
        os.eventfd_write(self._news, 1)

    def run(self, listener: int, ready: Callable[[], None], knock: Knock | None = None) -> None:
        """Serve until there is no tracee any more. `ready` is called when calls are received, and
        `knock` when its descriptor can be read, until it says that this is enough."""
        self.add(listener)
        ready()
        poll = select.poll()
        poll.register(self._news, select.POLLIN)
        if knock is not None and knock.open():
            poll.register(knock.fileno(), select.POLLIN)
        while True:
            with self._lock:
                self._ended = not self._engines
                known = list(self._engines)
            if not known:
                return
            for fd in known:
                poll.register(fd, 0)  # only POLLHUP: every user of the filter has ended
            for fd, event in poll.poll():
                if fd == self._news:
                    os.eventfd_read(self._news)
                elif knock is not None and fd == knock.fileno():
                    if self._answered(knock):
                        poll.unregister(fd)
                elif event & select.POLLHUP:
                    poll.unregister(fd)
                    self._end(fd)

    def _answered(self, knock: Knock) -> bool:
        try:
            knock.answer()
        except OSError as error:
            self._log.warning(f"the control socket is not served: {reason(error)}", once="control")
            time.sleep(_RETRY)
            return False
        return True

    def _end(self, listener: int) -> None:
        with self._lock:
            engine = self._engines.pop(listener)
            is_last = not self._engines
        engine.stop()
        if engine.helper is not None:
            engine.helper.over()
        if not is_last:
            # A thread that does not end holds nobody up; after the last one the process ends.
            try:
                kernel.start_thread(engine.close, "viewos end")
            except OSError:
                engine.close()


class Knock(Protocol):
    """Something that waits to be begun."""

    def open(self) -> bool:
        """Make the descriptor, if that can be; called when the program has been let go."""

    def fileno(self) -> int:
        """Readable when somebody comes."""

    def answer(self) -> None:
        """Somebody has come; nobody looks at the descriptor any more."""
