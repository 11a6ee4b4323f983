"""The accelerator: calls that data can answer are answered in C, without the GIL.

It is optional, in the manner of PEP 399: the Python monitor is the reference, gives the same
answers, and gets every call of which the accelerator is not certain. `VIEWOS_PURE=1` switches it
off. docs/accelerator.md says what it does and what it leaves.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING

from viewos.abi.syscalls import BY_NUMBER
from viewos.monitor.accelerator import rules, tables

if TYPE_CHECKING:
    from viewos.abi.row import Row
    from viewos.monitor.accelerator.native import Accelerator as Native
    from viewos.monitor.accelerator.native import Receiver
    from viewos.monitor.mounts import MountTable
    from viewos.monitor.task import Tasks
    from viewos.view import ProcessState, View

_KNOWN, _CONFINED, _BEHIND_LOADER = 1, 2, 4
_NO_HINT, _REAL = -2, -1
_STATES = 4096


def extension() -> ModuleType | None:
    """The extension module; None where it was not built, or VIEWOS_PURE=1 is set."""
    if os.environ.get("VIEWOS_PURE") == "1":
        return None
    try:
        from viewos.monitor.accelerator import native as module
    except ImportError:
        return None
    return module


class Accelerator:
    """Keeps what the C side knows of one view equal to what Python knows."""

    def __init__(
        self,
        module: ModuleType,
        view: View,
        tasks: Tasks,
        mounts: MountTable,
        claims: bytes,
        rules_of_calls: bytes,
    ) -> None:
        self._module = module
        self._prefixes = {bytes(c.prefix): index for index, c in enumerate(view.claims)}
        self._native: Native = module.Accelerator(
            rules=rules_of_calls,
            claims=claims,
            credentials=b"".join(b"\n" + line for line in tasks.ours),
            mount_namespace=tasks.mount_namespace,
            user_namespace=tasks.user_namespace,
            token_base=view.states.TOKEN_BASE,
            no_continue=view.no_continue,
        )
        self._tasks = tasks
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

    def summary(self) -> str:
        """One line for the log."""
        counted = self.counts()
        settled, passed = (sum(pair[i] for pair in counted.values()) for i in (0, 1))
        most = sorted(
            ((n[1], BY_NUMBER[nr].name) for nr, n in counted.items() if n[1]), reverse=True
        )
        names = ", ".join(f"{name} {count}" for count, name in most)
        return f"accelerator: {settled} calls settled, {passed} left to Python ({names or 'none'})"

    def _learn_state(self, index: int, state: ProcessState) -> None:
        """A state is about to be carried by processes."""
        cwd = _NO_HINT
        if state.cwd is not None:
            cwd = self._prefixes.get(state.cwd, _NO_HINT) if state.cwd else _REAL
        kind = _KNOWN if state.view == 0 else 0  # what is in a nested view is Python's
        if state.confined:
            kind |= _CONFINED
        if state.executable is not None:
            kind |= _BEHIND_LOADER
        self._native.set_state(index, kind, cwd)

    def _learn_mounts(self, mounts: MountTable) -> None:
        self._native.set_mounts(None if mounts.may_change else tables.of_mounts(mounts.types()))


def build(
    view: View,
    tasks: Tasks,
    mounts: MountTable,
    is_ours: Callable[[Row], bool],
    has_more: Callable[[Row], bool],
) -> Accelerator | None:
    """The accelerator of a view; None: there is none, or nothing that it could do.

    For the arguments see `rules.pack`.
    """
    if not view.claims:
        return None
    module = extension()
    claims = None if module is None else tables.of_claims(view.claims)
    if module is None or claims is None:
        return None
    return Accelerator(module, view, tasks, mounts, claims, rules.pack(is_ours, has_more))
