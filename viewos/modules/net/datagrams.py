"""Datagrams whose addresses the rules change: they are sent and received for the program.

What no rule changes is left to the kernel, and so is all that is received by sockets which never
sent to a mapped address.
"""

from __future__ import annotations

import errno
import time
from typing import TYPE_CHECKING

from viewos import PASS, InetAddress, Received
from viewos.modules.net.memory import Memory

if TYPE_CHECKING:
    from viewos import Call, Message, SharedSocket, Verdict

MSG_PEEK, MSG_DONTWAIT, MSG_WAITFORONE, MSG_ERRQUEUE = 0x2, 0x40, 0x10000, 0x2000
MSG_ZEROCOPY = 0x4000000
POLLIN, POLLOUT = 1, 4
_FLAGS_AT = {"recvfrom": 3, "recvmsg": 2, "recvmmsg": 3, "sendto": 3, "sendmsg": 2, "sendmmsg": 3}
MOST_NAMES = 1024
"""Mapped addresses that are remembered of one socket."""


class Senders:
    """Where a socket's datagrams went, to say so again when the answer comes."""

    def __init__(self) -> None:
        self._of: Memory[dict[InetAddress, InetAddress]] = Memory()

    def keep(self, socket: SharedSocket, asked: InetAddress, real: InetAddress) -> None:
        """The socket sends to `real` what its program sends to `asked`."""
        names = dict(self._of.find(socket.identity) or {})
        names.pop(real.plain, None)
        if len(names) >= MOST_NAMES:
            del names[next(iter(names))]
        self._of.keep(socket.identity, {**names, real.plain: asked})

    def of(self, socket: SharedSocket) -> dict[InetAddress, InetAddress] | None:
        """real -> asked; None for a socket that never sent to a mapped address."""
        return self._of.find(socket.identity)


def _flags(call: Call) -> int:
    return call.raw[_FLAGS_AT[call.name]] & 0xFFFFFFFF


def send(call: Call, targets: list[InetAddress | None], messages: list[Message]) -> int:
    """Send messages to addresses (None: the socket's peer). Raises OSError, Interrupted."""
    socket, done, last = call.socket(), 0, 0
    flags = _flags(call) & ~MSG_ZEROCOPY
    for target, message in zip(targets, messages, strict=True):
        try:
            last = _send_one(socket, message, target, flags)
        except OSError:
            if not done:
                raise
            return done  # the next call gets the error, as sendmmsg(2) says
        message.sent(last)
        done += 1
    return done if call.name == "sendmmsg" else last


def _send_one(
    socket: SharedSocket, message: Message, target: InetAddress | None, flags: int
) -> int:
    while True:
        try:
            return socket.send_message(
                message.payload(), target, control=message.control(), flags=flags
            )
        except BlockingIOError:
            if flags & MSG_DONTWAIT or socket.nonblocking:
                raise
            socket.wait(POLLOUT)


def receive(call: Call, names: Senders) -> Verdict:
    """recvfrom(2), recvmsg(2), recvmmsg(2): answers come from where the program sent to.

    Raises OSError, Interrupted.
    """
    if call.name == "recvfrom" and not call.raw[4]:
        return PASS
    socket = call.socket()
    known = names.of(socket)
    if known is None:
        return PASS
    messages = call.messages()
    if call.name != "recvmmsg":
        return _receive_one(socket, messages[0], _flags(call), known)
    return _receive_many(call, socket, messages, known)


def _receive_many(
    call: Call, socket: SharedSocket, messages: list[Message], known: dict[InetAddress, InetAddress]
) -> int:
    flags, deadline, done = _flags(call), _deadline(call), 0
    for message in messages:
        try:
            _receive_one(socket, message, flags & ~MSG_WAITFORONE, known)
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


def _receive_one(
    socket: SharedSocket, message: Message, flags: int, known: dict[InetAddress, InetAddress]
) -> int:
    got = _wait_for(socket, message, flags)
    sender = InetAddress.decode(got.address)
    asked = None if sender is None else known.get(sender.plain)
    if asked is not None:
        got = got._replace(address=asked.on(socket.family).encode())
    message.deliver(got)
    return got.length


def _wait_for(socket: SharedSocket, message: Message, flags: int) -> Received:
    while True:
        try:
            return socket.receive_message(
                message.size, name_size=28, control_size=message.control_size, flags=flags
            )
        except BlockingIOError:
            if flags & (MSG_DONTWAIT | MSG_ERRQUEUE) or socket.nonblocking:
                raise
        if not socket.wait(POLLIN, socket.receive_timeout):
            raise BlockingIOError(errno.EAGAIN, "SO_RCVTIMEO")
