"""AF_UNIX names are paths: bind, connect and sendto lead to the backing, getsockname maps back."""

from __future__ import annotations

import ctypes
import os
import select
import socket
import struct
from typing import TYPE_CHECKING

from viewos import kernel
from viewos.abi.row import signed32
from viewos.monitor import fixup
from viewos.monitor.inplace import short_name
from viewos.monitor.outcome import CONTINUE, Outcome
from viewos.monitor.pathcalls import may_continue, tracee_string

if TYPE_CHECKING:
    from viewos.call import Call
    from viewos.monitor.paths import Place
    from viewos.monitor.router import Router

SUN_PATH = 108
MSG_DONTWAIT = 0x40
_WAIT = 0.02
"""Seconds between two looks at the signals of a thread that waits for a peer."""


def _unix_path(router: Router, call: Call, address: int, length: int) -> bytes | None:
    """The path in a sockaddr_un; None for other families, abstract and empty names."""
    if not address or not 2 < length <= 128:
        return None
    data = router.memory.read(call.tid, address, length)
    if len(data) < length or struct.unpack_from("=H", data)[0] != socket.AF_UNIX:
        return None
    path = data[2:].split(b"\0")[0]
    return path or None


def _resolve(router: Router, call: Call, path: bytes, *, create: bool) -> Place | None:
    call.task, root = router.tasks.get(call.tid)
    if not call.task.same_mounts:
        return None
    start = None
    if path[:1] != b"/":
        start = router.resolver.start(call.task, -100, router.cwd_hint(call))
    return router.resolver.resolve(
        call.task, router.resolver.root_of(root), start, path,
        follow=not create, keep_last=create, intent="create" if create else "read",
    )  # fmt: skip


def named(router: Router, call: Call) -> int | Outcome:
    """bind(2), connect(2), sendto(2) with an AF_UNIX path: made in the tracee, so that peers see
    its
    credentials and not the monitor's."""
    if not router.view.claims:
        return CONTINUE
    at = 4 if call.name == "sendto" else 1
    path = _unix_path(router, call, call.raw[at], signed32(call.raw[at + 1]))
    if path is None:
        return CONTINUE
    create = call.name == "bind"
    place = _resolve(router, call, path, create=create)
    if place is None or may_continue(router, place):
        return CONTINUE
    if create and place.claim is not None and place.claim.read_only:
        raise OSError(30, "read-only claim")
    real = tracee_string(router, call, place)
    if len(real) >= SUN_PATH:
        directory, name = os.path.split(real)
        real = (
            os.path.join(short_name(router, directory), name)
            if create
            else short_name(router, real)
        )
    row = call.row
    args: list[fixup.Argument] = list(call.raw[: len(row.args)])
    args[at] = struct.pack("=H", socket.AF_UNIX) + real + b"\0"
    args[at + 1] = 2 + len(real) + 1
    rewrite = fixup.Rewrite(
        row.number, args, row.cookie.arg, row.cookie.shift, may_block=call.name != "bind"
    )
    return router.fix_up(call, rewrite, {}, place.plain)


# ---- names that come out ----------------------------------------------------------------------


def _shared(call: Call, fd: int) -> socket.socket | None:
    """The tracee's own socket, or None where it is none of AF_UNIX."""
    try:
        pidfd = kernel.pidfd_open(call.pid)
        try:
            copy = kernel.pidfd_getfd(pidfd, fd)
        finally:
            os.close(pidfd)
    except OSError:
        return None
    try:
        found = socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        return None
    if found.family != socket.AF_UNIX:
        found.close()
        return None
    return found


def _virtual_sockaddr(router: Router, data: bytes) -> bytes | None:
    """The same address with its path mapped back; None where nothing changes."""
    if len(data) <= 2 or data[2:3] == b"\0":
        return None
    path, nul, _rest = data[2:].partition(b"\0")
    real = path
    link, _, name = path.rpartition(b"/")
    if router.view.scratch and path.startswith(router.view.scratch + b"/"):
        try:
            real = os.readlink(link) + b"/" + name
        except OSError:
            return None
    virtual = router.view.claims.reverse(real) if real[:1] == b"/" else None
    if virtual is None or virtual == path:
        return None
    return data[:2] + virtual[:SUN_PATH] + (b"\0" if nul else b"")


def _write_sockaddr(router: Router, call: Call, data: bytes, address: int, length_at: int) -> None:
    (room,) = struct.unpack("=i", router.read_exact(call, length_at, 4))
    if room < 0:
        raise OSError(22, "length")
    router.memory.write(call.tid, address, data[:room])
    router.memory.write(call.tid, length_at, struct.pack("=i", len(data)))


def asked(router: Router, call: Call) -> int | Outcome:
    """getsockname(2), getpeername(2)."""
    if not router.view.claims:
        return CONTINUE
    found = _shared(call, signed32(call.raw[0]))
    if found is None:
        return CONTINUE
    with found:
        buffer = ctypes.create_string_buffer(SUN_PATH + 4)
        size = ctypes.c_int(SUN_PATH + 4)
        function = getattr(kernel.libc, call.name)
        if function(found.fileno(), buffer, ctypes.byref(size)) != 0:
            return CONTINUE
    data = _virtual_sockaddr(router, buffer.raw[: min(size.value, SUN_PATH + 2)])
    if data is None:
        return CONTINUE
    _write_sockaddr(router, call, data, call.raw[1], call.raw[2])
    return 0


def received(router: Router, call: Call) -> int | Outcome:
    """accept(2), accept4(2), recvfrom(2) with an address buffer: the peer's name is mapped back."""
    if not _renames(router):
        return CONTINUE
    found = _shared(call, signed32(call.raw[0]))
    if found is None:
        return CONTINUE
    with found:
        if found.getblocking() and not _dont_wait(call):
            router.step_aside()
            poll = select.poll()
            poll.register(found, select.POLLIN | select.POLLHUP | select.POLLRDHUP)
            while not poll.poll(_WAIT * 1000):
                if fixup.is_interrupted(call.tid):
                    return CONTINUE  # the kernel's own wait ends at once, with EINTR or a restart
    address, length_at = (call.raw[4], call.raw[5]) if call.name == "recvfrom" else call.raw[1:3]

    def after(result: int) -> None:
        if result < 0 or not address:
            return
        (size,) = struct.unpack("=i", router.read_exact(call, length_at, 4))
        data = _virtual_sockaddr(router, router.memory.read(call.tid, address, min(size, 110)))
        if data is not None:
            _write_sockaddr(router, call, data, address, length_at)

    row = call.row
    rewrite = fixup.Rewrite(
        row.number, list(call.raw[: len(row.args)]), row.cookie.arg, row.cookie.shift,
        may_block=True, after=after,
    )  # fmt: skip
    return router.fix_up(call, rewrite, {}, plain=True)


def _dont_wait(call: Call) -> bool:
    return call.name == "recvfrom" and bool(call.raw[3] & MSG_DONTWAIT)


def _renames(router: Router) -> bool:
    """Has the view a name that differs from its backing's? Else addresses need no mapping."""
    return any(
        c.module is not None or bytes(c.backing) != bytes(c.prefix) for c in router.view.claims
    )
