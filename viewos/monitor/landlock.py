"""Landlock: the kernel judges what a program forbids itself; rules reach mounts, and so claims."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from viewos.abi.row import signed32
from viewos.claims import lies_in
from viewos.kernel import syscall
from viewos.monitor.namespaces import is_view
from viewos.monitor.outcome import CONTINUE, Outcome

if TYPE_CHECKING:
    from viewos.call import Call
    from viewos.monitor.router import Router

PATH_BENEATH = 1
"""LANDLOCK_RULE_PATH_BENEATH (linux/landlock.h)."""
_BENEATH = struct.Struct("=Qi")
_OF_FILES = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 14 | 1 << 15
"""EXECUTE, WRITE_FILE, READ_FILE, TRUNCATE, IOCTL_DEV: what a rule may allow for a file."""


def restrict_self(router: Router, call: Call) -> int | Outcome:
    """landlock_restrict_self(2): from now on the kernel judges every path call of this task
    itself."""
    state = call.process_state
    if not state.confined:
        router.set_process_state(call, state._replace(confined=True))
    return CONTINUE


def add_rule(router: Router, call: Call) -> int | Outcome:
    """landlock_add_rule(2): the kernel allows what lies beneath a directory, in whichever mount.

    A claim is no mount of the kernel's, so its backing gets the rule as well."""
    if call.raw[1] & 0xFFFFFFFF != PATH_BENEATH:
        return CONTINUE
    access, parent = _BENEATH.unpack(router.memory.read_exact(call.tid, call.raw[2], 12))
    backings = list(_beneath(router, call, parent))
    if not backings:
        return CONTINUE
    with ExitStack() as copies:
        try:
            fds: list[int] = []
            for fd in (signed32(call.raw[0]), parent):
                fds.append(router.descriptor_of(call, fd))
                copies.callback(os.close, fds[-1])
            _allow(call, fds[0], access, fds[1])
        except OSError as error:
            if error.errno == errno.EMFILE:
                raise
            return CONTINUE  # the kernel finds the same, and says so in its order
        for real in backings:
            _allow_backing(call, fds[0], access, real)
    return 0


def _beneath(router: Router, call: Call, parent: int) -> Iterator[bytes]:
    """The backings of the claims beneath a directory of the caller, by whichever of its names."""
    task, _ = router.tasks.get(call.tid)
    if not is_view(task):
        return
    try:
        real = task.link(f"fd/{parent}")
    except OSError:
        return
    claims = router.view.claims
    names = claims.names(real)
    for claim in claims:
        if claim.prefix not in names and any(lies_in(claim.prefix, name) for name in names):
            with suppress(OSError):  # of a module that has nothing there
                yield claims.forward(claim.prefix)[1]


def _allow(call: Call, rules: int, access: int, parent: int) -> None:
    data = _BENEATH.pack(access, parent)
    syscall(call.row.number, rules, PATH_BENEATH, data, call.raw[3] & 0xFFFFFFFF)


def _allow_backing(call: Call, rules: int, access: int, real: bytes) -> None:
    with suppress(OSError):  # it has gone, or nothing is left that applies to a file
        backing = os.open(real, os.O_PATH | os.O_CLOEXEC)
        try:
            _allow(call, rules, access if os.path.isdir(real) else access & _OF_FILES, backing)
        finally:
            os.close(backing)
