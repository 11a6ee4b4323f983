"""Ask monitors: those of this user, and that of the view in which this process runs."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Self

from viewos.control import message, places
from viewos.errors import ViewosError
from viewos.launcher.contact import contact
from viewos.tuples import NamedTuple

PATIENCE = 30.0
"""Seconds for an answer, where nothing is waited for."""


class Ended(ViewosError):
    """The view has ended meanwhile."""

    def __init__(self) -> None:
        super().__init__("the view has ended")


class Monitor:
    """A connection to a monitor."""

    def __init__(self, connection: socket.socket, path: str | None) -> None:
        """`path` is that of the socket; None: the monitor of our own view."""
        self._socket = connection
        self._rest = b""
        self.path = path

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up. More than once does no harm."""
        self._socket.close()

    def take(self) -> socket.socket:
        """The socket, which is the caller's now."""
        return self._socket

    def ask(
        self,
        method: str,
        *,
        descriptors: Sequence[int] = (),
        deadline: float | None = PATIENCE,
        **parameters: Any,
    ) -> Any:
        """What a method of the monitor returns; `deadline` (seconds) None: it may take for ever.

        Raises ViewosError: what the monitor says, or that it has ended.
        """
        self.send(method, descriptors, **parameters)
        self._socket.settimeout(deadline)
        try:
            return self.receive()
        except TimeoutError:
            raise ViewosError(f"the monitor says nothing for {deadline:.0f} s") from None

    def send(self, method: str, descriptors: Sequence[int] = (), **parameters: Any) -> None:
        """Call a method, with copies of descriptors. Raises ViewosError when it has ended."""
        line = message.request(method, parameters)
        try:
            sent = socket.send_fds(self._socket, [line], list(descriptors)) if descriptors else 0
            self._socket.sendall(line[sent:])
        except OSError:
            raise Ended from None

    def receive(self) -> Any:
        """The value of the next reply. Raises ViewosError, TimeoutError."""
        while b"\n" not in self._rest:
            try:
                more = self._socket.recv(1 << 16)
            except ConnectionError:
                more = b""
            if not more:
                raise Ended
            self._rest += more
        line, _, self._rest = self._rest.partition(b"\n")
        return message.read_reply(line)


class Found(NamedTuple):
    """A view of a monitor."""

    monitor: Monitor
    number: int
    about: dict[str, Any]
    """As the method `views` tells it."""


def own() -> Monitor | None:
    """The monitor of the view in which this process is. Raises ViewosError."""
    number = contact()
    return None if number is None else monitor_at(number)


def monitor_at(number: int) -> Monitor:
    """The monitor of our own view, to which a descriptor leads (see `contact`)."""
    return Monitor(socket.socket(fileno=number), None)


def monitors() -> Iterator[Monitor]:
    """All that can be reached: that of our own view first. The caller closes them."""
    ours = own()
    if ours is not None:
        yield ours
    for uid in places.users():
        for path in places.sockets(uid):
            reached = _connected(path, is_ours=uid == os.geteuid())
            if reached is not None:
                yield reached


def _connected(path: str, *, is_ours: bool) -> Monitor | None:
    try:
        name, held = places.reached(path)
    except OSError:
        return None
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(PATIENCE)
        connection.connect(name)
        return Monitor(connection, path)
    except ConnectionRefusedError:  # its monitor was killed
        connection.close()
        if is_ours:  # another user could lead a root's unlink(2) elsewhere meanwhile
            with suppress(OSError):
                os.unlink(path)
    except OSError:
        connection.close()
    finally:
        if held is not None:
            os.close(held)
    return None


def views() -> Iterator[Found]:
    """All views of all monitors that can be reached, outer ones before those nested in them."""
    seen = set()
    for monitor in monitors():
        try:
            told = monitor.ask("views")
        except ViewosError:  # it ends, or is of another version
            told = []
        for about in told:
            if about["id"] not in seen:
                yield Found(monitor, int(about["number"]), about)
        seen |= {about["id"] for about in told}


def figures(found: Iterable[Found]) -> Iterator[dict[str, Any]]:
    """The counters of the monitors of these views (the method `stats`), each once."""
    for monitor in {id(one.monitor): one.monitor for one in found}.values():
        with suppress(Ended):
            yield monitor.ask("stats")


def find(word: str | None) -> Found:
    """The view of that id or name; None: that in which this process runs. Raises ViewosError."""
    if word is None:
        return _own_view()
    found = list(views())
    matches = [one for one in found if one.about["id"] == word]
    if not matches and word:  # "" is what views without a name have
        matches = [one for one in found if one.about["name"] == word]
    if len(matches) == 1:
        return matches[0]
    if matches:
        ids = ", ".join(one.about["id"] for one in matches)
        raise ViewosError(f"several views have the name {word}: say which by its id ({ids})")
    shown = word or "''"
    if not found:
        raise ViewosError(f"there is no view {shown}, and no other one either")
    ids = ", ".join(one.about["id"] for one in found[:8])
    raise ViewosError(f"there is no view {shown} (`viewos ps` lists: {ids})")


def _own_view() -> Found:
    monitor = own()
    if monitor is None:
        raise ViewosError("this process is in no view: name one (`viewos ps` lists them)")
    number = int(monitor.ask("own")["number"])
    about = next(one for one in monitor.ask("views") if one["number"] == number)
    return Found(monitor, number, about)
