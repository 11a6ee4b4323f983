"""struct new_utsname (linux/utsname.h): six strings of at most 64 bytes, as uname(2) gives them."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass

LENGTH = 64
"""Bytes of a field without its terminating zero (__NEW_UTS_LEN)."""
UTSNAME = struct.Struct("=" + f"{LENGTH + 1}s" * 6)


@dataclass(frozen=True, slots=True)
class Utsname:
    """What uname(2) says."""

    sysname: bytes
    nodename: bytes
    release: bytes
    version: bytes
    machine: bytes
    domainname: bytes

    def encode(self) -> bytes:
        """The structure as the kernel writes it. Raises ValueError for a field over 64 bytes."""
        fields = (
            self.sysname, self.nodename, self.release, self.version, self.machine, self.domainname,
        )  # fmt: skip
        for field in fields:
            if len(field) > LENGTH:
                raise ValueError(f"{field!r} has {len(field)} bytes, uname takes {LENGTH}")
        return UTSNAME.pack(*fields)

    @classmethod
    def decode(cls, data: bytes) -> Utsname:
        """The structure's fields up to their zeros. Raises struct.error for another size."""
        return cls(*(field.partition(b"\0")[0] for field in UTSNAME.unpack(data)))

    @classmethod
    def of_host(cls) -> Utsname:
        """What the monitor itself sees. The domain name comes from /proc, for os.uname lacks it;
        where /proc cannot be read it is the kernel's default, "(none)"."""
        host = [os.fsencode(field) for field in os.uname()]
        try:
            with open("/proc/sys/kernel/domainname", "rb") as file:
                domain = file.read().rstrip(b"\n")
        except OSError:
            domain = b"(none)"
        return cls(host[0], host[1], host[2], host[3], host[4], domain)
