"""What makes an instrumented copy of a library: changes, found by image.py, kept by cache.py."""

from __future__ import annotations

import errno
import mmap
import os

from viewos.tuples import NamedTuple


class Patch(NamedTuple):
    """Bytes of the library that are others in the copy."""

    offset: int
    old: bytes
    new: bytes


class Image(NamedTuple):
    """What makes an instrumented copy of a library."""

    patches: tuple[Patch, ...]
    end: int
    """Where in the file the text begins, behind all that is the library's."""
    text: bytes
    shared: int
    """Where in the file `SHARED_SIZE` bytes for the monitor begin."""
    switch: int
    """Where in the file the page with the switch begins."""

    def write(self, library: int, size: int, copy: int) -> None:
        """Make the copy of a library of `size` bytes, both open; the copy is empty.

        Raises OSError, also where the library is another one (ESTALE)."""
        done = 0
        while done < size:
            sent = os.sendfile(copy, library, done, size - done)
            if not sent:
                raise OSError(errno.ESTALE, "shorter than it was")
            done += sent
        os.ftruncate(copy, self.switch + mmap.PAGESIZE)
        for patch in self.patches:
            if os.pread(copy, len(patch.old), patch.offset) != patch.old:
                raise OSError(errno.ESTALE, "not what it was")
            os.pwrite(copy, patch.new, patch.offset)
        os.pwrite(copy, self.text, self.end)
