"""A mount name space of a process's own (unshare -m, bwrap): there the claims become real mounts.

In such a name space every name means something else, and the process goes on to change what is
mounted where. So it leaves the view; but before it makes its first call there, while all is still
as it was outside, it mounts what the view shows where the view shows it. It has the right to,
since it could make the name space.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Generator
from typing import TYPE_CHECKING

from viewos.abi.syscalls import TABLE
from viewos.claims import lies_in
from viewos.kernel import AT_FDCWD
from viewos.monitor.rewrite import Argument, Rewrite
from viewos.monitor.traced import Traced

if TYPE_CHECKING:
    from viewos.call import Call
    from viewos.claims import Claim
    from viewos.monitor.router import Router
    from viewos.monitor.task import Task

AT_EMPTY_PATH, AT_RECURSIVE = 0x1000, 0x8000
OPEN_TREE_CLONE, OPEN_TREE_CLOEXEC = 1, os.O_CLOEXEC
MOVE_MOUNT_F_EMPTY_PATH = 4
_READ_ONLY = struct.pack("=4Q", 1, 0, 0, 0)
"""A struct mount_attr that sets MOUNT_ATTR_RDONLY (linux/mount.h)."""

Steps = Generator[tuple[str, list[Argument]], int, list[bytes]]
"""Calls for the process to make; sent their results; returns the prefixes that failed."""


def is_view(task: Task) -> bool:
    """Are the task's mounts the monitor's? Those of another name space are, as far as paths go, as
    long as they are the same, and shared: what would be mounted there, would be seen outside."""
    if task.same_mounts or task.has_left or task.moving is not None:
        return task.same_mounts
    theirs = task.read("mountinfo")
    return b" shared:" in theirs and _mounts(theirs) == _our_mounts()


def _our_mounts() -> list[list[bytes]]:
    with open("/proc/self/mountinfo", "rb") as file:
        return _mounts(file.read())


def entered(router: Router, call: Call, task: Task) -> bool:
    """The caller is in a mount name space that is not the monitor's.

    True when it was made to do a part of what is to be done there first; then it makes its own
    call again.
    """
    if task.has_left or (task.moving is None and not _begin(router, call, task)):
        return False
    return _step(router, call, task)


def _begin(router: Router, call: Call, task: Task) -> bool:
    """Is the name space as it was outside, and nothing mounted there yet?"""
    theirs = task.read("mountinfo")
    if _mounts(theirs) != _our_mounts():
        task.has_left = True
        was_brought = task.link("ns/mnt") in router.tasks.brought
        if not was_brought and not all(_is_shown(call, claim) for claim in router.view.claims):
            _say(router, call, "it leaves the view, and its paths are real ones")
        return False
    task.moving = _steps(router, call, task), None
    return True


def _step(router: Router, call: Call, task: Task) -> bool:
    (steps, result), task.moving = task.moving, None
    try:
        name, args = next(steps) if result is None else steps.send(result)
    except StopIteration as end:
        task.has_left = True
        router.tasks.brought.add(task.link("ns/mnt"))
        if end.value:
            names = ", ".join(os.fsdecode(prefix) for prefix in end.value)
            _say(router, call, f"the view's {names} cannot be shown there")
        return False
    done: list[int] = []
    row = TABLE[name]
    rewrite = Rewrite(
        row.number, args, row.cookie.arg, row.cookie.shift,
        after=lambda result, _: done.append(result), again=True,
    )  # fmt: skip
    try:
        router.run_again(call, rewrite)
    except Traced:
        task.has_left = True
        _say(router, call, "a debugger traces it: it leaves the view, its paths are real ones")
        return False
    task.moving = (steps, done[0]) if done else (_again(steps, name, args), None)
    return True


def _again(steps: Steps, name: str, args: list[Argument]) -> Steps:
    """A signal came between: the same call once more, then the others."""
    while True:
        result = yield name, args
        try:
            name, args = steps.send(result)
        except StopIteration as end:
            return list(end.value)


def _say(router: Router, call: Call, what: str) -> None:
    router.log.warning(
        f"process {call.tid} is in another mount name space: {what}", once=f"mounts {call.pid}"
    )


def _mounts(text: bytes) -> list[list[bytes]]:
    """What is mounted where: device, root, and mount point of each mount."""
    return sorted(line.split(b" ")[2:5] for line in text.splitlines())


def _is_shown(call: Call, claim: Claim) -> bool:
    """Has the caller's name space the backing of a claim at its prefix?"""
    if claim.module is None and _is_small(claim):
        return True
    try:
        return os.path.samestat(
            os.stat(b"/proc/%d/root%s" % (call.tid, claim.prefix)), os.stat(claim.backing)
        )
    except OSError:
        return False


def _is_small(claim: Claim) -> bool:
    """A tree of a module's that is not all there, or a file that a view makes of a name."""
    return claim.module is not None or (claim.scratch and not os.path.isdir(claim.backing))


def _steps(router: Router, call: Call, task: Task) -> Steps:
    claims = sorted(router.view.claims, key=lambda claim: len(claim.prefix))
    wanted: list[Claim] = []
    for claim in claims:
        changes = bytes(claim.backing) != claim.prefix
        changes = changes or any(lies_in(claim.prefix, outer.prefix) for outer in wanted)
        if changes and not _is_small(claim):
            wanted.append(claim)
    failed: list[bytes] = [c.prefix for c in claims if c.module is not None]
    real = task.link("cwd")
    known = router.view.claims
    cwd = known.reverse(real, router.cwd_hint(call)) or next(iter(known.names(real)), b"/")
    trees: list[tuple[Claim, int]] = []
    for claim in wanted:  # all before the first is mounted: one may hide the backing of another
        flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE
        tree = yield "open_tree", [AT_FDCWD & 0xFFFFFFFF, claim.backing + b"\0", flags]
        if tree >= 0 and claim.read_only:
            args: list[Argument] = [tree, b"\0", AT_EMPTY_PATH, _READ_ONLY, len(_READ_ONLY)]
            if (yield "mount_setattr", args) < 0:
                failed.append(claim.prefix)
        trees.append((claim, tree))
    for claim, tree in trees:
        here = AT_FDCWD & 0xFFFFFFFF
        args = [tree, b"\0", here, claim.prefix + b"\0", MOVE_MOUNT_F_EMPTY_PATH]
        if tree < 0 or (yield "move_mount", args) < 0:
            failed.append(claim.prefix)
        elif claim.prefix == b"/":
            yield "fchdir", [tree]
            yield "chroot", [b".\0"]
    for _, tree in trees:
        if tree >= 0:
            yield "close", [tree]
    if trees and (cwd != real or trees[0][0].prefix == b"/"):
        yield "chdir", [cwd + b"\0"]
    return failed
