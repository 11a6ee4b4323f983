"""What a `Call` asks of the monitor beyond memory and state: objects, other processes, a line to
the user."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, cast

from viewos import kernel
from viewos.files import File
from viewos.monitor import waiting
from viewos.monitor.emulate import room_for_descriptor
from viewos.monitor.memory import Fault, Memory
from viewos.monitor.outcome import CONTINUE, Outcome
from viewos.monitor.pathcalls import fix_up_paths, resolve_all
from viewos.monitor.process import change_root
from viewos.monitor.reach import reach, reach_parent, searched
from viewos.monitor.task import refuse_code
from viewos.shared import SharedSocket

if TYPE_CHECKING:
    from viewos.call import Call
    from viewos.monitor.log import Log
    from viewos.monitor.nesting import Nesting
    from viewos.monitor.router import Router
    from viewos.monitor.task import Tasks
    from viewos.view import ProcessState, View


class ModuleServices:
    """That part of the router; see the methods of `Call` that have the same names."""

    view: View
    log: Log
    memory: Memory
    tasks: Tasks
    nesting: Nesting
    number: int

    def process_of(self, tid: int) -> int:
        """The thread group of a thread."""
        return self.tasks.get(tid)[0].tgid

    def read_exact(self, call: Call, address: int, size: int) -> bytes:
        """Memory that the call needs besides its paths. Raises OSError EFAULT."""
        try:
            return self.memory.read_exact(call.tid, address, size)
        except Fault:
            raise OSError(errno.EFAULT, "bad address") from None

    def read_memory(self, tid: int, address: int, size: int) -> bytes:
        """See `Call.read`."""
        try:
            return self.memory.read_exact(tid, address, size)
        except Fault:
            raise OSError(errno.EFAULT, "bad address") from None

    def read_string(self, tid: int, address: int) -> bytes:
        """A string argument. Raises OSError EFAULT."""
        try:
            return self.memory.read_string(tid, address)
        except Fault:
            raise OSError(errno.EFAULT, "bad address") from None

    def write_memory(self, tid: int, address: int, data: bytes) -> None:
        """See `Call.write`."""
        self.memory.write(tid, address, data)

    def file(self, call: Call, index: int) -> File | None:
        """See `Call.file`."""
        return reach(cast("Router", self), call, index)

    def parent(self, call: Call, index: int) -> File | None:
        """See `Call.parent`."""
        return reach_parent(cast("Router", self), call, index)

    def searched(self, call: Call, index: int) -> Iterable[bytes]:
        """See `Call.searched`."""
        return searched(cast("Router", self), call, index)

    def make_within(self, call: Call) -> int | Outcome:
        """See `Call.make_within`."""
        router = cast("Router", self)
        places = resolve_all(router, call)
        return CONTINUE if places is None else fix_up_paths(router, call, places)

    def obstacle(self, call: Call) -> File | None:
        """See `Call.obstacle`."""
        from viewos.monitor import obstacles

        return obstacles.obstacle(cast("Router", self), call)

    def file_at(self, path: bytes) -> File:
        """See `Call.file_at`."""
        return File(os.open(self.view.claims.forward(path)[1], os.O_PATH | os.O_NOFOLLOW))

    def state_of(self, pid: int) -> ProcessState:
        """What is remembered of another process. Raises OSError."""
        os.stat(f"/proc/{pid}")
        return self.view.states.read(pid)

    def change_state_of(self, call: Call, pid: int, change: Callable[[Any], Any]) -> None:
        """See `Call.keep_of`."""
        states = self.view.states
        with states.changing:
            state = self.state_of(pid)
            new = state.with_module(call.layer, change(state.of(call.layer)))
            if new != state:
                states.write(pid, new)

    def shares_view(self, call: Call, pid: int) -> bool:
        """See `Call.shares_view`."""
        state = self.view.states.found_in(pid)
        if state is None:
            return False
        return call.layer in self.nesting.levels[state.view].router.view.layers

    def change_root(self, call: Call) -> None:
        """See `Call.change_root`."""
        change_root(cast("Router", self), call)

    def mount(
        self, call: Call, kind: str, source: bytes, target: bytes, options: Sequence[str]
    ) -> None:
        """See `Call.mount`."""
        from viewos.monitor import mounting

        if "/" in kind or ".py" in kind:  # a module's file
            refuse_code(call, self.tasks.get(call.tid)[0])
        cast("Router", self).step_aside()  # others make calls while modules start
        mounting.by_call(self.nesting, self.number, call, kind, source, target, options)

    def remount(self, call: Call, target: bytes, read_only: bool) -> None:
        """See `Call.remount`."""
        from viewos.monitor import mounting

        cast("Router", self).step_aside()
        with mounting.errnos(call, missing=errno.EINVAL):
            mounting.remount(self.nesting, self.number, target, read_only)

    def unmount(self, call: Call, target: bytes, lazy: bool) -> bool:
        """See `Call.unmount`."""
        from viewos.monitor import mounting

        cast("Router", self).step_aside()
        try:
            with mounting.errnos(call):
                mounting.unmount(self.nesting, self.number, target, lazy=lazy)
        except FileNotFoundError:
            return False
        return True

    def is_mounted(self, target: bytes) -> bool:
        """See `Call.is_mounted`."""
        claim = self.view.claims.by_prefix.get(target)
        return claim is not None and claim.layer >= 0 and claim.operations is None

    def name_of(self, call: Call, index: int, covered: bool) -> bytes | None:
        """See `Call.name_of`."""
        from viewos.monitor import naming

        return naming.name_of(cast("Router", self), call, index, covered=covered)

    def virtual_path(self, call: Call, index: int) -> bytes | None:
        """The canonical virtual path of a path argument."""
        try:
            places = resolve_all(cast("Router", self), call)
        except Fault:
            return None
        if places is None or index >= len(places):
            return None
        return places[index].virtual or None

    def share(self, call: Call, fd: int) -> SharedSocket:
        """See `Call.socket`."""
        return SharedSocket(self.descriptor_of(call, fd), call, cast("Router", self))

    def descriptor_of(self, call: Call, fd: int) -> int:
        """A copy of a descriptor of the tracee. Raises OSError."""
        return self.copy_of(call.tid, fd, lambda: call.pid)

    def copy_of(self, tid: int, fd: int, process: Callable[[], int]) -> int:
        """`kernel.descriptor_of`, by whoever may look at the tracees."""
        helper = self.memory.helper
        if helper is not None:
            return helper.descriptor(tid, fd, process())
        return kernel.descriptor_of(tid, fd, process)

    def wait(self, call: Call, fd: int, events: int, seconds: float | None) -> int:
        """See `SharedSocket.wait`."""
        return waiting.wait(cast("Router", self), call, fd, events, seconds)

    def has_room(self, call: Call) -> bool:
        """Has the caller a descriptor left, as far as can be seen?"""
        return room_for_descriptor(call)

    def warn(self, text: str, once: str | None) -> None:
        """See `Call.warn`."""
        self.log.warning(text, once=once)
