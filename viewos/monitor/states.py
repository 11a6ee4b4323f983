"""What the monitor remembers of a process, in a limit of the process itself (view.py: States)."""

from __future__ import annotations

import errno
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from viewos.abi.syscalls import TABLE
from viewos.monitor.rewrite import Rewrite
from viewos.view import limit_of_proc

if TYPE_CHECKING:
    from viewos.call import Call
    from viewos.monitor.log import Log
    from viewos.monitor.nesting import Nesting
    from viewos.monitor.router import Router
    from viewos.view import ProcessState, View


class Redo(Exception):
    """The state has been set; the same call will be notified again."""


class ProcessStates:
    """That part of the router; see the methods of `Call` that have the same names."""

    view: View
    log: Log
    nesting: Nesting
    keeps_nothing = False
    """prlimit(2) is forbidden to the programs."""

    def process_state(self, call: Call) -> ProcessState:
        """What is remembered of the calling process."""
        try:
            return self.view.states.read(call.tid)
        except OSError:
            return self.view.states.initial

    def set_process_state(self, call: Call, state: ProcessState) -> None:
        """Remember it, from outside, or else by a call that the tracee makes."""
        states = self.view.states
        before = states.read(call.tid)
        if state == before:
            return
        if self.nesting.inproc is not None and state.modules != before.modules:
            self.nesting.inproc.becomes(cast("Router", self), call.tid, state)
        if self.keeps_nothing:
            self._forget(call, state)
            return
        try:
            with states.changing:
                states.write(call.tid, state)
        except PermissionError:
            # Only the process itself may, which costs it the call: it makes it again afterwards.
            self.log.detail(f"the state of {call.tid} is set by the process itself")
            self._set_state_within(call, state)

    def _forget(self, call: Call, state: ProcessState) -> None:
        """Nothing can be remembered: go on without a hint, but never as if ids had changed."""
        self.log.warning(
            "prlimit(2) is forbidden here: nothing can be remembered of a process", once="prlimit"
        )
        if state.modules != self.process_state(call).modules:
            raise OSError(errno.EPERM, "prlimit")

    def and_then(self, call: Call, rewrite: Rewrite, state: ProcessState) -> Rewrite:
        """A call with which, when it has given 0, a process comes to a state."""
        states, tid = self.view.states, call.tid
        try:
            with states.changing:
                states.write(tid, states.read(tid))
        except PermissionError:  # only the process itself may
            return rewrite._replace(then=self._setting(call, state))
        before = rewrite.after

        def after(result: int, made_with: Sequence[int]) -> None:
            if before is not None:
                before(result, made_with)
            if not result:
                with states.changing:
                    states.write(tid, state)

        return rewrite._replace(after=after)

    def _setting(self, call: Call, state: ProcessState) -> Rewrite:
        _, hard = limit_of_proc(call.tid)
        pair = struct.pack("=QQ", *self.view.states.limit(state, hard))
        row = TABLE["prlimit64"]
        return Rewrite(row.number, [0, 10, pair, 0], row.cookie.arg, row.cookie.shift)

    def _set_state_within(self, call: Call, state: ProcessState) -> None:
        rewrite = self._setting(call, state)._replace(again=True)
        result = cast("Router", self).run_again(call, rewrite)
        # It comes back. Where prlimit(2) is forbidden altogether, that would never end.
        self.keeps_nothing = result.value == -errno.EPERM
        raise Redo
