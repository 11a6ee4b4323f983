"""By which names sockets have been bound."""

from __future__ import annotations

from collections import OrderedDict

_MOST = 4096
"""Sockets whose exact names are remembered; of others the canonical one is told."""


class SocketNames:
    """The names that the programs of a view have given, by the real ones."""

    def __init__(self) -> None:
        self._names: OrderedDict[bytes, bytes] = OrderedDict()

    def remember(self, real: bytes, name: bytes) -> None:
        """A socket is being bound to `real`, which its program calls `name`."""
        self._names[real] = name
        self._names.move_to_end(real)
        if len(self._names) > _MOST:
            self._names.popitem(last=False)

    def of(self, real: bytes) -> bytes | None:
        """The name by which a socket was bound, if it is remembered."""
        return self._names.get(real)
