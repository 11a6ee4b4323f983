"""When a thread cannot be fixed up, because a debugger inside the view traces it already.

Then the path string is patched where it stands, which needs no registers, and restored when the
call is over; the debugger is held meanwhile, so that it does not let the thread go on. The string
must fit, so it is a short link in the scratch directory. Arguments of execve(2) that stand in its
way are moved below the stack.
"""

from __future__ import annotations

import errno
import math
import os
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from viewos import kernel
from viewos.abi.ptrace import PTRACE_INTERRUPT, RED_ZONE
from viewos.monitor.initial import padded
from viewos.monitor.memory import PATH_MAX
from viewos.monitor.outcome import ANSWERED, CONTINUE, Outcome
from viewos.monitor.scratch import short_name
from viewos.monitor.task import field, read_status, tracer_of
from viewos.monitor.traced import Lost, Session, Stop, Traced

if TYPE_CHECKING:
    from viewos.call import Call
    from viewos.monitor.router import Router

Strings = dict[int, bytes] | None | Callable[[], tuple[dict[int, bytes] | None, Callable[[], None]]]
"""See `Router.fix_up`."""
Patch = tuple[int, bytes, bytes]
"""(address, what stands there, what is to stand there)."""
_VECTORS = {"execve": (1, 2), "execveat": (2, 3)}
"""Which arguments are vectors of strings."""
_LONGEST_WORD = 1 << 17
"""MAX_ARG_STRLEN."""
_HELD, _HELD_BESIDE_OTHERS = 0.1, 1.0
"""Seconds for which a debugger waits at most: a call may hang in a file system; and for a thread
that could run, but for which there may be no CPU."""


def fall_back(router: Router, call: Call, strings: Strings, plain: bool, why: str) -> int | Outcome:
    """Let the call continue with its strings patched in place. Raises OSError EPERM where that
    cannot be done."""
    if plain:
        return CONTINUE
    wanted, after = strings() if callable(strings) else (strings, None)
    if wanted is None:
        raise _refusal(router, call, why, "its arguments cannot be changed")
    patches = [
        patch
        for index, string in wanted.items()
        for patch in _patches(router, call, call.raw[index], string, why)
    ]
    with ExitStack() as files:
        memory, syscall, stat = (
            files.enter_context(open(f"/proc/{call.tid}/{name}", mode, buffering=0))
            for name, mode in (("mem", "r+b"), ("syscall", "rb"), ("stat", "rb"))
        )
        for address, _, new in patches:
            os.pwrite(memory.fileno(), new, address)

        def restore(seconds: float) -> bool:
            """When the kernel has read them. False: not within that time."""
            start = time.monotonic()
            while not _has_read(syscall.fileno(), stat.fileno(), call.raw):
                waited = time.monotonic() - start
                if waited > seconds and (
                    waited > _HELD_BESIDE_OTHERS or _state(stat.fileno()) != b"R"
                ):
                    return False
                if waited > 0.002:
                    router.step_aside()
                    time.sleep(0.001)
                os.sched_yield()
            _restore(memory.fileno(), patches)
            if after is not None:
                with suppress(OSError):
                    after()
            return True

        with suppress(OSError):
            with _tracer_held(router, call):
                router.notification.let_continue()
                is_restored = restore(_HELD)
            if not is_restored:
                restore(math.inf)
    return ANSWERED


@contextmanager
def _tracer_held(router: Router, call: Call) -> Iterator[None]:
    """The thread that traces the caller makes no system call meanwhile; not where that one may not
    be traced itself, or traces this one: then each would wait for the other."""
    tracer, session = _tracer(call.tid), None
    if tracer and tracer != _tracer(threading.get_native_id()):
        with suppress(Traced, OSError):
            session = Session(tracer, router.cookie)
    if session is None:
        yield
        return
    try:
        with suppress(ProcessLookupError):
            kernel.ptrace(PTRACE_INTERRUPT, tracer, 0, 0)
        yield
    finally:
        router.step_aside()  # it stops when its own call, if it makes one, has been answered
        try:
            session.abandon(Stop(*session.wait()))
        except (Lost, ProcessLookupError):
            session.bury()


def _tracer(tid: int) -> int:
    try:
        return tracer_of(tid)
    except OSError:
        return 0


def _patches(router: Router, call: Call, address: int, string: bytes, why: str) -> Iterator[Patch]:
    length = len(router.memory.read_string(call.tid, address))
    new = string if len(string) <= length else min(string, short_name(router.view, string), key=len)
    if len(new) > length and not _may_overrun(call, address, len(new) + 1):
        raise _refusal(router, call, why, f"no room for {os.fsdecode(string)} in its string")
    if call.name in _VECTORS:  # argv[0] often is the path itself
        new = padded(new, length)
        yield from _moved(router, call, address, address + len(new) + 1)
    old = router.memory.read_exact(call.tid, address, max(length, len(new)) + 1)
    yield address, old, new + b"\0"


def _moved(router: Router, call: Call, start: int, end: int) -> Iterator[Patch]:
    """Arguments and variables that lie in a range of memory get another place."""
    memory, tid = router.memory, call.tid
    with open(f"/proc/{tid}/syscall", "rb", buffering=0) as file:
        words = file.read(256).split()
    if len(words) < 2:  # it runs: somebody has killed it
        raise ProcessLookupError(errno.ESRCH, "the caller")
    at = int(words[-2], 16) - RED_ZONE
    for vector in _VECTORS[call.name]:
        for index, pointer in enumerate(memory.read_pointers(tid, call.raw[vector])):
            if not start - PATH_MAX < pointer < end:
                continue
            text = memory.read_string(tid, pointer, _LONGEST_WORD) + b"\0"
            if pointer + len(text) <= start:
                continue
            at -= len(text)
            slot = call.raw[vector] + 8 * index
            yield at, memory.read_exact(tid, at, len(text)), text
            yield slot, struct.pack("=Q", pointer), struct.pack("=Q", at)


def _refusal(router: Router, call: Call, why: str, what: str) -> OSError:
    is_inside = router.view.states.found_in(_tracer(call.tid)) is not None
    hint = "; run the debugger outside of the view" if is_inside else ""
    router.log.warning(
        f"{call.name} by process {call.tid}, which a debugger traces ({why}): {what}{hint}",
        once=f"traced {call.pid} {call.name}",
    )
    return OSError(errno.EPERM, "traced")


def _may_overrun(call: Call, address: int, size: int) -> bool:
    """May the bytes behind a string be borrowed? Nobody but the kernel reads them meanwhile: there
    is no other thread, and no other pointer of the call leads there."""
    pointers = (a for a in call.raw if a != address)
    if any(address < pointer < address + size for pointer in pointers):
        return False
    try:
        return field(read_status(call.tid), b"Threads") == b"1"
    except OSError:
        return False


def _has_read(syscall: int, stat: int, raw: tuple[int, ...]) -> bool:
    """Has the kernel read the strings? Certainly when the call is over, or the thread has stopped
    for its tracer, which it does behind the call."""
    if _state(stat) == b"t":
        return True
    words = os.pread(syscall, 256, 0).split()
    return len(words) > 7 and tuple(int(w, 16) for w in words[1:7]) != raw[:6]


def _state(stat: int) -> bytes:
    """The third field of proc_pid_stat(5)."""
    return os.pread(stat, 1024, 0).rpartition(b") ")[2][:1]


def _restore(memory: int, patches: list[Patch]) -> None:
    for address, old, new in patches:
        # An execve that succeeded took the string along with the old memory.
        with suppress(OSError):
            if os.pread(memory, len(new), address) == new:
                os.pwrite(memory, old[: len(new)], address)
