"""Popen: subprocess's, but the program runs in a view."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from viewos.errors import ViewosError
from viewos.library.served import Served
from viewos.library.wire import Hangup, receive, send

if TYPE_CHECKING:
    from viewos.library.view import View

_START = (
    "import sys; sys.path[:] = {path!r};"
    " from viewos.library.child import main; main({control}, {failure})"
)


class Popen(subprocess.Popen[Any]):
    """A program in a view. Arguments, methods and exceptions are those of `subprocess.Popen`.

    It differs where a view has to: `cwd` and the program are looked up in the view, a program
    without a format that the kernel knows is run by /bin/sh as execvp(3) would, and
    `preexec_fn` runs before the filter is there.

    Raises OSError (FileNotFoundError ...) when the program cannot be executed, ViewosError when it
    cannot be served.
    """

    def __init__(self, view: View, args: Any, **options: Any) -> None:
        view.open()
        command, executable = _command(
            args, bool(options.pop("shell", False)), options.pop("executable", None)
        )
        cwd, env = options.pop("cwd", None), options.pop("env", None)
        near, far = socket.socketpair()
        failure, failing = os.pipe()
        try:
            with far, open(failing, "wb", buffering=0):
                passed = (far.fileno(), failing)
                start = _START.format(path=_search_path(), control=passed[0], failure=passed[1])
                options["pass_fds"] = (*options.get("pass_fds", ()), *passed)
                super().__init__([sys.executable, "-I", "-S", "-c", start], **options)
        except BaseException:
            near.close()
            os.close(failure)
            raise
        self.args = args
        with open(failure, "rb") as failures:
            try:
                _hand_over(view, near, command, executable, cwd, env)
                said = failures.read()
            except (Hangup, OSError):
                said = failures.read() or b"0 the launching process died"
        if said:
            near.close()
            self._fail(said, cwd)

    def _fail(self, said: bytes, cwd: Any) -> None:
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream is not None:
                stream.close()
        self.wait()
        number, _, text = os.fsdecode(said).partition(" ")
        if not int(number):
            raise ViewosError(text)
        raise OSError(int(number), os.strerror(int(number)), text.partition(": ")[0])


def _command(args: Any, shell: bool, executable: Any) -> tuple[list[bytes], bytes | None]:
    if isinstance(args, str | bytes | os.PathLike):
        args = [args]
    words = [os.fsencode(word) for word in args]
    if shell:
        words = [b"/bin/sh" if executable is None else os.fsencode(executable), b"-c", *words]
        executable = None
    if not words:
        raise ValueError("there is no command")
    for word in words:
        if b"\0" in word:
            raise ValueError("embedded null byte")
    return words, None if executable is None else os.fsencode(executable)


def _search_path() -> list[str]:
    return [os.path.abspath(entry) for entry in sys.path]


def _hand_over(
    view: View,
    control: socket.socket,
    command: list[bytes],
    executable: bytes | None,
    cwd: Any,
    env: Mapping[Any, Any] | None,
) -> None:
    """Tell the new process what to run, and serve it. Raises Hangup when it could not start."""
    from viewos.library.view import directory_of

    items = os.environb.items() if env is None else env.items()
    options = {
        "program_filter": view.program_filter,
        "layout": view.layout,
        "chdir": directory_of(view, cwd),
        "env": {os.fsencode(name): os.fsencode(value) for name, value in items},
        "executable": executable,
    }
    send(control, (command, options))
    (_, pid), (listener,) = receive(control)
    Served(view, control, listener, pid).start()
