"""Room on the disk for what is about to be written: found first, because a call that has had its
effect cannot fail any more."""

from __future__ import annotations

import ctypes
import errno

_fallocate = ctypes.CDLL(None, use_errno=True).fallocate
_fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
_KEEP_SIZE = 1
LEAST, _AT_ONCE = 4096, 32768
"""Bytes: more than what a call notes, and those of some 300 calls."""
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Room:
    """Blocks behind the end of a file, which is no longer by them."""

    def __init__(self) -> None:
        self._end = 0

    def is_left(self, at: int) -> bool:
        """Has room been taken behind `at`?"""
        return self._end - at >= LEAST

    def take(self, fd: int, at: int) -> None:
        """Raise OSError ENOSPC or EDQUOT unless there is room behind `at`; where the file system
        cannot tell, there is."""
        size = _AT_ONCE
        while _fallocate(fd, _KEEP_SIZE, at, size):
            number = ctypes.get_errno()
            if number in _FULL and size == LEAST:
                raise OSError(number, "no room for what would have to be noted")
            if number in _FULL:
                size = LEAST
            elif number != errno.EINTR:
                break
        self._end = at + size

    def forget(self) -> None:
        """It is another file, or has been cut off."""
        self._end = 0
