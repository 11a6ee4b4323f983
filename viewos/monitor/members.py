"""The processes of a monitor's views: each carries a token that no other monitor gives."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

from viewos import kernel
from viewos.view import ProcessState, States

STEP = 0.05
"""Seconds between two looks at what has ended, where a signal has been sent."""
LOOK = 0.5
"""Seconds between two looks at who still waits."""


def members(states: States, views: set[int] | None = None) -> Iterator[tuple[int, ProcessState]]:
    """(pid, state) of each process in one of the views; None: in any view of the monitor."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            state = states.found_in(int(name))
            if state is not None and (views is None or state.view in views):
                yield int(name), state


def alive(states: States, views: set[int]) -> list[int]:
    """The processes of these views that have not ended (a zombie has)."""
    return [pid for pid, _ in members(states, views) if not _is_zombie(pid)]


def comm(pid: int) -> str:
    """The name of a process (proc_pid_comm(5)). Raises OSError."""
    with open(f"/proc/{pid}/comm", "rb", buffering=0) as file:
        return os.fsdecode(file.read().rstrip(b"\n"))


def _is_zombie(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            return file.read().rpartition(b")")[2].split()[0] in (b"Z", b"X")
    except OSError:
        return True


def stop(
    states: States, views: set[int], number: int, patience: float, gone: Callable[[], bool]
) -> int:
    """Send all processes of these views a signal, and SIGKILL after `patience` seconds; how many
    there were. `gone`: nobody waits for the end any more."""
    pids = alive(states, views)
    for pid in pids:
        _send(states, views, pid, number)
        _send(states, views, pid, signal.SIGCONT)  # a stopped one gets the other only then
    end = time.monotonic() + patience
    while alive(states, views) and time.monotonic() < end and not gone():
        time.sleep(STEP)
    while (rest := alive(states, views)) and not gone():
        for pid in rest:
            _send(states, views, pid, signal.SIGKILL)
        time.sleep(STEP)
    return len(pids)


def _send(states: States, views: set[int], pid: int, number: int) -> None:
    with suppress(OSError):
        held = kernel.pidfd_open(pid)
        try:
            state = states.found_in(pid)  # the number may be another process's by now
            if state is not None and state.view in views:
                signal.pidfd_send_signal(held, number)
        finally:
            os.close(held)


def wait(states: States, views: set[int], gone: Callable[[], bool]) -> None:
    """Until no process of these views is left."""
    while (pids := alive(states, views)) and not gone():
        _wait_for(pids[0], LOOK)


def _wait_for(pid: int, seconds: float) -> None:
    """Until a process has ended, but no longer: a look at all of the machine costs something."""
    try:
        held = kernel.pidfd_open(pid)
    except OSError:
        return
    try:
        poll = select.poll()
        poll.register(held, select.POLLIN)
        poll.poll(seconds * 1000)
    finally:
        os.close(held)
