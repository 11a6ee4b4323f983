"""Addresses of IPv6 with a flow label and an interface, which the kernel does not tell again."""

import socket


def show(*what: object) -> None:
    print(*what, flush=True)


for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
    s, c = socket.socket(socket.AF_INET6, kind), socket.socket(socket.AF_INET6, kind)
    for one in (s, c):
        one.settimeout(5)
    s.bind(("::1", 0, 5, 0))
    port = s.getsockname()[1]
    show(kind, s.getsockname()[2:])
    if kind == socket.SOCK_STREAM:
        s.listen()
    c.connect(("::1", port, 7, 3))
    show(c.getpeername()[2:], c.getsockname()[2:])
    if kind == socket.SOCK_STREAM:
        d, sender = s.accept()
        show(sender[2:], d.getpeername()[2:], d.getsockname()[2:])
        continue
    c.send(b"x")
    _, sender = s.recvfrom(9)
    show(sender[2:], s.sendto(b"y", (*sender[:2], 9, 2)), c.recvfrom(9)[1][2:])
    e = socket.socket(socket.AF_INET6, kind)
    e.settimeout(5)
    e.sendto(b"x", ("::1", port, 9, 2))
    _, sender = s.recvfrom(9)
    show(s.sendto(b"z", sender), e.recvfrom(9)[1][2:])
