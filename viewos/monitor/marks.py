"""By which of its names a directory was opened, where the view has several and it matters
(`Apart`): the open file description says it, to whomever it is passed on.

What says it is the number of the signal that fcntl(2) keeps there (F_SETSIG). For directories the
kernel uses that only where a program asks for signals of dnotify (F_NOTIFY), which inotify(7) has
replaced. An O_PATH descriptor has no such number: it counts as opened by the best name.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import signal
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from viewos import kernel
from viewos.abi.fcntl import O_TMPFILE
from viewos.abi.row import signed32
from viewos.monitor.intents import open_flags
from viewos.monitor.outcome import CONTINUE, Outcome
from viewos.monitor.walk import is_searchable

if TYPE_CHECKING:
    from viewos.call import Call
    from viewos.monitor.place import Place
    from viewos.monitor.router import Router

F_SETSIG, F_GETSIG = 10, 11
_OF_THE_KERNEL = signal.SIGIO
"""The mark of a backing's own name: no other signal than the kernel would send anyway."""


class Marks:
    """The numbers of names, the same in all views of a monitor."""

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {b"": _OF_THE_KERNEL}
        self._hints: dict[int, bytes] = {int(_OF_THE_KERNEL): b""}
        self._free = itertools.count(signal.SIGRTMAX, -1)

    def put(self, fd: int, hint: bytes) -> None:
        """Let an open directory say that it was opened by that claim (b"": by its own name)."""
        number = self._numbers.get(hint)
        if number is None:
            number = next(self._free)
            if number < signal.SIGRTMIN:
                return
            self._numbers[hint], self._hints[number] = number, hint
        with suppress(OSError):  # EBADF: of O_PATH
            fcntl.fcntl(fd, F_SETSIG, number)

    def of(self, fd: int) -> bytes | None:
        """What an open directory says of itself; None: nothing."""
        try:
            return self._hints.get(fcntl.fcntl(fd, F_GETSIG))
        except OSError:
            return None


def held_by(router: Router, tid: int, fd: int) -> bytes | None:
    """The claim (b"": the kernel's own name) by which the directory was opened that a thread has
    there; None: by the best one, or it does not matter."""
    try:
        task, _ = router.tasks.get(tid)
        real = task.link(f"fd/{fd}")
        if not router.view.claims.apart.holds(real):
            return None
        copy = kernel.descriptor_of(tid, fd, lambda: task.tgid)
    except OSError:
        return None
    try:
        return router.marks.of(copy)
    finally:
        os.close(copy)


def is_needed(router: Router, call: Call, place: Place) -> bool:
    """Is about to be opened a directory of several names, and not by its best one?"""
    claims, real = router.view.claims, place.real.rstrip(b"/") or b"/"
    if call.operation != "open" or not claims.apart.holds(real):
        return False
    flags = open_flags(router, call)
    if flags & (os.O_PATH | os.O_CREAT) or flags & O_TMPFILE == O_TMPFILE:
        return False
    if claims.best_hint(real) == _hint(place):
        return False
    try:
        return stat.S_ISDIR(os.lstat(real).st_mode)
    except OSError:
        return False


def mark(router: Router, place: Place, fd: int) -> None:
    """Let an open directory say by which name it was opened."""
    router.marks.put(fd, _hint(place))


def _hint(place: Place) -> bytes:
    return b"" if place.claim is None else place.claim.prefix


def mark_in_tracee(router: Router, call: Call, place: Place, fd: int) -> None:
    """The same of a descriptor that the tracee has opened itself."""
    with suppress(OSError):
        copy = router.descriptor_of(call, fd)
        try:
            mark(router, place, copy)
        finally:
            os.close(copy)


def fchdir(router: Router, call: Call) -> int | Outcome:
    """fchdir(2): the working directory has the name by which the descriptor was opened."""
    task, _ = router.tasks.get(call.tid)
    fd, claims = signed32(call.raw[0]), router.view.claims
    try:
        real = task.link(f"fd/{fd}")
    except OSError:
        return CONTINUE  # EBADF
    if router.keeps_nothing or not claims.apart.holds(real) or not is_searchable(real):
        return CONTINUE
    hint = held_by(router, call.tid, fd)
    if hint is None and claims.apart.trees:  # else "." may have no mark
        hint = claims.best_hint(real)
    state = call.process_state
    if hint is not None and state.cwd != hint:
        router.set_process_state(call, state._replace(cwd=hint))
    return CONTINUE
