"""What is remembered of sockets, by their identity: bounded, and safe for many threads."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

V = TypeVar("V")
MOST = 1 << 16
"""Entries; the oldest are forgotten first. The kernel does not say when a socket ends."""


class Memory(Generic[V]):
    """identity of a socket -> what is to be known of it."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._values: OrderedDict[int, V] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._values)

    def keep(self, identity: int, value: V) -> None:
        """Remember it."""
        self._values[identity] = value
        self._trim()

    def add(self, identity: int, value: V) -> V:
        """Remember it, unless there is something: what is remembered now."""
        kept = self._values.setdefault(identity, value)
        self._trim()
        return kept

    def _trim(self) -> None:
        while len(self._values) > self._most:
            try:
                self._values.popitem(last=False)
            except KeyError:
                break

    def find(self, identity: int) -> V | None:
        """What is remembered, or None."""
        return self._values.get(identity)

    def set(self, identity: int, value: V | None) -> None:
        """Remember it; None: forget what there was."""
        if value is None:
            self._values.pop(identity, None)
        else:
            self.keep(identity, value)
