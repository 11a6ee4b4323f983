"""Bounded reads and writes of a tracee's memory."""

from __future__ import annotations

import errno
import os
import struct
import threading
from typing import Protocol

from viewos.kernel import RemoteIO

PAGE = 4096
PATH_MAX = 4096
_MOST_POINTERS = 1 << 20


class Fault(Exception):
    """The tracee's pointer is bad, or its string has no end: the kernel, asked again, will say
    so."""


class TraceeGone(Exception):
    """The tracee ended, or its call was abandoned, while it was being looked at."""


class Unreadable(Exception):
    """The tracee's memory may not be read (an unreadable executable, a process that is not
    dumpable)."""


class Looks(Protocol):
    """What looks at a tracee in the place of the monitor: see `monitor.helper`."""

    def read(self, tid: int, address: int, size: int) -> bytes:
        """As `Memory.read`."""

    def write(self, tid: int, address: int, data: bytes) -> None:
        """As `Memory.write`."""

    def descriptor(self, tid: int, fd: int, pid: int) -> int:
        """As `kernel.descriptor_of`."""


def _open_mem(tid: int, flags: int) -> int:
    """Open /proc/TID/mem. Raises TraceeGone, Unreadable."""
    try:
        return os.open(f"/proc/{tid}/mem", flags | os.O_CLOEXEC)
    except FileNotFoundError:
        raise TraceeGone from None
    except OSError as why:
        raise Unreadable(str(why)) from None


class Memory:
    """Access to the memory of any tracee. Safe for many threads: each has a buffer of its own."""

    def __init__(self) -> None:
        self._local = threading.local()

    def use(self, helper: Looks | None) -> None:
        """Let this thread look through a helper from now on; None: by itself."""
        self._local.helper = helper

    @property
    def helper(self) -> Looks | None:
        """What this thread looks through."""
        helper: Looks | None = getattr(self._local, "helper", None)
        return helper

    def _io(self) -> RemoteIO:
        io: RemoteIO | None = getattr(self._local, "io", None)
        if io is None:
            io = self._local.io = RemoteIO(4 * PAGE)
        return io

    def read(self, tid: int, address: int, size: int) -> bytes:
        """Up to `size` bytes; fewer before an unmapped page.

        Raises Fault (nothing there), TraceeGone, Unreadable.
        """
        helper = self.helper
        if helper is not None:
            return helper.read(tid, address, size)
        try:
            return self._io().read(tid, address, size)
        except OSError as error:
            return self._read_mem(tid, address, size, error)

    def _read_mem(self, tid: int, address: int, size: int, error: OSError) -> bytes:
        if error.errno in (errno.EFAULT, errno.EINVAL):
            raise Fault(hex(address)) from None
        if error.errno == errno.ESRCH:
            raise TraceeGone from None
        fd = _open_mem(tid, os.O_RDONLY)  # process_vm_readv may be compiled out, or refused
        try:
            return os.pread(fd, size, address)
        except (OSError, OverflowError):
            raise Fault(hex(address)) from None
        finally:
            os.close(fd)

    def _write_mem(self, tid: int, address: int, data: bytes) -> int:
        # Page protections do not count here: better than a call that cannot be answered.
        fd = _open_mem(tid, os.O_WRONLY)
        try:
            return os.pwrite(fd, data, address)
        except (OSError, OverflowError):
            raise OSError(errno.EFAULT, "bad address") from None
        finally:
            os.close(fd)

    def read_exact(self, tid: int, address: int, size: int) -> bytes:
        """Exactly `size` bytes. Raises Fault if some of them are not there."""
        data = self.read(tid, address, size)
        while len(data) < size:  # one read gives no more than its buffer holds
            more = self.read(tid, address + len(data), size - len(data))
            if not more:
                raise Fault(hex(address))
            data += more
        return data

    def read_string(self, tid: int, address: int, limit: int = PATH_MAX) -> bytes:
        """The string at `address` without its NUL. Raises Fault if it has no end within `limit`."""
        chunk = PAGE - address % PAGE
        if chunk < 256:
            chunk += (
                PAGE  # one read for two pages: a short answer says that the second is not there
            )
        data = self.read(tid, address, min(chunk, 1024, limit))
        end = data.find(b"\0")
        while end < 0:
            if len(data) >= limit:
                raise Fault(hex(address))
            at = address + len(data)
            more = self.read(tid, at, min(PAGE - at % PAGE, limit - len(data)))
            end = more.find(b"\0")
            if end >= 0:
                end += len(data)
            data += more
        return data[:end]

    def read_pointers(self, tid: int, address: int) -> list[int]:
        """The pointers of an argument vector, up to the null pointer at its end; none at address 0.
        Raises as `read`."""
        pointers: list[int] = []
        while address and len(pointers) < _MOST_POINTERS:
            size = PAGE - address % PAGE
            size -= size % 8
            data = self.read(tid, address, size or 8)
            for (pointer,) in struct.iter_unpack("=Q", data[: len(data) // 8 * 8]):
                if not pointer:
                    return pointers
                pointers.append(pointer)
            if not data:
                raise Fault(hex(address))
            address += len(data)
        return pointers

    def write(self, tid: int, address: int, data: bytes) -> None:
        """Write as the kernel's copy_to_user does: protections count. Raises OSError EFAULT."""
        if not data:
            return
        helper = self.helper
        if helper is not None:
            helper.write(tid, address, data)
            return
        try:
            count = self._io().write(tid, address, data)
        except OSError as error:
            if error.errno == errno.ESRCH:
                raise TraceeGone from None
            if error.errno == errno.EFAULT:
                raise OSError(errno.EFAULT, "bad address") from None
            count = self._write_mem(tid, address, data)
        if count != len(data):
            raise OSError(errno.EFAULT, "bad address")
