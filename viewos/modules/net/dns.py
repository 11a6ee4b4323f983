"""Messages of DNS (RFC 1035), as far as a stub resolver's questions need them."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

A, PTR, AAAA, ANY = 1, 12, 28, 255
IN, ANY_CLASS = 1, 255
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = 0, 1, 2, 3, 4, 5
_HEADER = struct.Struct("!HHHHHH")
_QUESTION = struct.Struct("!HH")
_ANSWER = struct.Struct("!HHHIH")
QR, OPCODE, RD, RA = 0x8000, 0x7800, 0x0100, 0x0080
TTL = 60
"""Seconds. An address is remembered for the life of the view; a cache outside of it should not."""


class Question(NamedTuple):
    """One question of a query, with what its answer repeats."""

    identity: int
    flags: int
    name: bytes
    """In lower case, without the dot at its end. A dot within a label has a backslash before it."""
    kind: int
    group: int
    """Its class: IN, and hardly ever another one."""
    wire: bytes
    """The question section as it came."""


def parse_query(data: bytes) -> Question:
    """A query with one question. Raises ValueError for anything else."""
    if len(data) < _HEADER.size:
        raise ValueError("shorter than a header")
    identity, flags, questions, *_ = _HEADER.unpack_from(data)
    if flags & QR or flags & OPCODE or questions != 1:
        raise ValueError("not a query with one question")
    labels: list[bytes] = []
    at = _HEADER.size
    while at < len(data) and data[at]:
        size = data[at]
        if size > 63 or at + 1 + size >= len(data):
            raise ValueError("a wrong label")
        labels.append(data[at + 1 : at + 1 + size])
        at += 1 + size
    if at + 1 + _QUESTION.size > len(data):
        raise ValueError("cut off")
    kind, group = _QUESTION.unpack_from(data, at + 1)
    name = b".".join(label.replace(b".", rb"\.") for label in labels).lower()
    wire = data[_HEADER.size : at + 1 + _QUESTION.size]
    return Question(identity, flags, name, kind, group, wire)


def reply(question: Question, answers: list[bytes], code: int = NOERROR) -> bytes:
    """The answer: records of the question's own type, each by its data."""
    flags = QR | RA | question.flags & (OPCODE | RD) | code
    head = _HEADER.pack(question.identity, flags, 1, len(answers), 0, 0)
    records = [_ANSWER.pack(0xC00C, question.kind, IN, TTL, len(data)) + data for data in answers]
    return b"".join((head, question.wire, *records))


def refusal(data: bytes, code: int) -> bytes | None:
    """The answer to what is no question that we know; None where there is nothing to answer."""
    if len(data) < _HEADER.size or data[2] & 0x80:
        return None
    identity, flags = struct.unpack_from("!HH", data)
    return _HEADER.pack(identity, QR | RA | flags & (OPCODE | RD) | code, 0, 0, 0, 0)


def failure(data: bytes) -> bytes:
    """The answer where there can be none now, with the question, which resolvers compare; b"" to
    what is none."""
    try:
        return reply(parse_query(data), [], SERVFAIL)
    except ValueError:
        return refusal(data, SERVFAIL) or b""


def encode_name(name: bytes) -> bytes:
    """A name as labels."""
    return b"".join(bytes((len(label),)) + label for label in name.split(b".")) + b"\0"


def reversed_host(name: bytes) -> bytes | None:
    """The address that a name below in-addr.arpa or ip6.arpa stands for, packed; else None."""
    labels = name.split(b".")
    try:
        if name.endswith(b".in-addr.arpa") and len(labels) == 6:
            return bytes(int(label) for label in labels[3::-1])
        if name.endswith(b".ip6.arpa") and len(labels) == 34:
            host = bytes.fromhex(b"".join(labels[31::-1]).decode("ascii"))
            return host if len(host) == 16 else None
    except ValueError:
        pass
    return None


# ---- names that the user writes -----------------------------------------------------------------


def _as_in_2008(text: str) -> bytes:
    import unicodedata

    labels = unicodedata.normalize("NFC", text).split(".")
    return b".".join(
        label.encode() if label.isascii() else b"xn--" + label.encode("punycode")
        for label in labels
    )


_FORMS: tuple[Callable[[str], bytes], ...] = (
    lambda text: text.encode("idna"),  # of 2003, for which Python asks
    _as_in_2008,  # which curl and browsers ask for; another one for letters such as German's ß
    str.encode,  # getaddrinfo(3) without AI_IDN
)


def spellings(text: str) -> list[bytes]:
    """A name as resolvers ask for it, the usual one first. Raises ValueError."""
    found = dict.fromkeys(_valid_forms(text.lower().rstrip(".")))
    if not found:
        raise ValueError(f"{text} is no name: labels of at most 63 bytes, with dots between them")
    return list(found)


def _valid_forms(text: str) -> Iterator[bytes]:
    for form in _FORMS:
        try:
            text.encode()  # not what was no UTF-8 in the command
            name = form(text)
        except UnicodeError:
            continue
        if len(name) <= 253 and all(0 < len(label) <= 63 for label in name.split(b".")):
            yield name
