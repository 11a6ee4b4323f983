"""Ask monitors: those of this user, and that of the view in which this process runs."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, Self

from viewos.control import message, places
from viewos.errors import ViewosError, shown
from viewos.launcher.contact import contact
from viewos.launcher.program import say
from viewos.launcher.raw import lifted
from viewos.tuples import NamedTuple

PATIENCE = 30.0
"""Seconds for an answer, where nothing is waited for."""
_BRIEFLY = 2.0
"""Seconds for all monitors to say what views they have: one that is stopped holds nobody up."""
_LATE = 0.02
"""Seconds for reading what has come in that time, of one monitor."""
_AT_ONCE = 256
"""Monitors that are asked together: each takes a descriptor."""
_MOST_TOLD = 8
"""Lines about monitors that do not answer."""


class Ended(ViewosError):
    """The view has ended meanwhile."""

    def __init__(self) -> None:
        super().__init__("the view has ended")


class Silent(ViewosError):
    """A monitor does not answer in time. `path`: that of its socket; None: it is our own view's."""

    def __init__(self, path: str | None) -> None:
        whose = "this view" if path is None else f"view {places.identity(path)}"
        super().__init__(f"the monitor of {whose} does not answer (is it stopped?)")


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
        return self.receive(deadline)

    def send(self, method: str, descriptors: Sequence[int] = (), **parameters: Any) -> None:
        """Call a method, with copies of descriptors. Raises ViewosError when it has ended."""
        line = message.request(method, parameters)
        try:
            sent = socket.send_fds(self._socket, [line], list(descriptors)) if descriptors else 0
            self._socket.sendall(line[sent:])
        except OSError:
            raise Ended from None

    def receive(self, deadline: float | None = PATIENCE) -> Any:
        """The value of the next reply, which may take so many seconds. Raises ViewosError."""
        end = None if deadline is None else time.monotonic() + deadline
        while b"\n" not in self._rest:
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:  # it may bring a byte now and then
                raise Silent(self.path)
            self._socket.settimeout(left)
            try:
                more = self._socket.recv(1 << 16)
            except TimeoutError:
                raise Silent(self.path) from None
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


def _paths(identity: str | None) -> Iterator[tuple[str, bool]]:
    """The sockets of all monitors, or of those of that name; is each our own user's?"""
    for uid in places.users():
        for path in places.sockets(uid):
            if identity in (None, places.identity(path)):
                yield path, uid == os.geteuid()


def _connected(path: str, *, is_ours: bool) -> Monitor | None:
    """Raises Silent."""
    try:
        name, held = places.reached(path)
    except OSError:
        return None
    # Number 2 would get what is said on a standard error that is closed.
    fd = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM).detach()
    connection = socket.socket(fileno=lifted(fd))
    try:
        connection.settimeout(PATIENCE)
        connection.connect(name)
        return Monitor(connection, path)
    except ConnectionRefusedError:  # its monitor was killed
        connection.close()
        if is_ours:  # another user could lead a root's unlink(2) elsewhere meanwhile
            with suppress(OSError):
                os.unlink(path)
    except BlockingIOError:  # it lets nobody in any more
        connection.close()
        raise Silent(path) from None
    except OSError:
        connection.close()
    finally:
        if held is not None:
            os.close(held)
    return None


def _tell(silent: Silent) -> None:
    say(str(silent), None)


def views(tell: Callable[[Silent], object] = _tell) -> Iterator[Found]:
    """All views of all monitors that can be reached, that of our own view first, outer views before
    those nested in them. `tell` is told of monitors that do not answer, the first few."""
    seen: set[str] = set()
    silent: list[Silent] = []
    ours = own()
    if ours is not None:
        yield from _told([ours], seen, silent)
    paths = _paths(None)
    while some := list(islice(paths, _AT_ONCE)):
        yield from _told(_reached(some, silent), seen, silent)
    for one in silent[:_MOST_TOLD]:
        tell(one)


def _reached(paths: Iterable[tuple[str, bool]], silent: list[Silent]) -> list[Monitor]:
    reached = []
    for path, is_ours in paths:
        try:
            monitor = _connected(path, is_ours=is_ours)
        except Silent as error:
            silent.append(error)
        else:
            reached += [] if monitor is None else [monitor]
    return reached


def _told(monitors: list[Monitor], seen: set[str], silent: list[Silent]) -> Iterator[Found]:
    """What monitors have to tell, all of which are asked at once."""
    end = time.monotonic() + _BRIEFLY
    for monitor in monitors:
        with suppress(Ended):
            monitor.send("views")
    for monitor in monitors:
        told = []
        try:
            told = monitor.receive(max(end - time.monotonic(), _LATE))
        except Silent as error:
            silent.append(error)
            monitor.close()
        except ViewosError:  # it ends, or is of another version
            pass
        for about in told:
            if about["id"] not in seen:
                yield Found(monitor, int(about["number"]), about)
        seen |= {about["id"] for about in told}


def figures(found: Iterable[Found]) -> Iterator[dict[str, Any]]:
    """The counters of the monitors of these views (the method `stats`), each once."""
    for monitor in {id(one.monitor): one.monitor for one in found}.values():
        with suppress(Ended):
            yield monitor.ask("stats")


def find(word: str | None, tell: Callable[[Silent], object] = _tell) -> Found:
    """The view of that id or name; None: that in which this process runs. `tell`: see `views`.

    Raises ViewosError.
    """
    if word is None:
        return _own_view()
    exact = _by_id(word)
    if exact is not None:
        return exact
    ids, matches = [], []
    for one in views(tell):
        ids.append(one.about["id"])
        if word and one.about["name"] == word:  # "" is what views without a name have
            matches.append(one)
    if len(matches) == 1:
        return matches[0]
    if matches:
        several = ", ".join(one.about["id"] for one in matches)
        raise ViewosError(
            f"several views have the name {shown(word)}: say which by its id ({several})"
        )
    if not ids:
        raise ViewosError(f"there is no view {shown(word)}, and no other one either")
    raise ViewosError(f"there is no view {shown(word)} (`viewos ps` lists: {', '.join(ids[:8])})")


def _by_id(word: str) -> Found | None:
    """The view of that id. No other monitor is asked than that whose socket is named so, and that
    of our own view. Raises ViewosError."""
    ours = own()
    monitors = [] if ours is None else [ours]
    for path, is_ours in _paths(word.partition(".")[0]):
        monitor = _connected(path, is_ours=is_ours)
        monitors += [] if monitor is None else [monitor]
    for monitor in monitors:
        with suppress(Ended):
            for about in monitor.ask("views"):
                if about["id"] == word:
                    return Found(monitor, int(about["number"]), about)
    return None


def _own_view() -> Found:
    monitor = own()
    if monitor is None:
        raise ViewosError("this process is in no view: name one (`viewos ps` lists them)")
    number = int(monitor.ask("own")["number"])
    about = next(one for one in monitor.ask("views") if one["number"] == number)
    return Found(monitor, number, about)
