"""Memory that programs map by a descriptor: the copies of libraries, and the notes."""

from __future__ import annotations

import os

NAME = "viewos-libc"
NOTES_NAME = b"viewos-notes"
_MFD_EXEC = 0x10
_F_ADD_SEALS = 1033
_SIZE_SEALS, FUTURE_WRITE = 0x2 | 0x4 | 0x1, 0x10
"""F_SEAL_SHRINK, _GROW and _SEAL; F_SEAL_FUTURE_WRITE (linux/fcntl.h)."""


def label(device: int, inode: int) -> bytes:
    """A file, as /proc/PID/maps names it."""
    return b"%02x:%02x %d" % (os.major(device), os.minor(device), inode)


def memfd() -> int:
    """Room for a copy of a library. Raises OSError."""
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        return os.memfd_create(NAME, flags | _MFD_EXEC)
    except OSError:  # before Linux 6.3
        return os.memfd_create(NAME, flags)


def seal(descriptor: int, more: int = 0) -> None:
    """It keeps its size. `more`: further seals; with FUTURE_WRITE nobody but the monitor, which
    has it mapped, can write to it from now on."""
    import fcntl

    fcntl.fcntl(descriptor, _F_ADD_SEALS, _SIZE_SEALS | more)
