"""Receive, hand on, answer.

One hot receiver: the leader receives a call and handles it itself, on a warm CPU (two receivers
that wait are slower than one, because the kernel wakes them in turn). When a handler is about to
wait it steps aside, and a follower becomes the leader; a watchdog does so for a handler that turns
out to be slow. Nothing that one call does ever holds up another.

Where there is an accelerator, the leader receives in it, and gets only what Python has to answer.
"""

from __future__ import annotations

import ctypes
import errno
import itertools
import os
import select
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from viewos import kernel
from viewos.abi import seccomp as abi
from viewos.errors import reason
from viewos.monitor.accelerator import Accelerator
from viewos.monitor.log import Log

if TYPE_CHECKING:
    from viewos.monitor.accelerator.native import Receiver
    from viewos.monitor.helper.looks import Helper

STACK_SIZE = 512 * 1024
"""Bytes of stack of a receiver, where the process is the monitor's own."""
MOST_IDLE = 4
TICK = 0.004
"""Seconds that a call may take before a follower takes over receiving."""


class Notification:
    """A received call that has not been answered yet."""

    __slots__ = ("answered", "arch", "args", "engine", "id", "instruction", "nr", "tid")

    def __init__(self, engine: Engine, data: tuple[int, ...]) -> None:
        self.engine = engine
        self.id, self.tid = data[0], data[1]
        self.nr, self.arch, self.instruction = data[3:6]
        self.args = data[6:12]
        self.answered = False

    def valid(self) -> bool:
        """Is the tracee still waiting in this very call (and its id not another's by now)?"""
        return self.engine.id_valid(self.id)

    def answer(self, value: int = 0, error: int = 0) -> bool:
        """Give the call's result. False if the call was abandoned meanwhile."""
        sent = self.engine.send(self.id, value, -error, 0)
        self.answered = True  # not before: what cannot be sent has answered nothing
        return sent

    def let_continue(self) -> bool:
        """Let the kernel run the call unchanged."""
        sent = self.engine.send(self.id, 0, 0, abi.SECCOMP_USER_NOTIF_FLAG_CONTINUE)
        self.answered = True
        return sent

    def add_fd(self, fd: int, *, cloexec: bool) -> int:
        """Put a copy of `fd` into the tracee's table; its number there. Raises OSError."""
        return self.engine.add_fd(self.id, fd, os.O_CLOEXEC if cloexec else 0)


class Seat(ctypes.Structure):
    """Who leads, and how far; `struct seat` of accelerator.h."""

    leader: int
    """The number of the thread that receives; 0: nobody."""
    sequence: int
    """How many calls have been received."""
    busy: int
    """Is the leader in a call?"""
    stopping: int
    dozing: int
    """Does the watchdog wait for the next call?"""
    _fields_ = tuple(
        (name, ctypes.c_uint64) for name in ("leader", "sequence", "busy", "stopping", "dozing")
    )


class Engine:
    """Serves one listener with as many threads as there are calls that wait."""

    def __init__(
        self,
        listener: int,
        handle: Callable[[Notification], None],
        log: Log,
        accelerator: Accelerator | None = None,
        helper: Helper | None = None,
    ) -> None:
        """`helper` looks at the tracees where the monitor itself may not."""
        self.helper = helper
        self._listener = listener
        self._handle = handle
        self._log = log
        self._accelerator = accelerator
        self._lead = threading.Semaphore(1)
        self._guard = threading.RLock()
        self._seat = Seat()
        self._seat_at = ctypes.addressof(self._seat)
        self._numbers = itertools.count(1)
        self._idle = 0
        self._users = 1
        self._local = threading.local()
        self._awake = threading.Event()
        self._threads: list[threading.Thread] = []

    # ---- the listener -----------------------------------------------------------------------

    def send(self, identity: int, value: int, error: int, flags: int) -> bool:
        buffer = self._buffers()[1]
        abi.RESP.pack_into(buffer, 0, identity, value, error, flags)
        failed = kernel.ioctl_errno(
            self._listener, abi.SECCOMP_IOCTL_NOTIF_SEND, ctypes.addressof(buffer)
        )
        if failed not in (0, errno.ENOENT, errno.EINPROGRESS):
            self._log.warning(f"answering a call failed: {os.strerror(failed)}")
        return failed == 0

    def id_valid(self, identity: int) -> bool:
        buffer = ctypes.c_uint64(identity)
        return not kernel.ioctl_errno(
            self._listener, abi.SECCOMP_IOCTL_NOTIF_ID_VALID, ctypes.addressof(buffer)
        )

    def add_fd(self, identity: int, fd: int, fd_flags: int) -> int:
        buffer = ctypes.create_string_buffer(abi.ADDFD.pack(identity, 0, fd, 0, fd_flags), 24)
        address = ctypes.addressof(buffer)
        while True:
            number: int = kernel.ioctl(self._listener, abi.SECCOMP_IOCTL_NOTIF_ADDFD, address)
            if number >= 0:
                return number
            failed = ctypes.get_errno()
            if failed != errno.EINTR:
                raise OSError(failed, os.strerror(failed))

    def _buffers(self) -> tuple[ctypes.Array[ctypes.c_char], ctypes.Array[ctypes.c_char]]:
        buffers = getattr(self._local, "buffers", None)
        if buffers is None:
            buffers = self._local.buffers = (
                ctypes.create_string_buffer(abi.NOTIF.size),
                ctypes.create_string_buffer(abi.RESP.size),
            )
        return buffers

    # ---- life ----------------------------------------------------------------------------------

    def serve(self, ready: Callable[[], None] = lambda: None) -> None:
        """Serve until the last tracee is gone. `ready` is called when calls are being received."""
        self.start()
        ready()
        poll = select.poll()
        poll.register(self._listener, 0)  # only POLLHUP: every user of the filter has ended
        while not any(event & select.POLLHUP for _, event in poll.poll()):
            pass
        self.stop()

    def start(self) -> None:
        """Answer calls from now on, in threads of the engine's own. Raises OSError EAGAIN."""
        if os.environ.get("VIEWOS_SYNC_WAKE_UP") != "0":
            # Linux 6.6; without it a round trip costs twice as much, and nothing else changes.
            kernel.ioctl(
                self._listener,
                abi.SECCOMP_IOCTL_NOTIF_SET_FLAGS,
                abi.SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP,
            )
        self._start(self._watch)
        self._spawn()

    def stop(self) -> None:
        """After the last tracee: receive no more."""
        self._seat.stopping = True

    def close(self) -> None:
        """After `stop`: end the threads. The last of them closes the listener, if it is not here.

        Before Linux 6.6 a receive does not end with the last tracee; a handler may hang as well.
        """
        self._awake.set()
        for _ in self._threads:
            self._lead.release()
        for thread in self._threads:
            thread.join(1)
        self._leave()

    def _leave(self) -> None:
        with self._guard:
            self._users -= 1
            if self._users == 0:
                os.close(self._listener)

    def _spawn(self) -> None:
        self._start(self._work)

    def _start(self, body: Callable[[], None]) -> None:
        def use() -> None:
            try:
                body()
            finally:
                self._leave()

        with self._guard:
            thread = kernel.start_thread(use, "viewos receiver")
            self._users += 1
            self._threads = [*(t for t in self._threads if t.is_alive()), thread]

    def _work(self) -> None:
        kernel.unshare_fs()  # a umask and a working directory of this thread's own
        me = next(self._numbers)
        receive = self._receive
        if self._accelerator is not None:
            receiver = self._accelerator.receiver(self._listener, kernel.has_own_umask())
            receive = partial(self._receive_rest, self._accelerator, receiver)
        while True:
            with self._guard:
                if self._idle >= MOST_IDLE:
                    return
                self._idle += 1
            self._lead.acquire()
            if self._seat.stopping:
                return
            with self._guard:
                self._idle -= 1
                self._seat.leader = me
                self._local.me = me
            while self._seat.leader == me and not self._seat.stopping:
                receive(me)

    def _receive(self, me: int) -> None:
        buffer = self._buffers()[0]
        address = ctypes.addressof(buffer)
        ctypes.memset(address, 0, abi.NOTIF.size)
        failed = kernel.ioctl_errno(self._listener, abi.SECCOMP_IOCTL_NOTIF_RECV, address)
        if failed:
            self._after_failed_receive(failed)
            return
        self._seat.sequence += 1
        self._seat.busy = True
        self._handle_one(me, buffer.raw)

    def _receive_rest(self, accelerator: Accelerator, receiver: Receiver, me: int) -> None:
        """What the accelerator leaves."""
        received = receiver.receive(self._seat_at, me)
        if isinstance(received, int):
            self._after_failed_receive(received)
        elif received is not None:
            self._handle_one(me, received, accelerator.hand_on)

    def _handle_one(
        self, me: int, received: bytes, before: Callable[[], None] = lambda: None
    ) -> None:
        if self._seat.dozing:
            self._awake.set()
        notification = Notification(self, abi.NOTIF.unpack(received))
        try:
            before()
            self._handle(notification)
        except BaseException:
            with suppress(Exception):  # an answer is owed, whatever becomes of the log
                self._log.exception("a bug in the monitor")
            if not notification.answered:
                notification.answer(error=errno.EIO)
        if self._seat.leader == me:
            self._seat.busy = False

    def _after_failed_receive(self, failed: int) -> None:
        if failed in (errno.EINTR, errno.ENOENT):
            poll = select.poll()
            poll.register(self._listener, 0)
            if poll.poll(0):  # hung up: serve() ends, and with it the process
                time.sleep(0.05)
            return
        self._log.warning(f"receiving a call failed: {os.strerror(failed)}")
        time.sleep(0.05)

    # ---- leader and followers -----------------------------------------------------------------

    def step_aside(self) -> None:
        """Called by a handler that is about to wait: somebody else receives from now on. Raises
        OSError EAGAIN: there is nobody, and nothing would be answered meanwhile."""
        self._depose(self._local.me)

    def _depose(self, leader: int) -> None:
        with self._guard:
            if self._seat.leader != leader:
                return
            if self._idle == 0:
                self._spawn()
            self._seat.leader = 0
            self._seat.busy = False
        self._lead.release()

    def _watch(self) -> None:
        quiet = 0
        seat = self._seat
        while not seat.stopping:
            leader, sequence = seat.leader, seat.sequence
            time.sleep(TICK)
            if seat.sequence != sequence:
                quiet = 0
            elif seat.busy and seat.leader == leader and leader:
                try:
                    self._depose(leader)
                except OSError as error:
                    self._log.warning(f"no more threads: {reason(error)}", once="threads")
            else:
                quiet += 1
            if quiet > 50:
                self._doze()
                quiet = 0

    def _doze(self) -> None:
        self._awake.clear()
        self._seat.dozing = True
        # `close` may have come before the clear.
        if not self._seat.busy and not self._seat.stopping:
            self._awake.wait()
        self._seat.dozing = False
