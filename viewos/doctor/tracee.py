"""A tracee for a trial: a child under a filter, and the listener that answers it."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from viewos import kernel
from viewos.abi import seccomp as abi
from viewos.abi.prctl import PR_SET_NO_NEW_PRIVS
from viewos.doctor.finding import Missing
from viewos.doctor.trial import child
from viewos.filter import FilterPlan, build
from viewos.launcher.raw import set_filter
from viewos.launcher.wire import Wire, pair
from viewos.tuples import NamedTuple

COOKIE = 0x7669_6577_6F73_0001
LISTENER = abi.SECCOMP_FILTER_FLAG_NEW_LISTENER
_DONE, _FAILED = b"D", b"F"


class Trapped(NamedTuple):
    """A call that waits for its answer."""

    listener: int
    id: int
    tid: int

    def answer(self, value: int = 0, error: int = 0, flags: int = 0) -> bool:
        """Give the result; False if the call is not waiting any more. Raises OSError."""
        data = abi.RESP.pack(self.id, value, -error, flags)
        return not _ioctl(self.listener, abi.SECCOMP_IOCTL_NOTIF_SEND, data, (errno.ENOENT,))[0]

    def add_fd(self, fd: int, flags: int = 0) -> int:
        """Put a copy of a descriptor into the tracee; its number there. Raises OSError."""
        data = abi.ADDFD.pack(self.id, flags, fd, 0, 0)
        return _ioctl(self.listener, abi.SECCOMP_IOCTL_NOTIF_ADDFD, data)[1]


class Tracee(NamedTuple):
    """A child under a filter."""

    pid: int
    listener: int
    wire: Wire

    def trapped(self) -> Trapped:
        """The next call that reaches the listener. Raises OSError."""
        buffer = ctypes.create_string_buffer(abi.NOTIF.size)
        while True:
            failed = kernel.ioctl_errno(
                self.listener, abi.SECCOMP_IOCTL_NOTIF_RECV, ctypes.addressof(buffer)
            )
            if not failed:
                identity, tid, *_ = abi.NOTIF.unpack(buffer.raw)
                return Trapped(self.listener, identity, tid)
            if failed not in (errno.EINTR, errno.ENOENT):
                raise OSError(failed, os.strerror(failed))

    def result(self) -> bytes:
        """What the body returned. Raises its OSError; Missing when the child died."""
        said = self.wire.receive()
        if not said:
            raise Missing("the tracee died")
        if said[:1] == _FAILED:
            (number,) = struct.unpack("=i", said[1:5])
            raise OSError(number, os.strerror(number))
        return said[1:]


def _ioctl(fd: int, request: int, data: bytes, harmless: tuple[int, ...] = ()) -> tuple[int, int]:
    """(errno, result) of ioctl(2). Raises OSError for all but the harmless ones."""
    buffer = ctypes.create_string_buffer(data, len(data))
    result: int = kernel.ioctl(fd, request, ctypes.addressof(buffer))
    number = ctypes.get_errno() if result < 0 else 0
    if number and number not in harmless:
        raise OSError(number, os.strerror(number))
    return number, result


def put_under_filter(trap: str, flags: int = LISTENER) -> int:
    """Trap one call of the calling thread; the listener. Raises OSError."""
    program = build(FilterPlan(trap=frozenset({trap}), cookie=COOKIE))
    try:
        return set_filter(program, flags)
    except OSError as error:
        if error.errno != errno.EACCES:
            raise
    kernel.libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    return set_filter(program, flags)


def _listener(trap: str) -> int:
    try:
        return put_under_filter(trap, LISTENER | abi.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    return put_under_filter(trap)


@contextmanager
def tracee(trap: str, body: Callable[[], bytes]) -> Iterator[Tracee]:
    """A child that runs `body` with one call trapped, and sends its result. Raises Missing."""
    near, far = pair()

    def run() -> None:
        try:
            far.send_descriptor(_listener(trap))
            far.send(_DONE + body())
        except OSError as error:
            far.send(_FAILED + struct.pack("=i", error.errno or 0))

    pid = child(run)
    far.close()
    received = near.receive_descriptor()
    if received is None:
        raise Missing("the listener could not be handed over")
    yield Tracee(pid, received[0], near)
