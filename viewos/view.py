"""View and ProcessState: the stack of modules, and what a process of the view carries along."""

from __future__ import annotations

import errno
import itertools
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import Any

from viewos import kernel
from viewos.claims import Claim, ClaimMap
from viewos.errors import ViewosError
from viewos.module import VirtualModule
from viewos.tuples import NamedTuple

RLIMIT_LOCKS = 10
"""Unused by the kernel since 2.4, inherited over fork and exec: its soft value carries the
token."""
RLIM_INFINITY = (1 << 64) - 1
_USUAL_TOKENS = 0x5649 << 48
_LEAST = 1 << 17
"""Hard limits below that have no room for tokens."""


class ProcessState(NamedTuple):
    """What has no kernel object: immutable, interned, found by a token that processes inherit."""

    modules: tuple[tuple[int, Any], ...] = ()
    """(layer, the value that the module keeps), sorted by layer."""
    cwd: bytes | None = None
    """The prefix of the claim through which the cwd was entered, b"" for its real name."""
    executable: bytes | None = None
    """The real path of the program where /proc/PID/exe shows a loader."""
    confined: bool = False
    """The process imposed Landlock on itself: the monitor must not act for it."""
    dumpable: tuple[int, bytes] | None = None
    """What the process set with PR_SET_DUMPABLE, which is not passed on to the kernel, and which
    program it was then: an execve makes the next one dumpable."""
    view: int = 0
    """Which of the monitor's views the process is in; 0: the outermost."""
    root: bytes | None = None
    """The virtual path of the root directory that it entered where the kernel would not let it."""
    locks: tuple[int, int] | None = None
    """The RLIMIT_LOCKS that the process believes it has; None: no limit."""

    def of(self, layer: int, default: Any = None) -> Any:
        """The value that the module of that layer keeps."""
        return dict(self.modules).get(layer, default)

    def with_module(self, layer: int, value: Any) -> ProcessState:
        """A copy in which the module of that layer keeps `value`."""
        return self._replace(modules=tuple(sorted({**dict(self.modules), layer: value}.items())))


class States:
    """The interned states of a monitor's views. Token 0 is the initial one, carried by no limit at
    all, or by that of the main program (see `mark`)."""

    def __init__(self, initial: ProcessState) -> None:
        self.base = _first_token(initial.locks)
        """The token of the initial state; of another monitor it is another one."""
        self._lock = threading.Lock()
        self.changing = threading.Lock()
        """Held while what a process carries is replaced by what depends on it."""
        self._states = [initial]
        self._tokens = {initial: 0}
        self._watchers: tuple[Callable[[int, ProcessState], None], ...] = ()

    def renew_lock(self) -> None:
        """In a forked child: a thread that is not there may have held the lock."""
        self._lock = threading.Lock()
        self.changing = threading.Lock()

    def watch(self, watcher: Callable[[int, ProcessState], None]) -> None:
        """Have each state told, with its index, before a process carries it."""
        with self._lock:
            self._watchers = (*self._watchers, watcher)
            for index, state in enumerate(self._states):
                watcher(index, state)

    def unwatch(self, watcher: Callable[[int, ProcessState], None]) -> None:
        """Tell it no more."""
        with self._lock:
            self._watchers = tuple(one for one in self._watchers if one != watcher)

    @property
    def initial(self) -> ProcessState:
        """The state of a process whose limit carries no token."""
        return self._states[0]

    @property
    def several(self) -> bool:
        """Does more than one state exist?"""
        return len(self._states) > 1

    def token(self, state: ProcessState) -> int:
        """The value for the soft limit that stands for the state."""
        with self._lock:
            index = self._tokens.get(state)
            if index is None:
                index = self._tokens[state] = len(self._states)
                self._states.append(state)
                for watcher in self._watchers:
                    watcher(index, state)
        return self.base + index

    def of_limit(self, soft: int) -> ProcessState:
        """The state that a soft limit stands for."""
        index = soft - self.base
        return self._states[index] if 0 < index < len(self._states) else self._states[0]

    def read(self, pid: int) -> ProcessState:
        """The state of a process. Raises OSError when it is gone."""
        if len(self._states) == 1:
            return self._states[0]
        try:
            soft, _ = kernel.prlimit(pid, RLIMIT_LOCKS)
        except PermissionError:
            soft, _ = limit_of_proc(pid)
        return self.of_limit(soft)

    def write(self, pid: int, state: ProcessState) -> None:
        """Make it the state of a process. Raises PermissionError where only the process itself
        can."""
        _, hard = kernel.prlimit(pid, RLIMIT_LOCKS)
        kernel.prlimit(pid, RLIMIT_LOCKS, self.limit(state, hard))

    def limit(self, state: ProcessState, hard: int) -> tuple[int, int]:
        """The soft and the hard limit of a process that carries the state."""
        token = self.token(state)
        return token, hard if token <= hard else RLIM_INFINITY

    def mark(self, pid: int) -> None:
        """Make a process, and what it starts, known as one of this monitor's, where that may be
        done: see `found_in`."""
        with suppress(OSError):
            self.write(pid, self.initial)

    def found_in(self, pid: int) -> ProcessState | None:
        """The state of a process of this monitor's; None: it is none, or has ended."""
        try:
            soft, _ = kernel.prlimit(pid, RLIMIT_LOCKS)
        except PermissionError:
            try:
                soft, _ = limit_of_proc(pid)
            except OSError:
                return None
        except OSError:
            return None
        return self.of_limit(soft) if self.is_token(soft) else None

    def is_token(self, soft: int) -> bool:
        """Is a soft limit one that stands for a state?"""
        return 0 <= soft - self.base < len(self._states)


def limit_of_proc(pid: int) -> tuple[int, int]:
    """RLIMIT_LOCKS of any process: prlimit(2) needs equal ids or CAP_SYS_RESOURCE."""
    with open(f"/proc/{pid}/limits", "rb", buffering=0) as file:
        for line in file.read().splitlines():
            if line.startswith(b"Max file locks"):
                words = line[26:].split()[:2]
                soft, hard = (RLIM_INFINITY if w == b"unlimited" else int(w) for w in words)
                return soft, hard
    return RLIM_INFINITY, RLIM_INFINITY


def locks_of(pid: int) -> tuple[int, int] | None:
    """RLIMIT_LOCKS of a process that carries no state yet; None: no limit. Raises OSError."""
    try:
        limit = kernel.prlimit(pid, RLIMIT_LOCKS)
    except PermissionError:
        limit = limit_of_proc(pid)
    return None if limit == (RLIM_INFINITY, RLIM_INFINITY) else limit


def _first_token(locks: tuple[int, int] | None) -> int:
    """A number behind which tokens fit into this process's limits. Raises ViewosError."""
    chance = int.from_bytes(os.urandom(6), "big")
    if locks is not None and _LEAST <= locks[1] < _USUAL_TOKENS + (1 << 48):
        return locks[1] // 2 - chance % (locks[1] // 4)
    if locks is not None and locks[1] < _LEAST:
        _try_to_raise(*locks)
    return _USUAL_TOKENS | (chance & 0xFFFFFF) << 24


def _try_to_raise(soft: int, hard: int) -> None:
    """Raises ViewosError where `States.write` will not be able to raise a limit."""
    try:
        kernel.prlimit(0, RLIMIT_LOCKS, (soft, RLIM_INFINITY))
    except OSError:
        raise ViewosError(
            f"the hard limit of file locks (`ulimit -Hx`) is {hard}: views keep what they know"
            f" of a process in that limit, and need {_LEAST}, or CAP_SYS_RESOURCE"
        ) from None
    kernel.prlimit(0, RLIMIT_LOCKS, (soft, hard))


def initial_state() -> ProcessState:
    """The state of the program that this process becomes, or starts."""
    return ProcessState(cwd=b"", locks=locks_of(os.getpid()))


class StandIns:
    """What is executed in the place of programs: see standins.py and copies.py of the monitor."""

    def __init__(self) -> None:
        self.files: dict[tuple[object, ...], bytes] = {}
        """What is to be executed -> a file that stands in for it."""
        self.originals: dict[bytes, bytes] = {}
        """Such a file, or a copy -> the program."""
        self.copies: dict[tuple[bytes, bytes], Any] = {}
        """(program, loader) -> a copy of it."""
        self.copied: dict[bytes, Any] = {}
        """Path -> the copy that is there, or has been: programs may still run from it."""
        self.size = 0
        """Bytes of all copies."""
        self.lock = threading.Lock()
        """Held by who makes one."""
        self.loaders: set[bytes] = set()
        """What has been executed with a program as an argument."""
        self.sources: dict[bytes, int] = {}
        """Copy of a program to which no name leads -> a descriptor of that program (O_PATH)."""

    def program_of(self, state: ProcessState, executed: bytes) -> bytes | None:
        """The program of which a process has executed the loader, or a copy; None: itself."""
        by_loader = state.executable if executed in self.loaders else None
        return self.originals.get(executed.removesuffix(b" (deleted)"), by_loader)

    def is_gone(self, program: bytes, executed: bytes) -> bool:
        """Has the program lost its name, or is another one there? `executed`: perhaps a copy."""
        copy = self.copied.get(executed.removesuffix(b" (deleted)"))
        try:
            found = os.stat(program, follow_symlinks=False)
        except OSError as error:
            return error.errno in (errno.ENOENT, errno.ENOTDIR)
        return copy is not None and not os.path.samestat(found, copy.file)

    def close(self) -> None:
        """After the last program."""
        while self.sources:
            os.close(self.sources.popitem()[1])


_NAMES = itertools.count(1)


class View:
    """An ordered stack of modules, the first at the bottom.

    `no_continue`: emulate or fix up every claimed path, even where the kernel would get it right.
    """

    def __init__(
        self,
        modules: Sequence[VirtualModule] = (),
        *,
        no_continue: bool = False,
        nestable: bool = False,
        inproc: bool = True,
        below: View | None = None,
    ) -> None:
        """Arguments: `nestable`: trap what any module can use, so that any view can be nested in
        it; `inproc`: let programs make calls themselves where they can (docs/inproc.md); `below`:
        the view in which this one is nested."""
        self.below = below
        self._numbers: Iterator[int] = itertools.count() if below is None else below._numbers
        """Shared by all views of a monitor: a layer keeps its number while others come and go."""
        self.own: dict[int, VirtualModule] = {next(self._numbers): module for module in modules}
        """The layers that are not the outer view's, from the bottom."""
        self.wanted: dict[int, list[Claim]] = {}
        """Layer -> what its module claimed when it was put there."""
        self.no_continue: bool = no_continue
        self.nestable = nestable
        self.inproc = inproc and below is None  # a nested view's programs are its outermost one's
        self.claims: ClaimMap = ClaimMap() if below is None else below.claims
        self.listed: dict[bytes, tuple[tuple[bytes, int], ...]] = {}
        """Real directory -> (name, DT_*) of the mount points that it lacks."""
        self.states: States = below.states if below else States(initial_state())
        self.mounted: dict[bytes, bytes] = {}
        """Real path of several names -> the one by which a program has mounted something there."""
        self.scratch = b""
        self.links: dict[bytes, bytes] = {}
        """Real path -> a short link to it in the scratch directory."""
        self.standins = StandIns()
        self.name = f"view-{next(_NAMES)}"

    def __repr__(self) -> str:
        return f"<View {' '.join(m.name for m in self.modules) or 'empty'}>"

    @property
    def layers(self) -> MappingProxyType[int, VirtualModule]:
        """Layer number -> module, from the bottom; what a number stands for never changes."""
        outer = {} if self.below is None else self.below.layers
        return MappingProxyType({**outer, **self.own})

    @property
    def modules(self) -> tuple[VirtualModule, ...]:
        """All modules, from the bottom."""
        return tuple(self.layers.values())

    @property
    def claims_later(self) -> bool:
        """May a module claim something while the view runs?"""
        return any(module.claims_later for module in self.modules)

    def next_layer(self) -> int:
        """The number for one more layer."""
        return next(self._numbers)

    def claimed(self, layer: int) -> list[Claim]:
        """What the module of a layer claimed when it was put there."""
        if layer in self.wanted or self.below is None:
            return self.wanted.get(layer, [])
        return self.below.claimed(layer)

    def changed(self, own: Mapping[int, VirtualModule], below: View | None) -> View:
        """The same view with other layers of its own, or on top of another one; without claims."""
        from copy import copy  # 1 ms, for what is rare

        view = copy(self)
        view.own, view.below = dict(own), below
        view.claims = ClaimMap() if below is None else below.claims
        view.listed = {}
        return view
