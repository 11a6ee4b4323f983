"""`viewos run` in a view: its monitor makes the nested one, this process becomes the program."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import signal
import socket
from collections.abc import Sequence
from typing import NoReturn

from viewos.abi.nesting import VIEWOS_ENTER
from viewos.errors import ViewosError
from viewos.launcher import environment
from viewos.launcher.contact import ask
from viewos.launcher.errors import FAILED
from viewos.launcher.program import Program, die, execute, say

PROTOCOL = 1
_LARGEST_ANSWER = 1 << 20


def run(
    contact: int,
    specs: Sequence[str],
    command: Sequence[str],
    *,
    chdir: str | None = None,
    no_continue: bool = False,
    nestable: bool = False,
    verbosity: int = 1,
) -> NoReturn:
    """Become the program in a nested view of these modules; `contact` is the socket to the monitor.

    Raises ViewosError.
    """
    here = _working_directory()
    with socket.socket(fileno=contact) as connection:
        number = _make(
            connection,
            {
                "viewos": PROTOCOL,
                "modules": list(specs),
                "directory": os.fsdecode(here or b"/"),
                "no_continue": no_continue,
                "nestable": nestable,
            },
        )
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    mask = {int(n) for n in signal.pthread_sigmask(signal.SIG_BLOCK, ())}
    argv = [os.fsencode(word) for word in command]
    program = Program(argv, environment(None), None, b"", mask)
    if ask(VIEWOS_ENTER, number):
        error = OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        die(program, f"cannot enter the nested view: {error.strerror}", FAILED, error)
    _enter_directory(program, None if chdir is None else os.fsencode(chdir), here, verbosity)
    execute(program)


def _working_directory() -> bytes | None:
    try:
        return os.getcwdb()
    except OSError:  # it has been removed
        return None


def _make(connection: socket.socket, request: dict[str, object]) -> int:
    """The number of the view that the monitor makes. Raises ViewosError."""
    answer: object = None
    try:
        connection.sendall(json.dumps(request).encode() + b"\n")
        data = b""
        while not data.endswith(b"\n") and len(data) < _LARGEST_ANSWER:
            more = connection.recv(1 << 16)
            if not more:
                break
            data += more
        answer = json.loads(data)
    except (OSError, ValueError):
        pass
    if not isinstance(answer, dict) or not ("error" in answer or "view" in answer):
        raise ViewosError("the monitor of this view did not answer (see its log)")
    if "error" in answer:
        error = ViewosError(str(answer["error"]))
        error.status = int(answer.get("status", FAILED))
        raise error
    return int(answer["view"])


def _enter_directory(
    program: Program, wanted: bytes | None, here: bytes | None, verbosity: int
) -> None:
    """Where the program starts: the directory that was asked for; else where this process is, by
    its name, so that one that lies in a claim now is entered again."""
    directory = wanted or here
    if directory is None:
        return
    try:
        os.chdir(directory)
    except OSError as error:
        if wanted is not None:
            die(program, f"{os.fsdecode(wanted)}: {error.strerror}", FAILED, error)
        if error.errno not in (errno.ENOENT, errno.ENOTDIR):
            return
        if verbosity:
            say(f"{os.fsdecode(directory)} is no directory of the view: starting in /", None)
        os.chdir(b"/")
