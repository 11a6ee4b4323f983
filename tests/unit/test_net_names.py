"""net: what the name server of a view says, without a kernel."""

from __future__ import annotations

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from viewos import InetAddress, SpecError
from viewos.loader import load
from viewos.modules.net import dns
from viewos.modules.net.handshake import Target, http, socks4, socks5
from viewos.modules.net.names import Names
from viewos.modules.net.resolver import Resolver

HEAD = struct.Struct("!HHHHHH")
SEVEN = b"\x0a\0\0\7"


def wire(*labels: bytes) -> bytes:
    return b"".join(bytes((len(label),)) + label for label in labels) + b"\0"


def query(name: bytes, kind: int = dns.A, group: int = dns.IN) -> bytes:
    return HEAD.pack(7, 0x0100, 1, 0, 0, 0) + name + struct.pack("!HH", kind, group)


def answers(reply: bytes | None, question: bytes) -> tuple[int, list[bytes]]:
    """(code, data of the records)"""
    assert reply is not None
    _, flags, _, count, _, _ = HEAD.unpack_from(reply)
    at, found = len(question), []
    for _ in range(count):
        (size,) = struct.unpack_from("!H", reply, at + 10)
        found.append(reply[at + 12 : at + 12 + size])
        at += 12 + size
    return flags & 15, found


def asked(names: Names, question: bytes) -> tuple[int, list[bytes]]:
    return answers(names.answer(question), question)


def pointer(host: bytes) -> bytes:
    return query(wire(*(b"%d" % byte for byte in reversed(host)), b"in-addr", b"arpa"), dns.PTR)


@pytest.mark.parametrize(
    "labels",
    [(b"ok", b"test"), (b"\xff" * 20, b"test"), (b"b\xc3\xbccher",), (b"_a-b", b"x" * 63)],
)
def test_a_pointer_leads_to_the_very_name(labels: tuple[bytes, ...]) -> None:
    names = Names({}, fakes=True)
    _, (host,) = asked(names, query(wire(*labels)))
    assert asked(names, pointer(host)) == (dns.NOERROR, [wire(*labels)])
    name = names.of(InetAddress(host, 80))
    assert name is not None
    for words in (socks5, socks4, http):
        said = words(Target(InetAddress(host, 80), name), None)
        sent = next(said)
        if words is socks5:
            next(said)
            sent = said.send(b"\5\0")
        assert isinstance(sent, bytes) and b".".join(labels) in sent


@given(st.binary(max_size=80), st.sampled_from([dns.A, dns.AAAA, dns.PTR, 16]))
def test_any_question_has_an_answer(name: bytes, kind: int) -> None:
    for fakes in (False, True):
        names = Names({"ok.test": (SEVEN,)}, fakes=fakes)
        for data in (name, query(name, kind), query(wire(name[:63]), kind)):
            names.answer(data)
        assert asked(names, query(wire(b"ok", b"test"))) == (dns.NOERROR, [SEVEN])


@pytest.mark.parametrize("label", [b"a\r\nX: y", b"a\0b", b"a b", b"a.b", b"a:1", b"a/b", b"\x7f"])
def test_a_name_that_would_mean_something_to_a_proxy(label: bytes) -> None:
    names = Names({}, fakes=True)
    assert asked(names, query(wire(label, b"test"))) == (dns.NXDOMAIN, [])


@pytest.mark.parametrize(
    ("text", "spellings"),
    [
        ("bücher.test", [(b"xn--bcher-kva", b"test"), (b"b\xc3\xbccher", b"test")]),
        ("BÜCHER.test.", [(b"xn--bcher-kva", b"test"), (b"b\xc3\xbccher", b"test")]),
        # IDNA 2003 and 2008 do not agree: Python asks for the one, curl for the other.
        ("straße.test", [(b"strasse", b"test"), (b"xn--strae-oqa", b"test")]),
        ("Ok.Test", [(b"ok", b"test"), (b"OK", b"TEST")]),
    ],
)
def test_a_fixed_name_as_resolvers_send_it(text: str, spellings: list[tuple[bytes, ...]]) -> None:
    names = Names({text: (SEVEN,)}, fakes=False)
    for labels in spellings:
        assert asked(names, query(wire(*labels))) == (dns.NOERROR, [SEVEN])
    code, (name,) = asked(names, pointer(SEVEN))
    assert code == dns.NOERROR and name == wire(*spellings[0]).lower()


@pytest.mark.parametrize("name", ["a..b", "x" * 64, "ü" * 63, ".".join(["x" * 62] * 5), "\udcff"])
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(SpecError, match="is no name: labels of at most 63 bytes"):
        load(f"net:name={name}=10.0.0.7")


def test_the_server_goes_on_after_a_bug() -> None:
    def answer(data: bytes) -> bytes:
        raise ValueError("a bug")

    resolver = Resolver(answer)
    resolver.open()
    try:
        resolver.run()
        question = query(wire(b"ok"))
        with socket.socket(type=socket.SOCK_DGRAM) as udp:
            udp.settimeout(10)
            for _ in range(2):
                udp.sendto(question, ("127.0.0.1", resolver.udp.port))
                assert udp.recv(512)[3] & 15 == dns.SERVFAIL
        with socket.create_connection(("127.0.0.1", resolver.tcp.port), 10) as tcp:
            tcp.sendall(struct.pack("!H", len(question)) + question)
            assert tcp.recv(512)[5] & 15 == dns.SERVFAIL
    finally:
        resolver.close()


def test_another_class() -> None:
    """A name server's own version is asked of class CH."""
    question = query(wire(b"ok", b"test"), group=3)
    assert asked(Names({"ok.test": (SEVEN,)}, fakes=True), question) == (dns.REFUSED, [])
    assert Names({"ok.test": (SEVEN,)}, fakes=False).answer(question) is None


def test_a_name_server_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks is told so at once, in an answer with the question."""
    with socket.socket(type=socket.SOCK_DGRAM) as closed, socket.socket() as also:
        closed.bind(("127.0.0.1", 0))
        also.bind(closed.getsockname())
        there = closed.getsockname()
    monkeypatch.setattr("viewos.modules.net.resolver._name_server", lambda: there)
    names = Resolver(lambda _: None)
    names.open()
    try:
        names.run()
        question = query(wire(b"ok"))
        failed = HEAD.pack(7, 0x8182, 1, 0, 0, 0) + question[HEAD.size :]
        with socket.socket(type=socket.SOCK_DGRAM) as udp:
            udp.settimeout(2)
            udp.sendto(question, ("127.0.0.1", names.udp.port))
            assert udp.recv(512) == failed
        with socket.create_connection(("127.0.0.1", names.tcp.port), 2) as tcp:
            for _ in range(2):
                tcp.sendall(struct.pack("!H", len(question)) + question)
                assert tcp.recv(512)[2:] == failed
    finally:
        names.close()
