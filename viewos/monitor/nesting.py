"""Views in a view: made inside the one monitor, because the kernel allows one listener.

`viewos run` in a view asks the monitor by a prctl(2) of our own for a descriptor (contact), asks
through it for a view of some modules, and enters the view that was made by a second prctl. Nothing
is started: the caller becomes the program. Which view a process is in stands in its `ProcessState`,
and the router of that view answers its calls; a nested view's map of claims holds those of the
outer one already.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from viewos.abi.nesting import VIEWOS_CONTACT, VIEWOS_ENTER, VIEWOS_NOTES
from viewos.abi.row import signed32
from viewos.errors import ViewosError
from viewos.kept import kept
from viewos.monitor import authors
from viewos.monitor.plan import lacking, passed_by, plan, without_loader
from viewos.monitor.setup import add_claims, set_up, show_missing_mount_points, tear_down
from viewos.monitor.task import refuse_code
from viewos.spec import launch_directory
from viewos.view import View

if TYPE_CHECKING:
    import socket

    from viewos.call import Call
    from viewos.filter import FilterPlan
    from viewos.module import VirtualModule
    from viewos.monitor.handover import Beginning, Loading
    from viewos.monitor.inproc import InProcess
    from viewos.monitor.router import Router
    from viewos.monitor.trace import Trace

MOST_VIEWS = 1000
"""Nested views of one monitor: each keeps its modules until the last program has ended."""


Gone = Callable[[], bool]
"""Has whoever asks for something hung up?"""


def is_there() -> bool:
    """`Gone` of who cannot hang up."""
    return False


def refuse_if(gone: Gone) -> None:
    """Raise ViewosError where nobody is there any more who would learn what becomes of it."""
    if gone():
        raise ViewosError("whoever asked for it has gone")


class Level:
    """A view of a monitor, as others ask for it."""

    def __init__(
        self,
        router: Router,
        outer: int | None = None,
        name: str = "",
        command: tuple[str, ...] = (),
    ) -> None:
        """`outer`: the number of the view in which it is nested."""
        self.router, self.outer, self.name, self.command = router, outer, name, command
        self.started = time.time()
        """Seconds since the epoch."""


class Nesting:
    """The views of one monitor: the outermost one, and those that were nested in it."""

    def __init__(self, outermost: Router) -> None:
        self.levels = [Level(outermost)]
        self.inproc: InProcess | None = None
        """What programs do by themselves."""
        self.lock = threading.RLock()
        """Held by who makes or changes views."""
        self.welcome: Callable[[socket.socket, int, int], object] = _hang_up
        """Told of a connection that a process of a view has asked for: (socket, view, pid)."""
        self.beginnings: dict[int, Beginning | Loading] = {}
        """By process: programs that are about to begin (handover.py)."""
        self.lent: dict[int, dict[bytes, int]] = {}
        """By thread: descriptors of directories that it has for a call (outside.py)."""
        self.looked: dict[int, tuple[object, bool]] = {}
        """By thread: what it has asked to look at, and whether it may (links.py)."""
        self._is_traced = bool(outermost.traces)
        self._may_enter: set[tuple[int, int]] = set()
        """(process, view) of those that have been let in."""

    @kept
    def trapped(self) -> FilterPlan:
        """What the filter of all these views traps: it was made for the outermost one."""
        outermost = self.levels[0].router
        whole = plan(outermost.view, outermost.cookie)
        return whole if self._is_traced else without_loader(whole, outermost.view)

    def router_of(self, tid: int) -> Router:
        """The router of the view that a task is in."""
        levels = self.levels
        if len(levels) == 1:
            return levels[0].router
        try:
            return levels[levels[0].router.view.states.read(tid).view].router
        except OSError:  # it has ended
            return levels[0].router

    def within(self, number: int) -> set[int]:
        """The numbers of a view and of all that are nested in it."""
        found = {number}
        for index, level in enumerate(self.levels):
            if level.outer in found:
                found.add(index)
        return found

    @contextmanager
    def traced(self, trace: Trace, views: set[int]) -> Iterator[None]:
        """Let a trace show the calls of views, also of those that are nested in them meanwhile."""
        fast = self.levels[0].router.accelerator
        with self.lock:
            for number in views:
                router = self.levels[number].router
                router.traces = (*router.traces, trace)
                self.look_again(number)
            if fast is not None:
                fast.pause(True)  # it would hide them
        try:
            yield
        finally:
            with self.lock:
                for number, level in enumerate(self.levels):
                    kept = tuple(one for one in level.router.traces if one is not trace)
                    level.router.traces = kept
                    self.look_again(number)
                if fast is not None:
                    fast.pause(False)

    def look_again(self, number: int) -> None:
        """A view is another one, or somebody looks at it: tell its programs."""
        if self.inproc is not None:
            self.inproc.changed(number)

    def let_go(self) -> None:
        """Close what is open for programs; also in a forked child, which serves none of them."""
        if self.inproc is not None:
            self.inproc.close()

    def tear_down(self) -> None:
        """After the last program: stop the modules of nested views, the innermost first."""
        self.let_go()
        while len(self.levels) > 1:
            router = self.levels.pop().router
            tear_down(router.view, router.log.warning)

    # ---- what a process asks ------------------------------------------------------------------

    def asked(self, router: Router, call: Call) -> int:
        """prctl(PR_VIEWOS). Raises OSError."""
        what, number = signed32(call.raw[1]), signed32(call.raw[2])
        task, _ = router.tasks.get(call.tid)
        refuse_code(call, task)
        if what == VIEWOS_CONTACT:
            return self._contact(router, call)
        if what == VIEWOS_ENTER:
            return self._enter(router, call, number)
        if what == VIEWOS_NOTES and self.inproc is not None:
            return self.inproc.give_notes(router, call)
        raise OSError(errno.EINVAL, "PR_VIEWOS")

    def _contact(self, router: Router, call: Call) -> int:
        import socket  # not at each start

        ours, theirs = socket.socketpair()
        try:
            number = router.inject(call, theirs.detach(), cloexec=True)
        except OSError:
            ours.close()
            raise
        self.welcome(ours, router.number, call.pid)
        return number

    def _enter(self, router: Router, call: Call, number: int) -> int:
        if (call.pid, number) not in self._may_enter:
            raise OSError(errno.EPERM, "another process's view")
        state = call.process_state
        if state.view != number:  # otherwise the call that set the state was made again
            router.set_process_state(call, state._replace(view=number))
        return 0

    def let_in(self, pid: int, number: int) -> None:
        """Allow a process to enter a view."""
        self._may_enter.add((pid, number))

    # ---- making one ---------------------------------------------------------------------------

    def nest(
        self,
        number: int,
        specs: list[str],
        directory: bytes,
        *,
        no_continue: bool = False,
        nestable: bool = False,
        command: tuple[str, ...] = (),
        name: str = "",
        gone: Gone = is_there,
    ) -> int:
        """Make a view of these modules in another one; its number. `directory`: to it, in that
        view, relative paths refer. Raises ViewosError, also where whoever asked for it has `gone`
        before all have started."""
        modules = load_in(self.levels[number].router, specs, directory)
        if nestable and not self.levels[0].router.view.nestable:
            raise ViewosError("only the outermost view can be made nestable")
        below = self.levels[number].router.view
        with in_directory(directory):
            # Without the lock: a module that waits as it starts holds nobody else up.
            view = View(modules, below=below, no_continue=no_continue)
            set_up(view, self.levels[number].router.mounts)
            try:
                with self.lock:
                    refuse_if(gone)
                    return self._nested(number, view, name, command)
            except BaseException:
                tear_down(view)
                raise

    def _nested(self, number: int, view: View, name: str, command: tuple[str, ...]) -> int:
        if len(self.levels) > MOST_VIEWS:
            raise ViewosError(f"there are {MOST_VIEWS} nested views already")
        outer = self.levels[number].router
        if outer.view is not view.below:  # it has been changed meanwhile
            view = view.changed(view.own, outer.view)
            authors.stand(view)
            for layer in view.own:
                add_claims(view, layer, outer.mounts)
            show_missing_mount_points(view)
        self.check(view)
        nested = outer.nested(view, len(self.levels))
        fast = self.levels[0].router.accelerator
        if fast is not None:
            fast.add_view(nested.number, view, nested.accelerated)
        self.levels.append(Level(nested, number, name, command))
        return nested.number

    def check(self, view: View) -> None:
        """Raises ViewosError where a view needs what the filter does not trap."""
        missing = lacking(self.trapped, plan(view, 0))
        why = "this needs system calls that the outermost view does not trap"
        if not missing:
            missing = list(map(os.fsdecode, passed_by(self.trapped, view)))
            why = "in the outermost view programs' loaders read their files without being asked"
        if missing:
            shown = ", ".join(missing[:4]) + (", ..." if len(missing) > 4 else "")
            is_nestable = self.levels[0].router.view.nestable
            word = "such a module" if is_nestable else "`viewos run --nestable`"
            raise ViewosError(f"{why} ({shown}): start that one with {word}")


def load_in(router: Router, specs: list[str], directory: bytes) -> list[VirtualModule]:
    """The modules of SPECs whose paths are those of a router's view. Raises ViewosError."""
    from viewos.loader import load

    with in_directory(directory):
        return [load(text, partial(real_file, router, directory)) for text in specs]


@contextmanager
def in_directory(directory: bytes) -> Iterator[None]:
    """Let relative paths be those of a directory."""
    token = launch_directory.set(directory)
    try:
        yield
    finally:
        launch_directory.reset(token)


def real_file(router: Router, directory: bytes, path: str) -> str:
    """A module's file is named by a path of the outer view; the monitor opens the real one."""
    virtual = os.path.join(directory, os.fsencode(path))
    return os.fsdecode(router.resolver.canonical(virtual)[1])


def _hang_up(connection: socket.socket, view: int, pid: int) -> None:
    connection.close()
