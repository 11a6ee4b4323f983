"""`SharedSocket`: a socket of the program, by a copy of its descriptor.

What is done to the copy is done to the program's own open file, in the kernel: a connection made
here is the program's, with its options, its name and its place in epoll sets. O_NONBLOCK belongs
to the open file too, and is never touched.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Protocol

from viewos import kernel
from viewos.abi import socket as abi
from viewos.abi.socket import InetAddress, SocketAddress
from viewos.kept import kept
from viewos.message import Received

if TYPE_CHECKING:
    from viewos.call import Call

SOL_SOCKET = 1
SO_TYPE, SO_ERROR, SO_PEERCRED = 3, 4, 17
SO_PROTOCOL, SO_DOMAIN, SO_COOKIE = 38, 39, 57
IPPROTO_IPV6, IPV6_V6ONLY = 41, 26
MSG_DONTWAIT, MSG_NOSIGNAL = 0x40, 0x4000
POLLIN, POLLOUT = 1, 4
_TIMEVAL = struct.Struct("=qq")

_libc = kernel.libc
_send, _recv, _sendmsg, _recvmsg = _libc.send, _libc.recv, _libc.sendmsg, _libc.recvmsg
_recvmmsg = _libc.recvmmsg
for _function in (_send, _recv, _sendmsg, _recvmsg):
    _function.restype = ctypes.c_ssize_t


class Interrupted(Exception):
    """A signal is due for the thread whose call waits. A handler lets it pass: the call ends as
    an interrupted one does natively, with EINTR or a restart."""


class Waiting(Protocol):
    """What waiting asks of the monitor."""

    def wait(self, call: Call, fd: int, events: int, seconds: float | None) -> int: ...
    def blocking(self, call: Call, function: Callable[[], int]) -> int: ...
    def has_room(self, call: Call) -> bool: ...


def _failed(result: int) -> int:
    return 0 if result >= 0 else ctypes.get_errno()


def _raise(error: int) -> None:
    if error:
        raise OSError(error, os.strerror(error))


class SharedSocket:
    """One socket of the program. It is closed before the call is answered."""

    def __init__(self, fd: int, call: Call, services: Waiting) -> None:
        self._fd = fd
        self._call = call
        self._services = services
        self.accepted_from: SocketAddress | None = None
        """Who was at the other end when `accept` gave this connection; it may be reset by now, and
        `peer` fails."""

    def fileno(self) -> int:
        """The copy; -1 when it has been closed."""
        return self._fd

    def close(self) -> None:
        """Close the copy; the program's own descriptor stays."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    # ---- what it is -----------------------------------------------------------------------------

    def option(self, level: int, name: int, size: int = 4) -> int:
        """getsockopt(2) of a number of `size` bytes. Raises OSError ENOTSOCK, ENOPROTOOPT."""
        value = ctypes.c_uint64()
        length = ctypes.c_int(size)
        _raise(
            _failed(
                _libc.getsockopt(self._fd, level, name, ctypes.byref(value), ctypes.byref(length))
            )
        )
        return value.value if size == 8 else ctypes.c_int(value.value & 0xFFFFFFFF).value

    def time_limit(self, name: int) -> float:
        """SO_RCVTIMEO or SO_SNDTIMEO in seconds; 0: none. Raises OSError."""
        value, length = ctypes.create_string_buffer(_TIMEVAL.size), ctypes.c_int(_TIMEVAL.size)
        result = _libc.getsockopt(self._fd, SOL_SOCKET, name, value, ctypes.byref(length))
        _raise(_failed(result))
        seconds, microseconds = _TIMEVAL.unpack(value.raw)
        return float(seconds + microseconds / 1e6)

    def set_option(self, level: int, name: int, value: int) -> None:
        """setsockopt(2) of an int. Raises OSError."""
        data = ctypes.c_int(value)
        _raise(_failed(_libc.setsockopt(self._fd, level, name, ctypes.byref(data), 4)))

    @kept
    def family(self) -> int:
        """AF_INET and so on."""
        return self.option(SOL_SOCKET, SO_DOMAIN)

    @kept
    def type(self) -> int:
        """SOCK_STREAM and so on."""
        return self.option(SOL_SOCKET, SO_TYPE)

    @kept
    def protocol(self) -> int:
        """IPPROTO_TCP and so on."""
        return self.option(SOL_SOCKET, SO_PROTOCOL)

    @kept
    def identity(self) -> int:
        """A number that no other socket of this machine ever has (SO_COOKIE, Linux 4.12)."""
        return self.option(SOL_SOCKET, SO_COOKIE, 8)

    @property
    def nonblocking(self) -> bool:
        """Is O_NONBLOCK set?"""
        return bool(fcntl.fcntl(self._fd, fcntl.F_GETFL) & os.O_NONBLOCK)

    @property
    def error(self) -> int:
        """SO_ERROR, an errno, which asking clears."""
        return self.option(SOL_SOCKET, SO_ERROR)

    def peer_credentials(self) -> tuple[int, int, int]:
        """(pid, uid, gid) of SO_PEERCRED, an AF_UNIX socket's. Raises OSError."""
        value = ctypes.create_string_buffer(12)
        length = ctypes.c_int(12)
        where = SOL_SOCKET, SO_PEERCRED
        result = _libc.getsockopt(self._fd, *where, value, ctypes.byref(length))
        _raise(_failed(result))
        pid, uid, gid = struct.unpack("=iII", value.raw)
        return pid, uid, gid

    def name(self) -> SocketAddress | None:
        """getsockname(2). Raises OSError."""
        return self._asked(_libc.getsockname)

    def peer(self) -> SocketAddress | None:
        """getpeername(2). Raises OSError ENOTCONN."""
        return self._asked(_libc.getpeername)

    def _asked(self, function: Callable[..., int]) -> SocketAddress | None:
        buffer = ctypes.create_string_buffer(abi.MOST)
        size = ctypes.c_int(abi.MOST)
        _raise(_failed(function(self._fd, buffer, ctypes.byref(size))))
        return abi.decode(buffer.raw[: size.value])

    # ---- what it does ---------------------------------------------------------------------------

    def connect(self, address: SocketAddress) -> None:
        """connect(2) as the program would: EINPROGRESS where it does not want to wait.

        Raises OSError; Interrupted while it waits.
        """
        data = abi.encode(self._suited(address))

        def attempt() -> int:
            return _failed(_libc.connect(self._fd, data, len(data)))

        _raise(attempt() if self.nonblocking else self._services.blocking(self._call, attempt))

    def disconnect(self) -> None:
        """Make it unconnected again, as after a connect that failed (connect(2), AF_UNSPEC)."""
        _raise(_failed(_libc.connect(self._fd, bytes(16), 16)))
        _ = self.error  # ECONNRESET where it was connected, and its program has lost nothing

    def bind(self, address: SocketAddress) -> None:
        """bind(2), with the monitor's capabilities. Raises OSError."""
        data = abi.encode(self._suited(address))
        _raise(_failed(_libc.bind(self._fd, data, len(data))))

    def accept(self, flags: int = 0) -> SharedSocket:
        """accept4(2): a connection, to be returned as the answer to an accept.

        Raises OSError (EAGAIN where the program does not want to wait, EMFILE where it has no
        descriptor left), Interrupted.
        """
        if not self._services.has_room(self._call):  # the client stays in the queue
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        found: list[int] = []
        name, size = ctypes.create_string_buffer(abi.MOST), ctypes.c_int(abi.MOST)

        def attempt() -> int:
            fd = _libc.accept4(self._fd, name, ctypes.byref(size), flags | os.O_CLOEXEC)
            if fd >= 0:
                found.append(fd)
            return _failed(fd)

        if self.nonblocking:
            _raise(attempt())
        else:
            self.wait(POLLIN, 0)
            _raise(self._services.blocking(self._call, attempt))
        connection = SharedSocket(found[0], self._call, self._services)
        connection.accepted_from = abi.decode(name.raw[: size.value])
        return connection

    def shut_down(self) -> None:
        """shutdown(2) in both directions: nothing can be sent any more. Never raises."""
        _libc.shutdown(self._fd, 2)

    def _suited(self, address: SocketAddress) -> SocketAddress:
        if isinstance(address, InetAddress) and address.family == self._call.given_family:
            return address  # it is of the kind that the program thinks right
        if not isinstance(address, InetAddress):
            return address
        if (address.family, self.family) == (abi.AF_INET, abi.AF_INET6):
            self.admit_ipv4()
        return address.on(self.family)

    def admit_ipv4(self) -> None:
        """Let a socket of AF_INET6 have addresses of IPv4, in their mapped form."""
        if self.option(IPPROTO_IPV6, IPV6_V6ONLY):
            with suppress(OSError):  # it is bound: the kernel says what is wrong with the address
                self.set_option(IPPROTO_IPV6, IPV6_V6ONLY, 0)

    def wait(self, events: int, seconds: float | None = None) -> int:
        """Wait for poll(2) events, others are served meanwhile; the events, 0 after `seconds`.

        Raises Interrupted.
        """
        return self._services.wait(self._call, self._fd, events, seconds)

    def send(self, data: bytes, seconds: float | None) -> None:
        """Send all of it, whether or not the program's socket waits. Raises OSError (ETIMEDOUT),
        Interrupted."""
        left = _countdown(seconds)
        while data:
            count = _send(self._fd, data, len(data), MSG_DONTWAIT | MSG_NOSIGNAL)
            if count >= 0:
                data = data[count:]
            elif ctypes.get_errno() != errno.EAGAIN:
                _raise(ctypes.get_errno())
            elif not self.wait(POLLOUT, left()):
                raise OSError(errno.ETIMEDOUT, "sending took too long")

    def receive(self, most: int, seconds: float | None, flags: int = 0) -> bytes:
        """What is there, at most so many bytes; b"" at the end. Raises OSError (ETIMEDOUT),
        Interrupted."""
        buffer, left = ctypes.create_string_buffer(most), _countdown(seconds)
        while True:
            count = _recv(self._fd, buffer, most, MSG_DONTWAIT | flags)
            if count >= 0:
                return buffer.raw[:count]
            if ctypes.get_errno() != errno.EAGAIN:
                _raise(ctypes.get_errno())
            if not self.wait(POLLIN, left()):
                raise OSError(errno.ETIMEDOUT, "receiving took too long")

    # ---- messages -------------------------------------------------------------------------------

    def send_message(
        self, data: bytes, address: SocketAddress | bytes | None, *, control: bytes = b"",
        flags: int = 0, wait: bool = False,
    ) -> int:  # fmt: skip
        """sendmsg(2); the number of bytes. `address`: bytes are a `struct sockaddr` as it is.
        `wait`: as long as the program's own call would.

        Raises OSError (EAGAIN), Interrupted.
        """
        name = address or b""
        if not isinstance(name, bytes):
            name = abi.encode(self._suited(name))
        header, _buffers = _header(name, data, control)
        return self._exchange(_sendmsg, header, flags | MSG_NOSIGNAL, POLLOUT if wait else 0)

    def receive_message(
        self, size: int, *, name_size: int = 0, control_size: int = 0, flags: int = 0,
        wait: bool = False, then: int = 0,
    ) -> Received:  # fmt: skip
        """recvmsg(2) into that much room. `wait`: as long as the program's own call would. `then`:
        an errno that the socket has from then on, as behind a recvmmsg(2) that this one ends.

        Raises OSError (EAGAIN), Interrupted.
        """
        header, buffers = _header(bytes(name_size), bytes(size), bytes(control_size))
        function = _recvmsg if then == 0 else partial(_receive_and_fail, then)
        count = self._exchange(function, header, flags, POLLIN if wait else 0)
        name, data, control, _ = buffers
        _, name_length, *_, control_length, told = _MSGHDR.unpack(header.raw)
        return Received(
            data.raw[: min(count, size)], name.raw[:name_length], control.raw[:control_length],
            told, count,
        )  # fmt: skip

    def _exchange(
        self, function: Callable[..., int], header: _Buffer, flags: int, events: int
    ) -> int:
        """sendmsg(2) or recvmsg(2). `events`: what it waits for, if it may.

        It waits in the kernel, which alone knows all that ends that: a time limit, a shutdown, a
        peer's refusal. poll(2) tells of some of them for ever, and each would have to be told
        from the others.
        """
        count = function(self._fd, header, flags | MSG_DONTWAIT)
        error = _failed(count)
        if error == errno.EAGAIN and events and not (flags & MSG_DONTWAIT or self.nonblocking):
            self.wait(events, 0)

            def attempt() -> int:
                nonlocal count
                count = function(self._fd, header, flags)
                return _failed(count)

            error = self._services.blocking(self._call, attempt)
        _raise(error)
        return count


_MSGHDR = struct.Struct("=QI4xQQQQi4x")
_Buffer = ctypes.Array[ctypes.c_char]


def _countdown(seconds: float | None) -> Callable[[], float | None]:
    """Tells how much is left of so many seconds from now; None: no end."""
    end = None if seconds is None else time.monotonic() + seconds
    return lambda: None if end is None else max(end - time.monotonic(), 0)


_REFUSED = {
    errno.EFAULT: _MSGHDR.pack(0, 0, 0, 1, 0, 0, 0),
    errno.EINVAL: _MSGHDR.pack(1, 1 << 31, 0, 0, 0, 0, 0),
    errno.EMSGSIZE: _MSGHDR.pack(0, 0, 0, 1 << 16, 0, 0, 0),
}
"""Headers that the kernel refuses, with these errors."""


def _receive_and_fail(error: int, fd: int, header: _Buffer, flags: int) -> int:
    """recvmmsg(2) of one message, and another one that fails: the kernel remembers the error as the
    socket's."""
    both = ctypes.create_string_buffer(
        header.raw + bytes(8) + _REFUSED[error], _MSGHDR.size * 2 + 16
    )
    if _recvmmsg(fd, both, 2, flags, None) < 0:
        return -1
    ctypes.memmove(header, both, _MSGHDR.size)
    return int.from_bytes(both.raw[_MSGHDR.size : _MSGHDR.size + 4], "little")


def _header(*parts: bytes) -> tuple[_Buffer, tuple[_Buffer, ...]]:
    """A struct msghdr of name, data and control, and what must live as long as it."""
    name, data, control = (ctypes.create_string_buffer(part, max(len(part), 1)) for part in parts)
    vector = ctypes.create_string_buffer(
        struct.pack("=QQ", ctypes.addressof(data), len(parts[1])), 16
    )
    header = _MSGHDR.pack(
        ctypes.addressof(name) if parts[0] else 0, len(parts[0]), ctypes.addressof(vector), 1,
        ctypes.addressof(control) if parts[2] else 0, len(parts[2]), 0,
    )  # fmt: skip
    return ctypes.create_string_buffer(header, _MSGHDR.size), (name, data, control, vector)
