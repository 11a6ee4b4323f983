"""A view as a Python object: its modules are live objects of the calling process."""

from __future__ import annotations

import atexit
import os
import secrets
import subprocess
import threading
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from viewos import filter as bpf
from viewos import view as views
from viewos.errors import ViewosError
from viewos.launcher.layout import Layout
from viewos.library.served import LOGGER, Served
from viewos.module import VirtualModule
from viewos.monitor.mounts import MountTable
from viewos.monitor.plan import plan, without_loader
from viewos.monitor.setup import set_up, tear_down

if TYPE_CHECKING:
    from viewos.library.popen import Popen
    from viewos.library.process import Process

_OPEN: set[View] = set()
"""Views whose modules run: they are stopped when the process ends, if nobody has closed them."""


class View(views.View):
    """Programs of one stack of modules, served by threads of this process.

    `with View([Vfs("/mnt", "/tmp/x"), MyModule()]) as view: view.run(["ls", "/mnt"])`. Leaving the
    block waits for the last process of the view, daemons included, as their calls need an answer.
    Any number of views may be there at once, in any threads. When this process ends, what still
    runs in a view gets ENOSYS for the calls that were answered here, and one line says why.

    Arguments: `modules`, the first at the bottom; `layout` as of `viewos run --layout`;
    `no_continue` as there. Raises TypeError, ValueError: one is no module, there is no such layout.
    """

    def __init__(
        self,
        modules: Sequence[VirtualModule] = (),
        *,
        layout: str = "auto",
        no_continue: bool = False,
        inproc: bool = True,
    ) -> None:
        super().__init__(_checked(modules), no_continue=no_continue, inproc=inproc)
        self.layout = _layout(layout)
        self.cookie = secrets.randbits(64) | 1 << 63
        self.mounts: MountTable | None = None
        self.program_filter = b""
        self._lock = threading.Lock()
        self._served: list[Served] = []
        self._closed = False

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def open(self) -> None:
        """Start the modules; done by the first program if not before. Raises ViewosError."""
        with self._lock:
            if self._closed:
                raise ViewosError(f"{self!r} is closed")
            if self.mounts is None:
                mounts = set_up(self, report=LOGGER.warning)
                try:
                    self.program_filter = bpf.build(without_loader(plan(self, self.cookie), self))
                except BaseException:
                    tear_down(self, LOGGER.warning)
                    raise
                self.mounts = mounts
                _OPEN.add(self)
                if self.inproc:  # not in a thread: a child forked meanwhile could not import them
                    from viewos.monitor.inproc import cache, image  # noqa: F401

    def close(self) -> None:
        """Wait for the last process of the view, and stop the modules."""
        self._close()
        for served in list(self._served):
            served.wait()

    def _close(self) -> None:
        with self._lock:
            self._closed = True
            if not self._served:
                self._tear_down()

    def _tear_down(self) -> None:
        if self in _OPEN:
            _OPEN.discard(self)
            tear_down(self, LOGGER.warning)

    def serve(self, served: Served) -> None:
        """Remember a program until its last process has ended. Raises ViewosError when closed."""
        with self._lock:
            if self._closed:
                raise ViewosError(f"{self!r} is closed")
            self._served.append(served)

    def forget(self, served: Served) -> None:
        """The last process of a program has ended; the last one of a closed view tears it down."""
        with self._lock:
            self._served.remove(served)
            if self._closed and not self._served:
                self._tear_down()

    def _at_exit(self) -> None:
        with self._lock:
            self._tear_down()

    def _in_forked_child(self) -> None:
        """The programs and the scratch directory are the parent's; a lock may have been held by a
        thread that this process does not have. New programs are this process's own."""
        self._lock = threading.Lock()
        self.states.renew_lock()
        for module in self.modules:
            module.forked()
        served, self._served = self._served, []
        for one in served:
            one.let_go()

    # ---- programs -----------------------------------------------------------------------------

    def Popen(self, args: Any, bufsize: int = -1, **options: Any) -> Popen:  # noqa: N802
        """A program in this view; arguments and result as of `subprocess.Popen`."""
        from viewos.library.popen import Popen

        return Popen(self, args, bufsize, **options)

    def run(
        self,
        args: Any,
        *,
        input: Any = None,
        capture_output: bool = False,
        timeout: float | None = None,
        check: bool = False,
        **options: Any,
    ) -> subprocess.CompletedProcess[Any]:
        """Run a program to its end; arguments, result and exceptions as of `subprocess.run`."""
        if input is not None:
            if options.get("stdin") is not None:
                raise ValueError("stdin and input arguments may not both be used.")
            options["stdin"] = subprocess.PIPE
        if capture_output:
            if options.get("stdout") is not None or options.get("stderr") is not None:
                raise ValueError("stdout and stderr arguments may not be used with capture_output.")
            options["stdout"] = options["stderr"] = subprocess.PIPE
        with self.Popen(args, **options) as process:
            try:
                stdout, stderr = process.communicate(input, timeout=timeout)
            except BaseException as error:
                process.kill()
                if isinstance(error, subprocess.TimeoutExpired):
                    process.wait()
                raise
            status = process.returncode
        if check and status:
            raise subprocess.CalledProcessError(status, process.args, stdout, stderr)
        return subprocess.CompletedProcess(process.args, status, stdout, stderr)

    # ---- and for async programs -----------------------------------------------------------------

    async def run_process(
        self, command: Any, *, input: bytes | None = None, check: bool = True, **options: Any
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a program to its end; arguments, result and exceptions as of `anyio.run_process`."""
        from viewos.library.process import run_process

        return await run_process(self, command, input=input, check=check, **options)

    async def open_process(self, command: Any, **options: Any) -> Process:
        """A program in this view; arguments and result as of `anyio.open_process`."""
        from viewos.library.process import open_process

        return await open_process(self, command, **options)

    async def __aenter__(self) -> Self:
        from anyio import to_thread

        await to_thread.run_sync(self.open)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()
        if kind is None:  # a cancelled block does not wait: threads go on answering meanwhile
            from anyio import to_thread

            await to_thread.run_sync(self.close)


def _checked(modules: object) -> list[VirtualModule]:
    if isinstance(modules, str | bytes) or not isinstance(modules, Iterable):
        raise TypeError(f"View: modules is {modules!r}: expected a list of modules")
    checked = []
    for index, module in enumerate(modules):
        if isinstance(module, type):
            name = module.__name__
            raise TypeError(
                f"View: modules[{index}] is the class {name}: make a module of it, {name}(...)"
            )
        if not isinstance(module, VirtualModule):
            raise TypeError(
                f"View: modules[{index}] is {module!r}, and no VirtualModule"
                ' (Vfs("/mnt", "tree") is one, of viewos.modules.vfs)'
            )
        checked.append(module)
    return checked


def _layout(name: object) -> str:
    try:
        return Layout(name).value
    except ValueError:
        raise ValueError(f"View: layout {name!r}: expected auto, direct or ancestor") from None


def _at_exit() -> None:
    for view in list(_OPEN):
        view._at_exit()


def _in_forked_child() -> None:
    for view in list(_OPEN):
        view._in_forked_child()
    _OPEN.clear()


atexit.register(_at_exit)
os.register_at_fork(after_in_child=_in_forked_child)
