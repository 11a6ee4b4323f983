"""overlayfs's directories: paths in the options of a mount, which that file system looks up
itself.

Linux 6.18, fs/overlayfs/params.c: a backslash takes its meaning from a comma, a colon or itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_LISTS = frozenset({b"lowerdir"})
_ESCAPED = frozenset({b"upperdir", b"workdir"})
_AS_THEY_ARE = frozenset({b"lowerdir+", b"datadir+"})
"""Options of fsconfig(2) alone (Linux 6.7)."""
Real = Callable[[bytes, bool], bytes]
"""The path to give instead of one; does the overlay write there?"""


def in_options(text: bytes, real: Real) -> bytes:
    """Options of mount(2), each directory replaced by what `real` says of it."""
    options = [option.partition(b"=") for option in _split(text, b",")]
    return b",".join(key + is_ + in_value(key, value, real) for key, is_, value in options)


def in_value(key: bytes, value: bytes, real: Real) -> bytes:
    """The value of one option."""
    if key in _AS_THEY_ARE:
        return real(value, False)
    if key not in _LISTS | _ESCAPED:
        return value
    parts = _split(value, b":") if key in _LISTS else [value]
    return b":".join(_replaced(part, key in _ESCAPED, real) for part in parts)


def _replaced(part: bytes, writes: bool, real: Real) -> bytes:
    path = re.sub(rb"(?s)\\(.)", rb"\1", part)
    new = real(path, writes) if path else path
    return part if new == path else re.sub(rb"[\\,:]", rb"\\\g<0>", new)


def _split(text: bytes, separator: bytes) -> list[bytes]:
    parts = [b""]
    for token in re.findall(rb"(?s)\\.|.", text):
        if token == separator:
            parts.append(b"")
        else:
            parts[-1] += token
    return parts
