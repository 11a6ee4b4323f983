"""net: what a program waits for comes as it comes natively."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.command import USERS
from tests.system.net.servers import closed_port
from tests.system.view import run_in_view

HERE = Path(__file__).parent / "net"
pytestmark = pytest.mark.timeout(60)
each_user = pytest.mark.parametrize("user", USERS, ids=lambda user: f"as-{user}")

SHUT = """
import select, socket, sys, threading
c = socket.socket(type=socket.SOCK_DGRAM); c.connect(("127.0.0.1", int(sys.argv[1])))
for receive in (c.recvfrom, c.recvmsg):
    threading.Timer(0.2, c.shutdown, (socket.SHUT_RDWR,)).start()
    print(receive(9))
"""
ERROR = """
import signal, socket, sys
s = socket.socket(type=socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IP, 11, 1)  # IP_RECVERR
s.sendto(b"x", ("127.0.0.1", int(sys.argv[1])))
def attempt():
    try: print(s.recvfrom(9))
    except OSError as error: print(error.strerror)
attempt()
signal.signal(signal.SIGALRM, lambda *_: print("signal") or s.settimeout(0))
signal.setitimer(signal.ITIMER_REAL, 0.2)
attempt()
s.setblocking(True)
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, bytes(8) + (100000).to_bytes(8, "little"))
attempt()
print(len(s.recvmsg(9, 500, 0x2000)[0]))  # MSG_ERRQUEUE
"""
EXPECTED = {
    SHUT: b"(b'', None)\n(b'', [], 0, None)\n",
    ERROR: b"Connection refused\nsignal\nResource temporarily unavailable\n"
    b"Resource temporarily unavailable\n1\n",
}


@each_user
@pytest.mark.parametrize("rules", ["ports=private", "none", "name=a.test=10.0.0.7"])
@pytest.mark.parametrize("program", EXPECTED, ids=["shut-down", "error-queue"])
def test_receiving(program: str, rules: str, user: int) -> None:
    words = ["python3", "-c", program, str(closed_port())]
    for modules in (None, [f"net:{rules}"]):
        result = run_in_view(modules, words, user=user, timeout=15)
        assert (result.stdout, result.stderr) == (EXPECTED[program], b""), modules


FULL = """
import ctypes, os, resource, socket
s = socket.create_server(("127.0.0.1", 0))
c = socket.create_connection(s.getsockname()); c.sendall(b"kept")
name, size = ctypes.create_string_buffer(128), ctypes.c_int(128)
libc = ctypes.CDLL(None, use_errno=True)
print(libc.accept4(s.fileno(), name, ctypes.byref(size), 1), ctypes.get_errno())
resource.setrlimit(resource.RLIMIT_NOFILE, (80, 80))
held = []
try:
    while True: held.append(os.dup(0))
except OSError as error: print(error.strerror)
for _ in range(2):
    try: s.accept()
    except OSError as error: print(error.strerror)
os.close(held.pop())
connection, peer = s.accept()
print(peer == c.getsockname(), connection.recv(9))
"""


@each_user
@pytest.mark.parametrize("rules", ["ports=private", "none"])
def test_accepting_without_a_descriptor(rules: str, user: int) -> None:
    """The client stays in the queue."""
    for modules in (None, [f"net:{rules}"]):
        result = run_in_view(modules, ["python3", "-c", FULL], user=user, timeout=15)
        assert result.stdout.decode() == (
            "-1 22\n" + "Too many open files\n" * 3 + "True b'kept'\n"
        ), (modules, result.stderr)


@each_user
@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1"])
def test_rare_words(host: str, user: int) -> None:
    words = ["python3", str(HERE / "odd.py"), host]
    native = run_in_view(None, words, user=user, check=True)
    assert b"Invalid argument" in native.stdout and b"'answer' " + host.encode() in native.stdout
    for rules in ("ports=private", "none"):
        seen = run_in_view([f"net:{rules}"], words, user=user, timeout=15)
        assert (seen.stdout.decode(), seen.stderr) == (native.stdout.decode(), b"")


@each_user
@pytest.mark.parametrize("rules", ["ports=private", "none"])
def test_a_signal_ends_a_wait_that_has_a_time_limit(rules: str, user: int) -> None:
    """SA_RESTART or not (signal(7)): the limit would begin afresh each time."""
    words = ["python3", str(HERE / "limited.py")]
    native = run_in_view(None, words, user=user, check=True)
    assert native.stdout.count(b"EINTR True\n") == 7
    seen = run_in_view([f"net:{rules}"], words, user=user, timeout=30)
    assert (seen.stdout.decode(), seen.stderr) == (native.stdout.decode(), b"")


RESET = """
import ctypes, socket, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
host = sys.argv[1]
family = socket.AF_INET6 if ":" in host else socket.AF_INET
s = socket.create_server((host, 0), family=family)
c = socket.socket(family); c.bind((host, 0)); c.connect(s.getsockname())
c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
port = c.getsockname()[1]; c.close()
name, size = ctypes.create_string_buffer(b"\\xee" * 128, 128), ctypes.c_int(128)
fd = libc.accept(s.fileno(), name, ctypes.byref(size))
print(fd >= 0, size.value, int.from_bytes(name.raw[2:4], "big") == port)
print(name.raw[:2].hex(), name.raw[4 : size.value].hex(), name.raw[size.value :] == b"\\xee" * 100)
"""


@pytest.mark.parametrize("rules", ["ports=private", "none"])
@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1"])
def test_accepting_a_connection_that_was_reset(host: str, rules: str) -> None:
    """It has an address, though getpeername(2) knows none any more."""
    words = ["python3", "-c", RESET, host]
    native = run_in_view(None, words, check=True)
    assert native.stdout.startswith((b"True 16 True", b"True 28 True"))
    assert run_in_view([f"net:{rules}"], words, check=True).stdout == native.stdout


@pytest.mark.parametrize("rules", ["ports=private", "none", "deny=10.0.0.0/8/udp"])
def test_wrong_words(rules: str) -> None:
    """Families, lengths and types that the kernel refuses, by its own errno."""
    words = ["python3", str(HERE / "wrong.py")]
    native = run_in_view(None, words, check=True)
    assert b"EDESTADDRREQ" in native.stdout and b"ESOCKTNOSUPPORT" in native.stdout
    seen = run_in_view([f"net:{rules}"], words, timeout=15)
    assert (seen.stdout.decode(), seen.stderr) == (native.stdout.decode(), b"")


@each_user
@pytest.mark.parametrize("rules", ["ports=private", "none"])
def test_addresses_in_ancillary_data(rules: str, user: int) -> None:
    words = ["python3", str(HERE / "ancillary.py")]
    native = run_in_view(None, words, user=user, check=True)
    assert b"0 20 127.0.0.1 True" in native.stdout and b"50, '::1')" in native.stdout
    seen = run_in_view([f"net:{rules}"], words, user=user, timeout=15)
    assert (seen.stdout.decode(), seen.stderr) == (native.stdout.decode(), b"")
