"""struct new_utsname (linux/utsname.h): six strings of at most 64 bytes, as uname(2) gives them."""

from __future__ import annotations

import os
import re
import struct

from viewos.tuples import NamedTuple

LENGTH = 64
"""Bytes of a field without its terminating zero (__NEW_UTS_LEN)."""
PER_LINUX32 = 0x0008
PER_MASK = 0x00FF
UNAME26 = 0x0020000
"""Of personality(2): the machine is i686; the release is one of 2.6."""
_VERSION = re.compile(rb"(\d+)\.(\d+)(?:\.\d*)?")
UTSNAME = struct.Struct("=" + f"{LENGTH + 1}s" * 6)


class Utsname(NamedTuple):
    """What uname(2) says."""

    sysname: bytes
    nodename: bytes
    release: bytes
    version: bytes
    machine: bytes
    domainname: bytes

    def replace(self, **fields: bytes) -> Utsname:
        """The same with other fields. Raises ValueError for a name that is none (since Python
        3.13: TypeError)."""
        return self._replace(**fields)

    def encode(self) -> bytes:
        """The structure as the kernel writes it. Raises ValueError for a field over 64 bytes."""
        for field in self:
            if len(field) > LENGTH:
                raise ValueError(f"{field!r} has {len(field)} bytes, uname takes {LENGTH}")
        return UTSNAME.pack(*self)

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

    def of_personality(self, persona: int) -> Utsname:
        """The same as the kernel shows it to a process with this personality."""
        shown = self
        if persona & PER_MASK == PER_LINUX32:
            shown = shown.replace(machine=b"i686")
        version = _VERSION.match(self.release)
        if persona & UNAME26 and version is not None and version[1] != b"2":
            rest = self.release[version.end() :]
            shown = shown.replace(release=b"2.6.%d%s" % (int(version[2]) + 60, rest))
        return shown
