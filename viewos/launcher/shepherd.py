"""The ancestor layout below the waiter: the monitor, and its child that is the program's parent.

The shepherd stays in the waiter's process group and reads, as a witness, the signals that the
whole group got: those the program got too, and only the others are handed on to it. The kernel
signals the youngest member of a group first, so the shepherd knows before the waiter does.

It is a process of its own because the monitor must not wait for the program: a wait in the
process of a tracer reports the stops of its fix-ups.
"""

from __future__ import annotations

import os
import select
import signal
import struct

from viewos.errors import encoded
from viewos.launcher import errors, raw, side
from viewos.launcher.errors import LaunchError
from viewos.launcher.layout import Layout
from viewos.launcher.program import Program, become
from viewos.launcher.wire import FAILED, Wire, pair
from viewos.tuples import NamedTuple

BORN = b"B"
"""Shepherd to waiter: its pid and the program's, two ints."""
STARTED = b"S"
"""The monitor serves, and the program is about to be executed."""
STOPPED = b"T"
"""The program stopped, by the signal that follows as a byte."""
CONTINUED = b"C"
ENDED = b"E"
"""The program ended, with the wait status that follows as an int."""
SIGNAL = b"N"
"""Waiter to shepherd: it got the signal that follows as an int, and had heard of so many stops (an
int) by then; whether a terminal sent it to the group (a byte)."""
__all__ = [
    "BORN", "CONTINUED", "ENDED", "FAILED", "SIGNAL", "STARTED", "STOPPED", "STOPS", "Flock",
    "run_monitor",
]  # fmt: skip

STOPS = {signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}
TO_GROUPS = {signal.SIGINT, signal.SIGQUIT, signal.SIGWINCH}
"""What a terminal sends to its whole foreground group."""


class Flock(NamedTuple):
    """What the processes below the waiter have to know."""

    program: Program
    service: side.Service
    waiter: int
    wire: Wire
    """The shepherd's end of the wire to the waiter."""


def run_monitor(flock: Flock) -> int:
    """Be the monitor, after starting the shepherd; the exit status."""
    raw.become_child_subreaper()
    to_program, to_monitor = pair()
    life, alive = map(raw.lifted, os.pipe())  # ends when the monitor does, and tells how

    def shepherd() -> int:
        to_monitor.close()
        os.close(alive)
        it = Shepherd(flock, life)
        # The monitor hears that this process has gone, and cleans up.
        return side.or_say(flock.wire, lambda: it.begin(to_program), lambda: None) or it.run()

    side.in_child(shepherd)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps: see Layout
    os.setsid()
    os.close(life)
    to_program.close()
    flock.wire.close()
    signal.pthread_sigmask(signal.SIG_SETMASK, flock.program.mask)
    return side.run_monitor(to_monitor, flock.service, Layout.ANCESTOR, alive)


class Shepherd:
    """The program's parent: tells the waiter what becomes of it, and guards the monitor."""

    def __init__(self, flock: Flock, life: int) -> None:
        self._flock = flock
        self._wire: Wire | None = flock.wire
        self._life = life
        self._said = b""
        self._signals = -1
        self._seen: set[int] = set()
        self._program = 0
        self._ended = False
        self._has_news = False
        self._told_stop = False
        self._stops = 0
        self._leads = os.getpgrp() == flock.waiter

    def begin(self, to_monitor: Wire) -> int:
        """Start the program; 0. Raises OSError, LaunchError."""
        self._signals = raw.signalfd(signal.valid_signals())
        raw.set_name(b"viewos-shepherd")
        self._program = side.in_child(lambda: _program(self._flock, to_monitor))
        to_monitor.close()
        self._tell(BORN + struct.pack("=ii", os.getpid(), self._program))
        return 0

    def run(self) -> int:
        """Stay until the program and the monitor have ended."""
        side.let_go_except(self._life, self._signals, self._flock.wire.fileno())
        poll = select.poll()
        for source in (self._signals, self._flock.wire.fileno(), self._life):
            poll.register(source, select.POLLIN)
        while self._life >= 0 or not self._ended:
            for source, _ in poll.poll():
                if source == self._signals:
                    self._look()
                elif source == self._life:
                    if self._monitor_ended():
                        poll.unregister(source)
                elif not self._hear():
                    poll.unregister(source)
            if self._has_news:
                self._wait()
        return 0

    # ---- the program --------------------------------------------------------------------------

    def _look(self) -> None:
        for number, _, _ in raw.read_signals(self._signals):
            if number == signal.SIGCHLD:
                self._has_news = True
                continue
            if number == signal.SIGCONT or number in STOPS:  # they take each other back
                self._seen -= STOPS if number == signal.SIGCONT else {signal.SIGCONT}
            self._seen.add(number)

    def _wait(self) -> None:
        self._has_news = False
        while not self._ended:
            pid, status = os.waitpid(self._program, os.WNOHANG | os.WUNTRACED | os.WCONTINUED)
            if pid == 0:
                return
            if os.WIFSTOPPED(status):
                self._told_stop = True
                self._stops += 1
                self._seen -= STOPS  # not to be taken for later ones
                self._tell(STOPPED + bytes([os.WSTOPSIG(status)]))
            elif os.WIFCONTINUED(status):
                self._continued()
            else:
                self._ended = True
                self._tell(ENDED + struct.pack("=i", status))
                self._leave()

    def _continued(self) -> None:
        if not self._told_stop:
            return
        self._told_stop = False
        self._tell(CONTINUED)
        # A next stop of the whole group may be there already, and is not to be undone.
        if self._wire is not None and not raw.is_stopped(self._program):
            os.kill(self._flock.waiter, signal.SIGCONT)

    # ---- the waiter ---------------------------------------------------------------------------

    def _tell(self, message: bytes) -> None:
        if self._wire is not None:
            self._wire.send(message)

    def _hear(self) -> bool:
        """Take a message of the waiter; False when it has gone."""
        message = self._wire.receive() if self._wire is not None else b""
        if message[:1] == SIGNAL:
            self._deliver(*struct.unpack("=ii?", message[1:]))
            return True
        if not self._ended:  # it was killed by what cannot be handed on
            os.kill(self._program, signal.SIGKILL)
        self._leave()
        return False

    def _leave(self) -> None:
        # The group and the session may go on without us.
        if self._wire is not None:
            os.setsid()
            self._wire = None

    def _deliver(self, number: int, stops: int, by_terminal: bool) -> None:
        self._look()
        self._wait()
        # Two that came fast are one to this process, and may have been two to the waiter.
        got_by_group = by_terminal or number in self._seen
        self._seen.discard(number)
        if self._ended or self._is_stale(number, stops, got_by_group):
            return
        group = os.getpgid(self._program)
        if number == signal.SIGCONT and group == self._program and self._leads:
            _hand_terminal(group)
        if not got_by_group:
            os.kill(self._program, number)
        elif group != os.getpgrp() and self._leads:
            # A shell that took a group of its own: natively it would still lead the first one.
            if group == self._program:
                os.killpg(group, number)
            else:
                os.kill(self._program, number)

    def _is_stale(self, number: int, stops: int, got_by_group: bool) -> bool:
        """Has the program stopped, or been told to, since the waiter got this signal?

        Stop signals and SIGCONT take each other back, so what this process was late to read as a
        witness is not there any more; the program got it all the same.
        """
        if number not in STOPS and number != signal.SIGCONT:
            return False
        if stops < self._stops:
            return True
        is_told_to_stop = bool(self._seen & STOPS) and not self._told_stop
        return number == signal.SIGCONT and not got_by_group and is_told_to_stop

    # ---- the monitor --------------------------------------------------------------------------

    def _monitor_ended(self) -> bool:
        said = os.read(self._life, 8)
        self._said += said
        if said:
            return False
        self._life = -1
        side.guard(self._said, "died", self._program, self._flock.service)
        return True


def _hand_terminal(group: int) -> None:
    """Let a group that left ours have the terminal, if ours has it.

    A job-control shell makes itself the leader of a group. Natively it is one already, and has the
    terminal when the shell outside says `fg`. SIGTTOU is blocked here, so nobody stops.
    """
    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if os.tcgetpgrp(terminal) == os.getpgrp():
            os.tcsetpgrp(terminal, group)
    except OSError:
        pass  # it hung up, or the group has gone meanwhile
    finally:
        os.close(terminal)


def _program(flock: Flock, to_monitor: Wire) -> int:
    signal.pthread_sigmask(signal.SIG_SETMASK, flock.program.mask)
    try:
        become(flock.program, to_monitor, lambda: flock.wire.send(STARTED))
    except LaunchError as error:
        to_monitor.send(FAILED)
        flock.wire.send(FAILED + encoded(str(error)))
    return errors.FAILED
