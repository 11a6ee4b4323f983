"""A call that waits in the monitor: others are served meanwhile, and a signal that is due ends it.

A thread of the monitor that is blocked in the kernel on a tracee's behalf is woken by a signal of
its own, because nothing else ends a blocking connect(2) on somebody else's open file: O_NONBLOCK
belongs to the file, and the program would see it change.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import signal
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from viewos import kernel
from viewos.abi.ptrace import ERESTARTSYS
from viewos.abi.socket import SO_RCVTIMEO, SO_SNDTIMEO
from viewos.abi.syscalls import TABLE
from viewos.monitor.outcome import ANSWERED, Outcome
from viewos.monitor.rewrite import Rewrite
from viewos.monitor.task import field, read_status
from viewos.monitor.traced import Traced
from viewos.shared import Interrupted

if TYPE_CHECKING:
    from viewos.call import Call
    from viewos.monitor.engine import Notification
    from viewos.monitor.router import Router

LOOK, LAST_LOOK = 0.02, 0.1
"""Seconds between two looks at the signals of a thread that waits, first and later."""
BRIEF_MS = 1
_WAKE = signal.SIGRTMAX - 3
_TIME_LIMITS = {
    **dict.fromkeys(("connect", "sendto", "sendmsg", "sendmmsg"), SO_SNDTIMEO),
    **dict.fromkeys(("accept", "accept4", "recvfrom", "recvmsg", "recvmmsg"), SO_RCVTIMEO),
}
"""The option with the time for which a call waits for a socket."""


class Due(Interrupted):
    """The monitor itself has seen that a signal is due, whatever has become of it since."""


class Signals:
    """The signals of one look at a thread."""

    def __init__(self, tid: int) -> None:
        try:
            status = read_status(tid)
            own, shared = (int(field(status, name), 16) for name in (b"SigPnd", b"ShdPnd"))
            if own or shared:
                held = int(field(status, b"SigBlk"), 16) | int(field(status, b"SigIgn"), 16)
                own, shared = own & ~held, shared & ~held
        except OSError:
            self.due = self.own = True
            return
        self.due = bool(own or shared)
        self.own = bool(own or (shared and _leads(status, tid)))
        """It is certain that this thread is the one that the kernel has chosen to handle it."""


def _leads(status: bytes, tid: int) -> bool:
    return field(status, b"Tgid") == b"%d" % tid or field(status, b"Threads") == b"1"


def pause(waited: float) -> float:
    """Seconds to the next look at the signals of a thread that has waited so long: many that wait
    long are not to keep the monitor busy."""
    return min(max(LOOK, waited / 10), LAST_LOOK)


def wait(router: Router, call: Call, fd: int, events: int, seconds: float | None) -> int:
    """poll(2) of one descriptor (-1: of none): the events, or 0 after that time.

    Raises Interrupted.
    """
    poll = select.poll()
    if fd >= 0:
        poll.register(fd, events)
    ready = poll.poll(BRIEF_MS)
    began = time.monotonic()
    deadline = None if seconds is None else began + seconds
    if not ready:
        router.step_aside()
    notification = router.notification
    while not ready or not ready[0][1] & events:
        if Signals(call.tid).due or not notification.valid():
            raise Due
        now = time.monotonic()
        if deadline is not None and now >= deadline:
            return 0
        left = pause(now - began)
        if deadline is not None:
            left = min(left, deadline - now)
        if ready:  # what nobody asked for can last (an entry of an error queue), and be asked again
            time.sleep(max(left, 0))
            break
        ready = poll.poll(max(left, 0) * 1000)
    return ready[0][1]


def end_interrupted(router: Router, call: Call) -> int | Outcome:
    """End a call that a signal interrupts, as the kernel does: with EINTR, or a restart where the
    handler has SA_RESTART and the socket no time limit, which would begin afresh (signal(7)).

    A thread that was not chosen to handle the signal would see ERESTARTSYS as an errno: it makes
    its call again, which is right for any.
    """
    is_limited = _is_limited(call)
    call.release()
    looked = Signals(call.tid)
    if is_limited and (looked.own or (looked.due and not Signals(call.pid).due)):
        return -errno.EINTR  # the kernel has chosen this thread, or another one but the first
    if looked.own:
        return -ERESTARTSYS
    row = TABLE["getpid"]
    again = Rewrite(row.number, [], row.cookie.arg, row.cookie.shift, again=True)
    try:
        router.run_again(call, again)
    except Traced:
        return -errno.EINTR
    return ANSWERED


def _is_limited(call: Call) -> bool:
    option = _TIME_LIMITS.get(call.name)
    try:
        return option is not None and call.socket().time_limit(option) > 0
    except OSError:
        return False


# ---- blocked in the kernel ----------------------------------------------------------------------


class _Blocked:
    """A thread of the monitor that is blocked for a tracee."""

    __slots__ = ("look_at", "native", "notification", "since", "tid")

    def __init__(self, call: Call, notification: Notification) -> None:
        self.native = threading.get_native_id()
        self.notification = notification
        self.tid = call.tid
        self.since = time.monotonic()
        self.look_at = self.since + LOOK

    def looks_over(self) -> bool:
        """Has its time for a look come, and is it over?"""
        now = time.monotonic()
        if now < self.look_at:
            return False
        self.look_at = now + pause(now - self.since)
        return self.is_over()

    def is_over(self) -> bool:
        return Signals(self.tid).due or not self.notification.valid()


class Interrupter:
    """Wakes threads that are blocked for a tracee for which a signal is due, or which is gone."""

    def __init__(self) -> None:
        self._blocked: dict[int, _Blocked] = {}
        self._lock = threading.Lock()
        self._awake = threading.Event()
        self._started = False

    def blocking(self, call: Call, notification: Notification, function: Callable[[], int]) -> int:
        """Call a function that blocks in the kernel and gives an errno. Raises Interrupted."""
        if not self._started:
            self._start()
        blocked = _Blocked(call, notification)
        while True:
            self._blocked[blocked.native] = blocked
            self._awake.set()
            try:
                error = function()
            finally:
                with self._lock:  # no signal comes behind this
                    del self._blocked[blocked.native]
            if error != errno.EINTR:
                return error
            if blocked.is_over():
                raise Due

    def _start(self) -> None:
        with self._lock:
            if self._started:
                return
            _take_signal()
            kernel.start_thread(self._watch, "viewos interrupter")
            self._started = True

    def _watch(self) -> None:
        while True:
            self._awake.wait()
            time.sleep(LOOK)
            if not self._blocked:
                self._awake.clear()
                if self._blocked:
                    self._awake.set()
                continue
            for blocked in list(self._blocked.values()):
                if blocked.looks_over():
                    self._wake(blocked)

    def _wake(self, blocked: _Blocked) -> None:
        with self._lock:
            if self._blocked.get(blocked.native) is blocked:
                kernel.syscall(kernel.NR["tgkill"], os.getpid(), blocked.native, int(_WAKE))


def _take_signal() -> None:
    """Give the signal a handler that does nothing, without SA_RESTART.

    From any thread, unlike signal.signal(); abs(3) is a function that takes an int and does no
    harm. A program that uses viewos as a library and this very signal keeps its own handler.
    """

    class Action(ctypes.Structure):
        _fields_ = (("handler", ctypes.c_void_p), ("rest", ctypes.c_byte * 256))

    libc = kernel.libc
    old = Action()
    if libc.sigaction(int(_WAKE), None, ctypes.byref(old)) == 0 and not old.handler:
        new = Action(ctypes.cast(libc.abs, ctypes.c_void_p).value)
        libc.sigaction(int(_WAKE), ctypes.byref(new), None)
