"""net: proxy-mode=relay, where what is said to a proxy crosses the monitor."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from tests.system.command import USERS, said, viewos
from tests.system.net.proxies import asking, dying, microsocks, silent, socks5, tinyproxy
from tests.system.net.servers import BODY, closed_port, echo, serving
from tests.system.view import run_in_view

pytestmark = pytest.mark.timeout(60)
USER = USERS[-1]
SAYS = (
    b"viewos: net: proxy-mode=relay: what programs say to proxies, and hear, crosses the monitor\n"
)


def modules(proxy: int, *items: str, scheme: str = "socks5") -> list[str]:
    return [",".join((f"net:proxy@any={scheme}://127.0.0.1:{proxy},proxy-mode=relay", *items))]


def python(program: str) -> list[str]:
    return ["/usr/bin/python3", "-I", "-c", program]


def test_real_proxies(tmp_path: Path) -> None:
    with serving() as port, microsocks() as socks, tinyproxy(tmp_path) as http:
        words = ["curl", "-sS", "-m", "20", f"http://127.0.0.1:{port}/"]
        for proxy, scheme in ((socks, "socks5"), (socks, "socks5h"), (http, "http")):
            result = run_in_view(modules(proxy, scheme=scheme), words, user=USER)
            assert (result.stdout, result.stderr) == (BODY, SAYS)


NONBLOCKING = """
import errno, select, socket, sys
s = socket.socket({family}); s.setblocking(False)
print(s.connect_ex(("{host}", 80)) in (0, errno.EINPROGRESS))
select.select([], [s], []); print(s.getsockopt(1, 4), s.getpeername()[:2])
s.setblocking(True); s.sendall(b"x" * 100_000); s.shutdown(1); got = 0
while data := s.recv(65536): got += len(data)
print(got)
"""


@pytest.mark.parametrize(
    ("family", "host"), [("socket.AF_INET", "10.0.0.1"), ("socket.AF_INET6", "::ffff:10.0.0.1")]
)
def test_a_socket_that_does_not_wait(family: str, host: str) -> None:
    """And a direction that ends before the other one."""
    program = NONBLOCKING.format(family=family, host=host)
    # The proxy is slow: natively a connect that waits for it would take that long.
    with serving(echo) as port, asking(to=port, delay=0.3) as (proxy, asked):
        result = run_in_view(modules(proxy), python(program))
    assert result.stdout.decode() == f"True\n0 ('{host}', 80)\n100000\n"
    assert asked == ["10.0.0.1:80"]


def test_more_in_both_directions_than_is_read() -> None:
    """Each side sends before it reads: neither direction waits for the other one."""
    program = "import socket, threading; s = socket.create_connection(('10.0.0.1', 80));" + (
        "t = threading.Thread(target=s.sendall, args=(bytes(8_000_000),)); t.start();"
        "n = 0\nwhile n < 8_000_000: n += len(s.recv(65536))\nt.join(); print(n)"
    )
    with serving(echo) as port, asking(to=port) as (proxy, _):
        result = run_in_view(modules(proxy), python(program))
    assert result.stdout == b"8000000\n"


FAILING = """
import socket
s = socket.socket(); print(s.connect_ex(("10.0.0.1", 80)))
try: print(s.recv(1))
except OSError as error: print(error.errno)
"""


def test_what_a_proxy_refuses() -> None:
    """The connection is there already: it is reset, and a line says why."""
    with asking(reply=5) as (proxy, _):
        result = run_in_view(modules(proxy), python(FAILING))
        assert result.stdout == b"0\n104\n"
        why = (
            b"viewos: net: the proxy socks5://127.0.0.1:%d:"
            b" it does not connect to 10.0.0.1:80: connection refused\n"
        )
        assert result.stderr == SAYS + why % proxy
    nobody = closed_port()
    result = run_in_view(modules(nobody), python(FAILING))
    why = b"viewos: net: the proxy socks5://127.0.0.1:%d: cannot be reached: Connection refused\n"
    assert (result.stdout, result.stderr) == (b"0\n104\n", SAYS + why % nobody)


@pytest.mark.parametrize("said_before", [b"", b"\5", b"\5\0", b"\5\0\5\0\0\1\0"])
def test_a_proxy_that_dies(said_before: bytes) -> None:
    with serving(dying(said_before)) as proxy:
        result = run_in_view(modules(proxy), python(FAILING))
    assert result.stdout == b"0\n104\n"


def test_a_proxy_that_says_nothing() -> None:
    with serving(silent) as proxy:
        result = run_in_view(modules(proxy, "proxy-timeout=1"), python(FAILING))
    assert result.stdout == b"0\n104\n"
    assert b": Connection timed out\n" in result.stderr


def test_the_last_words_of_a_program() -> None:
    """It ends at once: what it had sent arrives all the same."""
    arrived: list[int] = []
    done = threading.Event()

    def count(connection: socket.socket) -> None:
        total = 0
        while data := connection.recv(65536):
            total += len(data)
        arrived.append(total)
        done.set()

    program = "import socket; socket.create_connection(('10.0.0.1', 80)).sendall(bytes(2_000_000))"
    with serving(count) as port, asking(to=port, delay=0.3) as (proxy, _):
        run_in_view(modules(proxy), python(program), check=True)
        assert done.wait(10)
    assert arrived == [2_000_000]


def test_a_wrong_mode() -> None:
    result = viewos("run", "-m", "net:proxy=http://127.0.0.1:1,proxy-mode=fast", "--", "true")
    status, line = said(result)
    assert status == 2
    assert "item 2: expected proxy-mode=relay" in line


FAMILIES = """
import socket
for family, host in ((2, "10.0.0.1"), (10, "::ffff:10.0.0.1"), (10, "fd00::1")):
    s = socket.socket(family); s.connect((host, 80)); s.sendall(b"data")
    print(s.recv(9), s.getpeername()[:2], s.connect_ex((host, 80)))
s = socket.socket(); s.sendto(b"fast", 0x20000000, ("10.0.0.1", 80)); print(s.recv(9))
"""


@pytest.mark.parametrize("host", ["::1", "::ffff:127.0.0.1"])
def test_a_proxy_with_an_ipv6_address(host: str) -> None:
    """No socket of IPv4 reaches it, but for what stands for an address of IPv4."""
    asked: list[str] = []
    real = host.removeprefix("::ffff:")
    with serving(echo) as port, serving(socks5(asked, to=port), host=real) as proxy:
        modules = [f"net:proxy@any=socks5://[{host}]:{proxy}"]
        result = run_in_view(modules, ["python3", "-c", FAMILIES])
    assert result.stdout.decode().splitlines() == [
        "b'data' ('10.0.0.1', 80) 106", "b'data' ('::ffff:10.0.0.1', 80) 106",
        "b'data' ('fd00::1', 80) 106", "b'fast'",
    ], result.stderr  # fmt: skip
    assert asked == ["10.0.0.1:80", "10.0.0.1:80", "fd00::1:80", "10.0.0.1:80"]
    assert (b"crosses the monitor" in result.stderr) is (host == "::1")
