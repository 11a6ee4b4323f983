"""A program from outside becomes one of a view: under the same filter, with a listener of its own.

Its process says what it wants (`enter`), installs the filter, and hands over the listener
(`attach`); then the monitor answers for it as for all others.
"""

from __future__ import annotations

import base64
import os
import socket
from typing import TYPE_CHECKING, Any

from viewos import filter as bpf
from viewos.errors import ViewosError
from viewos.monitor.helper.looks import Helper
from viewos.monitor.setup import entered
from viewos.view import locks_of

if TYPE_CHECKING:
    from viewos.monitor.nesting import Nesting
    from viewos.monitor.router import Router
    from viewos.monitor.serving import Serving

_LISTENER = "anon_inode:seccomp notify"


def check_credentials(router: Router, pid: int) -> None:
    """Raises ViewosError: a process with other credentials than the monitor, or that has confined
    itself: modules run in the monitor, with its power."""
    try:
        task, _ = router.tasks.get(pid)
        state = router.view.states.found_in(pid)
        is_like = task.like_us and (state is None or not state.confined)
    except PermissionError:
        is_like = False
    except OSError:
        raise ViewosError("the process that asks has ended") from None
    if not is_like:
        raise ViewosError(
            "only a process with the user, groups, capabilities, name spaces and security label of"
            " the view's monitor may do this"
        )


def enter(
    nesting: Nesting, number: int, pid: int, directory: bytes, *, from_within: bool
) -> dict[str, Any]:
    """What a process needs to know to become one of a view: {filter, chdir}.

    From within a view of this monitor no filter is needed: it may enter by its prctl(2).
    """
    router = nesting.levels[number].router
    check_credentials(router, pid)
    if from_within:
        nesting.let_in(pid, number)
        program = b""
    elif router.view.states.found_in(pid) is not None:
        raise ViewosError("a process of this view's monitor is asked for through its view")
    else:
        with nesting.lock:
            program = bpf.build(nesting.trapped)
    virtual, real = router.resolver.canonical(directory)
    is_claimed = router.view.claims.find(virtual) is not None
    chdir = entered(directory, real) if is_claimed else None
    return {
        "filter": base64.b64encode(program).decode(),
        "chdir": None if chdir is None else os.fsdecode(chdir),
    }


def attach(
    nesting: Nesting, serving: Serving | None, number: int, pid: int, descriptors: list[int]
) -> None:
    """Serve the listener of a process that has installed the filter, by the help of another where a
    second descriptor leads to that. Raises ViewosError."""
    router = nesting.levels[number].router
    check_credentials(router, pid)
    if not 1 <= len(descriptors) <= 2 or not _is_listener(descriptors[0]):
        raise ViewosError("attach takes a listener of seccomp, and perhaps the socket of a helper")
    if serving is None:
        raise ViewosError("this view is a Python program's own, and takes no programs from outside")
    listener, *others = [os.dup(fd) for fd in descriptors]
    helper = Helper(socket.socket(fileno=others[0])) if others else None
    states = router.view.states
    # The process carries its state before the first call is answered.
    try:
        states.write(pid, states.initial._replace(view=number, locks=locks_of(pid)))
    except PermissionError as error:
        raise ViewosError(
            "the RLIMIT_LOCKS of the process cannot be set, in which views keep what they know of"
            " one: its hard limit is low, or prlimit(2) forbidden"
        ) from error
    serving.add(listener, helper)


def _is_listener(fd: int) -> bool:
    try:
        return os.readlink(f"/proc/self/fd/{fd}") == _LISTENER
    except OSError:
        return False
