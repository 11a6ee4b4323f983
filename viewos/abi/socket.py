"""struct sockaddr_un (linux/un.h, unix(7)).

A name is bytes as in the rest of the project: a path, or b"\\0..." for an abstract name, or b"" for
an unnamed socket.
"""

from __future__ import annotations

import struct

AF_UNIX = 1
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
