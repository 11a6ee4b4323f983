"""execve in a view: the kernel runs the program in the tracee, by fix-up, with the names that it
is to see. What really is executed says interpreters.py.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from viewos.abi.fcntl import AT_EXECVE_CHECK
from viewos.abi.row import signed32
from viewos.abi.syscalls import TABLE
from viewos.files import File
from viewos.kernel import AT_FDCWD
from viewos.monitor.binfmt import parse_shebang, read_head
from viewos.monitor.initial import hide_loader, patch_auxiliary
from viewos.monitor.interpreters import (
    MAX_NESTING,
    NoInterpreterError,
    Program,
    look_through,
    named,
    refuse_32_bits,
)
from viewos.monitor.outcome import CONTINUE, FIX_UP, Outcome
from viewos.monitor.pathcalls import (
    fix_up_paths,
    may_continue,
    resolve_all,
    tracee_string,
)
from viewos.monitor.paths import KERNEL, Place
from viewos.monitor.rewrite import Argument, Rewrite, vector
from viewos.monitor.standins import linked, relinked, scripted, undisguise
from viewos.monitor.task import is_like_us
from viewos.monitor.traced import ExecStop
from viewos.tuples import NamedTuple
from viewos.view import ProcessState

if TYPE_CHECKING:
    from viewos.call import Call
    from viewos.monitor.router import Router

AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW = 0x1000, 0x100
PR_SET_NAME = 15
_MOST_LINKS = 1000
"""In the scratch directory, of all names that programs have had."""


def execve(router: Router, call: Call) -> int | Outcome:
    """execve(2), execveat(2)."""
    if not router.view.claims:
        return _without_claims(router, call)
    places = resolve_all(router, call)
    if places is None or places[0] is KERNEL:
        return CONTINUE
    place = places[0]
    at = 0 if call.name == "execve" else 1
    if call.name == "execveat":
        flags = signed32(call.raw[4])
        if flags & ~(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | AT_EXECVE_CHECK):
            return CONTINUE  # it fails, and the kernel knows of what
        if flags & AT_SYMLINK_NOFOLLOW and os.path.islink(place.real):
            return CONTINUE if may_continue(router, place) else fix_up_paths(router, call, places)
    name = router.memory.read_string(call.tid, call.raw[at])
    if name in router.view.originals:  # what stood in for a script comes to its interpreter
        _forget(router, call)
        return CONTINUE
    dirfd = signed32(call.raw[0]) if at else -100
    if dirfd != -100 and name[:1] != b"/":  # as the kernel names it for scripts
        name = b"/dev/fd/%d/%s" % (dirfd, name)
    program = Program(place, name, [])
    try:
        natural = look_through(router, call, program, at + 1)
    except NoInterpreterError as error:
        if is_like_us(call, call.task) or os.path.lexists(error.filename):
            raise
        # The kernel knows what such a program may execute, and does not find it either.
        return CONTINUE if may_continue(router, place) else fix_up_paths(router, call, places)
    after = _after(router, call, program)
    if natural and may_continue(router, place) and after == After(call.process_state, {}):
        _forget(router, call)
        return CONTINUE
    return _run(router, call, program, place, at, after)


def _forget(router: Router, call: Call) -> None:
    """The program may have the set-user-ID bit, and gets the group's id whichever thread calls."""
    group = call.pid
    router.tasks.forget(group)
    router.tasks.forget(call.tid)


def _without_claims(router: Router, call: Call) -> int | Outcome:
    _forget(router, call)
    if not any(getattr(module, "executed", None) for module in router.view.modules):
        return CONTINUE
    name, path = _as_the_kernel_finds_it(router, call)
    for _ in range(MAX_NESTING + 2):
        head = read_head(path)
        line = parse_shebang(head) if head[:2] == b"#!" else None
        if line is None:
            break
        start = b"root" if line[0][:1] == b"/" else b"cwd/"
        path = b"/proc/%d/%s%s" % (call.tid, start, line[0])
    refuse_32_bits(router, name, head)
    return _run_unchanged(router, call, _after(router, call, Program(named(path), name, [])))


def _as_the_kernel_finds_it(router: Router, call: Call) -> tuple[bytes, bytes]:
    """(the caller's string, a path of ours that leads to the same file)."""
    at = 0 if call.name == "execve" else 1
    name = router.memory.read_string(call.tid, call.raw[at])
    dirfd = signed32(call.raw[0]) if at else AT_FDCWD
    if name[:1] == b"/":
        return name, b"/proc/%d/root%s" % (call.tid, name)
    start = b"cwd" if dirfd == AT_FDCWD else b"fd/%d" % dirfd
    return name, b"/proc/%d/%s%s" % (call.tid, start, b"/" + name if name else b"")


# ---- running it -----------------------------------------------------------------------------


class After(NamedTuple):
    """What modules want of a program that is about to begin."""

    state: ProcessState
    auxiliary: dict[int, int]


def _after(router: Router, call: Call, program: Program) -> After:
    after = After(call.process_state._replace(executable=program.executable), {})
    file = File(path=program.executable or program.place.real)
    for layer, module in router.view.layers.items():
        executed = getattr(module, "executed", None)
        if executed is not None:
            call.layer = layer
            kept, entries = executed(call, file)
            if kept is not None:
                after = after._replace(state=after.state.with_module(layer, kept))
            after.auxiliary.update(entries)
    return after


def _run_unchanged(router: Router, call: Call, after: After) -> int | Outcome:
    def at_exec(stop: ExecStop) -> None:
        patch_auxiliary(stop, after.auxiliary, None)
        _write_state(router, stop, after.state)

    rewrite = Rewrite(
        call.row.number, list(call.raw[: len(call.row.args)]), call.row.cookie.arg,
        call.row.cookie.shift, at_exec=at_exec,
    )  # fmt: skip
    return router.fix_up(call, rewrite, {}, plain=True)


def _padded(real: bytes, length: int) -> bytes:
    """The same path, at least `length` bytes long: the kernel keeps the string in the new program's
    memory, where it is overwritten with the caller's name."""
    missing = length - len(real)
    if missing <= 0:
        return real
    cut = real.rindex(b"/")
    return real[:cut] + b"/" * missing + real[cut:]


def _run(
    router: Router, call: Call, program: Program, place: Place, at: int, after: After
) -> int | Outcome:
    name = router.memory.read_string(call.tid, call.raw[at])
    real = tracee_string(router, call, program.place)
    string = _padded(_named(router, call, program, real), len(name))
    if place.plain and not program.rebuilt and (at == 0 or name[:1] == b"/"):
        string = name  # a link at its end gives the process its name
    elif program.comm is None and os.path.basename(string) != os.path.basename(name):
        program.comm = os.path.basename(name)[:15]
    row = TABLE["execve"]

    def at_exec(stop: ExecStop) -> None:
        patch_auxiliary(stop, after.auxiliary, name if len(name) <= len(string) else None)
        if program.comm is not None:
            stop.remote_call(157, [PR_SET_NAME, program.comm + b"\0"])
        if program.executable is not None:
            hide_loader(stop)
        if program.is_copy:
            with suppress(OSError):
                undisguise(router.view, stop.pid, name)
        _write_state(router, stop, after.state)
        _forget(router, call)

    argv: Argument = vector(program.argv) if program.rebuilt else call.raw[at + 1]
    envp = call.raw[at + 2]
    rewrite = Rewrite(
        row.number, [string + b"\0", argv, envp], row.cookie.arg, row.cookie.shift, at_exec=at_exec
    )

    def strings() -> tuple[dict[int, bytes] | None, Callable[[], None]]:
        """For a thread that cannot be traced: the kernel looks through the script once more."""
        path: bytes | None
        if program.elsewhere:
            path = _stand_in(router, program, real, program.comm or os.path.basename(name))
        else:
            path = tracee_string(router, call, place)
        wanted = None if path is None else {at: path}
        return wanted, lambda: undisguise(router.view, call.pid, name)

    _forget(router, call)
    return router.fix_up(call, rewrite, strings, plain=place.plain and not program.elsewhere)


def _named(router: Router, call: Call, program: Program, real: bytes) -> bytes:
    """A path of the loader by which the kernel itself gives the process its name, which saves two
    stops of the program; else `real`. A copy has the name already."""
    if program.is_copy:
        program.comm = None
        return real
    task, root = router.tasks.get(call.tid)
    if not program.executable or not program.comm or root != b"/" or not task.like_us:
        return real
    if len(router.view.standins) >= _MOST_LINKS:
        return real
    try:
        link = linked(router.view, real, program.comm)
    except OSError:  # no room: it will be told its name
        return real
    program.comm = None
    return link


def _stand_in(router: Router, program: Program, real: bytes, name: bytes) -> bytes | None:
    """The path of what stands in for a program; None: nothing can."""
    view, executable = router.view, program.executable
    if executable is None:
        path = linked(view, real, name)
    else:
        path = relinked(view, executable, real, name)
    return scripted(view, path, program.words, name) if program.words else path


def _write_state(router: Router, stop: ExecStop, state: ProcessState) -> None:
    states = router.view.states
    if state == states.read(stop.pid):
        return
    try:
        states.write(stop.pid, state)
    except PermissionError:
        pair = states.token(state).to_bytes(8, "little") + b"\xff" * 8
        stop.remote_call(TABLE["prlimit64"].number, [0, 10, pair, 0])


__all__ = ["FIX_UP", "execve"]
