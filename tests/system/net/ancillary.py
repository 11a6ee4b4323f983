"""Addresses in the ancillary data of datagrams: who has refused one, where it was to go, and at
which address of its own a server was reached."""

import errno
import socket
import struct
import time

UDP = socket.SOCK_DGRAM
IP_PKTINFO, IP_RECVERR, IP_RECVORIGDSTADDR = 8, 11, 20
IPV6_RECVPKTINFO, IPV6_PKTINFO = 49, 50
MSG_ERRQUEUE = 0x2000


def show(*what: object) -> None:
    print(*what, flush=True)


def attempt(call: object, *arguments: object) -> object:
    try:
        return call(*arguments)  # type: ignore[operator]
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, "nothing comes")


def made(family: int, host: str = "") -> socket.socket:
    one = socket.socket(family, UDP)
    one.settimeout(1)
    if host:
        one.bind((host, 0))
    return one


with made(socket.AF_INET) as closed:
    closed.bind(("127.0.0.1", 0))
    NOBODY = closed.getsockname()
for is_connected in (False, True):
    with made(socket.AF_INET) as one:
        one.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        one.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        if is_connected:
            one.connect(NOBODY)
            one.send(b"x")
        else:
            one.sendto(b"x", NOBODY)
        time.sleep(0.05)
        show(attempt(one.recvfrom, 9))
        data, control, flags, sender = one.recvmsg(100, 500, MSG_ERRQUEUE)
        show(data, control, flags, sender == NOBODY)

with made(socket.AF_INET, "127.0.0.1") as to, made(socket.AF_INET, "127.0.0.1") as one:
    to.setsockopt(socket.IPPROTO_IP, IP_RECVORIGDSTADDR, 1)
    one.sendto(b"x", to.getsockname())
    (level, kind, data), *rest = to.recvmsg(9, 200)[1]
    port = struct.unpack_from("!H", data, 2)[0]
    show(level, kind, socket.inet_ntoa(data[4:8]), port == to.getsockname()[1], rest)

with made(socket.AF_INET6) as server:
    server.bind(("::", NOBODY[1]))
    server.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)
    for host in ("::1", "::ffff:127.0.0.1"):
        there = host, server.getsockname()[1]
        for how in ("bound", "connected", "neither"):
            with made(socket.AF_INET6, host if how == "bound" else "") as one:
                if how == "connected":
                    one.connect(there)
                    one.send(b"question")
                else:
                    one.sendto(b"question", there)
                data, control, _, sender = server.recvmsg(9, 200)
                show(host, how, sender[0], [
                    (*kind, socket.inet_ntop(socket.AF_INET6, data[:16]))
                    for *kind, data in control
                ])  # fmt: skip
                source = [(41, IPV6_PKTINFO, control[0][2][:16] + bytes(4))]
                show(attempt(server.sendmsg, [b"answer"], source, 0, sender))
                told = attempt(one.recvfrom, 9)
                show(told if isinstance(told, str) else (told[0], told[1][:2] == there))  # type: ignore[index]

# from an address of its own choice, to a peer that it is connected to
with made(socket.AF_INET, "127.0.0.1") as to, made(socket.AF_INET, "127.0.0.1") as one:
    one.connect(to.getsockname())
    to.connect(one.getsockname())
    own = [(0, IP_PKTINFO, struct.pack("=I4s4s", 0, socket.inet_aton("127.0.0.1"), bytes(4)))]
    show(attempt(one.sendmsg, [b"x"], own), attempt(to.recv, 9))
