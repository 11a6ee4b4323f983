"""Run one command of a suite: with a time limit, its output in a file, nothing left behind."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.system.view import MARK, members

PATIENCE = 2.0
"""Seconds that what a command leaves running gets to end by itself."""

ended = threading.Event()
"""Set: every command that runs is ended, as by its time limit."""
_starting = threading.Lock()
_running: set[int] = set()
"""Our own children: their status is for those who wait for them."""


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    status: int | None
    """As `Popen.returncode` has it. None: the time limit was over."""
    output: str
    seconds: float


def execute(words: Sequence[str], *, log: Path, env: Mapping[str, str], limit: float) -> Outcome:
    """Run `words` in a session of its own for at most `limit` seconds; output goes to `log`.

    What the command leaves behind is killed, by process id, after a short patience.
    """
    mark = secrets.token_hex(8)
    start = time.monotonic()
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "wb") as file:
        with _starting:
            process = subprocess.Popen(
                words,
                env={**env, MARK: mark},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            _running.add(process.pid)
        try:
            status = _wait(process, limit)
        except BaseException:
            end_all(mark, process.pid, 0)
            process.kill()
            process.wait()
            raise
        end_all(mark, process.pid, 0 if status is None else PATIENCE)
        if status is None:
            process.kill()
            process.wait()
    with _starting:
        _running.discard(process.pid)
        _reap()
    seconds = time.monotonic() - start
    return Outcome(status, log.read_text(errors="backslashreplace"), seconds)


def _wait(process: subprocess.Popen[bytes], limit: float) -> int | None:
    """The status; None: the time limit is over, or everything is to end.

    What is orphaned meanwhile is reaped at once, as init(1) does it: a pid name space ends only
    when all that lived in it have been waited for.
    """
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline and not ended.is_set():
        with suppress(subprocess.TimeoutExpired):
            return process.wait(0.2)
        with _starting:
            _reap()
    return None


def end_all(mark: str, session: int, patience: float) -> None:
    """Wait for the members of a run, then kill them one by one until there are none."""
    deadline = time.monotonic() + patience
    while living := members(mark, session):
        if time.monotonic() >= deadline:
            for pid in living:
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def _reap() -> None:
    """Take the status of every dead process that was left to this one, a subreaper."""
    for task in os.listdir("/proc/self/task"):
        with suppress(OSError), open(f"/proc/self/task/{task}/children", encoding="ascii") as file:
            for pid in map(int, file.read().split()):
                if pid not in _running:
                    with suppress(ChildProcessError):
                        os.waitpid(pid, os.WNOHANG)
