"""When a thread cannot be fixed up, because a debugger inside the view traces it already.

Then the path string is patched where it stands, which needs no registers, and restored when the
call is over: at the latest when its tracer, if that is in the view as well, lets the thread go on,
which is trapped. It must fit, so it is a short link in the scratch directory.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from viewos.monitor.outcome import ANSWERED, CONTINUE, Outcome
from viewos.monitor.scratch import short_name

if TYPE_CHECKING:
    from viewos.call import Call
    from viewos.monitor.router import Router


def fall_back(
    router: Router, call: Call, strings: dict[int, bytes] | None, plain: bool, why: str
) -> int | Outcome:
    """Let the call continue with its strings patched in place. Raises OSError EPERM where that
    cannot be done."""
    if plain:
        return CONTINUE
    if strings is None:
        raise _refusal(router, call, why, "its arguments cannot be changed")
    patches = [
        _patch(router, call, call.raw[index], string, why) for index, string in strings.items()
    ]
    with Patched(call.tid, call.raw, patches) as patched, router.nesting.patches.holding(patched):
        patched.put()
        router.notification.let_continue()
        # In this thread and at once: the program may look at its string as soon as the call is
        # over. A tracer within the view lets it go on when that is back: `Patches`.
        with suppress(OSError):
            deadline = time.monotonic() + 0.002
            while not patched.has_been_read():
                if time.monotonic() > deadline:
                    router.step_aside()
                    time.sleep(0.001)
                os.sched_yield()
            patched.restore()
    return ANSWERED


class Patched:
    """The strings of one call, while others stand in their places. A context manager, of what it
    needs to look at the thread. Raises OSError."""

    def __init__(
        self, tid: int, raw: tuple[int, ...], patches: list[tuple[int, bytes, bytes]]
    ) -> None:
        """`raw`: the arguments of the call; `patches`: (address, old, new)."""
        self._tid, self._raw, self._patches = tid, raw, patches
        self._files = ExitStack()
        self._lock = threading.Lock()

    def __enter__(self) -> Patched:
        with ExitStack() as files:
            self._memory, self._syscall, self._stat = (
                files.enter_context(open(f"/proc/{self._tid}/{name}", mode, buffering=0)).fileno()
                for name, mode in (("mem", "r+b"), ("syscall", "rb"), ("stat", "rb"))
            )
            self._files = files.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._patches = []
        self._files.close()

    def put(self) -> None:
        """Raises OSError."""
        for address, _, new in self._patches:
            os.pwrite(self._memory, new, address)

    def is_stopped(self) -> bool:
        """Has the thread stopped for its tracer, which it does behind the call?"""
        return os.pread(self._stat, 1024, 0).rpartition(b") ")[2][:1] == b"t"

    def has_been_read(self) -> bool:
        """Has the kernel read the strings? Certainly when the call is over."""
        if self.is_stopped():
            return True
        words = os.pread(self._syscall, 256, 0).split()
        return len(words) > 7 and tuple(int(w, 16) for w in words[1:7]) != self._raw[:6]

    def restore(self) -> None:
        """Once: the program may have changed them afterwards."""
        with self._lock:
            patches, self._patches = self._patches, []
            for address, old, new in patches:
                # An execve that succeeded took the string along with the old memory.
                with suppress(OSError):
                    if os.pread(self._memory, len(new), address) == new:
                        os.pwrite(self._memory, old[: len(new)], address)

    def restore_if_stopped(self) -> None:
        """Before a tracer lets it go on."""
        with self._lock, suppress(OSError):
            is_over = bool(self._patches) and self.is_stopped()
        if is_over:
            self.restore()


class Patches:
    """What is patched at this moment, in all views of a monitor."""

    def __init__(self) -> None:
        self._held: tuple[Patched, ...] = ()
        self._lock = threading.Lock()
        self.watch: Callable[[bool], None] = lambda _: None
        """Told whether there are any."""

    @contextmanager
    def holding(self, patched: Patched) -> Iterator[None]:
        """It is one of them, from before the call goes on."""
        self._hold(lambda held: (*held, patched))
        try:
            yield
        finally:
            self._hold(lambda held: tuple(one for one in held if one is not patched))

    def _hold(self, change: Callable[[tuple[Patched, ...]], tuple[Patched, ...]]) -> None:
        with self._lock:
            self._held = change(self._held)
            self.watch(bool(self._held))

    def restore_stopped(self) -> None:
        """A tracer is about to let a thread go on."""
        for patched in self._held:
            patched.restore_if_stopped()


def _patch(
    router: Router, call: Call, address: int, string: bytes, why: str
) -> tuple[int, bytes, bytes]:
    """(address, what stands there, what is to stand there)."""
    length = len(router.memory.read_string(call.tid, address))
    new = string if len(string) <= length else min(string, short_name(router.view, string), key=len)
    if len(new) > length and not _may_overrun(call, address, len(new) + 1):
        raise _refusal(router, call, why, f"no room for {os.fsdecode(string)} in its string")
    old = router.memory.read_exact(call.tid, address, max(length, len(new)) + 1)
    return address, old, new + b"\0"


def _refusal(router: Router, call: Call, why: str, what: str) -> OSError:
    router.log.warning(
        f"{call.name} by process {call.tid}, which a debugger traces ({why}): {what}; run the"
        " debugger outside of the view"
    )
    return OSError(errno.EPERM, "traced")


def _may_overrun(call: Call, address: int, size: int) -> bool:
    """May the bytes behind a string be borrowed? Nobody but the kernel reads them meanwhile: there
    is no other thread, and no other pointer of the call leads there."""
    pointers = (a for a in call.raw if a != address)
    if any(address < pointer < address + size for pointer in pointers):
        return False
    try:
        with open(f"/proc/{call.tid}/status", "rb", buffering=0) as file:
            return b"\nThreads:\t1\n" in file.read()
    except OSError:
        return False
