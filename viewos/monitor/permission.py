"""May a script be executed, or a program behind its loader? The kernel, which is handed the
interpreter or the loader, does not see them, and is asked by calls that execute nothing.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from viewos.abi.fcntl import AT_EACCESS, AT_EMPTY_PATH, AT_EXECVE_CHECK
from viewos.abi.syscalls import TABLE
from viewos.kernel import AT_FDCWD, NR, syscall
from viewos.monitor.pathcalls import tracee_string
from viewos.monitor.place import Place
from viewos.monitor.rewrite import Argument, Rewrite
from viewos.monitor.writers import has_writers
from viewos.tuples import NamedTuple

if TYPE_CHECKING:
    from viewos.call import Call
    from viewos.monitor.router import Router


class Unseen(NamedTuple):
    """What the caller has to be allowed to execute."""

    name: bytes
    """By which the caller, or a script, calls it."""
    place: Place


def refuse_what_is_written(real: bytes) -> None:
    """Raise OSError ETXTBSY for what somebody has open for writing."""
    try:
        if can_check():
            _check(real)
        elif has_writers(real):
            raise OSError(errno.ETXTBSY, "open for writing")
    except OSError as error:
        if error.errno == errno.ETXTBSY:
            raise


def questions(
    router: Router, call: Call, unseen: Sequence[Unseen], place: Place
) -> tuple[Rewrite, ...]:
    """The calls by which the caller itself asks, in the order in which the kernel would look at
    them. `place`: to which the caller's string leads."""
    return tuple(
        _question(*_of_interpreter(router, call, one) if n else _of_call(router, call, place))
        for n, one in enumerate(unseen)
    )


def _of_call(router: Router, call: Call, place: Place) -> tuple[int, Argument, int]:
    """(dirfd, path, flags): the caller's own, where it leads there."""
    at = 0 if call.name == "execve" else 1
    dirfd, path = call.raw[0] if at else AT_FDCWD, call.raw[at]
    if at and not router.memory.read_string(call.tid, path):
        return dirfd, path, AT_EMPTY_PATH
    if place.plain or place.best:
        return dirfd, path, 0
    return AT_FDCWD, tracee_string(router, call, place) + b"\0", 0


def _of_interpreter(router: Router, call: Call, one: Unseen) -> tuple[int, Argument, int]:
    path = one.name if one.place.plain else tracee_string(router, call, one.place)
    return AT_FDCWD, path + b"\0", 0


def _question(dirfd: int, path: Argument, flags: int) -> Rewrite:
    if can_check():
        row, rest = TABLE["execveat"], [0, 0, flags | AT_EXECVE_CHECK]
    else:
        row, rest = TABLE["faccessat2"], [os.X_OK, flags | AT_EACCESS]
    return Rewrite(row.number, [dirfd, path, *rest], row.cookie.arg, row.cookie.shift)


def _check(real: bytes) -> None:
    syscall(NR["execveat"], AT_FDCWD, real, None, None, AT_EXECVE_CHECK)


@cache
def can_check() -> bool:
    """Has the kernel AT_EXECVE_CHECK (Linux 6.14), which finds also what is open for writing?"""
    try:
        _check(b"/proc/self/exe")
    except OSError:
        return False
    return True
