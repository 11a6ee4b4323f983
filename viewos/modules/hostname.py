"""hostname: a host name, and an NIS domain name, of the view's own."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from viewos import Claim, RealPath, Utsname, VirtualModule, VirtualPath

if TYPE_CHECKING:
    from viewos import Call, Items

LENGTH = 64
"""The most bytes of a name (__NEW_UTS_LEN, linux/utsname.h)."""
PROC = b"/proc/sys/kernel/"


class _Name:
    """A name whose state is a file, as a program of the view sees it in /proc/sys/kernel.

    A file that was only truncated changes nothing, because proc_dostring() does nothing before a
    write. What was set by a system call is remembered as it was: a newline may be part of it.
    """

    def __init__(self, path: bytes, value: bytes) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        os.fchmod(self._fd, 0o644)  # whatever the umask: other users of the view may look
        self._lock = threading.Lock()
        self._value = self._data = b""
        self.path = path
        self.write(value)

    def read(self) -> bytes:
        with self._lock:
            data = os.pread(self._fd, LENGTH + 1, 0)
            if data and data != self._data:
                self._value = data[:LENGTH].split(b"\0")[0].split(b"\n")[0]
                self._data = data
            return self._value

    def write(self, value: bytes) -> None:
        with self._lock:
            self._value = value.split(b"\0")[0]
            self._data = self._value + b"\n"
            os.pwrite(self._fd, self._data, 0)  # never empty in between: others may be reading
            os.ftruncate(self._fd, len(self._data))

    def close(self) -> None:
        os.close(self._fd)


class Hostname(VirtualModule):
    """Give the view a host name of its own."""

    name = "hostname"
    grammar = "hostname:NAME[.DOMAIN][,noproc]"
    example = "hostname:builder.example.org"

    def __init__(
        self, name: str | bytes, domain: str | bytes | None = None, *, proc: bool = True
    ) -> None:
        """Arguments: at most 64 bytes each; without `domain` the view begins with the real one.
        `proc`: show the names in /proc/sys/kernel too. Raises ValueError for one that is too long.
        """
        self._first = {b"hostname": os.fsencode(name)}
        if domain is not None:
            self._first[b"domainname"] = os.fsencode(domain)
        for value in self._first.values():
            if len(value) > LENGTH:
                raise ValueError(f"{os.fsdecode(value)}: a name has at most {LENGTH} bytes")
        self._proc = proc
        self._names: dict[bytes, _Name] = {}

    @classmethod
    def from_items(cls, items: Items) -> Self:
        """NAME, or NAME.DOMAIN; `noproc` leaves /proc, and so every open of a file, alone."""
        names: list[str] = []
        proc = True
        for item in items:
            if item.key is not None:
                raise items.error(item, "expected NAME[.DOMAIN]")
            if item.value == "noproc" and names and proc:
                proc = False
            elif not item.value or names:
                raise items.error(item, "expected one NAME[.DOMAIN], and noproc behind it")
            else:
                names.append(item.value)
                host, _, domain = item.value.partition(".")
                if max(len(os.fsencode(host)), len(os.fsencode(domain))) > LENGTH:
                    raise items.error(item, f"a name has at most {LENGTH} bytes")
        if not names:
            raise items.error(None, "expected NAME[.DOMAIN]")
        host, dot, domain = names[0].partition(".")
        return cls(host, domain if dot else None, proc=proc)

    def start(self, scratch: bytes) -> None:
        """Write the files that hold the names."""
        first = {b"domainname": Utsname.of_host().domainname, **self._first}
        self._names = {key: _Name(scratch + b"/" + key, name) for key, name in first.items()}

    def stop(self) -> None:
        """Close the files."""
        for name in self._names.values():
            name.close()
        self._names = {}

    def claims(self) -> Iterable[Claim]:
        """The two files of /proc/sys/kernel, for which only opening has to be trapped."""
        for key in self._names if self._proc else ():
            yield Claim(
                VirtualPath(PROC + key),
                RealPath(self._names[key].path),
                operations=frozenset({"open"}),
                scratch=True,
            )

    def uname(self, call: Call) -> Utsname:
        """uname(2) of the layers below, with other names."""
        names = {key: name.read() for key, name in self._names.items()}
        below: Utsname = call.below()
        return replace(below, nodename=names[b"hostname"], domainname=names[b"domainname"])

    def sethostname(self, call: Call) -> int:
        """sethostname(2), for everybody: it changes nothing outside of the view."""
        return self._set(call, b"hostname")

    def setdomainname(self, call: Call) -> int:
        """setdomainname(2), for everybody."""
        return self._set(call, b"domainname")

    def _set(self, call: Call, key: bytes) -> int:
        length = call.args.len
        if not 0 <= length <= LENGTH:
            raise OSError(errno.EINVAL, "length")
        self._names[key].write(call.read(call.args.name, length) if length else b"")
        return 0
