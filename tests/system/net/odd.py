"""Receives datagrams with words that are wrong or rare, and prints what comes of it: HOST."""

import ctypes
import os
import signal
import socket
import struct
import sys

HOST = sys.argv[1]
FAMILY = socket.AF_INET6 if ":" in HOST else socket.AF_INET
LEVEL, WANTED, KIND = (41, 49, 50) if FAMILY == socket.AF_INET6 else (0, 8, 8)  # IP_PKTINFO
libc = ctypes.CDLL(None, use_errno=True)
s, c = (socket.socket(FAMILY, socket.SOCK_DGRAM) for _ in range(2))
s.bind((HOST, 0))
THERE = s.getsockname()[:2]


def show(*what: object) -> None:
    print(*what, flush=True)


def said(result: int) -> object:
    return result if result >= 0 else os.strerror(ctypes.get_errno())


# a negative length of an address
buffer, name = ctypes.create_string_buffer(9), ctypes.create_string_buffer(128)
for length in (-5, 0, 128):
    c.sendto(b"x", THERE)
    size = ctypes.c_int(length)
    show(
        "recvfrom", length, said(libc.recvfrom(s.fileno(), buffer, 9, 0, name, ctypes.byref(size)))
    )
s.setblocking(False)
try:
    show(s.recv(9))
except BlockingIOError as error:
    show(error.strerror)
s.setblocking(True)
vector = ctypes.create_string_buffer(struct.pack("QQ", ctypes.addressof(buffer), 9), 16)


def header(size: int) -> bytes:
    return struct.pack("=Qi4xQQQQi4xQ", ctypes.addressof(name), size, ctypes.addressof(vector), 1,
                       0, 0, 0, 0)  # fmt: skip


for length in (-1, 16):
    c.sendto(b"x", THERE)
    show("recvmsg", length, said(libc.recvmsg(s.fileno(), header(length), 0)))
s.recv(9)

# the time limit of recvmmsg
headers = ctypes.create_string_buffer(header(128) * 3, 192)


def several(timeout: bytes, count: int, flags: int = 0) -> object:
    limit = ctypes.create_string_buffer(timeout, 16)
    result = said(libc.recvmmsg(s.fileno(), headers, count, flags, limit))
    seconds, nano = struct.unpack("qq", limit.raw)
    return result, (seconds, nano) if (seconds, nano) in ((-1, 0), (0, 0)) else seconds


for seconds, nano in ((0, 2 * 10**9), (-1, 0), (0, -1)):
    show("recvmmsg", seconds, nano, several(struct.pack("qq", seconds, nano), 1))
for timeout, flags in ((bytes(16), 0), (struct.pack("qq", 5000, 0), 0x10000)):  # MSG_WAITFORONE
    for _ in range(2):
        c.sendto(b"x", THERE)
    show("recvmmsg", several(timeout, 3, flags))
s.settimeout(0)
while True:
    try:
        s.recv(9)
    except BlockingIOError:
        break
s.settimeout(None)

# what a signal ends has received what it has received
signal.signal(signal.SIGALRM, lambda *_: show("signal"))
c.sendto(b"x", THERE)
signal.setitimer(signal.ITIMER_REAL, 0.3)
show("recvmmsg", said(libc.recvmmsg(s.fileno(), headers, 2, 0, None)))

# at which address it was reached, and from where it answers
s = socket.socket(FAMILY, socket.SOCK_DGRAM)
s.bind((HOST, 0))
s.setsockopt(LEVEL, WANTED, 1)
c.sendto(b"question", (HOST, s.getsockname()[1]))
data, control, _, sender = s.recvmsg(100, 100)
(level, kind, data), *_ = control
hosts = (data[:16],) if FAMILY == socket.AF_INET6 else (data[4:8], data[8:12])
show((level, kind), [socket.inet_ntop(FAMILY, host) for host in hosts])
s.sendmsg([b"answer"], [(level, kind, data)], 0, sender)
data, sender = c.recvfrom(100)
show(data, sender[0])
