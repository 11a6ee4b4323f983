"""What the processes of a launch say to each other: one datagram a message, in order."""

from __future__ import annotations

# Not `socket`, which costs 6 ms of every start (enum, selectors).
import _socket
import os
import struct
from typing import Protocol

from viewos.launcher import raw

SERVING = b"S"
"""Monitor to program: calls are being answered."""
FAILED = b"F"
"""There will be no program; a text follows."""
_MOST = 4096


class Line(Protocol):
    """What the process that becomes the program needs of a wire to its monitor."""

    def send_descriptor(self, fd: int) -> None: ...
    def receive(self) -> bytes: ...
    def close(self) -> None: ...


class Wire:
    """One end of a connected pair of SOCK_SEQPACKET sockets; its number is above 2."""

    def __init__(self, end: _socket.socket) -> None:
        self._socket = end

    def fileno(self) -> int:
        """For poll."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close this end. More than once does no harm."""
        self._socket.close()

    def send(self, message: bytes) -> bool:
        """Send a message; False when the other end has gone. SIGPIPE is ignored (by Python)."""
        try:
            os.write(self._socket.fileno(), message[:_MOST])
        except ConnectionError:
            return False
        return True

    def send_descriptor(self, fd: int) -> None:
        """Send a copy of a descriptor, and our pid. Raises OSError."""
        rights = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, struct.pack("@i", fd))
        sender = struct.pack("=i", os.getpid())
        self._socket.sendmsg([sender], [rights], _socket.MSG_NOSIGNAL)

    def receive(self) -> bytes:
        """The next message, b"" when the other end has gone. By read(2), which is never trapped."""
        while True:
            try:
                return os.read(self._socket.fileno(), _MOST)
            except ConnectionError:
                # Said once, before what was sent: the other end closed without reading all of ours.
                pass

    def receive_descriptor(self) -> tuple[int, int] | None:
        """What `send_descriptor` sent: (descriptor, pid). None when the other end has gone.

        The descriptor is -1 when another message came.
        """
        while True:
            try:
                sender, ancillary, _, _ = self._socket.recvmsg(
                    16, _socket.CMSG_SPACE(4), _socket.MSG_CMSG_CLOEXEC
                )
                break
            except ConnectionError:
                pass  # as in `receive`
        for level, kind, data in ancillary:
            if (level, kind) == (_socket.SOL_SOCKET, _socket.SCM_RIGHTS) and len(data) == 4:
                return struct.unpack("@i", data)[0], struct.unpack("=i", sender)[0]
        return (-1, 0) if sender else None


def pair() -> tuple[Wire, Wire]:
    """Two ends, O_CLOEXEC."""
    one, other = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    return Wire(_lifted(one)), Wire(_lifted(other))


def _lifted(end: _socket.socket) -> _socket.socket:
    fd = raw.lifted(end.detach())
    return _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, fd)
