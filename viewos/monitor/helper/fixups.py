"""Fix-ups by a process beside the program: the two ends of one conversation.

The end beside the program does all ptrace of one fix-up in one thread, and asks the other end
where the fix-up has a question: answer the notification, an exec has happened, the call is done.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Any

from viewos import kernel
from viewos.kept import kept
from viewos.monitor import fixup
from viewos.monitor.helper.looks import look
from viewos.monitor.helper.wire import Hangup, receive, send
from viewos.monitor.rewrite import Argument, Ending, Result, Rewrite
from viewos.monitor.traced import ExecStop, Traced


class _FarStop:
    """The caller's end of an `ExecStop`."""

    def __init__(self, connection: socket.socket, pid: int, stack: int) -> None:
        self._connection = connection
        self.pid = pid
        self.stack = stack

    @kept
    def auxiliary(self) -> dict[int, int]:
        """See `ExecStop.auxiliary`."""
        send(self._connection, ("auxiliary",))
        entries: dict[int, int] = receive(self._connection)[0][0]
        return entries

    def read(self, address: int, size: int) -> bytes:
        """See `ExecStop.read`."""
        send(self._connection, ("read", address, size))
        data: bytes = receive(self._connection)[0][0]
        return data

    def write(self, address: int, data: bytes) -> None:
        """See `ExecStop.write`."""
        send(self._connection, ("write", address, data))
        receive(self._connection)

    def remote_call(self, number: int, args: Sequence[Argument]) -> int:
        """See `ExecStop.remote_call`."""
        send(self._connection, ("remote_call", number, list(args)))
        return int(receive(self._connection)[0][0])


def far_fix_up(control: socket.socket, lock: threading.Lock) -> Callable[..., Result]:
    """A `fix_up` that is done by the process at the other end of `control`."""

    def fix_up(tid: int, cookie: int, rewrite: Rewrite, answer: Callable[[int], bool]) -> Result:
        answered = False

        def answer_once(error: int) -> bool:
            nonlocal answered
            answered = True
            return answer(error)

        near, far = socket.socketpair()
        plain = rewrite._replace(at_exec=_marker(rewrite.at_exec), after=_marker(rewrite.after))
        with near:
            try:
                with far, lock:
                    send(control, ("fix_up", tid, cookie, plain), (far.fileno(),))
                return _converse(near, rewrite, answer_once)
            except (Hangup, ConnectionError):
                if answered:
                    return Result(Ending.GONE)
                raise OSError(errno.ENOSYS, "the helper beside the program has gone") from None

    return fix_up


def _marker(callback: Any) -> Any:
    return None if callback is None else True


def _converse(connection: socket.socket, rewrite: Rewrite, answer: Callable[[int], bool]) -> Result:
    while True:
        (what, *rest), _ = receive(connection)
        if what == "result":
            return rest[0]  # type: ignore[no-any-return]
        if what == "traced":
            raise Traced(rest[0])
        reply: Any = None
        if what == "answer":
            reply = answer(rest[0])
        elif what == "after" and rewrite.after is not None:
            rewrite.after(*rest)
        elif what == "exec" and rewrite.at_exec is not None:
            rewrite.at_exec(_FarStop(connection, *rest))  # type: ignore[arg-type]
        send(connection, ("reply", reply))


# ---- beside the program -----------------------------------------------------------------------


def serve_fix_ups(control: socket.socket) -> bool:
    """Do what is asked over `control`, each in a thread of its own, until the other end says
    that it is over (True), or goes (False)."""
    while True:
        try:
            (what, *asked), descriptors = receive(control)
        except (Hangup, OSError):
            return False
        if what == "over":
            return True
        connection = socket.socket(fileno=descriptors[0])
        body, args = (_do_one, (connection, *asked)) if what == "fix_up" else (look, (connection,))
        try:
            kernel.start_thread(body, "viewos fix-up", *args)
        except OSError:  # others wait
            body(*args)


def _do_one(connection: socket.socket, tid: int, cookie: int, rewrite: Rewrite) -> None:
    def ask(*message: Any) -> Any:
        send(connection, message)
        (_, reply), _ = receive(connection)
        return reply

    def at_exec(stop: ExecStop) -> None:
        send(connection, ("exec", stop.pid, stop.stack))
        while True:
            (what, *rest), _ = receive(connection)
            if what == "reply":
                return
            result: Any = None
            if what == "write":
                stop.write(*rest)
            elif what == "auxiliary":
                result = stop.auxiliary
            elif what == "read":
                result = stop.read(*rest)
            else:
                result = stop.remote_call(*rest)
            send(connection, (result,))

    with connection, contextlib.suppress(Hangup, OSError):
        whole = rewrite._replace(
            at_exec=at_exec if rewrite.at_exec else None,
            after=(lambda *told: ask("after", *told)) if rewrite.after else None,
        )
        try:
            result = fixup.fix_up(tid, cookie, whole, lambda error: bool(ask("answer", error)))
        except Traced as error:
            send(connection, ("traced", str(error)))
            return
        send(connection, ("result", result))
