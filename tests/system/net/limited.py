"""Waits with SO_RCVTIMEO or SO_SNDTIMEO while signals come whose handler has SA_RESTART, and prints
how each wait ends; at the end in a thread that alone does not block them."""

import ctypes
import errno
import signal
import socket
import struct
import threading
import time

libc = ctypes.CDLL(None, use_errno=True)
LIMIT = struct.pack("qq", 1, 0)
data, name = (ctypes.create_string_buffer(128) for _ in range(2))
count = ctypes.c_int(128)
vector = ctypes.create_string_buffer(struct.pack("QQ", ctypes.addressof(data), 9), 16)
header = ctypes.create_string_buffer(
    struct.pack("=Qi4xQQQQ16x", ctypes.addressof(name), 128, ctypes.addressof(vector), 1, 0, 0)
)


def full() -> tuple[socket.socket, list[socket.socket]]:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    clients = [socket.socket() for _ in range(4)]
    for client in clients:
        client.setblocking(False)
        client.connect_ex(listener.getsockname())
    time.sleep(0.1)
    return listener, clients


listener, clients = full()
host, port = listener.getsockname()
there = struct.pack("=H", 2) + struct.pack("!H", port) + socket.inet_aton(host) + bytes(8)
server = socket.create_server(("127.0.0.1", 0))
datagrams = socket.socket(type=socket.SOCK_DGRAM)
datagrams.bind(("127.0.0.1", 0))
for one in (server, datagrams):
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, LIMIT)
client = socket.socket()
client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, LIMIT)
length = ctypes.byref(count)
WAITS = {
    "accept": lambda: libc.accept(server.fileno(), name, length),
    "accept4": lambda: libc.accept4(server.fileno(), name, length, 0),
    "recvfrom": lambda: libc.recvfrom(datagrams.fileno(), data, 9, 0, name, length),
    "recvmsg": lambda: libc.recvmsg(datagrams.fileno(), header, 0),
    "recvmmsg": lambda: libc.recvmmsg(datagrams.fileno(), header, 1, 0, None),
    "connect": lambda: libc.connect(client.fileno(), there, 16),
}
signal.signal(signal.SIGALRM, lambda *_: None)
signal.siginterrupt(signal.SIGALRM, False)


def attempt(wait: str) -> None:
    began = time.monotonic()
    signal.setitimer(signal.ITIMER_REAL, 0.3, 0.3)
    result = WAITS[wait]()
    signal.setitimer(signal.ITIMER_REAL, 0)
    why = "" if result >= 0 else errno.errorcode[ctypes.get_errno()]
    print(wait, why, time.monotonic() - began < 0.8, flush=True)


for wait in WAITS:
    attempt(wait)

signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})


def alone() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
    attempt("accept")


thread = threading.Thread(target=alone)
thread.start()
thread.join()
