"""What the resolver gives: where a path leads, and where one starts."""

from __future__ import annotations

import os

from viewos.claims import Claim
from viewos.tuples import NamedTuple

PATH_MAX = 4096
RESOLVE_MASK = 0x1F
"""The bits of openat2(2) that the resolver obeys."""


class Place(NamedTuple):
    """Where a path leads."""

    virtual: bytes
    """The canonical virtual path, as far as it could be resolved."""
    real: bytes
    """A real path by which the kernel reaches the same object, or fails in the same way."""
    claim: Claim | None
    plain: bool
    """The kernel alone reaches the same object from the tracee's own string."""
    absolute: bool = True
    """The walk began at the root, or went through it."""
    native: bool = False
    """Only the tracee itself may act on it (procfs, devices, magic links)."""
    target: bytes | None = None
    """What a magic link at the end stands for (a real path), else None."""
    best: bool = False
    """The tracee's own string is the best there is; `real` asks for more permissions."""

    @property
    def is_read_only(self) -> bool:
        """Does it lie in a read-only claim?"""
        return self.claim is not None and self.claim.read_only

    @property
    def parent(self) -> bytes:
        """The real path of the directory that holds the name."""
        return os.path.dirname(self.real.rstrip(b"/")) or b"/"


class Start(NamedTuple):
    """A directory from which a path starts: its virtual and its real name."""

    virtual: bytes
    real: bytes
    hidden: bool = False
    """Something is mounted over it, or it was removed: the virtual name leads elsewhere, until the
    path has led up."""


KERNEL = Place(b"", b"", None, True, False, True)
"""What only the kernel can judge: a bad dirfd, a directory that was removed."""
