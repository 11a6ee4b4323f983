"""net: connects that follow each other on one socket, and at once, as the kernel has them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.command import USERS
from tests.system.net.proxies import asking
from tests.system.net.servers import echo, serving
from tests.system.view import run_in_view

HERE = Path(__file__).parent / "net"
pytestmark = pytest.mark.timeout(60)
each_user = pytest.mark.parametrize("user", USERS, ids=lambda user: f"as-{user}")


def through(proxy: int, *items: str) -> list[str]:
    return ["net:" + ",".join((f"proxy=socks5://127.0.0.1:{proxy}", "proxy-timeout=3", *items))]


AGAIN = """
import select, socket, sys
for blocking in (False, True):
    s = socket.socket()
    s.setblocking(blocking)
    print(s.connect_ex(("10.0.0.1", int(sys.argv[1]))), end=" ")
    select.select([], [s], [], 3)
    print(*(s.connect_ex((f"10.0.0.{n}", int(sys.argv[1]))) for n in (1, 2)), s.getpeername()[0])
    s.setblocking(True)
    s.sendall(b"data"); print(s.recv(9))
"""


@each_user
def test_another_connect_on_a_connected_socket(user: int) -> None:
    """It says that it is connected, and says nothing to the peer."""
    with serving(echo) as port, asking(to=port) as (proxy, asked):
        words = ["python3", "-c", AGAIN, str(port)]
        result = run_in_view(through(proxy), words, user=user, timeout=15)
    said = b"0 106 106 10.0.0.1\nb'data'\n" * 2
    assert (result.stdout, result.stderr) == (said, b"")
    assert asked == [f"10.0.0.1:{port}"] * 2


TWO = """
import errno, socket, sys, threading, time
port, what = int(sys.argv[1]), sys.argv[2]
s = socket.socket()
def other():
    time.sleep(0.2)
    started = time.monotonic()
    if what == "error": said = s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    else: said = errno.errorcode.get(s.connect_ex(("10.0.0.2", port)), 0)
    print(said, time.monotonic() - started > 0.2, flush=True)
thread = threading.Thread(target=other)
thread.start()
started = time.monotonic()
print(errno.errorcode.get(s.connect_ex(("10.0.0.1", port)), 0) if what != "refused" else
      s.connect_ex(("10.0.0.1", port)) > 0, time.monotonic() - started > 0.6)
thread.join()
if what != "refused":
    s.sendall(b"data"); print(s.recv(9), s.getpeername()[0])
"""


@pytest.mark.parametrize("what", ["error", "connect", "refused"])
def test_two_threads_and_one_socket(what: str) -> None:
    """One goes on with the handshake; a connect of the other waits for it."""
    reply = 5 if what == "refused" else 0
    with serving(echo) as port, asking(to=port, delay=0.8, reply=reply) as (proxy, asked):
        words = ["python3", "-c", TWO, str(port), what]
        result = run_in_view(through(proxy), words, timeout=15)
    said = {
        "error": "0 False|0 True|b'data' 10.0.0.1",
        "connect": "0 True|0 True|b'data' 10.0.0.1",
        "refused": "ECONNABORTED True|True True",
    }
    assert sorted(result.stdout.decode().splitlines()) == sorted(said[what].split("|"))
    assert asked == [f"10.0.0.1:{port}"]


LATER = """
import ctypes, errno, signal, socket, struct, sys
port = int(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
def connect(s, host):
    address = struct.pack("=HH4s8x", 2, socket.htons(port), socket.inet_aton(host))
    result = libc.connect(s.fileno(), address, 16)
    return errno.errorcode[ctypes.get_errno()] if result else 0
def again(s): print(*(connect(s, "10.0.0.1") for _ in range(2)), s.getpeername()[0])
# a time limit of the socket's own
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("qq", 0, 200000))
print(*(connect(s, "10.0.0.1") for _ in range(2)))
s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, bytes(16))
again(s)
# a signal; SO_ERROR does the rest, of which the next connect tells
signal.signal(signal.SIGALRM, lambda *_: None)
signal.siginterrupt(signal.SIGALRM, True)
s = socket.socket()
signal.setitimer(signal.ITIMER_REAL, 0.2)
print(connect(s, "10.0.0.1"), s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
s.sendall(b"data"); print(s.recv(9))
again(s)
# a signal; the program gives up, and connects to somebody else
s = socket.socket()
signal.setitimer(signal.ITIMER_REAL, 0.2)
print(connect(s, "10.0.0.1"), libc.connect(s.fileno(), bytes(16), 16), connect(s, "10.0.0.2"))
s.sendall(b"data"); print(s.recv(9), s.getpeername()[0])
"""


@each_user
def test_a_connect_that_ends_later(user: int) -> None:
    with serving(echo) as port, asking(to=port, delay=0.7) as (proxy, asked):
        words = ["python3", "-c", LATER, str(port)]
        result = run_in_view(through(proxy), words, user=user, timeout=30)
    assert result.stdout.decode().splitlines() == [
        "EINPROGRESS EALREADY", "0 EISCONN 10.0.0.1",
        "EINTR 0", "b'data'", "0 EISCONN 10.0.0.1",
        "EINTR 0 0", "b'data' 10.0.0.2",
    ], result.stderr  # fmt: skip
    assert asked == [f"10.0.0.{n}:{port}" for n in (1, 1, 1, 2)]


@each_user
@pytest.mark.parametrize("rules", ["ports=private", "map=10.0.0.1/udp=127.0.0.1", "proxy"])
def test_connecting_by_sending(rules: str, user: int) -> None:
    """MSG_FASTOPEN with a lot of data, flags, no room for the connection, and signals."""
    with serving() as port, asking(to=port) as (proxy, _):
        modules = [f"net:{rules}"] if rules != "proxy" else through(proxy)
        words = ["python3", str(HERE / "fast.py"), "127.0.0.1"]
        native = run_in_view(None, words, user=user, check=True)
        assert native.stdout.count(b"300000") == 4 and b"EINPROGRESS" in native.stdout
        seen = run_in_view(modules, words, user=user, timeout=15)
        assert (seen.stdout.decode(), seen.stderr) == (native.stdout.decode(), b"")


def test_connecting_by_sending_through_a_proxy() -> None:
    """All of the data arrives behind the handshake."""
    program = """
import os, socket, sys
there = "10.0.0.1", int(sys.argv[1])
MPTCP = 262 if os.path.exists("/proc/sys/net/mptcp/enabled") else 0
for protocol, flags in ((0, 0), (0, socket.MSG_DONTWAIT), (MPTCP, 0)):
    for way in ("sendto", "sendmsg"):
        s = socket.socket(proto=protocol)
        if way == "sendto": n = s.sendto(b"y" * 300000, 0x20000000 | flags, there)
        else: n = s.sendmsg([b"a" * 200000, b"b" * 100000], [], 0x20000000 | flags, there)
        got = 0
        while got < n: got += len(s.recv(1 << 20))
        print(way, n if not flags else n > 1000, s.connect_ex(there), s.getpeername()[0])
"""
    with serving(echo) as port, asking(to=port) as (proxy, asked):
        words = ["python3", "-c", program, str(port)]
        result = run_in_view(through(proxy), words, timeout=30)
    told = "sendto {} 106 10.0.0.1\nsendmsg {} 106 10.0.0.1\n"
    assert result.stdout.decode() == "".join(told.format(n, n) for n in (300000, True, 300000))
    assert asked == [f"10.0.0.1:{port}"] * 6
