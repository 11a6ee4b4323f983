"""The process that a `Popen` starts: it becomes the program, and leaves a helper beside it.

The helper hands the listener to the caller, and does its fix-ups (see `viewos.monitor.helper`).
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from typing import Any, NoReturn

from viewos.errors import encoded
from viewos.launcher import FAILED, LaunchError, Layout, Session, launch
from viewos.launcher.program import ignore
from viewos.launcher.side import say
from viewos.monitor.helper.fixups import serve_fix_ups
from viewos.monitor.helper.wire import Hangup, receive, send
from viewos.monitor.scratch import remove_tree

IN_DIRECTORY, IN_PROGRAM, IN_PREPARATION, IN_VIEWOS = b"DPIV"
"""Where a start failed, as the first byte of what the failure pipe brings."""


def main(control_fd: int, failure_fd: int) -> NoReturn:
    """Run what the caller asks for over `control_fd`; say on `failure_fd` if that fails."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    for fd in (control_fd, failure_fd):
        os.set_inheritable(fd, False)
    control = socket.socket(fileno=control_fd)
    try:
        (command, options), _ = receive(control)
    except Hangup:
        sys.exit(FAILED)

    preparing = False

    def prepare() -> None:
        nonlocal preparing
        preparing = True
        _prepare(options)
        preparing = False

    def report(text: str, error: OSError | None) -> None:
        if error is None or not error.errno:
            where = IN_VIEWOS
        elif preparing:
            where = IN_PREPARATION
        else:
            where = IN_PROGRAM if error.filename is None else IN_DIRECTORY
        number = 0 if error is None else error.errno or 0
        os.write(failure_fd, b"%c%d %s" % (where, number, encoded(text)))

    def serve(session: Session) -> None:
        os.close(failure_fd)  # its end tells the caller that the program runs
        _serve(control, session, options["scratch"])

    try:
        launch(
            command,
            serve=serve,
            report=report,
            program_filter=options["program_filter"],
            layout=Layout(options["layout"]),
            chdir=options["chdir"],
            env=dict(options["env"]),
            paths=options["paths"],
            prepare=prepare,
        )
    except LaunchError as error:
        report(str(error), None)
        sys.exit(FAILED)


def _prepare(options: dict[str, Any]) -> None:
    """What `subprocess` does between chdir and execve, in its order."""
    ignore(options["ignored"])
    groups, gid, uid = options["identity"]
    if groups is not None:
        os.setgroups(groups)
    if gid is not None:
        os.setregid(gid, gid)
    if uid is not None:
        os.setreuid(uid, uid)


def _serve(control: socket.socket, session: Session, scratch: bytes) -> None:
    hello: tuple[Any, ...] = ("listener", session.pid)
    try:
        send(control, hello, (session.listener,))
        os.close(session.listener)  # when the caller goes, calls must fail and not wait for ever
        receive(control)
    except (Hangup, OSError):
        os._exit(1)  # the program is told, and does not start
    session.ready()
    if serve_fix_ups(control):
        return
    if scratch:
        remove_tree(scratch)
    say(
        session.pid,
        session.stderr_identity,
        "the process that served this view has ended: the system calls that it answered for the"
        " programs of the view now fail with ENOSYS (Function not implemented)",
    )
