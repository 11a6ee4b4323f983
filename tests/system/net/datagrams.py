"""Sends and receives datagrams in every way that there is, and prints what comes: HOST PORT."""

import os
import signal
import socket
import sys
import time

HOST, PORT = sys.argv[1], int(sys.argv[2])
THERE = (HOST, PORT)
FAMILY = socket.AF_INET6 if ":" in HOST else socket.AF_INET
s = socket.socket(FAMILY, socket.SOCK_DGRAM)
s.settimeout(10)


def told(address: object) -> object:
    return "THERE" if address is not None and address[:2] == THERE else address


def show(*what: object) -> None:
    print(*what, flush=True)


show("sendto", s.sendto(b"one", THERE))
data, sender = s.recvfrom(100)
show(data, told(sender))
show("sendmsg", s.sendmsg([b"tw", b"o" * 3], [], 0, THERE))
data, control, flags, sender = s.recvmsg(100, 100)
show(data, control, flags, told(sender))
s.sendto(b"peeked", THERE)
for flags in (socket.MSG_PEEK, socket.MSG_PEEK | socket.MSG_TRUNC, 0):
    data, control, got, sender = s.recvmsg(3, 0, flags)
    show(data, got, told(sender))
first, second = bytearray(2), bytearray(3)
s.sendto(b"scattered", THERE)
show(s.recvmsg_into([first, second])[0], first, second)
s.setblocking(False)
try:
    s.recvfrom(10)
except BlockingIOError as error:
    show(error.strerror)
s.setblocking(True)
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, b"\0" * 8 + (100000).to_bytes(8, "little"))
try:
    s.recvfrom(10)
except BlockingIOError as error:
    show(error.strerror)
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, bytes(16))

if FAMILY == socket.AF_INET:
    s.setsockopt(socket.IPPROTO_IP, socket.IP_PKTINFO if hasattr(socket, "IP_PKTINFO") else 8, 1)
    s.sendto(b"with control", THERE)
    data, control, _, sender = s.recvmsg(100, 100)
    show(data, [(level, kind, len(value)) for level, kind, value in control], told(sender))
    s.setsockopt(socket.IPPROTO_IP, 8, 0)

if os.fork() == 0:
    time.sleep(0.3)
    os.kill(os.getppid(), signal.SIGALRM)
    os._exit(0)
signal.signal(signal.SIGALRM, lambda *_: show("signal") or s.sendto(b"after the signal", THERE))
data, sender = s.recvfrom(100)
show(data, told(sender))

c = socket.socket(FAMILY, socket.SOCK_DGRAM)
c.settimeout(10)
c.connect(THERE)
show(told(c.getpeername()))
c.send(b"connected")
show(c.recv(100))
c.send(b"again")
data, sender = c.recvfrom(100)
show(data, told(sender))
