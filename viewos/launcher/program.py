"""The process that becomes the program: filter in, listener out, exec.

From the moment when the filter is installed until the monitor serves, nothing here may make a call
that can be trapped: read, write, futex and the like only. So the listener is handed over by a
thread that was started before (a filter binds the thread that installs it, and its children).
"""

from __future__ import annotations

import errno
import os
import signal
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import NoReturn

from viewos.errors import encoded, reason
from viewos.kernel import start_thread
from viewos.launcher import raw
from viewos.launcher.errors import CANNOT_EXECUTE, FAILED, NOT_FOUND, LaunchError
from viewos.launcher.layout import CAP_SYS_ADMIN, has_capability
from viewos.launcher.wire import SERVING, Line
from viewos.tuples import NamedTuple

_DEFAULT_PATH = b"/bin:/usr/bin"  # what execvp(3) of glibc takes when PATH is not set
_GOES_ON = (errno.ENOENT, errno.ESTALE, errno.ENOTDIR, errno.ENODEV, errno.ETIMEDOUT)


def say(text: str, error: OSError | None) -> None:
    """One line on stderr, if there is one. Nothing is flushed."""
    with suppress(OSError):
        os.write(2, encoded(f"viewos: {text}\n"))


Report = Callable[[str, "OSError | None"], object]
"""Given a line for the user, and the system's error where there is one."""


class Program(NamedTuple):
    """What to run, and the state that it is to have."""

    argv: list[bytes]
    env: list[bytes]
    """`NAME=value`, byte for byte."""
    chdir: bytes | None
    filter: bytes | Callable[[], bytes]
    mask: set[int]
    """The signals that it starts with blocked."""
    paths: Sequence[bytes] | None = None
    """The files to execute, the first that can be; None: argv[0], as execvp(3) finds it."""
    report: Report = say
    """Where a failure is reported after the filter is in: no call of it may be trapped."""
    prepare: Callable[[], object] = lambda: None
    """The last thing before the execve; what it calls is answered by the view."""
    ignored: Sequence[int] = ()
    """The signals that it starts with ignored, and that this process does not ignore meanwhile."""


def become(program: Program, wire: Line, started: Callable[[], object] = lambda: None) -> NoReturn:
    """Become the program, when the monitor at the other end of `wire` serves; then call `started`.

    Raises LaunchError as long as no filter is installed; after that, what fails ends the process
    with one line and the status of env(1): 125, 126 or 127.
    """
    _put_under_filter(program, wire)
    reply = wire.receive()
    wire.close()
    if reply != SERVING:
        text = os.fsdecode(reply[1:]) or "the monitor died before the program could start"
        die(program, text, FAILED)
    if program.chdir is not None:
        try:
            os.chdir(program.chdir)
        except OSError as error:
            die(program, f"{os.fsdecode(program.chdir)}: {error.strerror}", FAILED, error)
    started()
    execute(program)


def execute(program: Program) -> NoReturn:
    """Become the program; it is searched for in the view in which this process is."""
    restore_signals(program)
    try:
        program.prepare()
    except OSError as error:
        die(program, f"cannot start the program: {error.strerror}", FAILED, error)
    if program.paths is None:
        _execvp(program)
    _execute_one(program, program.paths)


def die(program: Program, text: str, status: int, error: OSError | None = None) -> NoReturn:
    """Report a failure and end. No handler runs."""
    try:
        program.report(text, error)
    finally:
        os._exit(status)


def heed_children() -> Sequence[int]:
    """Let this process wait for its children, which nobody can who ignores SIGCHLD; what it has
    ignored, for `Program.ignored` or `ignore`."""
    if signal.getsignal(signal.SIGCHLD) is not signal.SIG_IGN:
        return ()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    return (signal.SIGCHLD,)


def ignore(numbers: Sequence[int]) -> None:
    """Ignore signals."""
    for number in numbers:
        signal.signal(number, signal.SIG_IGN)


def restore_signals(program: Program) -> None:
    """Take back what Python changed of the signals at its start, and the launcher since. Whether
    the caller ignored these two nobody can know any more."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    ignore(program.ignored)
    signal.pthread_sigmask(signal.SIG_SETMASK, program.mask)


# ---- the filter ---------------------------------------------------------------------------------


def _put_under_filter(program: Program, wire: Line) -> None:
    if not has_capability(CAP_SYS_ADMIN):
        import prctl

        prctl.set_no_new_privs(1)
    instructions = _instructions(program)
    listener: list[int] = []
    failure: list[OSError] = []
    installed = threading.Lock()

    def hand_over() -> None:
        with installed:
            if listener:
                try:
                    wire.send_descriptor(listener[0])
                except OSError as error:
                    failure.append(error)

    with installed:
        try:
            helper = start_thread(hand_over, "a thread that hands the listener over")
        except OSError as error:
            raise LaunchError(reason(error)) from error
        listener.append(raw.install_filter(instructions))
    helper.join()
    os.close(listener[0])
    if failure and failure[0].errno not in (errno.EPIPE, errno.ECONNRESET):
        die(program, f"cannot hand over the listener: {failure[0].strerror}", FAILED, failure[0])


def _instructions(program: Program) -> bytes:
    if isinstance(program.filter, bytes):
        return program.filter
    try:
        return program.filter()
    except ValueError as error:
        raise LaunchError(f"there can be no such filter: {error}") from error


# ---- execve(2) and execvp(3) --------------------------------------------------------------------


def _execute_one(program: Program, paths: Sequence[bytes]) -> NoReturn:
    """As Python's subprocess: a failure that is not about a missing name is the one to tell."""
    failure = OSError(errno.ENOENT, os.strerror(errno.ENOENT))
    for path in paths:
        error = raw.execve(path, program.argv, program.env)
        missing = (errno.ENOENT, errno.ENOTDIR)
        if error.errno not in missing or failure.errno in missing:
            failure = error
    die(program, f"cannot execute the program: {failure.strerror}", CANNOT_EXECUTE, failure)


def _execvp(program: Program) -> NoReturn:
    """execvp(3) as glibc does it, but each attempt is resolved in the view."""
    argv, env = program.argv, program.env
    name = argv[0]
    shown = os.fsdecode(name)
    denied: OSError | None = None
    failure = OSError(errno.ENOENT, os.strerror(errno.ENOENT))
    for path in _candidates(name, env):
        failure = raw.execve(path, argv, env)
        if failure.errno == errno.ENOEXEC and not _is_binary(path):  # a script without #!
            failure = raw.execve(b"/bin/sh", [b"/bin/sh", path, *argv[1:]], env)
        if failure.errno == errno.EACCES:
            denied = failure
        elif failure.errno not in _GOES_ON:
            break
    else:
        failure = denied or failure
    if failure.errno != errno.ENOENT:
        die(program, f"{shown}: {failure.strerror}", CANNOT_EXECUTE, failure)
    if b"/" not in name:
        die(program, f"{shown}: command not found", NOT_FOUND, failure)
    if _is_file(name):
        text = f"{shown}: the interpreter or loader that it names does not exist"
        die(program, text, NOT_FOUND, failure)
    die(program, f"{shown}: {failure.strerror}", NOT_FOUND, failure)


def _candidates(name: bytes, env: list[bytes]) -> Iterator[bytes]:
    if not name:
        return
    if b"/" in name:
        yield name
        return
    path = next((word[5:] for word in env if word.startswith(b"PATH=")), _DEFAULT_PATH)
    for directory in path.split(b":"):
        yield directory + b"/" + name if directory else name


def _is_binary(path: bytes) -> bool:
    """A program for another machine, which sh would read as a script."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read(4) == b"\x7fELF"
    except OSError:
        return False


def _is_file(path: bytes) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False
