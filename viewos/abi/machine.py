"""Which architecture's system calls this process makes."""

from __future__ import annotations

import os
import struct

_FAMILIES = {
    "x86_64": ("x86_64", "i386", "i486", "i586", "i686"),
    "aarch64": ("aarch64", "armv8l"),
}
_POINTER = struct.calcsize("P")


def _machine() -> str:
    # Not uname(2)'s word alone: setarch(8) lets it say i686 to a 64-bit process, and a 32-bit
    # process on a 64-bit kernel may read x86_64.
    said = os.uname().machine
    for machine, names in _FAMILIES.items():
        if said in names:
            return machine if _POINTER == 8 else f"{said} (32 bits)"
    return said


MACHINE = _machine()
"""As uname(2) calls it, whatever setarch(8) says."""
