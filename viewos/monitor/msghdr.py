"""AF_UNIX names and credentials in struct msghdr: sendmsg, recvmsg and their multiple kin.

BPF sees no more of them than a pointer, so in a view whose claims rename, or where ids are others,
these calls are trapped for every socket; write(2), send(2) and the like never are.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from viewos.abi.row import signed32
from viewos.monitor import ancillary, sockets
from viewos.monitor.memory import Fault
from viewos.monitor.outcome import CONTINUE, Outcome
from viewos.monitor.rewrite import Argument, Block, Rewrite

if TYPE_CHECKING:
    from viewos.call import Call
    from viewos.monitor.router import Router

_HEAD = struct.Struct("=Qi")  # msg_name, msg_namelen
_CONTROL = struct.Struct("=QQ")  # msg_control, msg_controllen
_NAMELEN, _CONTROL_AT, _CONTROLLEN, _MSGLEN = 8, 32, 40, 56
_SIZE, _MULTIPLE_SIZE = 56, 64
_UIO_MAXIOV = 1024
_REFUSED = struct.pack("=QQQQQQQ", 0, 0, 0, 1, 0, 0, 0)
"""A header that gives EFAULT, for what stood behind those that are there."""
_OPTMEM = 1 << 17
"""Bytes: more ancillary data than net.core.optmem_max lets through."""


def _headers(router: Router, call: Call) -> tuple[int, list[bytes]]:
    """(bytes from one to the next, the headers up to one that is not there)."""
    multiple = call.name.endswith("mmsg")
    size = _MULTIPLE_SIZE if multiple else _SIZE
    count = min(call.raw[2] & 0xFFFFFFFF, _UIO_MAXIOV) if multiple else 1
    try:
        data = router.memory.read_exact(call.tid, call.raw[1], size * count)
    except Fault:
        data = _readable(router, call.tid, call.raw[1], size * count)
        if len(data) < size:
            raise
    return size, [data[at : at + size] for at in range(0, len(data) - size + 1, size)]


def _readable(router: Router, tid: int, address: int, size: int) -> bytes:
    data = b""
    with suppress(Fault):
        while len(data) < size:
            data += router.memory.read(tid, address + len(data), size - len(data))
    return data


def sent(router: Router, call: Call) -> int | Outcome:
    """sendmsg(2), sendmmsg(2): names lead to the backing, credentials are the real ones. Those
    before one that fails are sent."""
    size, headers = _headers(router, call)
    pointers: dict[int, Block | bytes] = {}
    blob = bytearray(b"".join(headers))
    count = len(headers)
    for index, header in enumerate(headers):
        try:
            name, control = _changed(router, call, header)
        except (OSError, Fault):
            if not index:
                raise
            count = index
            break
        if name is not None:
            pointers[index * size] = name
            struct.pack_into("=i", blob, index * size + _NAMELEN, len(name))
        if control is not None:
            pointers[index * size + _CONTROL_AT] = control
    if not pointers and count == len(headers):
        return CONTINUE

    def after(result: int, _: Sequence[int]) -> None:
        for index in range(result if size == _MULTIPLE_SIZE else 0):
            # The lengths went to our copy. The payload of each message was sent as a whole.
            count = _payload(router, call, headers[index])
            at = call.raw[1] + index * size + _MSGLEN
            router.memory.write(call.tid, at, struct.pack("=I", count))

    args: list[Argument] = [*call.raw[: len(call.row.args)]]
    args[1] = Block(bytes(blob), pointers)
    if size == _MULTIPLE_SIZE:
        args[2] = count
    rewrite = Rewrite(
        call.row.number, args, call.row.cookie.arg, call.row.cookie.shift, may_block=True,
        after=after,
    )  # fmt: skip
    return router.fix_up(call, rewrite, None, plain=False)


def _changed(router: Router, call: Call, header: bytes) -> tuple[bytes | None, bytes | None]:
    """The name and the ancillary data to send in the place of the program's; None: it will do.
    Raises OSError, Fault."""
    address, length = _HEAD.unpack_from(header)
    name = sockets.sent_name(router, call, address, length)
    control = _control(router, call, header)
    return name, ancillary.sent(router, call, control) if control else None


def _control(router: Router, call: Call, header: bytes, size: int | None = None) -> bytes:
    """Its ancillary data where there may be credentials in it; `size`: of what was received."""
    address, room = _CONTROL.unpack_from(header, _CONTROL_AT)
    size = room if size is None else min(size, room)
    if not address or not ancillary.LEAST <= size <= _OPTMEM or not ancillary.layers(router):
        return b""
    return router.memory.read_exact(call.tid, address, size)


def _payload(router: Router, call: Call, header: bytes) -> int:
    """Bytes of a message to a name: a datagram goes whole or not at all."""
    address, count = struct.unpack_from("=QQ", header, 16)
    vectors = router.memory.read_exact(call.tid, address, 16 * count)
    return sum(length for _, length in struct.iter_unpack("=QQ", vectors))


def received(router: Router, call: Call) -> int | Outcome:
    """recvmsg(2), recvmmsg(2): the sender's name is mapped back, and who it is."""
    size, headers = _headers(router, call)
    names = [_HEAD.unpack_from(header) for header in headers]
    if not sockets.renames(router):
        names = [(0, 0)] * len(names)
    tells = _tells_credentials(router, call, headers)
    if not any(address for address, _ in names) and not tells:
        return CONTINUE
    at_flags = 3 if call.name == "recvmmsg" else 2
    dont_wait = bool(signed32(call.raw[at_flags]) & sockets.MSG_DONTWAIT)
    timed = call.name == "recvmmsg" and call.raw[4] != 0
    no_wait = dont_wait or timed
    if not sockets.wait_for_peer(router, call, dont_wait=no_wait, any_peer=tells):
        return CONTINUE

    args: list[Argument] = [*call.raw[: len(call.row.args)]]
    told = [address != 0 and room >= 0 for address, room in names]
    if any(told):
        block = _with_room(size, headers, told)
        if size == _MULTIPLE_SIZE and len(headers) < min(call.raw[2] & 0xFFFFFFFF, _UIO_MAXIOV):
            block = block._replace(data=block.data + _REFUSED)
        args[1] = block

    def after(result: int, made_with: Sequence[int]) -> None:
        for index in range(max(result if size == _MULTIPLE_SIZE else min(result + 1, 1), 0)):
            made, own = (base + index * size for base in (made_with[1], call.raw[1]))
            if made != own:
                _give_back(router, call, size, made, own)
            if told[index]:
                (found,) = struct.unpack("=Q", router.read_exact(call, made, 8))
                wanted = names[index][0], own + _NAMELEN
                sockets.tell_peer(router, call, (found, made + _NAMELEN), wanted, names[index][1])
            if tells:
                _show_credentials(router, call, headers[index], own)

    rewrite = Rewrite(
        call.row.number, args, call.row.cookie.arg, call.row.cookie.shift, may_block=True,
        after=after,
    )  # fmt: skip
    return router.fix_up(call, rewrite, {}, plain=True)


def _with_room(size: int, headers: list[bytes], told: list[bool]) -> Block:
    """The same headers, with room of our own for each name that is told."""
    blob, pointers = bytearray(b"".join(headers)), dict[int, Block | bytes]()
    for index in range(len(headers)):
        if told[index]:
            pointers[index * size] = bytes(sockets.PEER_ROOM)
            struct.pack_into("=i", blob, index * size + _NAMELEN, sockets.PEER_ROOM)
    return Block(bytes(blob), pointers)


def _give_back(router: Router, call: Call, size: int, made: int, own: int) -> None:
    """What the kernel has told in a header of ours, but for the name: msg_controllen, msg_flags,
    and msg_len where there are several."""
    header = router.read_exact(call, made, size)
    for start, end in ((_CONTROLLEN, _CONTROLLEN + 12), (_MSGLEN, min(size, _MSGLEN + 4))):
        router.memory.write(call.tid, own + start, header[start:end])


def _tells_credentials(router: Router, call: Call, headers: list[bytes]) -> bool:
    """Is there room for credentials, in a view that shows others, and a socket that wants them?"""
    rooms = [_CONTROL.unpack_from(header, _CONTROL_AT) for header in headers]
    has_room = any(address and size >= ancillary.LEAST for address, size in rooms)
    return has_room and bool(ancillary.layers(router)) and sockets.wants_credentials(router, call)


def _show_credentials(router: Router, call: Call, header: bytes, address: int) -> None:
    (size,) = struct.unpack("=Q", router.read_exact(call, address + _CONTROLLEN, 8))
    control = _control(router, call, header, size)
    changed = ancillary.shown(router, call, control) if control else None
    if changed is not None:
        router.memory.write(call.tid, _CONTROL.unpack_from(header, _CONTROL_AT)[0], changed)
