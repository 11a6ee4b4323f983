"""Names of AF_UNIX sockets: other paths, and abstract names of the view's own."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from viewos import PASS, UnixAddress
from viewos.modules.net.families import AF_UNIX
from viewos.modules.net.private import Private

if TYPE_CHECKING:
    from viewos import Call, Verdict

_AUTOBIND = re.compile(rb"\0[0-9a-f]{5}")
"""A name that the kernel chose (unix(7), Autobind feature): nobody else has it."""
_MOST = 108


class UnixNames:
    """What a view's names of AF_UNIX sockets stand for."""

    def __init__(self, paths: Mapping[bytes, bytes], private: Private | None) -> None:
        self._paths = dict(paths)
        self._asked = {real: asked for asked, real in paths.items()}
        self._private = private

    def __bool__(self) -> bool:
        return bool(self._paths) or self._private is not None

    def lead(self, call: Call, address: UnixAddress) -> Verdict:
        """connect(2), bind(2) or sendto(2) with the name that stands for another."""
        real = self._real(call, address.name)
        if real is None or not _is_unix(call):
            return PASS
        return call.below(address=UnixAddress(real))

    def led(self, call: Call, name: bytes) -> bytes:
        """Where a message to that name goes."""
        real = self._real(call, name)
        return name if real is None or not _is_unix(call) else real

    def shown(self, name: bytes) -> bytes:
        """What the program calls that name."""
        prefix = self._prefix()
        if prefix and name.startswith(prefix):
            return b"\0" + name[len(prefix) :]
        return self._asked.get(name, name)

    def _real(self, call: Call, name: bytes) -> bytes | None:
        if name[:1] == b"\0":
            prefix = self._prefix()
            if not prefix or _AUTOBIND.fullmatch(name):
                return None
            if len(prefix) + len(name) - 1 > _MOST:
                raise OSError(errno.EINVAL, "no room for a private abstract name")
            return prefix + name[1:]
        if not name or not self._paths:
            return None
        if name[:1] != b"/":
            name = os.readlink(b"/proc/%d/cwd" % call.tid) + b"/" + name
        return self._paths.get(os.path.normpath(name))

    def _prefix(self) -> bytes:
        return b"" if self._private is None else self._private.abstract


def _is_unix(call: Call) -> bool:
    """Else the kernel refuses the name, and first for its length, which another name has not."""
    try:
        return call.socket().family == AF_UNIX
    except OSError:
        return True  # it may not be asked
