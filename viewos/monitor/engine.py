"""Receive, hand on, answer.

One hot receiver: the leader receives a call and handles it itself, on a warm CPU (two receivers
that wait are slower than one, because the kernel wakes them in turn). When a handler is about to
wait it steps aside, and a follower becomes the leader; a watchdog does so for a handler that turns
out to be slow. Nothing that one call does ever holds up another.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import threading
import time
from collections.abc import Callable

from viewos import kernel
from viewos.abi import seccomp as abi
from viewos.monitor.log import Log

STACK_SIZE = 512 * 1024
"""Bytes of stack of a receiver, where the process is the monitor's own."""
MOST_IDLE = 4
TICK = 0.004
"""Seconds that a call may take before a follower takes over receiving."""


class Notification:
    """A received call that has not been answered yet."""

    __slots__ = ("answered", "arch", "args", "engine", "id", "nr", "tid")

    def __init__(self, engine: Engine, data: tuple[int, ...]) -> None:
        self.engine = engine
        self.id, self.tid = data[0], data[1]
        self.nr, self.arch = data[3], data[4]
        self.args = data[6:12]
        self.answered = False

    def valid(self) -> bool:
        """Is the tracee still waiting in this very call (and its id not another's by now)?"""
        return self.engine.id_valid(self.id)

    def answer(self, value: int = 0, error: int = 0) -> bool:
        """Give the call's result. False if the call was abandoned meanwhile."""
        self.answered = True
        return self.engine.send(self.id, value, -error, 0)

    def let_continue(self) -> bool:
        """Let the kernel run the call unchanged."""
        self.answered = True
        return self.engine.send(self.id, 0, 0, abi.SECCOMP_USER_NOTIF_FLAG_CONTINUE)

    def add_fd(self, fd: int, *, cloexec: bool) -> int:
        """Put a copy of `fd` into the tracee's table; its number there. Raises OSError."""
        return self.engine.add_fd(self.id, fd, os.O_CLOEXEC if cloexec else 0)


class Engine:
    """Serves one listener with as many threads as there are calls that wait."""

    def __init__(self, listener: int, handle: Callable[[Notification], None], log: Log) -> None:
        self._listener = listener
        self._handle = handle
        self._log = log
        self._lead = threading.Semaphore(1)
        self._guard = threading.Lock()
        self._leader: object | None = None
        self._busy = False
        self._sequence = 0
        self._idle = 0
        self._local = threading.local()
        self._awake = threading.Event()
        self._dozing = False
        self._stopping = False
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
        if os.environ.get("VIEWOS_SYNC_WAKE_UP") != "0":
            # Linux 6.6; without it a round trip costs twice as much, and nothing else changes.
            kernel.ioctl(
                self._listener,
                abi.SECCOMP_IOCTL_NOTIF_SET_FLAGS,
                abi.SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP,
            )
        self._spawn()
        self._start(self._watch)
        ready()
        poll = select.poll()
        poll.register(self._listener, 0)  # only POLLHUP: every user of the filter has ended
        while not any(event & select.POLLHUP for _, event in poll.poll()):
            pass
        self._stopping = True

    def close(self) -> None:
        """After `serve`: end the threads, and close the listener if none of them is stuck on it.

        Before Linux 6.6 a receive does not end with the last tracee; a handler may hang as well.
        """
        self._awake.set()
        for _ in self._threads:
            self._lead.release()
        for thread in self._threads:
            thread.join(1)
        if not any(thread.is_alive() for thread in self._threads):
            os.close(self._listener)

    def _spawn(self) -> None:
        self._start(self._work)

    def _start(self, body: Callable[[], None]) -> None:
        thread = threading.Thread(target=body, name="viewos receiver", daemon=True)
        self._threads = [*(t for t in self._threads if t.is_alive()), thread]
        thread.start()

    def _work(self) -> None:
        kernel.unshare_fs()  # a umask and a working directory of this thread's own
        me = object()
        while True:
            with self._guard:
                if self._idle >= MOST_IDLE:
                    return
                self._idle += 1
            self._lead.acquire()
            if self._stopping:
                return
            with self._guard:
                self._idle -= 1
                self._leader = me
                self._local.me = me
            while self._leader is me and not self._stopping:
                self._receive(me)

    def _receive(self, me: object) -> None:
        buffer = self._buffers()[0]
        address = ctypes.addressof(buffer)
        ctypes.memset(address, 0, abi.NOTIF.size)
        failed = kernel.ioctl_errno(self._listener, abi.SECCOMP_IOCTL_NOTIF_RECV, address)
        if failed:
            self._after_failed_receive(failed)
            return
        self._sequence += 1
        self._busy = True
        if self._dozing:
            self._awake.set()
        notification = Notification(self, abi.NOTIF.unpack(buffer.raw))
        try:
            self._handle(notification)
        except BaseException:
            self._log.exception("a bug in the monitor")
            if not notification.answered:
                notification.answer(error=errno.EIO)
        if self._leader is me:
            self._busy = False

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
        """Called by a handler that is about to wait: somebody else receives from now on."""
        self._depose(self._local.me)

    def _depose(self, leader: object) -> None:
        with self._guard:
            if self._leader is not leader:
                return
            self._leader = None
            self._busy = False
            lonely = self._idle == 0
        if lonely:
            self._spawn()
        self._lead.release()

    def _watch(self) -> None:
        quiet = 0
        while not self._stopping:
            leader, sequence = self._leader, self._sequence
            time.sleep(TICK)
            if self._sequence != sequence:
                quiet = 0
            elif self._busy and self._leader is leader and leader is not None:
                self._depose(leader)
            else:
                quiet += 1
            if quiet > 50:
                self._doze()
                quiet = 0

    def _doze(self) -> None:
        self._awake.clear()
        self._dozing = True
        if not self._busy and not self._stopping:  # `close` may have come before the clear
            self._awake.wait()
        self._dozing = False
