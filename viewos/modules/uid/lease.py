"""That nobody else has a file open: fcntl(2), F_SETLEASE, which makes an open(2) wait for us.

The kernel asks for the lease back by a signal, which one thread has blocked and waits for. A lease
that has been given back is asked for again from time to time. Who stops the monitor holds others
up for /proc/sys/fs/lease-break-time (45 s).
"""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import threading
from collections.abc import Callable
from contextlib import suppress

_F_SETLEASE, _F_SETOWN_EX = 1024, 15
_OWNER = struct.Struct("=ii")
_F_OWNER_TID = 0
_AGAIN = 2.0
"""Seconds."""
_SIGNAL = signal.SIGIO
_SERVED = ("fuse", "virtiofs")
"""File systems that change behind the kernel's back."""


class Lease:
    """Asked for until it is closed."""

    def __init__(self, current: Callable[[], int], told: Callable[[bool], None]) -> None:
        """Arguments: `current` gives a descriptor of the file, to be closed; `told` is called with
        True once nobody else has that open, and with False before somebody has."""
        self._current, self._told = current, told
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="uid lease", daemon=True)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {_SIGNAL})
        try:
            self._thread.start()  # it inherits the mask
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def give_back(self) -> None:
        """`current` is about to give another file."""
        self._told(False)
        with suppress(ProcessLookupError):
            signal.pthread_kill(self._thread.ident or 0, _SIGNAL)

    def close(self) -> None:
        """Nothing more will be told."""
        self._is_closed = True
        if self._thread.is_alive():
            self.give_back()
            self._thread.join()

    def _run(self) -> None:
        while not self._is_closed:
            with suppress(OSError):
                self._keep(self._current())
            if not self._is_closed:
                signal.sigtimedwait({_SIGNAL}, _AGAIN)

    def _keep(self, descriptor: int) -> None:
        try:
            if not _is_ours_to_know(descriptor):
                return
            owner = _OWNER.pack(_F_OWNER_TID, threading.get_native_id())
            fcntl.fcntl(descriptor, _F_SETOWN_EX, owner)
            fcntl.fcntl(descriptor, _F_SETLEASE, fcntl.F_WRLCK)
            try:
                self._told(True)
                signal.sigwaitinfo({_SIGNAL})
            finally:
                self._told(False)
                fcntl.fcntl(descriptor, _F_SETLEASE, fcntl.F_UNLCK)
        finally:
            os.close(descriptor)


def _is_ours_to_know(descriptor: int) -> bool:
    """Is it in a file system that this kernel alone changes? Those of other machines refuse."""
    with open(f"/proc/self/fdinfo/{descriptor}", "rb") as file:
        fields = dict(line.split(b":", 1) for line in file.read().splitlines() if b":" in line)
    with open("/proc/self/mountinfo", "rb") as file:
        for line in file:
            mount, _, kind = line.partition(b" - ")
            if mount.split(b" ", 1)[0] == fields[b"mnt_id"].strip():
                return kind.split(b" ", 1)[0].split(b".", 1)[0].decode() not in _SERVED
    return False
