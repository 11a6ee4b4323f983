"""The accelerator: calls that data can answer are answered in C, without the GIL.

It is optional, in the manner of PEP 399: the Python monitor is the reference, gives the same
answers, and gets every call of which the accelerator is not certain. `VIEWOS_PURE=1` switches it
off. docs/accelerator.md says what it does and what it leaves.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

from viewos.abi.syscalls import BY_NUMBER
from viewos.monitor.accelerator import rules, tables

if TYPE_CHECKING:
    from viewos.abi.row import Row
    from viewos.files import Known
    from viewos.module import VirtualModule
    from viewos.monitor.accelerator.native import Accelerator as Native
    from viewos.monitor.accelerator.native import Receiver
    from viewos.monitor.mounts import MountTable
    from viewos.monitor.task import Tasks
    from viewos.view import ProcessState, View

_UNKNOWN, _KNOWN, _CONFINED, _BEHIND_LOADER = 0, 1, 2, 4
_NO_HINT, _REAL = -2, -1
_VIEWS = 1024
_MOST_IDS = 32
STAT_FAMILY = ("stat", "lstat", "newfstatat", "statx", "fstat")


class Ours(NamedTuple):
    """What the accelerator asks of the router of a view."""

    is_ours: Callable[[Row], bool]
    """Does no module take part in the call?"""
    has_more: Callable[[Row], bool]
    """Is there more to it than its paths?"""
    shows: VirtualModule | None
    """The module that alone answers the stat family."""


def extension() -> ModuleType | None:
    """The extension module; None where it was not built, or VIEWOS_PURE=1 is set."""
    if os.environ.get("VIEWOS_PURE") == "1":
        return None
    try:
        from viewos.monitor.accelerator import native as module
    except ImportError:
        return None
    return module


class Owning:
    """A module whose `stat` the accelerator answers as well, where it is data."""

    def __init__(self, module: VirtualModule, view: int) -> None:
        self._view = view
        self._native: Native | None = None
        self._early: list[tuple[int, Known | None]] = []
        self.owners = module.show_owners(self._tell)

    @property
    def is_data(self) -> bool:
        """Does the module show owners as data that the C side has room for?"""
        owners = self.owners
        return owners is not None and max(len(owners.uids), len(owners.gids)) <= _MOST_IDS

    def teach(self, native: Native) -> None:
        """Give the C side what is known, and what is going to be."""
        if self.owners is None:
            return
        others = [-1 if one is None else one for one in self.owners[2:]]
        native.set_owners(self._view, dict(self.owners.uids), dict(self.owners.gids), *others)
        self._native = native
        for told in self._early:
            self._tell(*told)
        self._early = []

    def _tell(self, inode: int, known: Known | None) -> None:
        native = self._native
        if native is None:
            self._early.append((inode, known))
        elif known is None or known.handle[:1] != b"h":
            native.may_remember(self._view, inode)
        else:
            kind, _, handle = known.handle[1:].partition(b" ")
            native.remember(
                self._view,
                known.device,
                inode,
                known.rdev,
                known.uid,
                known.gid,
                known.mode,
                int(kind),
                handle,
            )


class Accelerator:
    """Keeps what the C side knows of one view equal to what Python knows."""

    def __init__(
        self,
        module: ModuleType,
        view: View,
        tasks: Tasks,
        mounts: MountTable,
        ours: Ours,
    ) -> None:
        self._module = module
        self._prefixes: dict[int, dict[bytes, int]] = {}
        """View -> prefix -> the number of the claim."""
        self._native: Native = module.Accelerator(
            credentials=b"".join(b"\n" + line for line in tasks.ours),
            mount_namespace=tasks.mount_namespace,
            user_namespace=tasks.user_namespace,
            token_base=view.states.TOKEN_BASE,
        )
        self._tasks = tasks
        self.add_view(0, view, ours)
        self._states, self._mounts = view.states, mounts
        view.states.watch(self._learn_state)
        tasks.on_forget = self._native.forget
        mounts.watch(self._learn_mounts)

    def serve_with(self, listener: int, own_umask: bool) -> None:
        """Before the first receive. `own_umask`: the threads that receive have umasks of their
        own."""
        self._native.serve_with(listener, own_umask)

    def receiver(self) -> Receiver:
        """What one receiving thread needs."""
        receiver: Receiver = self._module.Receiver(self._native)
        return receiver

    def hand_on(self) -> None:
        """Before Python answers a call: tell it which tasks are not what they were."""
        renewed = self._native.renewed()
        if renewed is None:
            self._tasks.forget_all()
        else:
            self._tasks.drop(renewed)

    def counts(self) -> dict[int, tuple[int, int]]:
        """System call number -> (settled in C, passed on to Python)."""
        return self._native.counts()

    def close(self) -> None:
        """After the last receive: give back what is held of tasks. Several monitors may share the
        states and the mounts: they are told no more of them here."""
        self._states.unwatch(self._learn_state)
        self._mounts.unwatch(self._learn_mounts)
        self._tasks.on_forget = None
        self._native.close()

    def summary(self) -> str:
        """One line for the log."""
        counted = self.counts()
        settled, passed = (sum(pair[i] for pair in counted.values()) for i in (0, 1))
        most = sorted(
            ((n[1], BY_NUMBER[nr].name) for nr, n in counted.items() if n[1]), reverse=True
        )
        names = ", ".join(f"{name} {count}" for count, name in most)
        return f"accelerator: {settled} calls settled, {passed} left to Python ({names or 'none'})"

    def add_view(self, number: int, view: View, ours: Ours) -> None:
        """A view whose calls may be answered here, from now on."""
        claims = tables.of_claims(view.claims)
        if claims is None or number >= _VIEWS:
            return
        owning = None if ours.shows is None else Owning(ours.shows, number)
        shows = owning is not None and owning.is_data

        def is_data(row: Row) -> bool:
            return ours.is_ours(row) or (shows and row.name in STAT_FAMILY)

        self._prefixes[number] = {bytes(c.prefix): index for index, c in enumerate(view.claims)}
        packed = rules.pack(is_data, ours.has_more)
        self._native.add_view(number, claims, packed, view.no_continue)
        if owning is not None and shows:
            owning.teach(self._native)

    def _learn_state(self, index: int, state: ProcessState) -> None:
        """A state is about to be carried by processes."""
        prefixes = self._prefixes.get(state.view)
        if prefixes is None:
            self._native.set_state(index, 0, _NO_HINT, 0)
            return
        cwd = _NO_HINT
        if state.cwd is not None:
            cwd = prefixes.get(state.cwd, _NO_HINT) if state.cwd else _REAL
        kind = _KNOWN
        if state.confined:
            kind |= _CONFINED
        if state.executable is not None:
            kind |= _BEHIND_LOADER
        if state.root is not None:
            kind = _UNKNOWN
        self._native.set_state(index, kind, cwd, state.view)

    def _learn_mounts(self, mounts: MountTable) -> None:
        self._native.set_mounts(None if mounts.may_change else tables.of_mounts(mounts.types()))


def build(view: View, tasks: Tasks, mounts: MountTable, ours: Ours) -> Accelerator | None:
    """The accelerator of a monitor; None: there is none, or nothing that it could do."""
    if not (view.claims or view.nestable or ours.shows):
        return None
    module = extension()
    return None if module is None else Accelerator(module, view, tasks, mounts, ours)
