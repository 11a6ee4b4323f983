"""What holds for all tests: a time limit each, and nothing left behind at the end."""

from __future__ import annotations

import ctypes
import os
import secrets
import select
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests.system.view import SLOWER

if TYPE_CHECKING:
    from xdist.workermanage import WorkerController

MARK = "VIEWOS_TEST_SESSION"
"""An environment variable that every process of a session inherits, monitors included."""
PATIENCE = 10.0
"""Seconds that processes get to leave after the last test."""
CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x20000, 1 << 14, 1 << 18
LONGEST = 600
"""Seconds: no test may give itself more."""

_LEFT = pytest.StashKey[list[str]]()
_BEFORE = pytest.StashKey[set[str]]()
_MARK = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    # How long an example takes says something of the machine, and nothing of what is tested.
    settings.register_profile(
        "untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    settings.load_profile("untimed")
    _leave_mounts()
    config.stash[_BEFORE] = _mounts()
    config.stash[_LEFT] = []
    if hasattr(config, "workerinput"):
        return  # one of several processes that share the tests: the first looks after processes
    os.environ.pop("PYTHONUNBUFFERED", None)  # it hides what happens to output at the end
    config.stash[_MARK] = os.environ[MARK] = secrets.token_hex(8)


def _leave_mounts() -> None:
    """Have a mount namespace of our own, where we may.

    Whatever a test mounts or unmounts, and be it by mistake in a view, which is no sandbox,
    neither the machine nor tests that run at the same time see it.
    """
    if os.geteuid() != 0:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS):
        return  # EPERM: a root without CAP_SYS_ADMIN, who mounts nothing
    if libc.mount(None, b"/", None, ctypes.c_ulong(MS_REC | MS_PRIVATE), None):
        raise pytest.UsageError(f"mount --make-rprivate /: {os.strerror(ctypes.get_errno())}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse a test that gives itself no time limit, or a very long one."""
    for item in items:
        for marker in item.iter_markers("timeout"):
            seconds = marker.kwargs.get("timeout", next(iter(marker.args), None))
            if seconds is not None and not 0 < seconds <= LONGEST:
                raise pytest.UsageError(f"{item.nodeid}: a time limit of {seconds} s")
        if SLOWER > 1:
            marker = item.get_closest_marker("timeout")
            seconds = marker.args[0] if marker else float(item.config.getini("timeout"))
            item.add_marker(pytest.mark.timeout(seconds * SLOWER), append=False)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    stash = session.config.stash
    left = stash[_LEFT]
    left += [f"mount: {line}" for line in sorted(_mounts() - stash[_BEFORE])]
    if hasattr(session.config, "workerinput"):
        session.config.workeroutput["left"] = left
        return
    left += [f"process: {command}" for command in _kill_left(stash[_MARK])]
    if left and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: WorkerController) -> None:
    """Take over what one of xdist's processes found left."""
    node.config.stash[_LEFT] += getattr(node, "workeroutput", {}).get("left", ())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    left = terminalreporter.config.stash.get(_LEFT, [])
    if left:
        terminalreporter.section("left behind", red=True)
        for line in left:
            terminalreporter.line(line)


def _mounts() -> set[str]:
    """The mount points of this mount namespace, with what is mounted there."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="backslashreplace") as file:
        fields = [line.split(" ") for line in file]
    return {f"{line[4]} ({line[line.index('-') + 1]})" for line in fields}


def _is_ours(pid: int, mark: str) -> bool:
    # Another user's process, or one that is just ending, has nothing for us to read.
    with suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
        return f"{MARK}={mark}".encode() in file.read().split(b"\0")
    return False


def _members(mark: str) -> set[int]:
    pids = {int(entry) for entry in os.listdir("/proc") if entry.isdigit()}
    return {pid for pid in pids - {os.getpid()} if _is_ours(pid, mark)}


def _kill_left(mark: str) -> list[str]:
    """Wait for the processes of the session, kill what does not go, and say what that was."""
    deadline = time.monotonic() + PATIENCE
    left: dict[int, str] = {}
    while members := _members(mark) - left.keys():
        for pid in members:
            with suppress(OSError):
                if command := _end(pid, mark, deadline):
                    left[pid] = command
    return [f"{pid} {command}" for pid, command in left.items()]


def _end(pid: int, mark: str, deadline: float) -> str | None:
    """Wait for that process; when it is late, kill it and return its command line."""
    pidfd = os.pidfd_open(pid)
    try:
        # Asked again: now the number cannot pass to another process any more.
        if not _is_ours(pid, mark):
            return None
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        if poll.poll(max(0, int((deadline - time.monotonic()) * 1000))):
            return None
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            command = file.read().replace(b"\0", b" ").decode(errors="backslashreplace")
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        poll.poll(2000)
        return command
    finally:
        os.close(pidfd)
