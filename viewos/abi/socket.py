"""Socket addresses: struct sockaddr_un (linux/un.h, unix(7)), sockaddr_in and sockaddr_in6.

A name is bytes as in the rest of the project: a path, or b"\\0..." for an abstract name, or b"" for
an unnamed socket.
"""

from __future__ import annotations

import struct
from _socket import inet_ntop, inet_pton  # the socket module would cost each start 5 ms

from viewos.tuples import NamedTuple

AF_UNIX = 1
SOCK_DGRAM = 2
SOL_SOCKET = 1
SO_PASSCRED, SO_RCVTIMEO, SO_SNDTIMEO = 16, 20, 21
SUN_PATH = 108
"""Bytes of sun_path; a path may fill all of them, without a terminating zero."""
SOCKADDR_UN_SIZE = 2 + SUN_PATH
SOCKLEN = struct.Struct("=i")

_FAMILY = struct.Struct("=H")


def family(data: bytes) -> int | None:
    """The address family; None if the address is too short to have one."""
    return _FAMILY.unpack_from(data)[0] if len(data) >= _FAMILY.size else None


def decode_unix(data: bytes) -> bytes | None:
    """The name in a socket address of `len(data)` bytes; None for another family.

    A path ends at its first zero or with the address; all bytes of an abstract name count.
    """
    if family(data) != AF_UNIX:
        return None
    name = data[2:]
    return name if name[:1] == b"\0" else name.partition(b"\0")[0]


def encode_unix(name: bytes) -> bytes:
    """The address that getsockname(2) gives for that name.

    A path ends with a zero, even one of 108 bytes: the kernel then gives a length of 111, one more
    than sizeof(struct sockaddr_un) (unix(7), BUGS). Raises ValueError for a name over 108 bytes.
    """
    if len(name) > SUN_PATH:
        raise ValueError(f"{name!r} has {len(name)} bytes, an AF_UNIX name takes {SUN_PATH}")
    end = b"\0" if name and name[:1] != b"\0" else b""
    return _FAMILY.pack(AF_UNIX) + name + end


def truncated(data: bytes, room: int) -> tuple[bytes, int]:
    """What the kernel writes of an address into a buffer of `room` bytes, and the length it says
    (the whole address's, move_addr_to_user in net/socket.c). Raises ValueError: EINVAL, for
    a negative room."""
    if room < 0:
        raise ValueError(f"a socket address's buffer of {room} bytes")
    return data[:room], len(data)


# ---- addresses as values ------------------------------------------------------------------------

AF_UNSPEC, AF_INET, AF_INET6 = 0, 2, 10
_IN, _IN6 = struct.Struct("!H4s"), struct.Struct("!HI16s")
_SCOPE = struct.Struct("=I")
_MAPPED = bytes(10) + b"\xff\xff"
MOST = 128
"""Bytes of struct sockaddr_storage: the kernel takes no longer address."""


class Ucred(NamedTuple):
    """struct ucred: who sent a message, or is at the other end (unix(7))."""

    pid: int
    uid: int
    gid: int


class InetAddress(NamedTuple):
    """struct sockaddr_in and sockaddr_in6 (ip(7), ipv6(7)).

    `host` is 4 or 16 bytes in network order, which says the family.
    """

    host: bytes
    port: int
    flowinfo: int = 0
    scope: int = 0

    @classmethod
    def of(cls, host: str, port: int) -> InetAddress:
        """From a numeric host. Raises OSError for another one."""
        return cls(inet_pton(AF_INET6 if ":" in host else AF_INET, host), port)

    @property
    def family(self) -> int:
        """AF_INET or AF_INET6."""
        return AF_INET if len(self.host) == 4 else AF_INET6

    @property
    def plain(self) -> InetAddress:
        """The IPv4 address that an IPv4-mapped one (::ffff:1.2.3.4) stands for; else itself."""
        if self.host[:12] == _MAPPED and len(self.host) == 16:
            return InetAddress(self.host[12:], self.port)
        return self

    @classmethod
    def decode(cls, data: bytes) -> InetAddress | None:
        """The address in a `struct sockaddr`; None for another family, or one that is too short."""
        found = decode(data)
        return found if isinstance(found, cls) else None

    def encode(self) -> bytes:
        """The `struct sockaddr`."""
        return encode(self)

    def on(self, family: int) -> InetAddress:
        """As a socket of that family takes it: an IPv4 address on an IPv6 socket is mapped."""
        if family == AF_INET6 and len(self.host) == 4:
            return InetAddress(_MAPPED + self.host, self.port)
        return self

    def __str__(self) -> str:
        text = inet_ntop(self.family, self.host)
        return f"[{text}]:{self.port}" if len(self.host) == 16 else f"{text}:{self.port}"


class UnixAddress(NamedTuple):
    """struct sockaddr_un: a path, b"\\0..." for an abstract name, b"" for an unnamed socket."""

    name: bytes

    @property
    def family(self) -> int:
        """AF_UNIX."""
        return AF_UNIX


SocketAddress = InetAddress | UnixAddress


def decode(data: bytes) -> SocketAddress | None:
    """The address in a `struct sockaddr`; None for another family, or one that is too short."""
    kind = family(data)
    if kind == AF_INET and len(data) >= 16:
        port, host = _IN.unpack_from(data, 2)
        return InetAddress(host, port)
    if kind == AF_INET6 and len(data) >= 24:
        port, flowinfo, host = _IN6.unpack_from(data, 2)
        scope = _SCOPE.unpack_from(data, 24)[0] if len(data) >= 28 else 0
        return InetAddress(host, port, flowinfo, scope)
    if kind == AF_UNIX:
        return UnixAddress(decode_unix(data) or b"")
    return None


def encode(address: SocketAddress) -> bytes:
    """The `struct sockaddr` of an address. Raises ValueError for an AF_UNIX name over 108 bytes."""
    if isinstance(address, UnixAddress):
        return encode_unix(address.name)
    if len(address.host) == 4:
        return _FAMILY.pack(AF_INET) + _IN.pack(address.port, address.host) + bytes(8)
    body = _IN6.pack(address.port, address.flowinfo, address.host)
    return _FAMILY.pack(AF_INET6) + body + _SCOPE.pack(address.scope)
