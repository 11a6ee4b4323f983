"""What /proc tells of tasks that are ending."""

from __future__ import annotations

import os

import pytest

from viewos.monitor.task import Task

pytestmark = pytest.mark.timeout(20)


def _task(pid: int) -> Task:
    return Task(pid, os.open(f"/proc/{pid}", os.O_PATH | os.O_CLOEXEC), b"")


def test_a_task_that_was_killed_has_vanished() -> None:
    """It has a directory in /proc as long as nobody waits for it, and no umask any more."""
    before = os.umask(0o137)
    assert _task(os.getpid()).umask() == 0o137
    os.umask(before)
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    try:
        with pytest.raises(ProcessLookupError):
            _task(pid).umask()
    finally:
        os.waitpid(pid, 0)
