"""The monitor's log: one line an event, to a file of its own, or to the program's stderr.

The monitor holds no descriptor of the user's (a pipe that it kept would never end), so a warning
for the user is written to the descriptor 2 of the main program, if it still is the one of the
launch.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress

from viewos.errors import encoded

QUIET, NORMAL, VERBOSE = 0, 1, 2


class Log:
    """Levels: errors and warnings reach the user unless quiet; details only with -v or a file."""

    def __init__(self, path: str | None, verbosity: int) -> None:
        self._file = None
        if path is not None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._file = os.open(path, flags, 0o644)
        self.verbosity = verbosity
        self._pid = 0
        self._stderr: tuple[int, int] | None = None
        self._said: set[str] = set()
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the file, if there is one."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    @property
    def descriptors(self) -> tuple[int, ...]:
        """Descriptors that must survive when everything inherited is closed."""
        return () if self._file is None else (self._file,)

    def attach(self, pid: int, stderr: tuple[int, int] | None) -> None:
        """Name the main program, and the (device, inode) of its stderr at launch."""
        self._pid, self._stderr = pid, stderr

    def warning(self, text: str, *, once: str | None = None) -> None:
        """A line for the user. With `once`, only the first of that key is said."""
        if once is None or self._is_new(once):
            self._write(text, self.verbosity > QUIET)

    def _is_new(self, key: str) -> bool:
        with self._lock:
            known = key in self._said
            self._said.add(key)
        return not known

    def detail(self, text: str) -> None:
        """A line for the log file, or for the user under -v."""
        if self._file is not None or self.verbosity >= VERBOSE:
            self._write(text, self.verbosity >= VERBOSE)

    def exception(self, what: str) -> None:
        """The traceback of the exception being handled."""
        import traceback

        self._write(f"{what}\n{traceback.format_exc().rstrip()}", self.verbosity > QUIET)

    def _write(self, text: str, to_user: bool) -> None:
        if self._file is not None:
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S")
            with suppress(OSError):  # a full disk is no reason to fail a call
                os.write(self._file, encoded(f"{stamp} {text}\n"))
        elif to_user:
            from viewos.launcher.side import say

            say(self._pid, self._stderr, text, patience=0)
