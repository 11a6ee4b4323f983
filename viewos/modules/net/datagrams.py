"""Datagrams whose addresses the rules change: they are sent and received for the program.

What no rule changes is left to the kernel, and so is all that is received by sockets which never
sent to a mapped address.
"""

from __future__ import annotations

import errno
import struct
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from viewos import PASS, InetAddress, Interrupted, OtherMessage
from viewos.modules.net.families import INET, SOCK_DGRAM, as_told
from viewos.modules.net.memory import Memory
from viewos.modules.net.patterns import is_loopback
from viewos.modules.net.pktinfo import coming_from, translated

if TYPE_CHECKING:
    from viewos import Call, Message, Received, SharedSocket, Verdict

MSG_DONTWAIT, MSG_WAITFORONE, MSG_ZEROCOPY = 0x40, 0x10000, 0x4000000
_FLAGS_AT = {"recvfrom": 3, "recvmsg": 2, "recvmmsg": 3, "sendto": 3, "sendmsg": 2, "sendmmsg": 3}
_TIMESPEC = struct.Struct("=qq")
SECOND = 10**9
MOST_NAMES = 1024
"""Mapped addresses that are remembered of one socket."""


class Way(NamedTuple):
    """How a datagram gets there."""

    to: InetAddress | None = None
    """None: where the message itself says, an address of another family, or the socket's peer."""
    source: bytes = b""
    """The address that it comes from; b"": the kernel chooses."""
    is_past: bool = False
    """It is none of the business of layers below."""


class Senders:
    """Where a socket's datagrams went, to say so again when the answer comes."""

    def __init__(self) -> None:
        self._of: Memory[dict[InetAddress, InetAddress]] = Memory()
        self._real: Memory[dict[InetAddress, InetAddress]] = Memory()

    def keep(self, socket: SharedSocket, asked: InetAddress, real: InetAddress) -> None:
        """The socket sends to `real` what its program sends to `asked`."""
        asked = as_told(asked)
        _put(self._of, socket.identity, real.plain, asked)
        _put(self._real, socket.identity, asked.plain, real)

    def real(self, socket: SharedSocket, asked: InetAddress) -> InetAddress | None:
        """Where the socket's program sends to, if it is somebody that it has heard of."""
        known = self._real.find(socket.identity)
        return None if known is None else known.get(as_told(asked).plain)

    def of(self, socket: SharedSocket) -> dict[InetAddress, InetAddress] | None:
        """real -> asked; None for a socket that never sent to a mapped address."""
        return self._of.find(socket.identity)


def _put(
    memory: Memory[dict[InetAddress, InetAddress]],
    identity: int,
    key: InetAddress,
    value: InetAddress,
) -> None:
    old = memory.find(identity) or {}
    if old.get(key) == value:
        return
    new = {**old, key: value}
    if len(new) > MOST_NAMES:
        del new[next(iter(new))]
    memory.keep(identity, new)  # another dict: other threads may be reading the old one


Source = Callable[["SharedSocket", bytes, bytes], bytes]
"""What stands for an address in ancillary data from which a datagram is to come; given where it
would come from by itself, and that address."""


class Told(NamedTuple):
    """What the program is told that has a loopback interface of its own."""

    sender: Callable[[SharedSocket, InetAddress], InetAddress]
    """Of one that it has not heard of."""
    host: Callable[[bytes, InetAddress | None], bytes]
    """Of an address in ancillary data, which the sender that is told has reached."""


def _flags(call: Call) -> int:
    return call.raw[_FLAGS_AT[call.name]] & 0xFFFFFFFF


def send(call: Call, ways: list[Way], messages: list[Message], source: Source | None) -> int:
    """Send messages. Raises OSError, Interrupted."""
    socket, done, last = call.socket(), 0, 0
    flags = _flags(call) & ~MSG_ZEROCOPY
    for way, message in zip(ways, messages, strict=True):
        try:
            control = message.control()
            if source is not None:
                control = translated(control, partial(source, socket, way.source))
            if way.source:
                control = coming_from(control, way.source)
            led = OtherMessage(message, to=way.to, control=control)
            below = PASS if way.is_past else call.ask(messages=[led])
            if below is not PASS:
                last, done = below, done + 1
                continue
            last = socket.send_message(
                message.payload(), way.to or message.name, control=control, flags=flags, wait=True
            )
            message.sent(last)
        except (OSError, Interrupted):
            if not done:
                raise
            return done  # the next call gets the error, as sendmmsg(2) says
        done += 1
    return done if call.name == "sendmmsg" else last


def receive(call: Call, senders: Senders, told: Told | None) -> Verdict:
    """recvfrom(2), recvmsg(2), recvmmsg(2): answers come from where the program sent to.

    Raises OSError, Interrupted.
    """
    if call.name == "recvfrom" and not call.raw[4]:
        return PASS
    socket = call.socket()
    if senders.of(socket) is None and (told is None or not _is_udp(socket)):
        return PASS

    def name(real: InetAddress) -> InetAddress:
        asked = (senders.of(socket) or {}).get(real.plain)
        if asked is None and told is not None:
            asked = told.sender(socket, real)
            if asked.plain != real.plain or is_loopback(asked.plain):
                senders.keep(socket, asked, real)
        return real if asked is None else asked

    def heard(got: Received) -> Received:
        sender = InetAddress.decode(got.address)
        if sender is not None:
            sender = name(sender).on(socket.family)
            got = got._replace(address=sender.encode())
        if told is not None:
            host = partial(_told_by, told, sender)
            got = got._replace(control=translated(got.control, host))
        return got

    def one(message: Message, flags: int) -> int:
        got = socket.receive_message(
            message.size, name_size=28, control_size=message.control_size, flags=flags, wait=True,
            then=message.then,
        )  # fmt: skip
        message.deliver(got)
        return got.length

    messages: list[Message] = [OtherMessage(message, heard=heard) for message in call.messages()]
    below = call.ask(messages=messages)
    if below is not PASS:
        return below
    if call.name != "recvmmsg":
        return one(messages[0], _flags(call))
    return _receive_many(call, messages, one)


def _told_by(told: Told, sender: InetAddress | None, host: bytes) -> bytes:
    return told.host(host, sender)


def _is_udp(socket: SharedSocket) -> bool:
    return socket.family in INET and socket.type == SOCK_DGRAM


def _receive_many(call: Call, messages: list[Message], one: Callable[[Message, int], int]) -> int:
    flags, end, done, left = _flags(call), _end(call), 0, 0
    for message in messages:
        try:
            one(message, flags & ~MSG_WAITFORONE)
        except (OSError, Interrupted):
            if not done:
                raise
            break
        done += 1
        if flags & MSG_WAITFORONE:
            flags |= MSG_DONTWAIT
        if end is not None:
            left = max(end - time.monotonic_ns(), 0)
            if not left:
                break
    if end is not None:
        call.write(call.raw[4], _TIMESPEC.pack(*divmod(left, SECOND)))
    return done


def _end(call: Call) -> int | None:
    """recvmmsg's time limit, which counts after each datagram only (recvmmsg(2), BUGS). Raises
    OSError EFAULT, EINVAL."""
    if not call.raw[4]:
        return None
    seconds, nano = _TIMESPEC.unpack(call.read(call.raw[4], _TIMESPEC.size))
    if seconds < 0 or not 0 <= nano < SECOND:
        raise OSError(errno.EINVAL, "timeout")
    return time.monotonic_ns() + int(seconds * SECOND + nano)
