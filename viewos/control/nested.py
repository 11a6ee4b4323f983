"""`viewos run` in a view: its monitor makes the nested one, this process becomes the program."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn

from viewos.abi.nesting import VIEWOS_ENTER
from viewos.control.client import Monitor
from viewos.errors import encoded
from viewos.launcher import environment
from viewos.launcher.contact import ask
from viewos.launcher.errors import FAILED
from viewos.launcher.program import Program, die, execute, say


def run(
    monitor: Monitor,
    specs: Sequence[str],
    command: Sequence[str],
    *,
    chdir: str | None = None,
    no_continue: bool = False,
    nestable: bool = False,
    verbosity: int = 1,
    name: str = "",
    why: Sequence[str] = (),
    env: Mapping[bytes, bytes] | None = None,
) -> NoReturn:
    """Become the program in a nested view of these modules, or end where there is none, after
    `why` has been told; `monitor` is that of our own view.

    Raises ViewosError.
    """
    here = working_directory()
    with monitor:
        made = monitor.ask(
            "nest",
            modules=list(specs),
            directory=named_directory(),
            no_continue=no_continue,
            nestable=nestable,
            command=list(command),
            name=name,
        )
        for path in why:
            told = monitor.ask("why", view=made["view"], path=path, directory=named_directory())
            os.write(2, encoded("\n".join(told) + "\n"))
    if not command:
        sys.exit()
    enter(made["view"], command, chdir=chdir, here=here, verbosity=verbosity, env=env)


def enter(
    number: int,
    command: Sequence[str],
    *,
    chdir: str | None = None,
    here: bytes | None = None,
    verbosity: int = 1,
    env: Mapping[bytes, bytes] | None = None,
) -> NoReturn:
    """Become the program in a view of this monitor that this process has been let into. `here`:
    where the program starts, in the view, if `chdir` does not say so."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    mask = {int(n) for n in signal.pthread_sigmask(signal.SIG_BLOCK, ())}
    argv = [os.fsencode(word) for word in command]
    wanted = None if chdir is None else os.fsencode(chdir)
    program = Program(argv, environment(env, wanted), None, b"", mask)
    if ask(VIEWOS_ENTER, number):
        error = OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        die(program, f"cannot enter the nested view: {error.strerror}", FAILED, error)
    _enter_directory(program, wanted, here, verbosity)
    execute(program)


def working_directory() -> bytes | None:
    """Of this process; None: it has been removed."""
    try:
        return os.getcwdb()
    except OSError:  # it has been removed
        return None


def named_directory() -> str:
    """The name of this process's working directory, for a monitor; of one that has been removed the
    kernel's, by which nothing is found: "/tmp/x (deleted)"."""
    return os.fsdecode(working_directory() or os.readlink(b"/proc/self/cwd"))


def _enter_directory(
    program: Program, wanted: bytes | None, here: bytes | None, verbosity: int
) -> None:
    """Where the program starts: the directory that was asked for; else where this process is, by
    its name, so that one that lies in a claim now is entered again. What was asked for may be
    relative to that."""
    directory = os.path.join(here or b"", wanted) if wanted else here
    if directory is None:
        return
    try:
        os.chdir(directory)
    except OSError as error:
        if wanted is not None:
            die(program, f"{os.fsdecode(directory)}: {error.strerror}", FAILED, error)
        if error.errno not in (errno.ENOENT, errno.ENOTDIR):
            return
        if verbosity:
            say(f"{os.fsdecode(directory)} is no directory of the view: starting in /", None)
        os.chdir(b"/")
