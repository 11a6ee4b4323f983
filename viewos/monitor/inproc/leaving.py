"""Until a thread has left the code in its program, from which no debugger finds the way back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

_BLOCKED, _RUNNABLE, _STEP = 0.03, 0.2, 0.0002
"""Seconds: for one that waits there, perhaps for long, in an open(2) of a FIFO; for one that lacks
nothing but a CPU; and between two looks."""
_TIME_TO_LEAVE = 200_000
"""Nanoseconds on a CPU: several times what a long path takes."""
_RUNS = "running"


def wait(tid: int, code: Sequence[tuple[int, int]], about_to_wait: Callable[[], None]) -> None:
    """Wait, but not for long, until a thread's program counter is in none of those ranges, which it
    does not enter any more. Its own call may be one that has to be answered meanwhile."""
    begun, has_left = time.monotonic(), _run_for(tid)
    try:
        while (counter := _counter(tid)) == _RUNS or _is_in(int(counter, 16), code):
            if counter == _RUNS and next(has_left):
                return
            if time.monotonic() - begun > (_RUNNABLE if counter == _RUNS else _BLOCKED):
                return
            about_to_wait()
            time.sleep(_STEP)
    except (OSError, ValueError):
        return  # it is gone, or may not be looked at


def _is_in(address: int, code: Sequence[tuple[int, int]]) -> bool:
    return any(start <= address < end for start, end in code)


def _counter(tid: int) -> str:
    """The program counter of a thread, where that does not run, or could."""
    with open(f"/proc/{tid}/syscall", encoding="ascii") as file:
        return file.read().split()[-1]


def _run_for(tid: int) -> Iterator[bool]:
    """Has a thread run since, long enough to have left? What it has run is counted when it stops,
    or at a tick: the first that is added may be of before."""
    before = _has_run(tid)
    while (first := _has_run(tid)) == before:
        yield False
    while _has_run(tid) - first < _TIME_TO_LEAVE:
        yield False
    while True:
        yield True


def _has_run(tid: int) -> int:
    """For how many nanoseconds."""
    with open(f"/proc/{tid}/schedstat", encoding="ascii") as file:
        return int(file.read().split()[0])
