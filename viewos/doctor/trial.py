"""Try something in a process of its own: it can crash, hang, or be killed by a filter.

Nothing of a trial is left behind. It is a process group, which is killed before its leader is
reaped; and each process of it dies with its parent, in case doctor itself is killed.
"""

from __future__ import annotations

import json
import os
import select
import signal
import time
from collections.abc import Callable
from contextlib import suppress

from viewos import kernel
from viewos.abi.prctl import PR_SET_PDEATHSIG
from viewos.doctor.finding import Missing

SECONDS = 10.0
"""A trial that takes longer hangs. They take some milliseconds."""
_LOOK_AGAIN = 0.05


def attempt(body: Callable[[], str], seconds: float = SECONDS) -> str:
    """Run `body` in a child; its result. Raises Missing, also where the child raises or dies."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        _be_the_trial(body, writer)
    os.close(writer)
    try:
        with suppress(OSError):
            os.setpgid(pid, pid)
        said = _hear(reader, pid, seconds)
    finally:
        os.close(reader)
        with suppress(OSError):
            os.killpg(pid, signal.SIGKILL)
        with suppress(OSError):
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
    if said is None:
        raise Missing(f"it hangs (no answer within {seconds:.0f} s)")
    if not said:
        raise Missing(_death(status))
    detail, remedy, there = json.loads(said)
    if there:
        return str(detail)
    raise Missing(detail, remedy)


def _hear(reader: int, pid: int, seconds: float) -> bytes | None:
    """What the trial says, b"" when it dies before, None when time is over."""
    deadline = time.monotonic() + seconds
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    while time.monotonic() < deadline:
        # Not the pipe's end alone: a process that the trial left behind can hold it open.
        ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if poll.poll(0 if ended else int(_LOOK_AGAIN * 1000)):
            return os.read(reader, 65536)
        if ended:
            return b""
    return None


def _death(status: int) -> str:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return f"the trial was killed by signal {number} ({signal.strsignal(number)})"
    return "the trial ended without a word"


def _be_the_trial(body: Callable[[], str], writer: int) -> None:
    status = 1
    try:
        with suppress(OSError):
            os.setpgid(0, 0)
        die_with_parent()
        try:
            answer: tuple[str, str, bool] = (body(), "", True)
        except Missing as missing:
            answer = (missing.detail, missing.remedy, False)
        except OSError as error:
            answer = (error.strerror or str(error), "", False)
        except Exception as error:
            answer = (f"{type(error).__name__}: {error}", "", False)
        os.write(writer, json.dumps(answer).encode())
        status = 0
    finally:
        os._exit(status)


def die_with_parent() -> None:
    """Let the calling process be killed when its parent ends."""
    kernel.libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def child(body: Callable[[], None]) -> int:
    """Fork within a trial; the child runs `body` and ends. Its pid."""
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            die_with_parent()
            if os.getppid() == parent:
                body()
        finally:
            os._exit(0)
    return pid
