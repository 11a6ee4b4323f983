"""AF_UNIX names in struct msghdr: sendmsg, recvmsg and their multiple kin.

BPF sees no more of them than a pointer, so in a view whose claims rename these calls are trapped
for every socket; write(2), send(2) and the like never are.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from viewos.abi.row import signed32
from viewos.monitor import sockets
from viewos.monitor.outcome import CONTINUE, Outcome
from viewos.monitor.rewrite import Block, Rewrite

if TYPE_CHECKING:
    from viewos.call import Call
    from viewos.monitor.router import Router

_HEAD = struct.Struct("=Qi")  # msg_name, msg_namelen
_NAMELEN, _MSGLEN = 8, 56
_SIZE, _MULTIPLE_SIZE = 56, 64
_UIO_MAXIOV = 1024


def _headers(router: Router, call: Call) -> tuple[int, list[bytes]]:
    """(bytes from one to the next, the headers)."""
    multiple = call.name.endswith("mmsg")
    size = _MULTIPLE_SIZE if multiple else _SIZE
    count = min(call.raw[2] & 0xFFFFFFFF, _UIO_MAXIOV) if multiple else 1
    data = router.memory.read_exact(call.tid, call.raw[1], size * count)
    return size, [data[at : at + size] for at in range(0, len(data), size)]


def sent(router: Router, call: Call) -> int | Outcome:
    """sendmsg(2), sendmmsg(2): names lead to the backing."""
    size, headers = _headers(router, call)
    pointers: dict[int, Block | bytes] = {}
    blob = bytearray(b"".join(headers))
    for index, header in enumerate(headers):
        address, length = _HEAD.unpack_from(header)
        name = sockets.real_name(router, call, address, length, create=False)
        if name is not None:
            pointers[index * size] = name
            struct.pack_into("=i", blob, index * size + _NAMELEN, len(name))
    if not pointers:
        return CONTINUE

    def after(result: int) -> None:
        for index in range(result if size == _MULTIPLE_SIZE else 0):
            # The lengths went to our copy. The payload of each message was sent as a whole.
            count = _payload(router, call, headers[index])
            at = call.raw[1] + index * size + _MSGLEN
            router.memory.write(call.tid, at, struct.pack("=I", count))

    args = [*call.raw[: len(call.row.args)]]
    rewrite = Rewrite(
        call.row.number, [args[0], Block(bytes(blob), pointers), *args[2:]], call.row.cookie.arg,
        call.row.cookie.shift, may_block=True, after=after,
    )  # fmt: skip
    return router.fix_up(call, rewrite, None, plain=False)


def _payload(router: Router, call: Call, header: bytes) -> int:
    """Bytes of a message to a name: a datagram goes whole or not at all."""
    address, count = struct.unpack_from("=QQ", header, 16)
    vectors = router.memory.read_exact(call.tid, address, 16 * count)
    return sum(length for _, length in struct.iter_unpack("=QQ", vectors))


def received(router: Router, call: Call) -> int | Outcome:
    """recvmsg(2), recvmmsg(2): the sender's name is mapped back."""
    size, headers = _headers(router, call)
    names = [_HEAD.unpack_from(header)[0] for header in headers]
    if not any(names) or not sockets.renames(router):
        return CONTINUE
    at_flags = 3 if call.name == "recvmmsg" else 2
    dont_wait = bool(signed32(call.raw[at_flags]) & sockets.MSG_DONTWAIT)
    timed = call.name == "recvmmsg" and call.raw[4] != 0
    if not sockets.wait_for_peer(router, call, dont_wait=dont_wait or timed):
        return CONTINUE

    def after(result: int) -> None:
        for index in range(max(result if size == _MULTIPLE_SIZE else min(result + 1, 1), 0)):
            if names[index]:
                at = call.raw[1] + index * size + _NAMELEN
                sockets.map_back(router, call, names[index], at, headers[index][_NAMELEN:][:4])

    rewrite = Rewrite(
        call.row.number, list(call.raw[: len(call.row.args)]), call.row.cookie.arg,
        call.row.cookie.shift, may_block=True, after=after,
    )  # fmt: skip
    return router.fix_up(call, rewrite, {}, plain=True)
