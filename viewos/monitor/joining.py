"""`viewos exec`: this process becomes a program of a view that runs already.

It installs the filter that the view's programs have, hands the listener to their monitor over the
control socket, and goes on when the monitor answers: terminal, environment, descriptors, process
group stay as they are. Where nobody but an ancestor may look at a program (Yama), this process
stays above it, as in `viewos run`'s layout of that name, with a helper that looks for the monitor.
"""

from __future__ import annotations

import base64
import os
import signal
import socket
from collections.abc import Sequence
from typing import NoReturn

from viewos.control import message, nested
from viewos.control.client import Found
from viewos.errors import ViewosError, encoded
from viewos.launcher import Layout, Session, choose, environment, launch
from viewos.launcher.program import Program, become
from viewos.launcher.program import say as tell
from viewos.launcher.side import say
from viewos.launcher.wire import FAILED, SERVING
from viewos.monitor.helper.fixups import serve_fix_ups


def run(
    found: Found, command: Sequence[str], *, chdir: str | None = None, layout: str = "auto"
) -> NoReturn:
    """Become the program in the view, or wait for it. `layout`: see `viewos exec --layout`.

    Raises ViewosError as long as this process is in no view.
    """
    here = nested.working_directory()
    directory = os.fsdecode(here or b"/")
    monitor, number = found.monitor, found.number
    entered = monitor.ask("enter", view=number, directory=directory)
    if monitor.path is None:  # we are in a view of the same monitor
        nested.enter(number, command, chdir=chdir, here=here)
    wanted = None if chdir is None else os.fsencode(chdir)
    where = _start(wanted, directory, entered["chdir"])
    instructions = base64.b64decode(entered["filter"])
    connection = monitor.take()
    connection.settimeout(None)
    if choose(Layout(layout)) is Layout.ANCESTOR:
        launch(
            command, program_filter=instructions, layout=Layout.ANCESTOR, chdir=where, pwd=wanted,
            serve=lambda session: _help(session, connection, number),
        )  # fmt: skip
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    mask = {int(n) for n in signal.pthread_sigmask(signal.SIG_BLOCK, ())}
    words = [os.fsencode(word) for word in command]
    program = Program(words, environment(None, wanted), where, instructions, mask)
    become(program, _Wire(connection, number))


def _start(wanted: bytes | None, here: str, shown: str | None) -> bytes | None:
    """Where the program starts, None for where this process is. `shown`: what the view has in the
    place of `here`, where it claims that."""
    if shown is None:
        return wanted
    if wanted is not None:
        return os.path.join(os.fsencode(here), wanted) if wanted else wanted
    if shown == "/" and here != "/":
        tell(f"{here} is no directory of the view: starting in /", None)
    return os.fsencode(shown)


def _help(session: Session, connection: socket.socket, number: int) -> None:
    """Be the helper above the program: the monitor looks at it, and does fix-ups, through it."""
    ours, theirs = socket.socketpair()
    wire = _Wire(connection, number, pid=session.pid)
    with theirs:
        wire.send_descriptor(session.listener, theirs.fileno())
    os.close(session.listener)  # when the monitor goes, calls must fail and not wait for ever
    answer = wire.receive()
    if answer != SERVING:
        raise ViewosError(os.fsdecode(answer[1:]))
    connection.close()
    session.ready()
    if not serve_fix_ups(ours):
        say(
            session.pid, session.stderr_identity,
            "the monitor of this view has ended: the system calls that it answered for the programs"
            " of the view now fail with ENOSYS (Function not implemented)",
        )  # fmt: skip


class _Wire:
    """The control connection, as `become` uses a wire. From the filter on, no call of it may be one
    that is trapped: it reads and writes, and sends the listener from a thread without the filter.
    """

    def __init__(self, connection: socket.socket, number: int, **more: int) -> None:
        self._socket = connection
        self._attach = message.request("attach", {"view": number, **more})

    def send_descriptor(self, fd: int, *others: int) -> None:
        """Hand over the listener. Raises OSError."""
        socket.send_fds(self._socket, [self._attach], [fd, *others])

    def receive(self) -> bytes:
        """What the monitor says to it, as `viewos.launcher.wire` has it; b"": it has gone."""
        data = b""
        while not data.endswith(b"\n"):
            try:
                more = os.read(self._socket.fileno(), 1 << 16)
            except ConnectionError:
                more = b""
            if not more:
                return FAILED + b"the view has ended"
            data += more
        try:
            message.read_reply(data)
        except ViewosError as error:
            return FAILED + encoded(str(error))
        return SERVING

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()
