"""net: several modules on top of each other, in one view and in nested ones: what an upper one does
goes through those below."""

from __future__ import annotations

import json
import os
import subprocess
from functools import cache
from pathlib import Path

import pytest

from tests.system.command import USERS
from tests.system.net.proxies import asking, dns_packets
from tests.system.net.servers import BODY, closed_port, datagrams, echo, serving
from tests.system.test_net_connecting import LATER
from tests.system.users import python
from tests.system.view import prefix, run_in_view, scratch_directory

HERE = Path(__file__).parent / "net"
pytestmark = pytest.mark.timeout(60)
each_user = pytest.mark.parametrize("user", USERS, ids=lambda user: f"as-{user}")
each_way = pytest.mark.parametrize("nested", [False, True], ids=["stacked", "nested"])
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="captures packets")


def run_on(
    lower: str, upper: str, words: list[str], *, nested: bool = False, user: int | None = None
) -> subprocess.CompletedProcess[bytes]:
    """A command in a view of two modules, or in a view in a view."""
    lower, upper = f"net:{lower}", f"net:{upper}"
    if not nested:
        return run_in_view([lower, upper], words, user=user)
    outer = [python(user), "-m", "viewos", "run", "--nestable", "-m", lower, "--"]
    inner = prefix([upper], user=user, nested=True)
    return run_in_view(None, [*outer, *inner, *words], user=user)


def fetching(host: str, port: int) -> list[str]:
    return ["curl", "-sS", "-m", "10", f"http://{host}:{port}/file"]


# ---- proxies ------------------------------------------------------------------------------------


@each_way
@pytest.mark.parametrize("rule", ["deny=127.0.0.1:{}", "map=127.0.0.1:{}=127.0.0.1:1"])
def test_a_proxy_is_reached_by_the_rules_below(rule: str, nested: bool) -> None:
    with serving() as port, asking(to=port) as (proxy, asked):
        upper = f"proxy@any=socks5://127.0.0.1:{proxy}"
        result = run_on(rule.format(proxy), upper, fetching("10.0.0.1", 80), nested=nested)
        assert result.returncode == 7 and b"cannot be reached" in result.stderr
        result = run_on("none", upper, fetching("10.0.0.1", 80), nested=nested)
        assert result.returncode == 7
    assert asked == []


@each_user
@each_way
def test_a_proxy_behind_a_proxy(user: int, nested: bool) -> None:
    with (
        serving() as port,
        asking(to=port) as (far, said),
        asking(to=far) as (near, asked),
        scratch_directory("viewos-log-") as directory,
    ):
        directory.chmod(0o777)
        lower = f"proxy@any=socks5h://127.0.0.1:{near},log={directory}/log"
        upper = f"proxy@any=socks5h://127.0.0.1:{far}"
        result = run_on(lower, upper, fetching("some.test", 80), nested=nested, user=user)
        lines = [json.loads(line) for line in (directory / "log").read_text().splitlines()]
    assert (result.stdout, result.stderr) == (BODY, b"")
    assert (asked, said) == ([f"127.0.0.1:{far}"], ["some.test:80"])
    assert [(one["address"], one["result"]) for one in lines] == [(f"127.0.0.1:{far}", "ok")]


def test_a_connect_by_two_proxies_that_ends_later() -> None:
    """Time limits and signals: the call goes on where it was, in whichever handshake."""
    with (
        serving(echo) as port,
        asking(to=port, delay=0.5) as (far, said),
        asking(to=far, delay=0.5) as (near, asked),
    ):
        items = [f"proxy=socks5://10.9.9.9:{far}", f"proxy=socks5://127.0.0.1:{near}"]
        modules = [f"net:{item},proxy-timeout=4" for item in reversed(items)]
        words = ["python3", "-c", LATER, str(port)]
        result = run_in_view(modules, words, timeout=30)
    assert result.stdout.decode().splitlines() == [
        "EINPROGRESS EALREADY", "0 EISCONN 10.0.0.1",
        "EINTR 0", "b'data'", "0 EISCONN 10.0.0.1",
        "EINTR 0 0", "b'data' 10.0.0.2",
    ], result.stderr  # fmt: skip
    assert said == [f"10.0.0.{n}:{port}" for n in (1, 1, 2)]
    assert asked == [f"10.9.9.9:{far}"] * 4


INSIDE = """
import socket, sys, threading
port = int(sys.argv[1])
listener = socket.create_server(("127.0.0.1", port))
def proxy():
    while True:
        c, _ = listener.accept()
        c.recv(3); c.sendall(b"\\5\\0")
        c.recv(10); c.sendall(b"\\5\\0\\0\\1" + bytes(6) + b"inside")
threading.Thread(target=proxy, daemon=True).start()
for family in (socket.AF_INET, socket.AF_INET6):
    s = socket.socket(family)
    s.connect(("10.0.0.1" if family == socket.AF_INET else "::ffff:10.0.0.1", 80))
    print(s.recv(6), s.getpeername()[:2])
"""


@each_way
@pytest.mark.parametrize("lower", ["none", "ports=private"])
def test_a_proxy_on_the_loopback_interface_of_the_view(lower: str, nested: bool) -> None:
    """And not the machine's own at that port."""
    with asking() as (port, asked):
        words = ["python3", "-c", INSIDE, str(port)]
        upper = f"proxy@10.0.0.0/8=socks5://127.0.0.1:{port}"
        result = run_on(lower, upper, words, nested=nested)
    assert result.stdout.decode().splitlines() == [
        "b'inside' ('10.0.0.1', 80)", "b'inside' ('::ffff:10.0.0.1', 80)",
    ], result.stderr  # fmt: skip
    assert asked == []


@each_way
def test_a_relay_has_to_stand_alone(nested: bool) -> None:
    upper = "proxy=socks5://127.0.0.1:1,proxy-mode=relay"
    result = run_on("deny=10.0.0.1", upper, ["true"], nested=nested)
    assert result.returncode == 125
    assert b"module net: proxy-mode=relay connects past the module net below" in result.stderr


FAST = """
import socket, sys
for way in ("sendto", "sendmsg"):
    s, there = socket.socket(), (sys.argv[1], int(sys.argv[2]))
    try:
        if way == "sendto": s.sendto(b"ping", 0x20000000, there)
        else: s.sendmsg([b"ping"], [], 0x20000000, there)
        print(s.recv(4), s.getpeername())
    except OSError as e: print(e.strerror)
"""


@each_way
def test_connecting_by_sending_goes_by_all_rules(nested: bool) -> None:
    with serving(echo) as port, asking(to=port) as (far, said), asking(to=far) as (near, asked):
        words = ["python3", "-c", FAST, "127.0.0.1", str(port)]
        result = run_on(f"deny=127.0.0.1:{port}", "deny=10.0.0.1", words, nested=nested)
        assert result.stdout == b"Permission denied\n" * 2
        words = ["python3", "-c", FAST, "10.0.0.1", "80"]
        told = b"b'ping' ('10.0.0.1', 80)\n" * 2
        lower = f"map=10.0.0.2:80=127.0.0.1:{port}"
        assert run_on(lower, "map=10.0.0.1=10.0.0.2", words, nested=nested).stdout == told
        lower, upper = (f"proxy@any=socks5://127.0.0.1:{one}" for one in (near, far))
        assert run_on(lower, upper, words, nested=nested).stdout == told
    assert asked == [f"127.0.0.1:{far}"] * 2 and said == ["10.0.0.1:80"] * 2


@pytest.mark.parametrize("upper", ["map=10.0.0.1/udp=127.0.0.1", "proxy"])
def test_connecting_by_sending_in_a_stack(upper: str) -> None:
    with serving() as port, asking(to=port) as (proxy, _):
        if upper == "proxy":
            upper = f"proxy=socks5://127.0.0.1:{proxy}"
        words = ["python3", str(HERE / "fast.py"), "127.0.0.1"]
        native = run_in_view(None, words, check=True)
        seen = run_on("ports=private", upper, words)
    assert (seen.stdout.decode(), seen.stderr) == (native.stdout.decode(), b"")


# ---- datagrams ----------------------------------------------------------------------------------

UDP = """
import socket, sys
host, port = sys.argv[1], int(sys.argv[2])
for way in ("sendto", "sendmsg", "connect"):
    s = socket.socket(type=socket.SOCK_DGRAM)
    s.settimeout(0.7)
    try:
        if way == "connect": s.connect((host, port)); s.send(b"ping")
        elif way == "sendto": s.sendto(b"ping", (host, port))
        else: s.sendmsg([b"pi", b"ng"], [], 0, (host, port))
        print(s.recvfrom(9) if way != "sendmsg" else s.recvmsg(9, 99)[::3])
    except OSError as e: print(e.strerror)
"""
TO = "map=10.0.0.2/udp=127.0.0.1"
DENIED, UNREACHABLE = "Permission denied", "Connection refused"
DATAGRAMS = {
    ("none", TO): None,
    ("ports=private", TO): None,
    ("deny=127.0.0.1/udp", TO): DENIED,
    ("map=127.0.0.1/udp=127.0.0.1:{},allow=any/udp", "map=10.0.0.2/udp=127.0.0.1:1"): "10.0.0.2",
    ("map=10.0.0.3/udp=127.0.0.1", "map=10.0.0.2/udp=10.0.0.3"): "10.0.0.2",
    (TO, "ports=private"): "10.0.0.2",
    (TO, "allow=any/udp"): "10.0.0.2",
    (TO, "deny=10.0.0.2/udp"): DENIED,
}


@each_user
@each_way
@pytest.mark.parametrize(("lower", "upper"), DATAGRAMS)
def test_datagrams_go_by_all_rules(lower: str, upper: str, nested: bool, user: int) -> None:
    heard: list[bytes] = []

    def hear(data: bytes) -> bytes:
        heard.append(data)
        return data

    with datagrams(hear) as port:
        told = DATAGRAMS[lower, upper]
        words = ["python3", "-c", UDP, "10.0.0.2", str(port)]
        result = run_on(lower.format(port), upper, words, nested=nested, user=user)
    said = result.stdout.decode().splitlines()
    if told == "10.0.0.2":
        assert said == [f"(b'ping', ('10.0.0.2', {port}))"] * 3, result.stderr
    elif told is not None:
        assert (said, heard) == ([told] * 3, []), result.stderr
    else:  # the loopback interface is the view's own, and nobody is there
        assert set(said) <= {"Connection refused", "None"} and len(said) == 3, result.stderr
        assert heard == []


def test_datagrams_in_a_stack() -> None:
    """Several at once, cut off, with signals."""
    with datagrams() as port:
        words = ["python3", str(HERE / "datagrams.py")]
        native = run_in_view(None, [*words, "127.0.0.1", str(port)], check=True)
        lower = f"map=10.0.0.3/udp=127.0.0.1:{port}"
        seen = run_on(lower, "map=10.0.0.2/udp=10.0.0.3", [*words, "10.0.0.2", "7"])
    assert (seen.stdout.decode(), seen.stderr) == (native.stdout.decode(), b"")


# ---- what is told -------------------------------------------------------------------------------

STACKS = [
    ("none", "map=10.0.0.1=127.0.0.1:9,map=10.0.0.1/udp=127.0.0.1:9"),
    ("ports=private", "ports=private"),
    ("bind=81=8081", "none"),
    ("none", "bind=80=8080"),
    ("map=10.0.0.1/udp=127.0.0.1", "allow=any/udp"),
]


@each_user
@pytest.mark.parametrize(("lower", "upper"), STACKS)
def test_a_stack_is_told_what_it_is_told_natively(lower: str, upper: str, user: int) -> None:
    programs = ["loopback", "origins", "ancillary", "odd", "wrong", "reaching"]
    for name in programs if "private" in lower + upper or "none" in lower + upper else ["odd"]:
        words, native = natively(name, user)
        seen = run_on(lower, upper, words, user=user)
        assert (seen.stdout.decode(), seen.stderr) == (native, b""), name


@cache
def natively(name: str, user: int) -> tuple[list[str], str]:
    """(a command, what it prints)."""
    argument = "127.0.0.1" if name == "odd" else str(closed_port())
    words = ["python3", str(HERE / f"{name}.py"), argument]
    return words, run_in_view(None, words, user=user, check=True).stdout.decode()


PEERS = """
import socket, sys
for host in sys.argv[1:]:
    s = socket.create_connection((host, 80))
    u = socket.socket(type=socket.SOCK_DGRAM); u.connect((host, 53))
    print(s.getpeername(), u.getpeername())
"""


@each_way
def test_peers_of_mapped_addresses(nested: bool) -> None:
    with serving() as port:
        one, two = (
            f"map=10.0.0.{n}:80=127.0.0.1:{port},map=10.0.0.{n}:53/udp=127.0.0.1:{port}"
            for n in (1, 2)
        )
        words = ["python3", "-c", PEERS, "10.0.0.1", "10.0.0.2"]
        result = run_on(one, two, words, nested=nested)
    told = "".join(f"('10.0.0.{n}', 80) ('10.0.0.{n}', 53)\n" for n in (1, 2))
    assert result.stdout.decode() == told, result.stderr


# ---- names --------------------------------------------------------------------------------------

PROXY = "proxy=socks5h://127.0.0.1:1"
A, B = "name=a.stacks=10.0.0.1", "name=b.stacks=10.0.0.2,name=b.stacks=[fd00::2]"
FAKE = "198.18.0.1"
NAMES: dict[tuple[str, str], dict[str, str | None]] = {
    (B, A): {"a.stacks": "10.0.0.1", "b.stacks": "10.0.0.2", "-x 10.0.0.2": "b.stacks."},
    (PROXY, A): {
        "a.stacks": "10.0.0.1",
        "c.stacks": FAKE,
        f"-x {FAKE}": "c.stacks.",
        "b.stacks": None,
    },
    (B, PROXY): {"b.stacks": "10.0.0.2", "b.stacks aaaa": "fd00::2", "c.stacks": FAKE},
    ("ports=private", A): {"a.stacks": "10.0.0.1", "-x 10.0.0.1": "a.stacks."},
    ("none", A): {"a.stacks": "10.0.0.1", "c.stacks": ""},
    ("allow=127.0.0.1/udp,deny=any", A): {"a.stacks": "10.0.0.1", "c.stacks": ""},
    ("allow=127.0.0.1/udp,proxy=socks5://127.0.0.1:1", A): {"a.stacks": "10.0.0.1", "c.stacks": ""},
    (A, "ports=private"): {"a.stacks": "10.0.0.1"},
}


@as_root
@each_way
@pytest.mark.parametrize(("lower", "upper"), NAMES)
def test_names_of_all_layers(lower: str, upper: str, nested: bool) -> None:
    """Over TCP, too; and no question leaves the view by which it may not."""
    told = NAMES[lower, upper]
    script = "; ".join(
        f"echo $(dig +short +tries=1 +timeout=3 {how} {question} | head -n 1)"
        for question in told
        for how in ("", "+tcp")
    )
    with dns_packets() as seen:
        result = run_on(lower, upper, ["sh", "-c", script], nested=nested)
    said = result.stdout.decode().splitlines()
    wanted = [answer for answer in told.values() for _ in range(2)]
    assert len(said) == len(wanted), result.stderr
    for answer, one in zip(wanted, said, strict=True):
        assert one == answer if answer is not None else one.startswith("198.18."), said
    assert not any(b"\6stacks" in packet for packet in seen)


@each_user
@each_way
def test_a_name_that_a_proxy_below_resolves(user: int, nested: bool) -> None:
    with serving() as port, asking(to=port) as (proxy, asked):
        lower = f"proxy=socks5h://127.0.0.1:{proxy}"
        words = fetching("b.stacks", 80)
        result = run_on(lower, "name=a.stacks=127.0.0.1", words, nested=nested, user=user)
    assert (result.stdout, result.stderr, asked) == (BODY, b"", ["b.stacks:80"])
