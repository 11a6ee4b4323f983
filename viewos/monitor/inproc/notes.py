"""Where the programs of a view note which owners they have changed: struct notes of tables.h.

Unlike all else that programs have of the monitor they can write to it, which tells about files of
their own view and nothing more.
"""

from __future__ import annotations

import mmap
import os

from viewos.monitor.inproc.memfd import NOTES_NAME, seal

SIZE = 640 * 1024


class Notes:
    """The notes of one view."""

    def __init__(self, place: int) -> None:
        """`place`: of the view, for the accelerator. Raises OSError."""
        self.place = place
        self.descriptor = os.memfd_create(
            os.fsdecode(NOTES_NAME), os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
        )
        os.ftruncate(self.descriptor, SIZE)
        seal(self.descriptor)  # the monitor reads where it has been mapped
        self.memory = memoryview(mmap.mmap(self.descriptor, SIZE))

    def opened(self) -> int:
        """A descriptor for a program. Raises OSError."""
        return os.open(f"/proc/self/fd/{self.descriptor}", os.O_RDWR | os.O_CLOEXEC)

    def close(self) -> None:
        """No program will be given them any more; what has been noted stays."""
        os.close(self.descriptor)
