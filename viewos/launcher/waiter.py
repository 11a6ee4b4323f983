"""The ancestor layout: waiter -> monitor -> shepherd -> program.

The waiter is the process that the user started. It holds nothing of the user's, blocks every
signal and reads them from a descriptor; it stops when the program stops, and ends as it ends.
"""

from __future__ import annotations

import os
import resource
import select
import signal
import struct
from contextlib import suppress
from typing import NoReturn

from viewos.launcher import raw, shepherd, side
from viewos.launcher.errors import FAILED, LaunchError
from viewos.launcher.program import Program
from viewos.launcher.wire import Wire, pair


def run(program: Program, service: side.Service) -> NoReturn:
    """Wait for the program and end as it does. Raises LaunchError (nothing runs)."""
    near, far = pair()
    flock = shepherd.Flock(program, service, os.getpid(), far)
    raw.block_signals()  # from here on they wait, until there is a program to hand them to

    def monitor() -> int:
        near.close()
        return side.or_say(far, lambda: shepherd.run_monitor(flock), service.clean_up)

    child = side.in_child(monitor)
    far.close()
    try:
        Waiter(near, child).run()
    except LaunchError:
        near.close()
        with suppress(ChildProcessError):  # it has ended before it was heard why
            os.waitpid(child, 0)
        signal.pthread_sigmask(signal.SIG_SETMASK, program.mask)
        raise


class Waiter:
    """Ends and stops as the program does, and hands on the signals that it gets."""

    def __init__(self, shepherd_wire: Wire, monitor: int) -> None:
        self._wire = shepherd_wire
        self._monitor = monitor
        self._signals = raw.signalfd(signal.valid_signals())
        self._shepherd = 0
        self._program = -1  # a pidfd
        self._pid = 0
        self._stop = 0
        self._stops = 0

    def run(self) -> NoReturn:
        """Until the program ends. Raises LaunchError."""
        for number in (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU):
            signal.signal(number, signal.SIG_DFL)  # blocked; `_mirror_stop` lets one through
        poll = select.poll()
        poll.register(self._signals, select.POLLIN)
        poll.register(self._wire, select.POLLIN)
        while True:
            events = dict(poll.poll(0 if self._stop else None))
            if self._signals in events:
                self._hand_on_signals()
            if self._wire.fileno() in events:
                self._hear(self._wire.receive())
            elif self._stop:  # nothing newer has come
                self._mirror_stop()

    def _hand_on_signals(self) -> None:
        for number, sender, code in raw.read_signals(self._signals):
            if number == signal.SIGCHLD:
                _reap(self._monitor)
            elif number in shepherd.STOPS and (self._stop or sender == os.getpid()):
                # It was for the whole group, or comes too late: the program has stopped. Or it is
                # what `_mirror_stop` did not need.
                pass
            elif number != signal.SIGCONT or sender != self._shepherd:
                if number == signal.SIGCONT:
                    self._stop = 0
                by_terminal = code == raw.SI_KERNEL and number in shepherd.TO_GROUPS
                message = struct.pack("=ii?", number, self._stops, by_terminal)
                self._wire.send(shepherd.SIGNAL + message)

    def _hear(self, message: bytes) -> None:
        kind, rest = message[:1], message[1:]
        if kind == shepherd.BORN:
            self._shepherd, self._pid = struct.unpack("=ii", rest)
            self._program = _pidfd(self._pid)
        elif kind == shepherd.STARTED:
            side.let_go_except(self._wire.fileno(), self._signals, self._program)
        elif kind == shepherd.FAILED:
            raise LaunchError(os.fsdecode(rest))
        elif kind == shepherd.STOPPED:
            self._stop = rest[0]
            self._stops += 1
        elif kind == shepherd.CONTINUED:
            self._stop = 0
        elif kind == shepherd.ENDED:
            end_as(struct.unpack("=i", rest)[0])
        else:  # the shepherd was killed: natively there would be no such process
            if self._program >= 0:
                signal.pidfd_send_signal(self._program, signal.SIGKILL)
            os._exit(FAILED)

    def _mirror_stop(self) -> None:
        number, self._stop = self._stop, 0
        if number == signal.SIGSTOP:
            if raw.is_stopped(self._pid):
                os.kill(os.getpid(), number)
            return
        # While it was not blocked, below, a stop of the whole group could stop this process first,
        # and it hears of that stop when all have been continued: so it looks. It looks with its own
        # stop pending, which a SIGCONT takes back that the whole group gets meanwhile.
        os.kill(os.getpid(), number)
        if raw.is_stopped(self._pid):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
            signal.pthread_sigmask(signal.SIG_BLOCK, {number})


def _pidfd(pid: int) -> int:
    try:
        return raw.lifted(os.pidfd_open(pid))
    except ProcessLookupError:
        return -1


def _reap(pid: int) -> None:
    # By its pid: what this process had for children before its exec is not ours.
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def end_as(wait_status: int) -> NoReturn:
    """End as a process did that has this wait status: by the same code, or the same signal."""
    if os.WIFSIGNALED(wait_status):
        number = os.WTERMSIG(wait_status)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        raw.forbid_core_dump()
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    os._exit(os.waitstatus_to_exitcode(wait_status) & 0xFF)
