"""The accelerator: calls that data can answer are answered in C, without the GIL.

It is optional, in the manner of PEP 399: the Python monitor is the reference, gives the same
answers, and gets every call of which the accelerator is not certain. `VIEWOS_PURE=1` switches it
off. docs/accelerator.md says what it does and what it leaves.
"""

from __future__ import annotations

import itertools
import os
import weakref
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING

from viewos.abi.syscalls import BY_NUMBER, TABLE
from viewos.monitor.accelerator import rules, tables
from viewos.monitor.accelerator.owning import Owning
from viewos.tuples import NamedTuple

if TYPE_CHECKING:
    from viewos.abi.row import Row
    from viewos.files import Names
    from viewos.module import VirtualModule
    from viewos.monitor.accelerator.native import Accelerator as Native
    from viewos.monitor.accelerator.native import Receiver
    from viewos.monitor.mounts import MountTable
    from viewos.monitor.task import Tasks
    from viewos.view import ProcessState, View

_KNOWN, _CONFINED, _BEHIND_LOADER, _ROOTED = 1, 2, 4, 8
_MOST_STATES, _LONGEST = 4096, 4096
"""STATES, LONGEST of accelerator.h."""
_MOST_PROGRAMS = 16384
_NO_HINT, _REAL = -2, -1
_VIEWS = 1024
MOST_PASSES = 32
_UNKNOWN_IDS = (-1, -1, -1, -1)
STAT_FAMILY = ("stat", "lstat", "newfstatat", "statx", "fstat")


class Ours(NamedTuple):
    """What the accelerator asks of the router of a view."""

    is_ours: Callable[[Row], bool]
    """Does no module take part in the call?"""
    has_more: Callable[[Row], bool]
    """Is there more to it than its paths?"""
    shows: tuple[int, VirtualModule] | None
    """The layer and the module that alone answers the stat family."""
    changes: frozenset[str]
    """The calls on owners and modes that this module alone answers, and lets us do."""
    ids: tuple[int, VirtualModule] | None
    """The layer and the module that alone answers getuid(2) and its kin."""
    names: VirtualModule | None
    """The module that alone answers uname(2)."""
    passes: tuple[tuple[int, tuple[tuple[int, int, int], ...]], ...]
    """(system call, ((argument, mask, value), ...)) of calls that every module passes."""
    executes: bool
    """Does the module of `ids` say, as data, when execve(2) leaves a process as it is?"""
    rescues: bool
    """Are there calls for which a module is asked where they would fail with EACCES?"""

    def root(self, state: ProcessState) -> tuple[bool, bool, bool]:
        """(may change owners; makes files that show as they should; does both, or what the first
        process of the view does of it), of a process with that state."""
        if self.shows is None or not self.changes:
            return False, False, False
        layer, module = self.shows
        kept = state.of(layer)
        may_change, is_plain = module.may_change_owners(kept), module.makes_plainly(kept)
        return may_change, is_plain, may_change and is_plain >= module.makes_plainly(None)

    def leaves_unless_made(self, name: str) -> bool:
        """Is open or openat no module's where it makes no file?"""
        row = TABLE[name]
        unless = row.number, ((row.position("flags"), os.O_CREAT, 0),)
        return self.is_ours(row) or unless in self.passes


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
        ours: Ours,
    ) -> None:
        self._module = module
        self._prefixes: dict[int, dict[bytes, int]] = {}
        """View -> prefix -> the number of the claim."""
        self._ours: dict[int, Ours] = {}
        self._ownings: dict[int, Owning] = {}
        self._is_closed = False
        self._slots: dict[int, int] = {}
        """View -> its place on the C side: another one when it has been changed."""
        self._settled: dict[int, int] = {}
        """View -> what has been settled for it in places that it has left."""
        self._same: dict[bytes, bytes] = {}
        """What views are made of on the C side, to the end: often the same again."""
        self._free = itertools.count()
        self._programs: dict[bytes, bytes] = {}
        self._pauses = 0
        self._told: dict[int, ProcessState] = {}
        self._rooted: set[int] = set()
        self._native: Native = module.Accelerator(
            credentials=b"".join(b"\n" + line for line in tasks.ours),
            user_namespace=tasks.user_namespace,
            label=tasks.our_label,
            token_base=view.states.base,
        )
        self._tasks = tasks
        self.add_view(0, view, ours)
        self._states, self._mounts = view.states, mounts
        view.states.watch(self._learn_state)
        tasks.on_forget = self._native.forget
        tasks.on_shortage = self._native.close
        mounts.watch(self._learn_mounts)

    def receiver(self, listener: int, own_umask: bool) -> Receiver:
        """What one receiving thread needs. `own_umask`: it shares its umask with no other."""
        receiver: Receiver = self._module.Receiver(self._native, listener, own_umask)
        return receiver

    def offer_libc(self, mark: int) -> None:
        """From now on Python is asked where a program opens its libc; whose execve has that mark
        can be handed over what to execute."""
        self._native.offer_libc(mark)

    def learn_program(self, view: int, program: bytes) -> None:
        """How a program is executed in a view: struct program of accelerator.h."""
        slot = self._slots.get(view)
        is_full = len(self._programs) >= _MOST_PROGRAMS
        if slot is not None and not (is_full and program not in self._programs):
            # Calls may be looking at it as long as there is an accelerator.
            kept = self._programs.setdefault(program, program)
            self._native.set_program(slot, kept)

    def offer(
        self,
        view: int,
        is_root: bool,
        descriptor: int,
        filters: int,
        library: tuple[int, int],
        at: int,
        code: bytes,
    ) -> None:
        """Let programs of a view that act as a root, or that do not, be given `descriptor` for
        the `library` (device, inode), where `code` stands around the instruction `at` that opens
        it."""
        if view in self._slots:
            slot = self._slots[view]
            self._native.set_offer(slot, is_root, descriptor, filters, *library, at, code)

    def show_in(self, view: int, memory: memoryview) -> bool:
        """Keep there how the stat family shows owners in a view, for its programs to read. False:
        they have to ask."""
        return view in self._slots and self._native.show_in(self._slots[view], memory)

    def place(self, view: int) -> int | None:
        """What stands for a view on the C side: another one when the view has been changed."""
        return self._slots.get(view)

    def expect(self, tid: int) -> None:
        """Let Python have the next call of a thread."""
        self._native.expect(tid)

    def acts_as_root(self, state: ProcessState) -> bool:
        """See `Ours.root`, of a process with that state."""
        return state.view in self._prefixes and self._ours[state.view].root(state)[2]

    def note_in(self, place: int, memory: memoryview, number: int) -> bool:
        """Let programs note in that memory, which has a number that no other has, what they change
        of files. False: they are not to."""
        return self._native.note_in(place, memory, number)

    def hand_on(self) -> None:
        """Before Python answers a call: tell it which tasks are not what they were."""
        renewed, has_more = self._native.renewed()
        if has_more:
            self._tasks.forget_all()
        if renewed:
            self._tasks.drop(renewed)

    def counts(self) -> dict[int, tuple[int, int]]:
        """System call number -> (settled in C, passed on to Python)."""
        return self._native.counts()

    def settled_in(self, view: int) -> int:
        """How many calls have been settled for a view."""
        before = self._settled.get(view, 0)
        return before + (self._native.settled_in(self._slots[view]) if view in self._slots else 0)

    def close(self) -> None:
        """After the last receive: give back what is held of tasks. Several monitors may share the
        states and the mounts: they are told no more of them here."""
        self._states.unwatch(self._learn_state)
        self._mounts.unwatch(self._learn_mounts)
        for owning in self._ownings.values():
            owning.close()
        self._is_closed = True
        self._tasks.on_forget = self._tasks.on_shortage = None
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
        """A view whose calls may be answered here, from now on; or that has been changed."""
        claims = tables.of_claims(view.claims)
        if number in self._slots:
            self._settled[number] = self.settled_in(number)
            self._native.show_no_more(self._slots[number])
        if number in self._ownings:
            self._ownings.pop(number).close()
        slot = next(self._free)
        if claims is None or slot >= _VIEWS:
            self._prefixes.pop(number, None)
            self._teach_states(number)
            return
        owning = None if ours.shows is None else Owning(ours.shows[1], slot)
        shows = owning is not None and owning.is_data

        def is_data(row: Row) -> bool:
            return ours.is_ours(row) or (shows and row.name in STAT_FAMILY)

        constants = set(rules.IDS if ours.ids is not None else ())
        constants |= {"uname"} if ours.names is not None else set()
        passes = [BY_NUMBER[nr] for nr, _ in ours.passes]
        constants |= {row.name for row in passes if not row.paths}
        passed = {row.name for row in passes if row.paths} | (
            {"execve"} if ours.executes else set()
        )
        self._ours[number] = ours
        self._prefixes[number] = {bytes(c.prefix): index for index, c in enumerate(view.claims)}
        packed = rules.pack(
            is_data, ours.has_more, constants, passed, ours.changes if shows else ()
        )
        claims, packed = (self._same.setdefault(data, data) for data in (claims, packed))
        self._native.add_view(slot, claims, packed, view.no_continue, ours.rescues)
        if owning is not None and shows:
            owning.teach(self._native, changes=bool(ours.changes))
            self._ownings[number] = owning
        elif owning is not None:
            owning.close()
        for nr, tests in ours.passes:
            self._native.add_pass(slot, nr, tests)
        if ours.names is not None:
            ours.names.show_uname(partial(_learn_names, weakref.ref(self), slot))
        self._slots[number] = slot
        self._teach_states(number)

    def learn_names(self, slot: int, shown: Names | None) -> bool:
        """What uname(2) says in a view, from now on; None: Python knows. True: nobody needs it."""
        if self._is_closed:
            return True
        if shown is None:
            self._native.set_names(slot, None, ())
        else:
            self._native.set_names(slot, shown.utsname.encode(), shown.sources)
        return False

    def _learn_ids(self, index: int, state: ProcessState) -> None:
        ours, ids, keeps = self._ours[state.view], None, False
        if ours.ids is not None:
            layer, module = ours.ids
            ids = module.show_ids(state.of(layer))
            keeps = ours.executes and module.keeps_at_exec(state.of(layer))
        known = _UNKNOWN_IDS if ids is None else ids
        self._native.set_facts(index, *known, keeps, *ours.root(state))

    def _teach_states(self, number: int) -> None:
        for index, state in list(self._told.items()):
            if state.view == number:
                self._learn_state(index, state)

    def _learn_root(self, index: int, root: bytes) -> None:
        if index < _MOST_STATES and len(root) < _LONGEST and index not in self._rooted:
            self._rooted.add(index)
            self._native.set_root(index, root)

    def _learn_state(self, index: int, state: ProcessState) -> None:
        """A state is about to be carried by processes, or is of a view that has been changed."""
        self._told[index] = state
        prefixes = self._prefixes.get(state.view)
        if prefixes is None:
            self._native.set_state(index, 0, _NO_HINT, 0)
            return
        self._learn_ids(index, state)
        cwd = _NO_HINT
        if state.cwd is not None:
            cwd = prefixes.get(state.cwd, _NO_HINT) if state.cwd else _REAL
        kind = _KNOWN
        if state.confined:
            kind |= _CONFINED
        if state.executable is not None:
            kind |= _BEHIND_LOADER
        if state.root is not None:
            kind |= _ROOTED
            self._learn_root(index, state.root)
        self._native.set_state(index, kind, cwd, self._slots[state.view])

    def _learn_mounts(self, mounts: MountTable) -> None:
        unsure = mounts.may_change or self._pauses
        table = None if unsure else tables.of_mounts(mounts.types())
        self._native.set_mounts(table, mounts.have_moved)

    def pause(self, begins: bool) -> None:
        """Leave all calls to Python for a while; as often as it begins it has to end."""
        self._pauses += 1 if begins else -1
        self._learn_mounts(self._mounts)


def _learn_names(of: weakref.ref[Accelerator], slot: int, shown: Names | None) -> bool:
    accelerator = of()
    return accelerator is None or accelerator.learn_names(slot, shown)


def build(view: View, tasks: Tasks, mounts: MountTable, ours: Ours) -> Accelerator | None:
    """The accelerator of a monitor; None: there is none, or nothing that it could do."""
    if not (view.claims or view.nestable or view.claims_later or any(ours[2:])):
        return None
    module = extension()
    return None if module is None else Accelerator(module, view, tasks, mounts, ours)
