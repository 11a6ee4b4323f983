"""Datagrams whose addresses the rules change: they are sent and received for the program.

What no rule changes is left to the kernel, and so is all that is received by sockets which never
sent to a mapped address.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from viewos import PASS, InetAddress
from viewos.modules.net.families import INET, SOCK_DGRAM
from viewos.modules.net.memory import Memory
from viewos.modules.net.patterns import is_loopback

if TYPE_CHECKING:
    from viewos import Call, Message, SharedSocket, Verdict

MSG_DONTWAIT, MSG_WAITFORONE, MSG_ZEROCOPY = 0x40, 0x10000, 0x4000000
_FLAGS_AT = {"recvfrom": 3, "recvmsg": 2, "recvmmsg": 3, "sendto": 3, "sendmsg": 2, "sendmmsg": 3}
MOST_NAMES = 1024
"""Mapped addresses that are remembered of one socket."""


class Senders:
    """Where a socket's datagrams went, to say so again when the answer comes."""

    def __init__(self) -> None:
        self._of: Memory[dict[InetAddress, InetAddress]] = Memory()
        self._real: Memory[dict[InetAddress, InetAddress]] = Memory()

    def keep(self, socket: SharedSocket, asked: InetAddress, real: InetAddress) -> None:
        """The socket sends to `real` what its program sends to `asked`."""
        _put(self._of, socket.identity, real.plain, asked)
        _put(self._real, socket.identity, asked.plain, real)

    def real(self, socket: SharedSocket, asked: InetAddress) -> InetAddress | None:
        """Where the socket's program sends to, if it is somebody that it has heard of."""
        known = self._real.find(socket.identity)
        return None if known is None else known.get(asked.plain)

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


Told = Callable[["SharedSocket", InetAddress], InetAddress]
"""What the program is told of a sender that it has not heard of."""


def _flags(call: Call) -> int:
    return call.raw[_FLAGS_AT[call.name]] & 0xFFFFFFFF


def send(call: Call, targets: list[InetAddress | None], messages: list[Message]) -> int:
    """Send messages to addresses (None: the socket's peer). Raises OSError, Interrupted."""
    socket, done, last = call.socket(), 0, 0
    flags = _flags(call) & ~MSG_ZEROCOPY
    for target, message in zip(targets, messages, strict=True):
        try:
            last = socket.send_message(
                message.payload(), target, control=message.control(), flags=flags, wait=True
            )
        except OSError:
            if not done:
                raise
            return done  # the next call gets the error, as sendmmsg(2) says
        message.sent(last)
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
            asked = told(socket, real)
            if asked.plain != real.plain or is_loopback(asked.plain):
                senders.keep(socket, asked, real)
        return real if asked is None else asked

    messages = call.messages()
    if call.name != "recvmmsg":
        return _receive_one(socket, messages[0], _flags(call), name)
    return _receive_many(call, socket, messages, name)


def _is_udp(socket: SharedSocket) -> bool:
    return socket.family in INET and socket.type == SOCK_DGRAM


Name = Callable[[InetAddress], InetAddress]


def _receive_many(call: Call, socket: SharedSocket, messages: list[Message], name: Name) -> int:
    flags, deadline, done = _flags(call), _deadline(call), 0
    for message in messages:
        try:
            _receive_one(socket, message, flags & ~MSG_WAITFORONE, name)
        except OSError:
            if not done:
                raise
            break
        done += 1
        if flags & MSG_WAITFORONE:
            flags |= MSG_DONTWAIT
        if deadline is not None and time.monotonic() >= deadline:
            break
    return done


def _deadline(call: Call) -> float | None:
    """recvmmsg's timeout counts after each datagram only (recvmmsg(2), BUGS)."""
    if not call.raw[4]:
        return None
    data = call.read(call.raw[4], 16)
    seconds, nano = int.from_bytes(data[:8], "little"), int.from_bytes(data[8:], "little")
    return time.monotonic() + seconds + nano / 1e9


def _receive_one(socket: SharedSocket, message: Message, flags: int, name: Name) -> int:
    got = socket.receive_message(
        message.size, name_size=28, control_size=message.control_size, flags=flags, wait=True
    )
    sender = InetAddress.decode(got.address)
    if sender is not None:
        got = got._replace(address=name(sender).on(socket.family).encode())
    message.deliver(got)
    return got.length
