"""`viewos run`: from a view and a command to a launched program and its monitor."""

from __future__ import annotations

import os
import resource
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from typing import NoReturn

from viewos import filter as bpf
from viewos.errors import ViewosError, encoded, from_here
from viewos.filter import FilterPlan
from viewos.kernel import pidfd_open
from viewos.launcher import Layout, Session, launch
from viewos.launcher.program import say
from viewos.monitor.log import VERBOSE, Log
from viewos.monitor.mounts import MountTable
from viewos.monitor.plan import plan, without_loader
from viewos.monitor.setup import set_up, start_directory, tear_down
from viewos.tuples import NamedTuple
from viewos.view import View

DESCRIPTORS = 16
"""Without so many no view starts."""

SERVING = "viewos.monitor.router"
"""What serving takes: the monitor imports it while the program's process makes the filter."""

_TRACE_PATIENCE = 5.0
"""Seconds for the reader of a trace to take a line, when the traced program itself has ended."""

INPROC = ("viewos.monitor.inproc.cache", "viewos.monitor.inproc.shared")


class Tracing(NamedTuple):
    """What `viewos trace` wants."""

    file: str | None
    """Where the lines go; None: the program's stderr."""
    expressions: tuple[str, ...]


def run(
    view: View,
    command: list[str],
    *,
    chdir: str | None = None,
    layout: str = "auto",
    verbosity: int = 1,
    log: str | None = None,
    trace: Tracing | None = None,
    name: str = "",
    why: Sequence[str] = (),
    env: Mapping[bytes, bytes] | None = None,
) -> NoReturn:
    """Become the program (or the process that waits for it). `trace`: show every call that reaches
    the monitor; `why`: paths whose resolution is explained first, and then this process ends if
    there is no command. Raises ViewosError."""
    _need_descriptors()
    if log is not None:
        log = _writable(log, verbosity)
    mounts = set_up(view)
    try:
        for path in why:
            from viewos.monitor.why import explain

            told = explain(view, mounts, os.fsencode(from_here(path)))
            os.write(2, encoded("\n".join(told) + "\n"))
        if not command:
            sys.exit()
        cookie = int.from_bytes(os.urandom(8), "big") | 1 << 63
        wanted = None if chdir is None else os.fsencode(chdir)
        directory = start_directory(view, mounts, wanted)
        if directory == b"/" and wanted is None and verbosity and os.getcwdb() != b"/":
            say(f"{os.getcwd()} is no directory of the view: starting in /", None)

        pid = os.getpid()

        def serve(session: Session) -> None:
            monitor(
                view, cookie, session, mounts, Log(log, verbosity), trace,
                name=name, command=tuple(command), pid=pid,
            )  # fmt: skip

        launch(
            command,
            program_filter=lambda: bpf.build(_filter(view, cookie, trace)),
            serve=serve,
            layout=Layout(layout),
            chdir=directory,
            env=env,
            pwd=wanted,
            clean_up=lambda: tear_down(view),
            warm_up=lambda: [import_module(name) for name in (SERVING, *INPROC * view.inproc)],
        )
    except BaseException:
        tear_down(view)
        raise


def _need_descriptors() -> None:
    try:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    except OSError:  # a container's filter may forbid it
        return
    if hard in range(DESCRIPTORS):
        raise ViewosError(
            f"the monitor needs {DESCRIPTORS} descriptors, and may have {hard} (see ulimit -n)"
        )


def _filter(view: View, cookie: int, trace: Tracing | None) -> FilterPlan:
    whole = plan(view, cookie)
    return without_loader(whole, view) if trace is None else whole


def _writable(log: str, verbosity: int) -> str:
    # An error now, and not in the background.
    try:
        log = from_here(log)
        Log(log, verbosity).close()
    except OSError as error:
        raise ViewosError(f"--log {log}: {error.strerror}") from error
    return log


def monitor(
    view: View,
    cookie: int,
    session: Session,
    mounts: MountTable,
    log: Log,
    tracing: Tracing | None = None,
    *,
    name: str = "",
    command: tuple[str, ...] = (),
    pid: int,
) -> None:
    """Serve a view, known by the process `pid` that the user has started, until the last tracee is
    gone; runs in the monitor process."""
    with suppress(OSError):  # a container's filter may forbid it
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    from viewos.monitor.control.server import Server
    from viewos.monitor.engine import STACK_SIZE
    from viewos.monitor.router import Router
    from viewos.monitor.serving import Serving

    threading.stack_size(STACK_SIZE)
    log.attach(session.pid, session.stderr_identity)
    traces: tuple[Trace, ...] = ()
    if tracing is not None:
        from viewos.monitor.lines import Lines
        from viewos.monitor.trace import Trace, parse

        # Where none is named, the program's stderr, as it is before the program runs.
        path = tracing.file or f"/proc/{session.pid}/fd/2"
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        fd = os.open(path, flags, 0o644)
        lines = Lines(fd, pidfd_open(session.pid), _TRACE_PATIENCE)
        os.close(fd)
        traces = (Trace(lines, parse(tracing.expressions), log.warning),)
    router = Router(view, cookie, log, mounts=mounts, traces=traces)
    level = router.nesting.levels[0]
    level.name, level.command = name, command
    view.states.mark(session.pid)
    serving = Serving(router, log)
    server = Server(router.nesting, serving, pid)
    try:
        serving.run(session.listener, session.ready, server)
    finally:
        server.close()
        router.nesting.tear_down()
        if router.accelerator is not None and log.verbosity >= VERBOSE and log.descriptors:
            log.detail(router.accelerator.summary())
        # Only a log file gets it: no stderr is the view's any more, and a line on a terminal whose
        # program has ended would stand in the middle of what the next one shows.
        tear_down(level.router.view, log.warning)
