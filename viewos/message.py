"""`Message`: one message of sendto, recvfrom, sendmsg, recvmsg, sendmmsg or recvmmsg.

Where it lies in the program's memory is read once; `SharedSocket` sends and receives it.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING

from viewos.abi import socket as abi
from viewos.abi.socket import SocketAddress
from viewos.errors import BadArgument
from viewos.kept import kept
from viewos.tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from viewos.call import Call

_HEADER = struct.Struct("=Qi4xQQQQi4x")
"""struct msghdr: name, its length, vectors, their number, control, its length, flags."""
_MULTIPLE = 64
"""sizeof(struct mmsghdr): a header, and how much was sent or received."""
_NAMELEN_AT, _CONTROLLEN_AT, _FLAGS_AT, _LENGTH_AT = 8, 40, 48, 56
_INT, _U32, _U64 = struct.Struct("=i"), struct.Struct("=I"), struct.Struct("=Q")
IOV_MAX = 1024
_NEGATIVE, _BEYOND = 1 << 63, 1 << 56
"""Lengths of a vector: as a ssize_t; more than the memory that any process can have."""
MOST = 1 << 16
"""Bytes: no datagram is longer, and what is longer is no datagram."""


class Received(NamedTuple):
    """What recvmsg(2) gave."""

    data: bytes
    address: bytes
    """The sender's `struct sockaddr`, b"" where there is none."""
    control: bytes
    flags: int
    length: int
    """The call's result: with MSG_TRUNC more than there are bytes."""


class Message:
    """One message as the program describes it."""

    def __init__(
        self, call: Call, name: tuple[int, int], vectors: list[tuple[int, int]],
        control: tuple[int, int] = (0, 0), header: int = 0, length_at: int = 0,
    ) -> None:  # fmt: skip
        self._call = call
        self._name_at, self.name_size = name
        self._vectors = vectors
        self._control_at, self.control_size = control
        self._header = header
        self._length_at = length_at
        self.size = min(sum(length for _, length in vectors), MOST)
        """Bytes of its data: what is to be sent, or room for what is received."""
        self.then = 0
        """The errno with which the kernel refuses the message behind it; 0: it does not."""

    @property
    def has_name(self) -> bool:
        """Is there an address, or a place for one?"""
        return bool(self._name_at)

    @property
    def address(self) -> SocketAddress | None:
        """Where it is to be sent; None as with `Call.address`. Raises BadArgument EFAULT."""
        data = self.name
        is_unspec = abi.family(data) == abi.AF_UNSPEC
        if is_unspec and self._call.socket().family == abi.AF_INET:  # the same (udp_sendmsg)
            data = struct.pack("=H", abi.AF_INET) + data[2:]
        return abi.decode(data)

    @kept
    def name(self) -> bytes:
        """The `struct sockaddr`, read once; b"" where there is none, or one that is too long.
        Raises BadArgument EFAULT."""
        if not self._name_at or not 0 < self.name_size <= abi.MOST:
            return b""
        return self._call.read_argument(self._name_at, self.name_size)

    def payload(self) -> bytes:
        """The data to be sent. Raises BadArgument EFAULT; EMSGSIZE where that is no datagram."""
        if self.size >= MOST:
            raise _refused(errno.EMSGSIZE)
        parts, left = [], self.size
        for address, length in self._vectors:
            take = min(length, left)
            if take:
                parts.append(self._call.read_argument(address, take))
            left -= take
        return b"".join(parts)

    def control(self) -> bytes:
        """The ancillary data to be sent. Raises BadArgument EFAULT."""
        return self._control

    @kept
    def _control(self) -> bytes:
        size = min(self.control_size, MOST)
        if not self._control_at or not size:
            return b""
        return self._call.read_argument(self._control_at, size)

    def sent(self, count: int) -> None:
        """Tell a sendmmsg how much of this message was sent."""
        if self._header and self._call.name == "sendmmsg":
            self._call.write(self._header + _LENGTH_AT, _U32.pack(count))

    def deliver(self, what: Received) -> None:
        """Put what was received where the program wants it. Raises OSError EFAULT, EINVAL."""
        data = what.data
        for address, length in self._vectors:
            if data:
                self._call.write(address, data[:length])
            data = data[length:]
        if self._name_at:
            if self.name_size < 0:
                raise OSError(errno.EINVAL, "the length of an address")
            self._call.write(self._name_at, what.address[: self.name_size])
            at = self._length_at or self._header + _NAMELEN_AT
            self._call.write(at, _U32.pack(len(what.address)))
        if not self._header:
            return
        if self._control_at:
            self._call.write(self._control_at, what.control)
        self._call.write(self._header + _CONTROLLEN_AT, _U64.pack(len(what.control)))
        self._call.write(self._header + _FLAGS_AT, _U32.pack(what.flags & 0xFFFFFFFF))
        if self._call.name == "recvmmsg":
            self._call.write(self._header + _LENGTH_AT, _U32.pack(what.length))


class OtherMessage(Message):
    """A message as an upper layer has the layers below see it: `Call.ask`."""

    def __init__(
        self,
        message: Message,
        *,
        to: SocketAddress | None = None,
        control: bytes | None = None,
        heard: Callable[[Received], Received] | None = None,
    ) -> None:
        """It goes to another address, with other ancillary data, or what is received is told as
        `heard` makes it."""
        self.__dict__.update(message.__dict__)
        self._message, self._to, self._ancillary, self._heard = message, to, control, heard

    @property
    def address(self) -> SocketAddress | None:
        """See `Message`."""
        return self._message.address if self._to is None else self._to

    def control(self) -> bytes:
        """See `Message`."""
        return self._message.control() if self._ancillary is None else self._ancillary

    def deliver(self, what: Received) -> None:
        """See `Message`."""
        self._message.deliver(what if self._heard is None else self._heard(what))


def messages(call: Call) -> list[Message]:
    """The messages of a call, up to one that the kernel refuses: it sends or receives those before
    it. Raises BadArgument EFAULT, EINVAL, EMSGSIZE: that is the first."""
    raw = call.raw
    if call.name in ("sendto", "recvfrom"):
        name, length_at = (raw[4], raw[5] & 0xFFFFFFFF), 0
        if call.name == "recvfrom":
            length_at = raw[5]
            name = (raw[4], _room(call, length_at) if raw[4] else 0)
        return [Message(call, name, [(raw[1], min(raw[2], MOST))], length_at=length_at)]
    found: list[Message] = []
    try:
        for at, header in _headers(call):
            message = _message(call, at, header)
            if call.name.startswith("send"):
                _ = message.name
            found.append(message)
    except BadArgument as error:
        if not found:
            raise
        found[-1].then = error.errno or errno.EFAULT
    return found


def _headers(call: Call) -> Iterator[tuple[int, bytes]]:
    """(where it stands, the header) of each message. Raises BadArgument EFAULT."""
    start, size = call.raw[1], _HEADER.size
    count = min(call.raw[2] & 0xFFFFFFFF, IOV_MAX) if call.name.endswith("mmsg") else 1
    try:
        data = call.read_argument(start, (count - 1) * _MULTIPLE + size) if count else b""
    except BadArgument:
        data = b""  # some of them may be there
    for at in range(0, count * _MULTIPLE, _MULTIPLE):
        yield start + at, data[at : at + size] or call.read_argument(start + at, size)


def _room(call: Call, at: int) -> int:
    """Bytes for an address. Where a bad pointer is to say it the kernel looks behind the datagram,
    which is gone: `Message.deliver` finds the same."""
    try:
        return int(_INT.unpack(call.read(at, 4))[0])
    except OSError as error:
        if error.errno != errno.EFAULT:
            raise
        return 0


def _message(call: Call, at: int, header: bytes) -> Message:
    name, name_size, vectors_at, count, control, control_size, _ = _HEADER.unpack(header)
    if name and name_size < 0:
        raise _refused(errno.EINVAL)
    if count > IOV_MAX:
        raise _refused(errno.EMSGSIZE)
    name_size = min(name_size, abi.MOST)  # what is longer is cut; sendto(2) refuses it
    data = call.read_argument(vectors_at, 16 * count) if count else b""
    vectors = list(struct.iter_unpack("=QQ", data))
    for _, length in vectors:
        if length > _BEYOND:
            raise _refused(errno.EINVAL if length >= _NEGATIVE else errno.EFAULT)
    return Message(call, (name, name_size), vectors, (control, control_size), at)


def _refused(number: int) -> BadArgument:
    return BadArgument(number, os.strerror(number))
