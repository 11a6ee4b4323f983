"""connect(2), bind(2) and their kin on the program's own socket, with an address of the view's.

The monitor makes them on its copy of the open file, from its own copy of the address: what the
program writes there meanwhile changes nothing.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from viewos.abi.socket import InetAddress, SocketAddress, UnixAddress, decode_unix, encode
from viewos.monitor import sockets
from viewos.monitor.outcome import CONTINUE, Outcome
from viewos.monitor.rewrite import Argument, Rewrite

if TYPE_CHECKING:
    from viewos.call import Call
    from viewos.monitor.router import Router
    from viewos.shared import SharedSocket


def connect(router: Router, call: Call) -> int | Outcome:
    """connect(2) to `call.address`. Raises OSError, Interrupted."""
    address = call.address
    if isinstance(address, UnixAddress):
        return _named(router, call, address)
    if address is None:
        return CONTINUE
    if call.bottom is not None:
        call.bottom(call.socket(), address)
        return 0
    shared = _shared(router, call)
    if shared is None:
        return _in_tracee(router, call, address, may_block=True)
    shared.connect(address)
    return 0


def bind(router: Router, call: Call) -> int | Outcome:
    """bind(2) to `call.address`. Raises OSError."""
    address = call.address
    if isinstance(address, UnixAddress):
        return _named(router, call, address)
    if address is None:
        return CONTINUE
    shared = _shared(router, call)
    if shared is None or not router.tasks.get(call.tid)[0].like_us:
        return _in_tracee(router, call, address, may_block=False)  # a port may need capabilities
    shared.bind(address)
    return 0


def sendto(router: Router, call: Call) -> int | Outcome:
    """sendto(2) to `call.address`. Raises OSError."""
    address = call.address
    if isinstance(address, UnixAddress):
        return _named(router, call, address)
    return CONTINUE if address is None else _in_tracee(router, call, address, may_block=True)


def sendmsg(router: Router, call: Call) -> int | Outcome:
    """sendmsg(2), sendmmsg(2) with the arguments that a module has changed."""
    row = call.row
    args: list[Argument] = list(call.raw[: len(row.args)])
    rewrite = Rewrite(row.number, args, row.cookie.arg, row.cookie.shift, may_block=True)
    return router.fix_up(call, rewrite, None, plain=False)


def _named(router: Router, call: Call, address: UnixAddress) -> int | Outcome:
    """In the tracee: peers see the credentials of who connects."""
    if address == call.given_address():
        return sockets.named(router, call)
    if address.name[:1] == b"\0" or not (router.view.claims or call.made):
        return _in_tracee(router, call, address, may_block=call.name != "bind")
    return sockets.named(router, call, address.name)


def asked(router: Router, call: Call) -> SocketAddress | Outcome:
    """getsockname(2), getpeername(2). Raises OSError."""
    shared = call.socket()
    answer = shared.name() if call.name == "getsockname" else shared.peer()
    if isinstance(answer, UnixAddress):
        virtual = sockets.virtual_sockaddr(router, encode(answer))
        return answer if virtual is None else UnixAddress(decode_unix(virtual) or b"")
    return CONTINUE if answer is None else answer


def _shared(router: Router, call: Call) -> SharedSocket | None:
    """The program's socket; None where the monitor must not act for it, or may not have a copy."""
    if call.process_state.confined or router.tasks.is_labelled(call.tid):
        return None
    try:
        return call.socket()
    except OSError as error:
        if error.errno in (errno.EPERM, errno.ENOSYS):
            return None
        raise


def _in_tracee(
    router: Router, call: Call, address: SocketAddress, *, may_block: bool
) -> int | Outcome:
    row = call.row
    where = row.sockaddr[0]
    args: list[Argument] = list(call.raw[: len(row.args)])
    given = call.given_address()
    if isinstance(given, InetAddress) and isinstance(address, InetAddress):
        address = address.on(given.family)
    data = encode(address)
    args[where.address], args[where.length] = data, len(data)
    rewrite = Rewrite(row.number, args, row.cookie.arg, row.cookie.shift, may_block=may_block)
    return router.fix_up(call, rewrite, None, plain=False)
