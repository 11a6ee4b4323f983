"""AF_UNIX names are paths: bind, connect and sendto lead to the backing, getsockname maps back.

A socket is known by the very string that it was bound to. A backing is bound with a second slash in
front, so that its name can be told from one that a program bound by itself.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import struct
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from viewos import kernel
from viewos.abi.row import Intent, signed32
from viewos.abi.socket import (
    AF_UNIX,
    SO_PASSCRED,
    SO_RCVTIMEO,
    SOCK_DGRAM,
    SOCKADDR_UN_SIZE,
    SOCKLEN,
    SOL_SOCKET,
    SUN_PATH,
    decode_unix,
    encode_unix,
)
from viewos.files import File
from viewos.monitor.exchanged import Exchanged
from viewos.monitor.namespaces import is_view
from viewos.monitor.outcome import CONTINUE, Outcome
from viewos.monitor.pathcalls import may_continue, resolve_path, tracee_string
from viewos.monitor.reach import at_place
from viewos.monitor.refusals import check_name
from viewos.monitor.rewrite import Argument, Rewrite
from viewos.monitor.scratch import short_link, short_name
from viewos.monitor.traced import is_interrupted
from viewos.monitor.waiting import LAST_LOOK, pause

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from viewos.call import Call
    from viewos.monitor.inplace import Strings
    from viewos.monitor.place import Place
    from viewos.monitor.router import Router

MSG_DONTWAIT = 0x40
PEER_ROOM = SUN_PATH + 4
"""Bytes for any name that the kernel tells; see `encode_unix`."""
_TIMEVAL = struct.Struct("=qq")


def _unix_path(router: Router, call: Call, address: int, length: int) -> bytes | None:
    """The path in a sockaddr_un; None for other families, abstract and empty names."""
    if not address or not 2 < length <= SOCKADDR_UN_SIZE:
        return None
    data = router.memory.read(call.tid, address, length)
    if len(data) < length or struct.unpack_from("=H", data)[0] != AF_UNIX:
        return None
    path = data[2:].split(b"\0")[0]
    return path or None


def _resolve(router: Router, call: Call, path: bytes, *, create: bool) -> Place | None:
    call.task, _ = router.tasks.get(call.tid)
    if not is_view(call.task):
        return None
    intent = "create" if create else "read"
    return resolve_path(router, call, path, follow=not create, keep_last=create, intent=intent)


def real_name(
    router: Router,
    call: Call,
    address: int,
    length: int,
    *,
    create: bool,
    path: bytes | None = None,
) -> bytes | None:
    """The sockaddr_un that leads to the backing; None where the tracee's own will do.

    `path`: in the place of the one that stands at `address`.

    Raises OSError: EROFS, and what resolving gives.
    """
    path = path or _unix_path(router, call, address, length)
    if path is None:
        return None
    place = _resolve(router, call, path, create=create)
    if place is None or may_continue(router, place):
        return None
    if create and place.is_read_only:
        check_name("bind", Intent.CREATE, place)
        raise OSError(errno.EROFS, "read-only claim")
    real = tracee_string(router, call, place)
    if create and real != place.virtual and len(real) + 1 < SUN_PATH:
        real = b"/" + real
    if len(real) >= SUN_PATH:
        real = short_name(router.view, real)
    if len(real) >= SUN_PATH and not create:
        real = short_link(router.view, place.real)
    if create:
        router.socket_names.remember(real, path)
    return struct.pack("=H", AF_UNIX) + real + b"\0"


def named(router: Router, call: Call, other: bytes | None = None) -> int | Outcome:
    """bind(2), connect(2), sendto(2) with an AF_UNIX path: made in the tracee, so that peers see
    its credentials and not the monitor's. `other`: with this path and not its own."""
    if not router.view.claims and call.made is None:
        return CONTINUE
    at = 4 if call.name == "sendto" else 1
    length = signed32(call.raw[at + 1])
    create = call.name == "bind"
    name = real_name(router, call, call.raw[at], length, create=create, path=other)
    after = None if call.made is None else _finding(router, call, call.made, other)
    own = name is None and other is None
    if own and after is None:
        return CONTINUE
    if name is None and other is not None:
        name = struct.pack("=H", AF_UNIX) + other + b"\0"
    row = call.row
    args: list[Argument] = list(call.raw[: len(row.args)])
    if name is not None:
        args[at], args[at + 1] = name, len(name)
    rewrite = Rewrite(
        row.number, args, row.cookie.arg, row.cookie.shift, may_block=not create, after=after
    )
    # A thread that a debugger has makes the call as it stands, if that will do.
    strings: Strings = None
    if own and after is not None:
        strings = partial(lambda find: ({}, partial(find, 0, ())), after)
    return router.fix_up(call, rewrite, strings, plain=False)


def _finding(
    router: Router, call: Call, made: Callable[[], None], path: bytes | None
) -> Callable[[int, Sequence[int]], None] | None:
    """What finds the file that a bind is about to make, for the module that wants to know."""
    path = path or _unix_path(router, call, call.raw[1], signed32(call.raw[2]))
    place = None if path is None else _resolve(router, call, path, create=True)
    if place is None or not place.real or not call.task.like_us:
        return None
    if os.path.lexists(place.real):
        return None  # EADDRINUSE

    def find(result: int, _arguments: Sequence[int]) -> None:
        if result < 0:
            return
        with suppress(OSError, Exchanged):  # somebody has removed it since
            call.found(
                at_place(router, place, follow=False), File(os.open(place.parent, os.O_PATH))
            )
            made()

    return find


def sent_name(router: Router, call: Call, address: int, length: int) -> bytes | None:
    """The sockaddr_un to which a message goes; None where the tracee's own will do. Raises OSError
    as `real_name`."""
    given = b""
    if router.lead_names and address and 2 < length <= SOCKADDR_UN_SIZE:
        given = decode_unix(router.memory.read_exact(call.tid, address, length)) or b""
    name = given
    for lead in router.lead_names if given else ():
        name = lead(call, name)
    if name == given:
        return real_name(router, call, address, length, create=False)
    if name[:1] == b"\0":
        return encode_unix(name)
    real = real_name(router, call, address, length, create=False, path=name)
    return encode_unix(name) if real is None else real


# ---- names that come out ----------------------------------------------------------------------


def _shared(router: Router, call: Call, fd: int) -> socket.socket | None:
    """The tracee's own socket, or None where it is none of AF_UNIX."""
    import socket  # which would cost each start 4 ms

    try:
        copy = router.descriptor_of(call, fd)
    except OSError:
        return None
    try:
        found = socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        return None
    if found.family != AF_UNIX:
        found.close()
        return None
    return found


def virtual_sockaddr(router: Router, data: bytes) -> bytes | None:
    """The same address with its name mapped back; None where nothing changes."""
    name = decode_unix(data)
    if not name:
        return None
    told = name if name[:1] == b"\0" else _virtual_path(router, name)
    for show in router.show_names:
        told = show(told)
    return None if told == name else encode_unix(told[:SUN_PATH])


def _virtual_path(router: Router, path: bytes) -> bytes:
    bound = router.socket_names.of(path)
    if bound is not None:
        return bound
    if path[:2] == b"//":
        real = path[1:]
    elif router.view.scratch and path.startswith(router.view.scratch + b"/"):
        link, _, name = path.rpartition(b"/")
        try:
            real = os.readlink(link) + b"/" + name
        except OSError:
            return path
    else:
        return path  # bound by this very name
    virtual = router.view.claims.reverse(real) if real[:1] == b"/" else None
    return virtual or path


def _write_sockaddr(
    router: Router, call: Call, data: bytes, wanted: Sequence[int], room: int
) -> None:
    router.memory.write(call.tid, wanted[0], data[:room])
    router.memory.write(call.tid, wanted[1], SOCKLEN.pack(len(data)))


def _sockaddr(found: socket.socket, function: str) -> bytes | None:
    """What getsockname or getpeername tells of it; None: an error."""
    buffer = ctypes.create_string_buffer(PEER_ROOM)
    size = ctypes.c_int(PEER_ROOM)
    if getattr(kernel.libc, function)(found.fileno(), buffer, ctypes.byref(size)) != 0:
        return None
    return buffer.raw[: min(size.value, SOCKADDR_UN_SIZE)]


def asked(router: Router, call: Call) -> int | Outcome:
    """getsockname(2), getpeername(2)."""
    if not router.view.claims and not router.show_names:
        return CONTINUE
    found = _shared(router, call, signed32(call.raw[0]))
    if found is None:
        return CONTINUE
    with found:
        told = _sockaddr(found, call.name)
    data = None if told is None else virtual_sockaddr(router, told)
    if data is None:
        return CONTINUE
    (room,) = SOCKLEN.unpack(router.read_exact(call, call.raw[2], 4))
    if room < 0:
        raise OSError(errno.EINVAL, "length")
    _write_sockaddr(router, call, data, call.raw[1:3], room)
    return 0


def received(router: Router, call: Call) -> int | Outcome:
    """accept(2), accept4(2), recvfrom(2) with an address buffer: the peer's name is mapped back."""
    if not renames(router) or not wait_for_peer(router, call, dont_wait=_dont_wait(call)):
        return CONTINUE
    at = 4 if call.name == "recvfrom" else 1
    wanted = call.raw[at : at + 2]
    row = call.row
    args: list[Argument] = list(call.raw[: len(row.args)])
    (room,) = SOCKLEN.unpack(router.read_exact(call, wanted[1], 4)) if wanted[0] else (-1,)
    if room < 0:
        return CONTINUE
    router.memory.read(call.tid, wanted[0], 1)  # of a bad one the kernel tells, and accepts nobody
    args[at], args[at + 1] = bytes(PEER_ROOM), SOCKLEN.pack(PEER_ROOM)

    def after(result: int, made_with: Sequence[int]) -> None:
        if result >= 0:
            tell_peer(router, call, made_with[at : at + 2], wanted, room)

    rewrite = Rewrite(
        row.number, args, row.cookie.arg, row.cookie.shift, may_block=True, after=after
    )
    return router.fix_up(call, rewrite, {}, plain=True)


def wants_credentials(router: Router, call: Call) -> bool:
    """Is the tracee's socket one of AF_UNIX with SO_PASSCRED?"""
    found = _shared(router, call, signed32(call.raw[0]))
    if found is None:
        return False
    with found:
        return bool(found.getsockopt(SOL_SOCKET, SO_PASSCRED))


def wait_for_peer(router: Router, call: Call, *, dont_wait: bool, any_peer: bool = False) -> bool:
    """Wait until the tracee's AF_UNIX socket has something to receive, and the call need not wait.

    False where the kernel alone does it right: another family, a peer whose name stays as it is
    (unless `any_peer`), or a signal is due, with which the kernel's own wait ends at once, with
    EINTR or a restart.

    Raises BlockingIOError after the time limit of the socket.
    """
    found = _shared(router, call, signed32(call.raw[0]))
    if found is None:
        return False
    with found:
        if not any_peer and _has_plain_peer(router, found):
            return False
        # socket.getblocking() tells of the object, which is ours; the flag is the description's.
        if dont_wait or not os.get_blocking(found.fileno()):
            return True
        router.step_aside()
        poll = select.poll()
        poll.register(found, select.POLLIN | select.POLLHUP | select.POLLRDHUP)
        limit = _time_limit(found)
        began, waited = time.monotonic(), 0.0
        while not poll.poll(min(pause(waited), limit - waited if limit else LAST_LOOK) * 1000):
            if is_interrupted(call.tid):
                return False
            waited = time.monotonic() - began
            if limit and waited >= limit:
                raise BlockingIOError(errno.EAGAIN, "SO_RCVTIMEO")
    return True


def _has_plain_peer(router: Router, found: socket.socket) -> bool:
    """Can only one peer send to it, one whose name needs no mapping?"""
    peer = _sockaddr(found, "getpeername")
    if peer is None or virtual_sockaddr(router, peer) is not None:
        return False
    return found.type != SOCK_DGRAM or len(_sockaddr(found, "getsockname") or b"") <= 2


def _time_limit(found: socket.socket) -> float:
    """Seconds after which a receiver gives up; 0: never."""
    seconds, microseconds = _TIMEVAL.unpack(
        found.getsockopt(SOL_SOCKET, SO_RCVTIMEO, _TIMEVAL.size)
    )
    return float(seconds + microseconds / 1e6)


def tell_peer(
    router: Router, call: Call, found: Sequence[int], wanted: Sequence[int], room: int
) -> None:
    """Put a peer's name, as it is in the view, where the tracee has `room` for it.

    `found`: where the kernel has put the real one, in room of our own: what is left of a longer one
    could not be mapped back. Both are an address, and that of its length.
    """
    (size,) = SOCKLEN.unpack(router.read_exact(call, found[1], 4))
    data = router.memory.read(call.tid, found[0], min(size, PEER_ROOM))
    virtual = virtual_sockaddr(router, data[:SOCKADDR_UN_SIZE])
    _write_sockaddr(router, call, virtual or data, wanted, room)


def _dont_wait(call: Call) -> bool:
    return call.name == "recvfrom" and bool(call.raw[3] & MSG_DONTWAIT)


def renames(router: Router) -> bool:
    """Has the view a name that differs from the kernel's? Else addresses need no mapping."""
    return bool(router.show_names) or any(claim.renames for claim in router.view.claims)
