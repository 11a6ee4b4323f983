"""Connects by sending (MSG_FASTOPEN): HOST of a loopback interface."""

import ctypes
import errno
import select
import signal
import socket
import struct
import sys
import threading
import time

HOST = sys.argv[1]
FAST = 0x20000000
libc = ctypes.CDLL(None, use_errno=True)


def show(*what: object) -> None:
    print(*what, flush=True)


def attempt(call: object, *arguments: object) -> object:
    try:
        return call(*arguments)  # type: ignore[operator]
    except OSError as error:
        return errno.errorcode[error.errno or 0]


def drained(listener: socket.socket) -> int:
    """Bytes that come by one connection."""
    connection, _ = listener.accept()
    with connection:
        return sum(map(len, iter(lambda: connection.recv(1 << 20), b"")))


server = socket.create_server((HOST, 0))
THERE = server.getsockname()


def sent(call: object, *arguments: object) -> None:
    """What the caller is told, and what has come."""
    came: list[int] = []
    thread = threading.Thread(target=lambda: came.append(drained(server)))
    thread.start()
    with socket.socket() as s:
        told = attempt(getattr(s, str(call)), *arguments)
    thread.join(5)
    show(call, told, came)


sent("sendto", b"y" * 300000, FAST, THERE)
sent("sendmsg", [b"a" * 200000, b"b" * 100000], [], FAST | socket.MSG_MORE, THERE)
sent("sendmsg", [], [], FAST, THERE)

# ancillary data, which the kernel looks at when it is connected
with socket.socket() as s:
    show(attempt(s.sendmsg, [b"x"], [(socket.SOL_SOCKET, 99, b"1234")], FAST, THERE))
    server.accept()[0].close()

# several messages: another connect is refused
with socket.socket() as s:
    name = struct.pack("=HH4s8x", 2, socket.htons(THERE[1]), socket.inet_aton(HOST))
    names, data = ctypes.create_string_buffer(name, 16), ctypes.create_string_buffer(b"ab")
    vector = ctypes.create_string_buffer(struct.pack("=QQ", ctypes.addressof(data), 2), 16)
    header = struct.pack("=QI4xQQQQi4xI4x", ctypes.addressof(names), 16,
                         ctypes.addressof(vector), 1, 0, 0, 0, 0)  # fmt: skip
    headers = ctypes.create_string_buffer(header * 2, 128)
    show("sendmmsg", libc.sendmmsg(s.fileno(), headers, 2, FAST), headers.raw[56:58])
    connection, _ = server.accept()
    show(connection.recv(9), attempt(s.sendto, b"x", FAST, THERE), s.getpeername() == THERE)

# not waiting
with socket.socket() as s:
    s.setblocking(False)
    show(attempt(s.sendto, b"y", FAST, THERE))
    select.select([], [s], [], 2)
    show(attempt(s.sendto, b"y", FAST, THERE), attempt(s.sendto, b"y", FAST, THERE))
    show(server.accept()[0].recv(9))

# nobody is there; what comes behind it
for one in (0, socket.MSG_DONTWAIT):
    with socket.socket() as s, socket.socket() as closed:
        closed.bind((HOST, 0))
        show(attempt(s.sendto, b"y", FAST | one, closed.getsockname()))
        time.sleep(0.05)
        show(attempt(s.send, b"y"), attempt(s.getpeername))

# the peer has left no room
full = socket.socket()
full.bind((HOST, 0))
full.listen(0)
held = [socket.socket() for _ in range(2)]
for one in held:
    one.setblocking(False)
    one.connect_ex(full.getsockname())
    select.select([], [one], [], 0.2)
started = time.monotonic()
with socket.socket() as s:
    show(attempt(s.sendto, b"x", FAST | socket.MSG_DONTWAIT, full.getsockname()))
    show(attempt(s.sendto, b"x", FAST | socket.MSG_DONTWAIT, full.getsockname()))
with socket.socket() as s:
    s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("qq", 0, 200000))
    show(attempt(s.sendto, b"x", FAST, full.getsockname()))
signal.signal(signal.SIGALRM, lambda *_: show("signal"))
signal.siginterrupt(signal.SIGALRM, True)
with socket.socket() as s:
    data = ctypes.create_string_buffer(b"x")
    there = struct.pack("=HH4s8x", 2, socket.htons(full.getsockname()[1]), socket.inet_aton(HOST))
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    result = libc.sendto(s.fileno(), data, 1, FAST, there, 16)
    show(result, errno.errorcode[ctypes.get_errno()])
show(time.monotonic() - started < 2)

# what a signal ends has sent what it has sent
with socket.socket() as s:
    data = ctypes.create_string_buffer(64 << 20)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    count = libc.sendto(s.fileno(), data, len(data), FAST, name, 16)
    connection, _ = server.accept()
    s.shutdown(socket.SHUT_WR)
    came = sum(map(len, iter(lambda: connection.recv(1 << 20), b"")))
    show(0 < count < len(data), came == count)
