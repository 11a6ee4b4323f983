"""Sends datagrams to names of other families and lengths, receives them with a bad pointer, makes
sockets of types that do not exist, and prints what the kernel says."""

import ctypes
import errno
import itertools
import socket
import struct

libc = ctypes.CDLL(None, use_errno=True)
data = ctypes.create_string_buffer(b"x", 9)
vector = ctypes.create_string_buffer(struct.pack("QQ", ctypes.addressof(data), 1), 16)
INET, INET6 = socket.AF_INET, socket.AF_INET6
receivers = {INET: socket.socket(INET, socket.SOCK_DGRAM), INET6: socket.socket(INET6, 2)}
receivers[INET].bind(("127.0.0.1", 0))
receivers[INET6].bind(("::1", 0))


def said(result: int) -> object:
    return result if result >= 0 else errno.errorcode[ctypes.get_errno()]


def header(name: bytes, length: int) -> bytes:
    where = ctypes.addressof(ctypes.c_char.from_buffer(name))
    return struct.pack("=Qi4xQQ32x", where, length, ctypes.addressof(vector), 1)


def named(family: int, kind: int) -> bytearray:
    """The address of the receiver of that kind, with that family."""
    host, port, *_ = receivers[kind].getsockname()
    body = struct.pack("!H", port) + (bytes(4) if kind == INET6 else b"")
    return bytearray(struct.pack("=H", family) + body + socket.inet_pton(kind, host) + bytes(8))


for family, kind, is_connected, length in itertools.product(
    (77, socket.AF_UNSPEC, INET6, socket.AF_UNIX), receivers, (False, True), (28, 16, 8, 2)
):
    s = socket.socket(kind, socket.SOCK_DGRAM)
    if is_connected:
        s.connect(receivers[kind].getsockname())
    name = named(family, kind)
    pointer = (ctypes.c_char * len(name)).from_buffer(name)
    one = header(name, length)
    print(
        family, kind, is_connected, length,
        said(libc.sendto(s.fileno(), data, 1, 0, pointer, length)),
        said(libc.sendmsg(s.fileno(), one, 0)), said(libc.sendmmsg(s.fileno(), one, 1, 0)),
    )  # fmt: skip

s = socket.socket(INET, socket.SOCK_DGRAM)
wrong, right = named(77, INET), named(INET, INET)
for order in ((wrong, right), (right, wrong, right), (wrong, wrong), (right, right)):
    headers = b"".join(header(name, 16) for name in order)
    print(
        [bytes(name[:2]) for name in order], said(libc.sendmmsg(s.fileno(), headers, len(order), 0))
    )

r = receivers[INET]
r.setblocking(False)
try:
    while True:
        r.recv(9)
except BlockingIOError:
    pass
for pointer in (None, 8):
    s.sendto(b"y", r.getsockname())
    print(said(libc.recvfrom(r.fileno(), data, 9, 0, data, pointer)))
    try:
        print(r.recv(9))
    except BlockingIOError as error:
        print(error)

for family, kind in itertools.product((INET, INET6), (99, 4, 7, 11, 15, 1 << 20 | 2)):
    print(family, kind, said(libc.socket(family, kind, 0)))
