"""The process that a `Popen` starts: it becomes the program, and leaves a helper beside it.

The helper hands the listener to the caller, and does its fix-ups (see `viewos.library.service`).
"""

from __future__ import annotations

import os
import socket
import sys
from typing import Any, NoReturn

from viewos.launcher import FAILED, LaunchError, Layout, Session, launch
from viewos.library.service import serve_fix_ups
from viewos.library.wire import Hangup, receive, send


def main(control_fd: int, failure_fd: int) -> NoReturn:
    """Run what the caller asks for over `control_fd`; say on `failure_fd` if that fails."""
    for fd in (control_fd, failure_fd):
        os.set_inheritable(fd, False)
    control = socket.socket(fileno=control_fd)
    (command, options), _ = receive(control)

    def report(text: str, error: OSError | None) -> None:
        os.write(failure_fd, b"%d %s" % (error.errno or 0 if error else 0, os.fsencode(text)))

    def serve(session: Session) -> None:
        os.close(failure_fd)  # its end tells the caller that the program runs
        _serve(control, session)

    try:
        launch(
            command,
            serve=serve,
            report=report,
            program_filter=options["program_filter"],
            layout=Layout(options["layout"]),
            chdir=options["chdir"],
            env=options["env"],
            executable=options["executable"],
        )
    except LaunchError as error:
        report(str(error), None)
        sys.exit(FAILED)


def _serve(control: socket.socket, session: Session) -> None:
    hello: tuple[Any, ...] = ("listener", session.pid)
    send(control, hello, (session.listener,))
    os.close(session.listener)  # when the caller goes, calls must fail and not wait for ever
    try:
        receive(control)
        session.ready()
        served = serve_fix_ups(control)
    except Hangup:
        served = False
    if not served:
        os._exit(1)  # the guard tells the program's user
