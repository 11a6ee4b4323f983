"""net without a kernel: patterns, rules, and what its views trap."""

from __future__ import annotations

import errno
import socket
import struct

import pytest

from viewos import PASS, InetAddress, SpecError, UnixAddress, ViewosError
from viewos.abi import socket as abi
from viewos.filter import FilterPlan
from viewos.loader import load
from viewos.modules.net.patterns import parse_address, parse_pattern
from viewos.modules.net.pktinfo import coming_from
from viewos.modules.net.proxychains import read_proxychains
from viewos.monitor.plan import plan
from viewos.testing import FakeCall, FakeProcess
from viewos.view import View


def at(text: str) -> InetAddress:
    return parse_address(text)


@pytest.mark.parametrize(
    ("pattern", "inside", "outside"),
    [
        ("any", "1.2.3.4:5 [::1]:5", ""),
        ("any:80", "1.2.3.4:80 [::1]:80", "1.2.3.4:81"),
        ("10.0.0.0/8", "10.0.0.0:1 10.255.255.255:9", "11.0.0.0:1 9.255.255.255:1 [a00::]:1"),
        ("10.1.2.3", "10.1.2.3:80", "10.1.2.2:80"),
        ("0.0.0.0/0", "1.2.3.4:5", "[::1]:5"),
        ("[fd00::/8]:443", "[fd12::1]:443", "[fd12::1]:80 [fe80::1]:443"),
        ("[::/0]", "[::1]:1", "1.2.3.4:1"),
        ("127.0.0.1:80-90", "127.0.0.1:80 127.0.0.1:90", "127.0.0.1:79 127.0.0.1:91"),
    ],
)
def test_patterns(pattern: str, inside: str, outside: str) -> None:
    parsed = parse_pattern(pattern)
    assert all(parsed.matches(at(word), "tcp") for word in inside.split())
    assert not any(parsed.matches(at(word), "tcp") for word in outside.split())
    assert parse_pattern(f"{pattern}/udp").matches(at(inside.split()[0]), "udp")
    assert not parse_pattern(f"{pattern}/udp").matches(at(inside.split()[0]), "tcp")


@pytest.mark.parametrize(
    ("one", "other", "does"),
    [
        ("any", "10.0.0.0/8:80/udp", True),
        ("10.0.0.0/8", "10.1.0.0/16", True),
        ("10.1.0.0/16", "10.0.0.0/8", False),
        ("10.0.0.0/8:80", "10.0.0.0/8", False),
        ("any/tcp", "any", False),
        ("10.0.0.0/8", "[::1]", False),
        ("10.0.0.0/8", "any", False),
    ],
)
def test_what_covers_what(one: str, other: str, does: bool) -> None:
    assert parse_pattern(one).covers(parse_pattern(other)) is does


# ---- addresses ----------------------------------------------------------------------------------


def test_addresses_are_the_kernels() -> None:
    """Against the encoding of a socket of each family."""
    for host, family in (("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)):
        with socket.socket(family) as one:
            one.bind((host, 0))
            port = one.getsockname()[1]
            address = InetAddress.of(host, port)
            assert address.family == family
            data = address.encode()
            assert InetAddress.decode(data) == address
            assert struct.unpack_from("=H", data)[0] == family
            with socket.socket(family) as other:
                other.bind((host, 0))
                assert len(data) == (16 if family == socket.AF_INET else 28)
    assert str(at("1.2.3.4:5")) == "1.2.3.4:5" and str(at("[fd00::1]:5")) == "[fd00::1]:5"


def test_mapped_addresses() -> None:
    mapped = InetAddress.of("::ffff:10.0.0.1", 80)
    assert mapped.plain == at("10.0.0.1:80")
    assert mapped.plain.on(socket.AF_INET6) == mapped
    assert at("10.0.0.1:80").on(socket.AF_INET) == at("10.0.0.1:80")
    assert at("[fd00::1]:80").plain == at("[fd00::1]:80")


def test_short_and_other_addresses() -> None:
    data = at("1.2.3.4:5").encode()
    assert abi.decode(data[:15]) is None and abi.decode(b"") is None
    assert abi.decode(struct.pack("=H", 16) + bytes(10)) is None
    assert abi.decode(struct.pack("=H", 1) + b"/name\0rest") == UnixAddress(b"/name")


# ---- what is trapped ----------------------------------------------------------------------------


def planned(*specs: str) -> FilterPlan:
    return plan(View([load(spec) for spec in specs]), 1 << 63)


SOCKETS = {
    "socket", "connect", "bind", "listen", "accept", "accept4", "getsockname", "getpeername",
    "sendto", "recvfrom", "sendmsg", "recvmsg", "sendmmsg", "recvmmsg", "setsockopt", "getsockopt",
    "shutdown", "socketpair",
}  # fmt: skip
NEVER = {"read", "write", "readv", "writev", "sendfile", "splice", "close", "poll", "epoll_wait"}


def by_tests(what: FilterPlan) -> set[str]:
    return {rule.name for rule in what.argument_rules} & SOCKETS


@pytest.mark.parametrize(
    ("spec", "trapped", "by_test"),
    [
        ("hostname:x,noproc", "", ""),
        ("net:allow=any", "connect", "sendto sendmsg sendmmsg"),
        ("net:map=10.0.0.0/8=127.0.0.1", "connect getpeername", "socket sendto sendmsg sendmmsg"),
        ("net:deny=any", "connect", "socket sendto sendmsg sendmmsg"),
        ("net:deny=any/udp", "connect sendmsg sendmmsg", "socket sendto recvfrom"),
        (
            "net:map=any/udp=127.0.0.1",
            "connect getpeername sendmsg sendmmsg recvmsg recvmmsg",
            "socket sendto recvfrom",
        ),
    ],
)
def test_what_is_trapped(spec: str, trapped: str, by_test: str) -> None:
    """With rules of TCP alone messages are not: BPF looks at the flag of TCP_FASTOPEN."""
    what = planned(spec)
    assert what.trap & SOCKETS == set(trapped.split())
    assert by_tests(what) == set(by_test.split())
    assert not (what.trap | by_tests(what)) & NEVER
    assert ("io_uring_setup" in what.errnos) is spec.startswith("net")


def test_a_call_of_which_two_arguments_are_tested() -> None:
    """libseccomp never ends with two of sendto, and a file module tests its address."""
    both = planned("net:deny=any", "net:deny=any/udp")
    assert {rule.arg for rule in both.argument_rules if rule.name == "sendto"} == {4}


# ---- the module ---------------------------------------------------------------------------------


def call(spec: str, address: InetAddress, kind: int = socket.SOCK_STREAM) -> FakeCall:
    process = FakeProcess(load(spec))
    process.sockets[3] = socket.socket(type=kind)
    data = address.encode()
    return FakeCall(
        process, "connect", fd=3, addr=data, addrlen=len(data), below=lambda c: c.address
    )


def connect(spec: str, address: str, kind: int = socket.SOCK_STREAM) -> object:
    asked = call(spec, at(address), kind)
    try:
        return asked.answer()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    finally:
        asked.process.sockets[3].close()


def test_the_first_match_wins() -> None:
    spec = "net:allow=10.0.0.1,map=10.0.0.0/8:80=127.0.0.1:8080,map=10.0.0.0/8=127.0.0.1,deny=any"
    assert connect(spec, "10.0.0.1:80") == at("10.0.0.1:80")
    assert connect(spec, "10.0.0.2:80") == at("127.0.0.1:8080")
    assert connect(spec, "10.0.0.2:81") == at("127.0.0.1:81")
    assert connect(spec, "11.0.0.2:81") == "EACCES"
    assert connect("net:deny=any/udp", "1.1.1.1:1") == at("1.1.1.1:1")
    assert connect("net:deny=any/udp", "1.1.1.1:1", socket.SOCK_DGRAM) == "EACCES"


def test_other_families_are_passed_on() -> None:
    process = FakeProcess(load("net:deny=any"))
    data = struct.pack("=H", 1) + b"/name\0"
    assert FakeCall(process, "connect", fd=3, addr=data, addrlen=len(data)).answer() is PASS


def test_grammar_errors_are_spec_errors() -> None:
    with pytest.raises(SpecError):
        load("net:deny=1.2.3")


# ---- proxychains --------------------------------------------------------------------------------

CONFIGURATION = """
# the comments of the file
strict_chain
proxy_dns
remote_dns_subnet 224
tcp_read_time_out 15000
tcp_connect_time_out 8000
localnet 127.0.0.0/255.0.0.0
localnet 10.0.0.0:80/255.0.0.0
localnet ::1/128
dnat 1.1.1.1:53 1.1.1.2:5353
[ProxyList]
socks5 192.168.67.78 1080 lamer secret
http\t192.168.89.3\t8080
socks4 192.168.1.49 1080
"""


def test_the_configuration_of_proxychains() -> None:
    spec, notes = read_proxychains(CONFIGURATION)
    assert spec == (
        "net:proxy@127.0.0.0/8=direct,proxy@10.0.0.0/8:80=direct,proxy@[::1/128]=direct,"
        "map=1.1.1.1:53=1.1.1.2:5353,"
        "proxy@any=socks5h://192.168.67.78:1080+http://192.168.89.3:8080+socks4a://192.168.1.49:1080,"
        "proxy-timeout=8"
    )
    load(spec)
    assert len(notes) == 1 and "proxy-auth=file:PATH" in notes[0]
    assert "secret" not in spec + notes[0]


def test_what_proxychains_does_otherwise_is_said() -> None:
    spec, notes = read_proxychains("random_chain\nchain_len = 2\nodd\nsocks4 ::1 9050\n")
    assert spec == "net:proxy@any=socks4://[::1]:9050"
    assert [note.split(":")[0] for note in notes] == ["line 1", "line 3"]
    for wrong in ("socks5 1.1.1.1", "socks5 1.1.1.1 x", "localnet x", "dnat 1.1.1.1", "# none"):
        with pytest.raises(ViewosError):
            read_proxychains(wrong)


def test_where_a_datagram_comes_from() -> None:
    """Behind the program's own ancillary data, unless that says it already or is wrong."""
    host = b"\x7f\1\2\1"
    info = struct.pack("=Qii", 28, 0, 8) + bytes(4) + host + bytes(8)
    ttl = struct.pack("=Qiii", 20, 0, 2, 9)
    six = struct.pack("=Qii", 36, 41, 50) + bytes(20)
    assert coming_from(b"", host) == info
    for given in (ttl, ttl + bytes(4), ttl + bytes(9)):
        assert coming_from(given, host) == ttl + bytes(4) + info
    for given in (info, six, ttl + bytes(4) + six, struct.pack("=Qii", 99, 0, 2), bytes(16)):
        assert coming_from(given, host) == given
