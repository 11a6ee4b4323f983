"""Popen: subprocess's, but the program runs in a view."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn

import viewos
from viewos.errors import ViewosError
from viewos.library import identity
from viewos.library.child import IN_DIRECTORY, IN_PROGRAM, IN_VIEWOS
from viewos.library.served import Served
from viewos.monitor.helper.wire import Hangup, receive, send
from viewos.monitor.setup import start_directory

if TYPE_CHECKING:
    from viewos.library.view import View

_START = (
    "import sys; sys.path[:] = {path!r};"
    " from viewos.library.child import main; main({control}, {failure})"
)


class Popen(subprocess.Popen[Any]):
    """A program in a view. Arguments, methods and exceptions are those of `subprocess.Popen`.

    It differs where a view has to: `cwd` and the program are looked up in the view, `user`, `group`
    and `extra_groups` are set in it, and `preexec_fn` runs before the filter is there.

    Raises OSError (FileNotFoundError ...) when the program cannot be executed, ViewosError when it
    cannot be served.
    """

    def __init__(self, view: View, args: Any, bufsize: int = -1, **options: Any) -> None:
        view.open()
        command, shown = _command(
            args, bool(options.pop("shell", False)), options.pop("executable", None)
        )
        cwd, env = options.pop("cwd", None), options.pop("env", None)
        paths = _paths(_encoded(shown), env)
        order = {
            "program_filter": view.program_filter,
            "layout": view.layout,
            "scratch": view.scratch,
            "chdir": _directory(view, cwd),
            "env": _environment(env),
            "paths": paths,
            "identity": identity.take(options),
            "ignored": [] if options.get("restore_signals", True) else _ignored(),
        }
        near, far = (_lifted(end) for end in socket.socketpair())
        failure, failing = os.pipe()
        failing = _lifted_number(failing)
        try:
            with far, open(failing, "wb", buffering=0):
                passed = (far.fileno(), failing)
                start = _START.format(path=_search_path(), control=passed[0], failure=passed[1])
                options["pass_fds"] = (*_kept(options), *passed)
                words = [sys.executable, "-I", "-S", "-c", start]
                super().__init__(words, bufsize, **options)
        except BaseException:
            near.close()
            os.close(failure)
            raise
        self.args = args
        with open(failure, "rb") as failures:
            try:
                served = _hand_over(view, near, command, order)
                said = failures.read()
            except BaseException:
                self.kill()
                self._give_up()
                raise
        if not served and not said and options.get("preexec_fn") is not None:
            self.wait()  # it has ended there, by itself
        elif said or not served:
            self._give_up()
            _fail(said or b"%c0 the launching process died" % IN_VIEWOS, shown, cwd)

    def _give_up(self) -> None:
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()
        self.wait()


def _fail(said: bytes, executable: Any, cwd: Any) -> NoReturn:
    where, (number, _, text) = said[0], os.fsdecode(said[1:]).partition(" ")
    if where == IN_VIEWOS:
        raise ViewosError(text)
    reason = os.strerror(int(number))
    if where in (IN_DIRECTORY, IN_PROGRAM):
        raise OSError(int(number), reason, cwd if where == IN_DIRECTORY else executable)
    raise OSError(int(number), reason)


# ---- arguments --------------------------------------------------------------------------------


def _command(args: Any, shell: bool, executable: Any) -> tuple[list[bytes], Any]:
    """(argv, what is executed, as the caller gave it)."""
    if isinstance(args, os.PathLike) and shell:
        raise TypeError("path-like args is not allowed when shell is true")
    words = [args] if isinstance(args, str | bytes | os.PathLike) else list(args)
    if shell:
        words = ["/bin/sh" if executable is None else executable, "-c", *words]
    elif executable is not None:
        return [_encoded(word) for word in words], executable
    return [_encoded(word) for word in words], words[0]


def _encoded(word: Any) -> bytes:
    encoded = os.fsencode(word)
    if b"\0" in encoded:
        raise ValueError("embedded null byte")
    return encoded


def _paths(executable: bytes, env: Mapping[Any, Any] | None) -> list[bytes]:
    if os.path.dirname(executable):
        return [executable]
    return [os.path.join(os.fsencode(entry), executable) for entry in os.get_exec_path(env)]


def _environment(env: Mapping[Any, Any] | None) -> list[tuple[bytes, bytes]]:
    items = os.environb.items() if env is None else env.items()
    encoded = [(_encoded(name), _encoded(value)) for name, value in items]
    if any(b"=" in name for name, _ in encoded):
        raise ValueError("illegal environment variable name")
    return encoded


def _directory(view: View, cwd: Any) -> bytes | None:
    """Where the program is to start, None for where this process is; resolved in the view."""
    if cwd is None:
        return start_directory(view, view.mounts) if view.claims and view.mounts else None
    wanted = _encoded(cwd)
    try:
        return os.path.join(os.getcwdb(), wanted) if view.claims and wanted else wanted
    except OSError:  # this process's own has been removed
        return wanted


def _ignored() -> list[int]:
    """The signals that `restore_signals` is about, as far as this process ignores them."""
    numbers = (signal.SIGPIPE, signal.SIGXFSZ)
    return [int(number) for number in numbers if signal.getsignal(number) is signal.SIG_IGN]


# ---- descriptors ------------------------------------------------------------------------------


def _kept(options: dict[str, Any]) -> list[int]:
    """What the program gets besides 0, 1 and 2. The two of our own have to be passed by number,
    so `close_fds=False` becomes the list of what is inheritable now."""
    wanted = [int(fd) for fd in options.get("pass_fds", ())]
    if not options.get("close_fds", True) and not wanted:
        wanted = [fd for fd in map(int, os.listdir("/proc/self/fd")) if fd > 2 and _inherits(fd)]
    options["close_fds"] = True
    return wanted


def _inherits(fd: int) -> bool:
    try:
        return os.get_inheritable(fd)
    except OSError:  # the one by which the directory was read
        return False


def _lifted(end: socket.socket) -> socket.socket:
    return end if end.fileno() > 2 else socket.socket(fileno=_lifted_number(end.detach()))


def _lifted_number(fd: int) -> int:
    """The descriptor, or a copy that is none of 0, 1 and 2: those are the program's."""
    if fd > 2:
        return fd
    high = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    os.close(fd)
    return high


def _search_path() -> list[str]:
    # An editable installation is found by a hook, and not by any of these entries.
    entries = [*sys.path, os.path.dirname(viewos.__path__[0])]
    return list(dict.fromkeys(map(os.path.abspath, entries)))


# ---- the launch -------------------------------------------------------------------------------


def _hand_over(
    view: View, control: socket.socket, command: list[bytes], order: dict[str, Any]
) -> bool:
    """Tell the new process what to run, and serve it; False when it could not start.

    From then on `control` belongs to what serves it: if it ended before that has said so, the
    helper would take the caller for dead. Otherwise it is closed here.
    """
    try:
        send(control, (command, order))
        (_, pid), descriptors = receive(control)
        if not descriptors:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        served = Served(view, control, descriptors[0], pid)
        served.start()
    except BaseException as error:
        control.close()
        if isinstance(error, Hangup | ConnectionError):
            return False
        raise
    return True
