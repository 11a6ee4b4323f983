"""Has somebody a file open for writing? Such a file is not executed (ETXTBSY)."""

from __future__ import annotations

import errno
import fcntl
import signal


def has_writers(path: bytes) -> bool:
    """Whether it has; False also of what is not ours, or on a file system without leases: a file
    that is open for writing gets no read lease (fcntl(2)). Raises OSError."""
    with open(path, "rb", buffering=0) as file:
        try:
            # Who opens it now waits until we have given it back, and we get a signal: none that
            # ends us.
            fcntl.fcntl(file, fcntl.F_SETSIG, signal.SIGURG)
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        except OSError as error:
            return error.errno == errno.EAGAIN
    return False
