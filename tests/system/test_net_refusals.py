"""net: proxies that refuse, or do not say what proxies say: what the program and the user see."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable

import pytest

from tests.system.command import USERS
from tests.system.net.proxies import dying, socks5
from tests.system.net.servers import closed_port, serving
from tests.system.view import run_in_view

pytestmark = pytest.mark.timeout(60)
USER = USERS[-1]

AFTER = """
import socket, sys
s = socket.socket()
print(s.connect_ex((sys.argv[1], int(sys.argv[2]))), s.getsockopt(1, 4))  # SO_ERROR
for call in (lambda: s.recv(9), lambda: s.send(b"x"), s.getpeername, lambda: s.send(b"x")):
    try: print(call())
    except OSError as e: print(e.strerror)
"""


def test_the_socket_is_as_after_any_connect_that_failed() -> None:
    words = ["python3", "-c", AFTER]
    native = run_in_view(None, [*words, "127.0.0.1", str(closed_port())], check=True)
    assert native.stdout.startswith(b"111 0\n")
    for handler in (socks5([], reply=5), dying(b"\5\0\5\0\0\1\0")):
        with serving(handler) as proxy:
            modules = [f"net:proxy=socks5://127.0.0.1:{proxy}"]
            seen = run_in_view(modules, [*words, "10.0.0.1", "80"], user=USER)
        assert seen.stdout.split(b"\n")[1:] == native.stdout.split(b"\n")[1:]
        assert seen.stdout.split()[1] == b"0"


CONNECT = """
import socket
s = socket.socket()
print(s.connect_ex(("10.0.0.1", 80)))
try: s.send(b"x"); s.recv(9)
except OSError: pass
"""


def saying(*answers: bytes) -> Callable[[socket.socket], None]:
    """Answers each thing that it hears with the next of these, and waits for the end."""

    def handler(connection: socket.socket) -> None:
        for answer in answers:
            connection.recv(4096)
            connection.sendall(answer)
        connection.recv(4096)

    return handler


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (b"\4\0\0\1" + bytes(6), b"it does not speak SOCKS5"),
        (b"\5\0\0\2" + bytes(6), b"it does not speak SOCKS5"),
        (b"\5\5\0\1" + bytes(6), b"it does not connect to 10.0.0.1:80: connection refused"),
        (b"\5\0\0\3\4name" + bytes(2), None),
    ],
)
@pytest.mark.parametrize("mode", ["", ",proxy-mode=relay"])
def test_replies_of_socks(reply: bytes, why: bytes | None, mode: str) -> None:
    with serving(saying(b"\5\0", reply)) as proxy:
        modules = [f"net:proxy=socks5://127.0.0.1:{proxy}{mode}"]
        result = run_in_view(modules, ["python3", "-c", CONNECT], user=USER)
    if not mode:
        assert result.stdout == (b"0\n" if why is None else b"111\n")
        assert result.stderr.count(b"\n") == (why is not None)
    assert why is None or why in result.stderr


@pytest.mark.parametrize(
    ("reply", "number", "why"),
    [
        (2, errno.EACCES, "its rules do not allow it"),
        (6, errno.ETIMEDOUT, "TTL expired"),
        (7, errno.EOPNOTSUPP, "it knows no CONNECT"),
        (8, errno.EAFNOSUPPORT, "it does not know this type of address"),
        (9, errno.ECONNREFUSED, "reply 9"),
    ],
)
def test_replies_of_socks_that_are_rare(reply: int, number: int, why: str) -> None:
    """The words of RFC 1928, section 6, and the destination that they are about."""
    with serving(saying(b"\5\0", b"\5%c\0\1" % reply + bytes(6))) as proxy:
        modules = [f"net:proxy=socks5://127.0.0.1:{proxy}"]
        result = run_in_view(modules, ["python3", "-c", CONNECT], user=USER)
    assert result.stdout == b"%d\n" % number
    line = f"viewos: net: the proxy socks5://127.0.0.1:{proxy}: it does not connect to 10.0.0.1:80"
    assert result.stderr.decode() == f"{line}: {why}\n"


@pytest.mark.parametrize(("status", "number"), [(b"200 OK", b"0"), (b"502 \x1b[2Jbad", b"111")])
def test_interim_answers_of_http(status: bytes, number: bytes) -> None:
    """They announce another one (RFC 9110, section 15.2)."""
    heads = (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 \r\nX: y\r\n\r\nHTTP/1.1 %s\r\n\r\n" % status
    )
    with serving(saying(heads)) as proxy:
        modules = [f"net:proxy=http://127.0.0.1:{proxy}"]
        result = run_in_view(modules, ["python3", "-c", CONNECT], user=USER)
    assert result.stdout == number + b"\n"
    assert (b"it does not connect to 10.0.0.1:80: 502 " in result.stderr) == (number != b"0")
    assert b"\x1b" not in result.stderr  # which is the user's terminal, perhaps


def test_each_reason_is_said_once() -> None:
    """Also those that have the same errno."""
    left = [1, 5, 1, 5]
    program = "import socket\nfor _ in range(4): socket.socket().connect_ex(('10.0.0.1', 80))"

    def handler(connection: socket.socket) -> None:
        socks5([], reply=left.pop())(connection)

    with serving(handler) as proxy:
        modules = [f"net:proxy=socks5://127.0.0.1:{proxy}"]
        result = run_in_view(modules, ["python3", "-c", program], user=USER)
    said = [line.rpartition(": ")[2] for line in result.stderr.decode().splitlines()]
    assert said == ["connection refused", "failure"]
