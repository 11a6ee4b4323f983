"""Which module answers a call, and at which tier: the table from system call to what is done."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from viewos.abi.machine import MACHINE
from viewos.abi.row import Row
from viewos.abi.seccomp import AUDIT_ARCH_AARCH64, AUDIT_ARCH_X86_64, X32_SYSCALL_BIT
from viewos.abi.syscalls import BY_NUMBER, TABLE
from viewos.call import Call
from viewos.errors import BadArgument
from viewos.filter import MAX_ERRNO
from viewos.monitor import (
    accelerator,
    answers,
    fixup,
    handover,
    inplace,
    namespaces,
    shortage,
    waiting,
)
from viewos.monitor.accelerator import ours
from viewos.monitor.engine import Notification
from viewos.monitor.log import Log
from viewos.monitor.magic import ViewLinks
from viewos.monitor.marks import Marks
from viewos.monitor.memory import Fault, Memory, TraceeGone, Unreadable
from viewos.monitor.mounts import MountTable
from viewos.monitor.nesting import Nesting
from viewos.monitor.outcome import ANSWERED, CONTINUE, Outcome
from viewos.monitor.pathcalls import path_call
from viewos.monitor.paths import Resolver
from viewos.monitor.place import Start
from viewos.monitor.rewrite import Ending, Result, Rewrite
from viewos.monitor.services import ModuleServices
from viewos.monitor.socketnames import SocketNames
from viewos.monitor.special import SPECIAL
from viewos.monitor.states import ProcessStates, Redo
from viewos.monitor.stats import CONTINUED, FAILED, SETTLED, Stats
from viewos.monitor.task import Tasks
from viewos.monitor.traced import Traced
from viewos.shared import Interrupted
from viewos.view import View

if TYPE_CHECKING:
    from viewos.abi.socket import SocketAddress
    from viewos.call import Connect
    from viewos.monitor.trace import Trace
    from viewos.view import ProcessState

Base = Callable[["Router", Call], "int | Outcome"]
FixUpRunner = Callable[[int, int, Rewrite, Callable[[int], bool]], Result]
_ARCH = {"x86_64": AUDIT_ARCH_X86_64, "aarch64": AUDIT_ARCH_AARCH64}[MACHINE]


def _continue(router: Router, call: Call) -> Outcome:
    return CONTINUE


_ERRNOS = errno.errorcode.keys() | {524}
"""What programs see natively. 524 is ENOTSUPP, the only one that the kernel lets out of those that
it has for itself (include/linux/errno.h): 512, ERESTARTSYS, would be a restart."""


class Router(ModuleServices, ProcessStates):
    """Answers the calls of one view. Also the services that a `Call` offers to modules."""

    def __init__(
        self,
        view: View,
        cookie: int,
        log: Log,
        *,
        mounts: MountTable | None = None,
        fix_up: FixUpRunner = fixup.fix_up,
        outer: Router | None = None,
        traces: tuple[Trace, ...] = (),
        number: int = 0,
    ) -> None:
        """Arguments: `outer` the router of the view in which this one is nested, with `number`;
        `traces` show every call, and do without the accelerator, which would hide them."""
        self.view = view
        self.number = number
        self.traces = traces
        self.cookie = cookie
        self.log = log
        self.memory: Memory = Memory() if outer is None else outer.memory
        self.mounts = mounts or MountTable()
        self.resolver = Resolver(view.claims, self.mounts)
        self.resolver.magic = ViewLinks(self)
        self.tasks: Tasks = Tasks() if outer is None else outer.tasks
        self.nesting: Nesting = Nesting(self) if outer is None else outer.nesting
        self.marks: Marks = Marks() if outer is None else outer.marks
        self._fix_up: FixUpRunner = fix_up if outer is None else outer._fix_up
        self._interrupter: waiting.Interrupter = (
            waiting.Interrupter() if outer is None else outer._interrupter
        )
        self.stats = Stats()
        self.active: dict[int, Call] = {}
        """Thread -> the call that it is answering."""
        self._current = threading.local()
        self._names = {layer: module.name for layer, module in view.layers.items()}
        self._asked = {layer: module.calls() for layer, module in view.layers.items()}
        asked = frozenset[str]().union(*self._asked.values())
        self._chains = {
            number: chain
            for number, row in BY_NUMBER.items()
            if (row.name in asked or row.operation in asked) and (chain := self._chain(row))
        }
        self.accelerator: accelerator.Accelerator | None = None
        if outer is None and not traces:
            self.accelerator = accelerator.build(view, self.tasks, self.mounts, self.accelerated)
        if outer is None and view.inproc and not traces:
            from viewos.monitor.inproc import InProcess

            self.nesting.inproc = InProcess(self.nesting, cookie, log)
            if self.accelerator is not None:
                self.accelerator.offer_libc(handover.mark(self))
        self.socket_names = SocketNames()
        modules = list(view.layers.values())
        self.show_names = [show for m in modules if (show := m.show_socket_names())]
        self.lead_names = [lead for m in reversed(modules) if (lead := m.lead_socket_names())]
        self._read_only = tuple(c for c in view.claims if c.read_only)

    def nested(self, view: View, number: int) -> Router:
        """The router of a view that is nested in this one."""
        return Router(
            view, self.cookie, self.log,
            mounts=self.mounts, outer=self, traces=self.traces, number=number,
        )  # fmt: skip

    def renewed(self, view: View) -> Router:
        """The router that takes this one's place when its view has been changed."""
        router = self.nested(view, self.number)
        router.accelerator = self.accelerator
        router.stats = self.stats
        router.socket_names = self.socket_names
        router.keeps_nothing = self.keeps_nothing
        return router

    def _chain(self, row: Row) -> list[tuple[int, Any]]:
        """(layer, method) of all that may answer a call: hooks first, each from the top down."""
        names = (row.name, row.operation)
        chain: list[tuple[int, Any]] = []
        for kind in ("hooks", "handlers"):
            for layer, module in reversed(list(self.view.layers.items())):
                asked = self._asked[layer]
                methods = {getattr(module, kind).get(n) for n in names if n in asked} - {None}
                chain += [(layer, getattr(module, method)) for method in sorted(methods)]
        return chain

    @property
    def accelerated(self) -> accelerator.Ours:
        """What the accelerator asks of this view."""
        return ours.of(self.view, self._chains)

    # ---- one call -------------------------------------------------------------------------------

    def handle(self, notification: Notification) -> None:
        """Answer one notification, in whichever of the views its process is. Never raises for what
        a tracee or a module does."""
        if self.nesting.beginnings:
            handover.begin(self, notification.tid, notification.nr)
        if self.tasks.doubts:
            self.tasks.settle(notification.tid, notification.valid)
        self.nesting.router_of(notification.tid).answer(notification)

    def answer(self, notification: Notification) -> None:
        """Answer a notification of a process of this view."""
        row = BY_NUMBER.get(notification.nr)
        if notification.arch != _ARCH or row is None:
            self._refuse_unknown(notification)
            return
        call = Call(row, notification.tid, notification.args, self)
        self._current.notification = notification
        self.memory.use(notification.engine.helper)
        thread = threading.get_ident()
        self.active[thread] = call
        try:
            self._answer_one(notification, call)
        finally:
            del self.active[thread]
            call._ask_below = None  # no cycle: what a task has open is closed with its last call

    def _answer_one(self, notification: Notification, call: Call) -> None:
        began = time.perf_counter_ns()
        text = ""
        traces = self.traces
        if traces:
            call.trail = []
            text = traces[0].begin(self, call)
        answer = self._settled(call)
        for trace in traces:
            trace.end(self, call, text, answer)
        # Before the tracee is woken: it may have this CPU for a while then.
        self._count(call, answer, time.perf_counter_ns() - began)
        self._finish(notification, call, answer)

    def _settled(self, call: Call, *, again: bool = True) -> int | Outcome:
        try:
            return self._answer(call)
        except Redo:
            return ANSWERED
        except Interrupted as error:
            return self._interrupted(call, error)
        except Fault:
            return CONTINUE  # the kernel finds the same bad pointer, and orders the errors rightly
        except BadArgument as error:
            return self._failed(call, error) if call.has_acted else CONTINUE
        except TraceeGone:
            return -errno.ESRCH
        except Unreadable as error:
            self.log.warning(
                f"process {call.tid} may not be read, its calls fail with EPERM: {error}",
                once=f"unreadable {call.tid}",
            )
            return -errno.EPERM
        except BaseException as error:  # a module's SystemExit ends nothing of the monitor's
            if not shortage.is_ours(error):
                return self._failed(call, error)
        self.tasks.give_up()
        if again and not call.has_acted:
            return self._settled(call, again=False)
        return shortage.answer(call, self.log)

    def _count(self, call: Call, answer: int | Outcome, took: int) -> None:
        outcome = SETTLED
        if answer is CONTINUE:
            outcome = CONTINUED
        elif isinstance(answer, int) and -MAX_ERRNO <= answer < 0:
            outcome = FAILED
        module = self._names[call.layer] if call.answered_by_module else None
        self.stats.count(call.name, call.process_hint, outcome, took, module)

    def _failed(self, call: Call, error: BaseException) -> int:
        number = error.errno if isinstance(error, OSError) else None
        # TimeoutError() and URLError have none, and that of a gaierror is no errno.
        if isinstance(number, int) and number in _ERRNOS:
            return -number
        self.log.exception(f"{call.name} by process {call.tid} fails with EIO")
        return -errno.EIO

    def _interrupted(self, call: Call, error: Interrupted) -> int | Outcome:
        if not isinstance(error, waiting.Due) and not waiting.Signals(call.tid).due:
            return self._failed(call, error)  # a module's own: the call would be made for ever
        return waiting.end_interrupted(self, call)

    def _finish(self, notification: Notification, call: Call, answer: Any) -> None:
        call.release()
        if answer is ANSWERED:
            return
        if answer is CONTINUE:
            notification.let_continue()
        elif -MAX_ERRNO <= answer < 0:
            notification.answer(error=-answer)
        else:
            notification.answer(answer)

    def _answer(self, call: Call) -> int | Outcome:
        chain = self._chains.get(call.row.number)
        if chain is not None:
            verdict = self._ask(call, chain, 0)
            if verdict is not answers.PASS:
                call.answered_by_module = True
                return answers.encode(self, call, verdict)
        base = SPECIAL.get(call.name)
        if base is not None:
            return base(self, call)
        return path_call(self, call) if call.row.paths and self.view.claims else CONTINUE

    def _ask(self, call: Call, chain: list[tuple[int, Any]], start: int) -> Any:
        for index in range(start, len(chain)):
            call.layer, method = chain[index]

            call._ask_below = partial(self._ask_below, call, chain, index)
            verdict = method(call)
            if hasattr(verdict, "__await__"):
                verdict = self._await(verdict)
            if call.trail is not None:
                passed = " passes" if verdict is answers.PASS else ""
                call.trail.append(f"{self.view.layers[call.layer].name}:{passed or ' answers'}")
            if verdict is not answers.PASS:
                return verdict
        return answers.PASS

    def _ask_below(
        self, call: Call, chain: list[tuple[int, Any]], index: int, natively: bool
    ) -> Any:
        """Ask those behind a place in the chain, and then, perhaps, the kernel."""
        try:
            verdict = self._ask(call, chain, index + 1)
        finally:
            call.layer = chain[index][0]
            call._ask_below = partial(self._ask_below, call, chain, index)
        if verdict is not answers.PASS or not natively:
            return verdict
        call.has_acted = True
        return answers.native(self, call)

    def _chain_below(self, call: Call, row: Row) -> list[tuple[int, Any]]:
        layers = list(self.view.layers)
        below = layers[: layers.index(call.layer)]
        return [entry for entry in self._chains.get(row.number, ()) if entry[0] in below]

    def is_asked_below(self, call: Call, name: str) -> bool:
        """See `Call.is_asked_below`."""
        return bool(self._chain_below(call, TABLE[name]))

    def connect_below(self, call: Call, address: SocketAddress, how: Connect) -> None:
        """See `Call.connect`."""
        aside = call.aside(TABLE["connect"], address, how)
        aside.trail, call.has_acted = call.trail, True
        try:
            if self._ask(aside, self._chain_below(call, aside.row), 0) is answers.PASS:
                answers.native(self, aside)
        finally:
            aside._ask_below = None

    def _await(self, coroutine: Any) -> Any:
        """Run an async handler; the thread waits for it, and others receive meanwhile."""
        import anyio

        async def main() -> Any:
            return await coroutine

        self.step_aside()
        return anyio.run(main)

    def _refuse_unknown(self, notification: Notification) -> None:
        is_x32 = notification.nr > 0 and notification.nr & X32_SYSCALL_BIT
        if notification.arch != _ARCH or is_x32:
            other = "x32" if is_x32 else "another architecture (a 32-bit program)"
            self.log.warning(
                f"process {notification.tid} makes system calls of {other}: they fail with ENOSYS,"
                " use a 64-bit program",
                once=f"arch {notification.tid}",
            )
        else:
            self.log.warning(
                f"system call {notification.nr} is newer than this version of viewos: it fails with"
                " ENOSYS",
                once=f"unknown {notification.nr}",
            )
        notification.answer(error=errno.ENOSYS)

    # ---- what the parts of the monitor share -----------------------------------------------------

    @property
    def notification(self) -> Notification:
        """The notification that this thread is handling."""
        notification: Notification = self._current.notification
        return notification

    def step_aside(self) -> None:
        """Somebody else receives: this call is about to wait."""
        notification: Notification | None = getattr(self._current, "notification", None)
        if notification is not None:
            notification.engine.step_aside()

    def inject(self, call: Call, fd: int, *, cloexec: bool) -> int:
        """Give the tracee a copy of `fd`, close ours, and only then let it run.

        In one step (ADDFD_FLAG_SEND) the tracee would run while we still hold a copy: ETXTBSY,
        locks that stay, ends of FIFOs and sockets that do not come.
        """
        try:
            return self.notification.add_fd(fd, cloexec=cloexec)
        finally:
            os.close(fd)

    def fix_up(
        self,
        call: Call,
        rewrite: Rewrite,
        strings: inplace.Strings,
        plain: bool,
        state: ProcessState | None = None,
    ) -> int | Outcome:
        """Run the call in the tracee with other arguments. For a thread that cannot be traced:
        `strings` are its new path arguments by index (None: they would not be enough), or make
        them and say what to call when the kernel has read them; `plain` says that the old ones
        would do. `state`: of the process, when the call has succeeded."""
        call.release()
        if rewrite.may_block:
            self.step_aside()
        if state is not None and not self.keeps_nothing:
            rewrite = self.and_then(call, rewrite, state)
        notification = self.notification
        try:
            result = self._fixer(notification)(
                call.tid, self.cookie, rewrite, lambda error: notification.answer(error=error)
            )
            if result.ending is not Ending.AGAIN:
                self.nesting.lent.pop(call.tid, None)
            if call.trail is not None:
                known = strings if isinstance(strings, dict) else {}
                shown = ", ".join(os.fsdecode(text) for text in known.values())
                call.trail.append(f"fix-up {shown}".rstrip())
                call.result = result.value
        except Traced as error:
            if state is not None:
                self.set_process_state(call, state)
            return inplace.fall_back(self, call, strings, plain, str(error))
        return ANSWERED

    def _fixer(self, notification: Notification) -> FixUpRunner:
        helper = notification.engine.helper
        return self._fix_up if helper is None else helper.fix_up

    def run_again(self, call: Call, rewrite: Rewrite) -> Result:
        """Let the tracee make another call, and then its own once more. Raises Traced."""
        notification = self.notification
        return self._fixer(notification)(
            call.tid, self.cookie, rewrite, lambda error: notification.answer(error=error)
        )

    def in_other_mounts(self, call: Call) -> None:
        """The caller is in another mount name space: it has left the view, or is about to."""
        if namespaces.entered(self, call, call.task):
            raise Redo

    def cwd_hint(self, call: Call) -> bytes | None:
        """The claim through which the calling process entered its working directory."""
        return None if self.keeps_nothing else call.process_state.cwd

    def root_of(self, call: Call, real: bytes) -> Start:
        """The root directory of the calling process. `real`: the kernel's idea of it."""
        root = call.process_state.root if self.view.states.several else None
        return self.resolver.root_of(real) if root is None else Start(root, real)

    @property
    def has_read_only(self) -> bool:
        """Has the view a read-only claim?"""
        return bool(self._read_only)

    def is_read_only(self, real: bytes) -> bool:
        """Does a real path stand behind a read-only claim?"""
        if not self._read_only:
            return False
        name = self.view.claims.reverse(real)
        claim = None if name is None else self.view.claims.find(name)
        return claim is not None and claim.read_only

    def native(self, call: Call) -> Any:
        """What the kernel would answer, as a value."""
        return answers.native(self, call)

    def blocking(self, call: Call, function: Callable[[], int]) -> int:
        """Call a function that blocks in the kernel and gives an errno. Raises Interrupted."""
        return self._interrupter.blocking(call, self.notification, function)
