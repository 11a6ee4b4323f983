"""Where the lines of a trace go. A reader that is slow makes the view slow, as strace's does, so
that nothing is lost; one who does not read holds it only as long as somebody wants the trace."""

from __future__ import annotations

import os
import select
import stat
import threading
from contextlib import suppress

_PIPE_BUF = 4096
"""Bytes that a pipe takes without blocking when poll(2) says that it is ready (pipe(7))."""
_AGAIN = 10
"""Milliseconds until a terminal is tried again that is ready, and takes nothing."""
_PTMX = os.makedev(5, 2)


class Unread(OSError):
    """Nobody reads the lines, and nobody waits for them."""

    def __init__(self) -> None:
        super().__init__(0, "nobody reads them")


class Lines:
    """A descriptor to which threads write lines."""

    def __init__(self, fd: int, over: int | None = None, patience: float = 0.0) -> None:
        """`fd` stays the caller's; `over` becomes ours: readable when who wants the trace has gone
        (None: only `close` says so), and after that the reader has `patience` seconds a time."""
        self._fd = _apart(fd)
        self._patience = patience
        self._end = os.eventfd(0, os.EFD_CLOEXEC)
        self._over = select.poll()
        self._either = select.poll()
        self._either.register(self._fd, select.POLLOUT)
        self._signs = [self._end] if over is None else [self._end, over]
        for sign in self._signs:
            self._over.register(sign, select.POLLIN)
            self._either.register(sign, select.POLLIN)
        self._lock = threading.Lock()

    @property
    def closed(self) -> bool:
        """Is nothing written any more?"""
        return self._fd < 0

    def close(self) -> None:
        """Write nothing more, and wake who waits to write."""
        os.eventfd_write(self._end, 1)
        with self._lock:
            self._close()
            for sign in self._signs:
                os.close(sign)

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def write(self, line: bytes) -> None:
        """Write a line, whenever the reader takes it. Raises OSError; Unread, once: it was the last
        that is tried."""
        with self._lock:
            while line and not self.closed:
                if not self._may_write():
                    self._close()
                    raise Unread
                try:
                    line = line[os.write(self._fd, line[:_PIPE_BUF]) :]
                except BrokenPipeError:  # nor will anybody read the next
                    self._close()
                    raise
                except BlockingIOError:
                    if self._over.poll(_AGAIN):
                        self._close()
                        raise Unread from None

    def _may_write(self) -> bool:
        """Wait until something can be written; False: nobody wants it any more."""
        if any(fd == self._fd for fd, _ in self._either.poll()):
            return True
        alone = select.poll()
        alone.register(self._fd, select.POLLOUT)
        alone.register(self._end, select.POLLIN)
        return any(fd == self._fd for fd, _ in alone.poll(self._patience * 1000))


def _apart(fd: int) -> int:
    """A descriptor of our own for a file. Others may fill a pipe between a poll(2) and the write:
    so one that does not block, where that shows to nobody who has it open."""
    found = os.fstat(fd)
    flags = os.O_WRONLY | os.O_APPEND | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC
    if stat.S_ISFIFO(found.st_mode) or (os.isatty(fd) and found.st_rdev != _PTMX):
        with suppress(OSError):
            return os.open(f"/proc/self/fd/{fd}", flags)
    return os.dup(fd)
