"""The direct layout: the calling process becomes the program, the monitor stands beside it."""

from __future__ import annotations

import os
import signal
from typing import NoReturn

from viewos.launcher import raw, side
from viewos.launcher.layout import Layout
from viewos.launcher.program import Program, become
from viewos.launcher.wire import FAILED, Wire, pair


def run(program: Program, service: side.Service) -> NoReturn:
    """Become the program. Raises LaunchError (nothing runs, all that was started has gone)."""
    near, far = pair()
    pid = os.getpid()

    def guarded() -> int:
        near.close()
        return side.or_say(far, lambda: _guard(pid, far, service), service.clean_up)

    def detach() -> int:
        os.setsid()
        side.in_child(guarded)
        return 0

    # Twice removed, so that the program has no child that it did not make.
    intermediate = side.in_child(lambda: side.or_say(far, detach, service.clean_up))
    far.close()
    os.waitpid(intermediate, 0)
    try:
        become(program, near)
    except BaseException:
        near.send(FAILED)
        raise


def _guard(pid: int, wire: Wire, service: side.Service) -> int:
    """Be the monitor's parent: a process that sleeps until it ends, and says so if it died.

    Only another process can tell the user that a monitor was killed.
    """
    life, alive = map(raw.lifted, os.pipe())

    def run_monitor() -> int:
        os.close(life)
        return side.run_monitor(wire, service, Layout.DIRECT, alive)

    raw.set_name(b"viewos-guard")
    monitor = side.in_child(run_monitor)
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    side.let_go_except(life)
    _, status = os.waitpid(monitor, 0)
    side.guard(os.read(life, 8), _how(status), pid, service)
    return 0


def _how(status: int) -> str:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return f"was killed by signal {number} ({signal.strsignal(number)})"
    return "ended with an error"
