"""By which of its names a directory was opened, where the view has several and it matters
(`Apart`): the open file description says it, to whomever it is passed on.

What says it is the number of the signal that fcntl(2) keeps there (F_SETSIG). For directories the
kernel uses that only where a program asks for signals of dnotify (F_NOTIFY), which inotify(7) has
replaced. An O_PATH descriptor has no such number: the monitor keeps one of its own of the same open
file, to know it again. What has no mark counts as opened by the best name.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from viewos.abi.fcntl import O_TMPFILE
from viewos.abi.row import signed32
from viewos.kernel import is_same_file
from viewos.launcher.layout import CAP_SYS_CHROOT
from viewos.monitor.intents import open_flags
from viewos.monitor.outcome import CONTINUE, Outcome
from viewos.monitor.rewrite import Rewrite

if TYPE_CHECKING:
    from viewos.call import Call
    from viewos.monitor.place import Place
    from viewos.monitor.router import Router

F_SETSIG, F_GETSIG = 10, 11
_OF_THE_KERNEL = int(signal.SIGIO)
"""The mark of a backing's own name: no other signal than the kernel would send anyway."""
_MOST_KEPT = 64


class Marks:
    """The numbers of names, the same in all views of a monitor."""

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {b"": _OF_THE_KERNEL}
        self._hints: dict[int, bytes] = {_OF_THE_KERNEL: b""}
        self._free = [number for number in range(1, signal.NSIG) if number != _OF_THE_KERNEL]
        self._kept: deque[tuple[int, bytes]] = deque()
        """Descriptors of our own that are the same open files as O_PATH ones of tracees."""
        self._lock = threading.Lock()

    def put(self, fd: int, hint: bytes) -> bool:
        """Let an open directory say that it was opened by that claim (b"": by its own name). False:
        there are more claims than numbers."""
        with self._lock:
            if hint not in self._numbers and self._free:
                number = self._free.pop()
                self._numbers[hint], self._hints[number] = number, hint
            known = self._numbers.get(hint)
            if known is None:
                return False
            try:
                fcntl.fcntl(fd, F_SETSIG, known)
            except OSError:  # EBADF: of O_PATH
                self._keep(fd, hint)
        return True

    def _keep(self, fd: int, hint: bytes) -> None:
        with suppress(OSError):
            self._kept.append((fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 0), hint))
        if len(self._kept) > _MOST_KEPT:
            os.close(self._kept.popleft()[0])

    def of(self, fd: int) -> bytes | None:
        """What an open directory says of itself; None: nothing."""
        try:
            return self._hints.get(fcntl.fcntl(fd, F_GETSIG))
        except OSError:
            pass
        pid = os.getpid()
        with self._lock, suppress(OSError):
            for kept, hint in self._kept:
                if is_same_file(pid, fd, pid, kept):
                    return hint
        return None


def held_by(router: Router, tid: int, fd: int) -> bytes | None:
    """The claim (b"": the kernel's own name) by which the directory was opened that a thread has
    there; None: by the best one, or it does not matter."""
    try:
        task, _ = router.tasks.get(tid)
        real = task.link(f"fd/{fd}")
        if not router.view.claims.apart.holds(real):
            return None
        copy = router.copy_of(tid, fd, lambda: task.tgid)
    except OSError:
        return None
    try:
        return router.marks.of(copy)
    finally:
        os.close(copy)


def wanted(router: Router, call: Call, place: Place) -> bytes | None:
    """The name that what is about to be opened has to tell: a directory of several, and not by its
    best one; None: it is not that."""
    if call.operation != "open" or not router.view.claims.apart.roots:
        return None
    real, hint = name_of(router, place)
    if not router.view.claims.apart.holds(real):
        return None
    flags = open_flags(router, call)
    if flags & os.O_CREAT or flags & O_TMPFILE == O_TMPFILE:
        return None
    is_other = router.view.claims.best_hint(real) != hint
    return hint if is_other and os.path.isdir(real) else None


def mark(router: Router, fd: int, hint: bytes) -> None:
    """Let an open directory say by which name it was opened."""
    if not router.marks.put(fd, hint):
        router.log.warning(
            f"more than {signal.NSIG - 1} trees that can be seen by several names: what a directory"
            " held open leads to is taken for what the first name leads to",
            once="marks",
        )


def mark_in_tracee(router: Router, call: Call, fd: int, hint: bytes) -> None:
    """The same of a descriptor that the tracee has opened itself."""
    if fd < 0:
        return
    with suppress(OSError):
        copy = router.descriptor_of(call, fd)
        try:
            mark(router, copy, hint)
        finally:
            os.close(copy)


def name_of(router: Router, place: Place) -> tuple[bytes, bytes]:
    """(real path, the claim by which it is reached: b"" for the kernel's own name)."""
    if place.target is None:
        real = place.real.rstrip(b"/") or b"/"
        return real, b"" if place.claim is None else place.claim.prefix
    hint = router.resolver.magic.hint_for(place.real.rstrip(b"/"))
    return place.target, router.view.claims.best_hint(place.target) if hint is None else hint


def fchdir(router: Router, call: Call) -> int | Outcome:
    """fchdir(2): the working directory has the name by which the descriptor was opened."""
    task, _ = router.tasks.get(call.tid)
    fd, claims = signed32(call.raw[0]), router.view.claims
    try:
        real = task.link(f"fd/{fd}")
    except OSError:
        return CONTINUE  # EBADF
    if router.keeps_nothing or not claims.apart.holds(real):
        return CONTINUE
    hint = held_by(router, call.tid, fd)
    if hint is None and claims.apart.are_trees:  # else "." may have no mark
        hint = claims.best_hint(real)
    if hint is None or call.process_state.cwd == hint:
        return CONTINUE
    row, state = call.row, call.process_state._replace(cwd=hint)
    rewrite = Rewrite(row.number, [call.raw[0]], row.cookie.arg, row.cookie.shift)
    return router.fix_up(call, rewrite, {}, plain=True, state=state)


def refuse_root(router: Router, call: Call, place: Place) -> None:
    """Raise OSError EACCES where a root directory would be known by another name than chroot(2) was
    given: its paths would lead elsewhere."""
    real, hint = name_of(router, place)
    claims = router.view.claims
    is_other = place.virtual != b"/" if real == b"/" else claims.best_hint(real) != hint
    is_other = is_other and claims.apart.holds(real)
    is_other = is_other and any(map(claims.has_claims, claims.names(real)))
    if not is_other or not router.tasks.get(call.tid)[0].has_capability(CAP_SYS_CHROOT):
        return
    best = "/" if real == b"/" else os.fsdecode(claims.reverse(real) or real)
    router.log.warning(
        f"chroot: {os.fsdecode(place.virtual)} is also {best}, where other trees stand below it:"
        " EACCES, use that name or another directory",
        once=f"chroot {best}",
    )
    raise OSError(errno.EACCES, "a directory of several names")
