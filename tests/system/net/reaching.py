"""Which servers answer at which addresses of the loopback interface, by TCP and UDP: PORT.

Then what sockets say of addresses of the other family, and of addresses that are too long.
"""

import ctypes
import errno
import socket
import struct
import sys

PORT = int(sys.argv[1])
SERVERS = (
    ("127.0.0.1", None), ("0.0.0.0", None), ("::", None), ("::", 1), ("::1", None),
    ("127.0.0.2", None),
)  # fmt: skip
HOSTS = ("127.0.0.1", "0.0.0.0", "127.0.0.2", "::1", "::", "::ffff:127.0.0.1")
KINDS = (socket.SOCK_STREAM, socket.SOCK_DGRAM)
V6ONLY = 26
libc = ctypes.CDLL(None, use_errno=True)


def family(host: str) -> int:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def server(host: str, v6only: int | None, kind: int) -> socket.socket:
    made = socket.socket(family(host), kind)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.settimeout(0.2)
    if v6only is not None:
        made.setsockopt(socket.IPPROTO_IPV6, V6ONLY, v6only)
    made.bind((host, PORT))
    if kind == socket.SOCK_STREAM:
        made.listen()
    return made


def reach(host: str, to: socket.socket, kind: int) -> str:
    """What becomes of a connection, or of a datagram."""
    client = socket.socket(family(host), kind)
    try:
        client.connect((host, PORT))
        if kind == socket.SOCK_STREAM:
            return "connected"
        client.send(b"x")
        return str(to.recv(9))
    except TimeoutError:
        return "nothing comes"
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    finally:
        client.close()


def raw(kind: int, port: int) -> bytes:
    number = socket.htons(port)
    if kind == socket.AF_INET:
        return struct.pack("=HH4s8x", kind, number, bytes((127, 0, 0, 1)))
    return struct.pack("=HHI16sI", kind, number, 0, bytes(15) + b"\1", 0)


def said(result: int) -> str:
    return str(result) if result >= 0 else errno.errorcode[ctypes.get_errno()]


def other_families(kind: int) -> None:
    servers = [server("127.0.0.1", None, kind), server("::1", None, kind)]
    for own, given in ((2, 10), (10, 2)):
        for name, port in (("connect", PORT), ("bind", 0), ("sendto", PORT)):
            with socket.socket(own, kind) as one:
                address = raw(given, port)
                words = (address, len(address))
                if name == "sendto":
                    result = libc.sendto(one.fileno(), b"x", 1, socket.MSG_NOSIGNAL, *words)
                else:
                    result = getattr(libc, name)(one.fileno(), *words)
                print(kind, own, given, name, said(result))
    for each in servers:
        each.close()


def too_long() -> None:
    """An address of 200 bytes: sendmmsg(2) cuts it, sendto(2) refuses it."""
    with server("127.0.0.1", None, socket.SOCK_DGRAM) as to, socket.socket(type=2) as one:
        name = ctypes.create_string_buffer(raw(socket.AF_INET, PORT), 200)
        data = ctypes.create_string_buffer(b"y")
        vector = ctypes.create_string_buffer(struct.pack("=QQ", ctypes.addressof(data), 1))
        header = struct.pack(
            "=QI4xQQQQi4xI4x", ctypes.addressof(name), 200, ctypes.addressof(vector), 1, 0, 0, 0, 0
        )
        headers = ctypes.create_string_buffer(header * 2)
        print(said(libc.sendmmsg(one.fileno(), headers, 2, 0)), said(
            libc.sendto(one.fileno(), b"x", 1, 0, name, 200)
        ))  # fmt: skip
        print(to.recv(9), to.recv(9))


for each_kind in KINDS:
    for at, only in SERVERS:
        with server(at, only, each_kind) as listening:
            print(each_kind, at, only, *(reach(host, listening, each_kind) for host in HOSTS))
    other_families(each_kind)
too_long()
