"""A relay from a port of the machine to a private one of a view."""

from __future__ import annotations

import socket
from contextlib import suppress
from functools import partial

from viewos import ViewosError
from viewos.modules.net.private import NAME
from viewos.modules.net.relay import exchange
from viewos.modules.net.threads import serve


def network_of(view: int) -> str:
    """The private network, `127.V.W`, of the view that this process started.

    Raises ViewosError.
    """
    with open("/proc/net/unix", encoding="utf-8", errors="replace") as file:
        for line in file:
            name = line.split()[-1]
            words = name.removeprefix(f"@{NAME}/").split("/")
            if name.startswith(f"@{NAME}/") and words[1:] == [str(view)]:
                return f"127.{words[0]}"
    raise ViewosError(f"there is no view {view} with ports=private (a process id, as in $!)")


def publish(view: int, inside: int, outside: int) -> None:
    """Relay until somebody ends the process. Raises ViewosError, OSError."""
    there = (f"{network_of(view)}.1", inside)
    try:
        listener = socket.create_server(("127.0.0.1", outside))
    except (OSError, OverflowError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise ViewosError(f"127.0.0.1:{outside}: {why}") from None
    with listener:
        print(f"127.0.0.1:{outside} leads to {there[0]}:{inside}", flush=True)
        serve(listener, partial(_relay, there))


def _relay(there: tuple[str, int], connection: socket.socket) -> None:
    with connection, suppress(OSError), socket.create_connection(there) as server:
        exchange(connection, server)
