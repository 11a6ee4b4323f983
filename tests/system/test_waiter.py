"""The waiter's stop, in the moment that no terminal can be made to hit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress

import pytest

pytestmark = pytest.mark.timeout(60)
CONTINUED_BETWEEN_LOOK_AND_STOP = """
import os, signal, sys
from viewos.launcher import raw
from viewos.launcher.waiter import Waiter
from viewos.launcher.wire import pair

waiter = Waiter(pair()[0], 0)
waiter._pid = os.fork()
if waiter._pid == 0:
    os.kill(os.getpid(), signal.SIGSTOP)
    os._exit(0)
os.waitpid(waiter._pid, os.WUNTRACED)
look = raw.is_stopped
def slow(pid):
    stopped = look(pid)
    os.killpg(0, signal.SIGCONT)
    return stopped
if sys.argv[1] == "continued":
    raw.is_stopped = slow
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
waiter._stop = signal.SIGTSTP
waiter._mirror_stop()
os._exit(7)
"""


@pytest.mark.parametrize("how", ["stopped", "continued"])
def test_a_stop_that_was_taken_back_is_not_mirrored(how: str) -> None:
    """`fg` may come between the waiter's look at the program and its own stop."""
    command = [sys.executable, "-c", CONTINUED_BETWEEN_LOOK_AND_STOP, how]
    with subprocess.Popen(command, process_group=0) as process:
        try:
            _, status = os.waitpid(process.pid, os.WUNTRACED)
            if how == "stopped":
                assert os.WIFSTOPPED(status) and os.WSTOPSIG(status) == signal.SIGTSTP
            else:
                assert os.WIFEXITED(status) and os.WEXITSTATUS(status) == 7
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
