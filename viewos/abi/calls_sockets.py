"""Rows of the socket calls."""

from __future__ import annotations

from viewos.abi.notation import (
    BUF,
    FD,
    FLAGS,
    INT,
    PTR,
    SIZE,
    SOCKADDR,
    SOCKLEN,
    SOCKLEN_PTR,
    UINT,
    address,
    note,
    row,
    upper_half,
)
from viewos.abi.row import Intent

ADDRESS_IN = address("in", Intent.WRITE)
ADDRESS_OUT = address("out", Intent.READ)
IN_MSGHDR = note("the socket addresses stand in struct msghdr, where BPF does not see them")

# fmt: off
SOCKETS = (
    row("socket", family=INT, type=INT, protocol=INT),
    row("connect", ADDRESS_IN, fd=FD, addr=SOCKADDR, addrlen=SOCKLEN),
    row("accept", "accept", ADDRESS_OUT, fd=FD, addr=SOCKADDR, addrlen=SOCKLEN_PTR),
    row("sendto", ADDRESS_IN, upper_half("fd"),
        fd=FD, buf=BUF, len=SIZE, flags=FLAGS, addr=SOCKADDR, addrlen=SOCKLEN),
    row("recvfrom", ADDRESS_OUT, upper_half("fd"),
        fd=FD, buf=BUF, len=SIZE, flags=FLAGS, addr=SOCKADDR, addrlen=SOCKLEN_PTR),
    row("sendmsg", IN_MSGHDR, fd=FD, msg=PTR, flags=FLAGS),
    row("recvmsg", IN_MSGHDR, fd=FD, msg=PTR, flags=FLAGS),
    row("shutdown", fd=FD, how=INT),
    row("bind", address("in", Intent.CREATE), fd=FD, addr=SOCKADDR, addrlen=SOCKLEN),
    row("listen", fd=FD, backlog=INT),
    row("getsockname", ADDRESS_OUT, fd=FD, addr=SOCKADDR, addrlen=SOCKLEN_PTR),
    row("getpeername", ADDRESS_OUT, fd=FD, addr=SOCKADDR, addrlen=SOCKLEN_PTR),
    row("socketpair", family=INT, type=INT, protocol=INT, sv=PTR),
    row("setsockopt", fd=FD, level=INT, optname=INT, optval=BUF, optlen=INT),
    row("getsockopt", fd=FD, level=INT, optname=INT, optval=BUF, optlen=SOCKLEN_PTR),
    row("accept4", "accept", ADDRESS_OUT, fd=FD, addr=SOCKADDR, addrlen=SOCKLEN_PTR, flags=FLAGS),
    row("recvmmsg", IN_MSGHDR, fd=FD, msgvec=PTR, vlen=UINT, flags=FLAGS, timeout=PTR),
    row("sendmmsg", IN_MSGHDR, fd=FD, msgvec=PTR, vlen=UINT, flags=FLAGS),
)
# fmt: on

ROWS = SOCKETS
