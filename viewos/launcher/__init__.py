"""Processes: who is whose parent, filter in, listener out, exec.

launch       the one entry
layout       the two layouts, and which is taken
program      the process that becomes the program
direct       the program with the monitor beside it
waiter       waiter -> monitor -> shepherd -> program: the process that the user started
shepherd     the processes below it
side         what the monitor and its kin have in common
wire, raw    messages between them; system calls
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

from viewos.launcher import side
from viewos.launcher.errors import CANNOT_EXECUTE, FAILED, NOT_FOUND, LaunchError
from viewos.launcher.layout import Layout, Session, choose
from viewos.launcher.program import Program, Report, heed_children, say

__all__ = [
    "CANNOT_EXECUTE", "FAILED", "NOT_FOUND", "LaunchError", "Layout", "Session", "choose",
    "environment", "launch",
]  # fmt: skip


def launch(
    command: Sequence[str | bytes],
    *,
    program_filter: bytes | Callable[[], bytes],
    serve: Callable[[Session], None],
    layout: Layout = Layout.AUTO,
    chdir: bytes | None = None,
    env: Mapping[bytes, bytes] | None = None,
    pwd: bytes | None = None,
    clean_up: Callable[[], None] = lambda: None,
    paths: Sequence[bytes] | None = None,
    report: Report = say,
    prepare: Callable[[], object] = lambda: None,
    warm_up: Callable[[], object] = lambda: None,
) -> NoReturn:
    """Run `command` under a seccomp program, with `serve` answering in a process of its own.

    The calling process becomes the program, or waits for it and ends as it does; `command` is
    searched in PATH, and `chdir` entered, when the monitor serves, so both are resolved in the
    view. `program_filter` is what `viewos.filter.build` made, or makes it: that is called while
    the monitor starts, which calls `warm_up` meanwhile, for what takes time. `env` None: the
    environment that this process was started with, byte for byte; `pwd`: the directory for its
    variable PWD, see `environment`. `serve` runs until the last tracee is gone; it calls
    `Session.ready` when it answers. `clean_up` runs only when the monitor died before `serve` was
    over (or `serve` raised), in a process that holds none of the caller's descriptors. `paths` are
    tried with execve(2) in turn, instead of a search for `command[0]`. `report` is told what
    failed after the filter was installed; it makes no call that can be trapped. `prepare` is
    called in the program's process just before the execve, and answered by the view.

    Raises LaunchError when the program cannot be started and nothing of the launch is left; after
    that, failures end the process: 125 viewos, 126 cannot be executed, 127 not found.
    """
    argv = [os.fsencode(word) for word in command]
    if not argv:
        raise ValueError("there is no command")
    chosen = choose(layout)
    side.check_null()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    program = Program(
        argv, environment(env, pwd), chdir, program_filter, {int(n) for n in mask}, paths, report,
        prepare, heed_children(),
    )  # fmt: skip
    service = side.Service(serve, warm_up, clean_up, _stderr_identity())
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    # Each start imports its own layout only.
    if chosen is Layout.DIRECT:
        from viewos.launcher import direct

        direct.run(program, service)
    from viewos.launcher import waiter

    waiter.run(program, service)


def environment(env: Mapping[bytes, bytes] | None = None, pwd: bytes | None = None) -> list[bytes]:
    """`NAME=value` of each; None: what this process was started with, byte for byte.

    `pwd`: the directory that the program is put into, for the variable PWD where there is one. A
    shell believes the old value where that is another name of the same directory.
    """
    words = _words(env)
    if pwd is None:
        return words
    named = b"PWD=" + _absolute(pwd)
    return [named if word.startswith(b"PWD=") else word for word in words]


def _absolute(directory: bytes) -> bytes:
    try:
        path = os.path.join(os.getcwdb(), directory)
    except OSError:  # this process's own has been removed
        path = directory
    # Behind a symbolic link .. is another directory; and shells take no name that has dots.
    return path if b".." in path.split(b"/") else os.path.normpath(path)


def _words(env: Mapping[bytes, bytes] | None) -> list[bytes]:
    if env is not None:
        return [name + b"=" + value for name, value in env.items()]
    # Python may have added LC_CTYPE (PEP 538), and a dict forgets order and duplicates.
    try:
        with open("/proc/self/environ", "rb") as file:
            return [word for word in file.read().split(b"\0") if word]
    except OSError:
        return [name + b"=" + value for name, value in os.environb.items()]


def _stderr_identity() -> tuple[int, int] | None:
    try:
        found = os.fstat(2)
    except OSError:
        return None
    return found.st_dev, found.st_ino
