"""execve in a view: the kernel runs the program in the tracee, by fix-up, with the names that it
is to see. What really is executed says interpreters.py.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from viewos.abi.fcntl import AT_EXECVE_CHECK
from viewos.abi.row import signed32
from viewos.abi.syscalls import TABLE
from viewos.files import File
from viewos.kernel import AT_FDCWD
from viewos.monitor import handover, outside
from viewos.monitor.binfmt import parse_shebang, read_head
from viewos.monitor.copies import copied
from viewos.monitor.initial import base_of, hide_loader, padded, patch_auxiliary
from viewos.monitor.interpreters import (
    MAX_NESTING,
    NoInterpreterError,
    Program,
    linked_to,
    look_through,
    named,
    opened,
    refuse_32_bits,
)
from viewos.monitor.memory import Fault
from viewos.monitor.outcome import CONTINUE, FIX_UP, Outcome
from viewos.monitor.pathcalls import (
    fix_up_paths,
    may_continue,
    resolve_all,
    tracee_string,
)
from viewos.monitor.permission import questions
from viewos.monitor.place import KERNEL, Place
from viewos.monitor.rewrite import Argument, Rewrite, vector
from viewos.monitor.standins import MOST_LINKS, linked, scripted, undisguise
from viewos.monitor.task import is_like_us
from viewos.monitor.traced import ExecStop
from viewos.tuples import NamedTuple
from viewos.view import ProcessState

if TYPE_CHECKING:
    from viewos.call import Call
    from viewos.monitor.router import Router

AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW = 0x1000, 0x100
PR_SET_NAME = 15
AT_SECURE = 23
_OF_THE_READER = (
    (b"/proc/self/", b"/proc/%d/"), (b"/proc/thread-self/", b"/proc/%d/"),
    (b"/dev/fd/", b"/proc/%d/fd/"),
)  # fmt: skip
"""Names that lead to something else for the monitor."""


def execve(router: Router, call: Call) -> int | Outcome:
    """execve(2), execveat(2)."""
    told = handover.failed(router, call)
    if told is not None:
        return told
    if not router.view.claims:
        return _without_claims(router, call)
    places = resolve_all(router, call)
    if places is None:
        return CONTINUE
    place, flags = places[0], 0
    at = 0 if call.name == "execve" else 1
    if call.name == "execveat":
        flags = signed32(call.raw[4])
        if flags & ~(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | AT_EXECVE_CHECK):
            return CONTINUE  # it fails, and the kernel knows of what
    if place is KERNEL:
        return _of_descriptor(router, call, flags)
    if flags & AT_EXECVE_CHECK or (flags & AT_SYMLINK_NOFOLLOW and os.path.islink(place.real)):
        return CONTINUE if may_continue(router, place) else fix_up_paths(router, call, places)
    name = router.memory.read_string(call.tid, call.raw[at])
    # What stood in for a script comes to its interpreter.
    if name in router.view.standins.originals:
        _forget(router, call)
        return CONTINUE
    program = Program(place, name, [])
    if place.target is not None:
        linked_to(router, place.real, program)
    if place.best and at == 0 and name[:1] != b"/":  # below a directory that may not be searched
        program.readable = b"/proc/%d/cwd/%s" % (call.tid, name)
        shown = os.path.normpath(place.virtual), os.path.normpath(place.real)
        program.place = place._replace(virtual=shown[0], real=shown[1])
    dirfd = signed32(call.raw[0]) if at else AT_FDCWD
    if dirfd != AT_FDCWD and name[:1] != b"/":
        program = Program(place, b"/dev/fd/%d/%s" % (dirfd, name), [])
        program.descriptor = dirfd
    try:
        natural, after = _look(router, call, program, at + 1)
    except Fault:  # of the arguments: the kernel would not come so far by the caller's own string
        if may_continue(router, place):
            raise
        raise OSError(errno.EFAULT, "argv") from None
    except NoInterpreterError as error:
        if is_like_us(call, call.task) or os.path.lexists(error.filename):
            raise
        # The kernel knows what such a program may execute, and does not find it either.
        return CONTINUE if may_continue(router, place) else fix_up_paths(router, call, places)
    if natural and may_continue(router, place) and after == After(call.process_state, {}):
        _forget(router, call)
        return CONTINUE
    return _run(_Execution(router, call, program, place, at, after))


def _of_descriptor(router: Router, call: Call, flags: int) -> int | Outcome:
    """execveat(2) with AT_EMPTY_PATH: the kernel has the file, and the view its interpreters."""
    if call.name != "execveat" or not flags & AT_EMPTY_PATH or flags & AT_EXECVE_CHECK:
        return CONTINUE
    if router.memory.read_string(call.tid, call.raw[1]):
        return CONTINUE
    program = opened(router, call, signed32(call.raw[0]))
    if program is None:
        return CONTINUE
    place = program.place
    natural, after = _look(router, call, program, 2)
    if not natural:
        return _run(_Execution(router, call, program, place, 1, after))
    _forget(router, call)
    if after == After(call.process_state, {}):
        return CONTINUE
    return _run_unchanged(router, call, after)


def _look(router: Router, call: Call, program: Program, argv_at: int) -> tuple[bool, After]:
    """See `look_through`, and `After`."""
    program.is_asked = handover.is_asked(router, call)
    before = dict(vars(program))
    natural = look_through(router, call, program, argv_at)
    after = _after(router, call, program)
    if program.executable is not None and after.auxiliary.get(AT_SECURE):
        vars(program).update(before, is_secure=True)
        look_through(router, call, program, argv_at)
    return natural, after


def _forget(router: Router, call: Call) -> None:
    """The program may have the set-user-ID bit, and gets the group's id whichever thread calls."""
    router.tasks.executes(call.pid, call.tid)


def _without_claims(router: Router, call: Call) -> int | Outcome:
    _forget(router, call)
    if not any(getattr(module, "executed", None) for module in router.view.modules):
        return CONTINUE
    if call.name == "execveat" and call.raw[4] & AT_EXECVE_CHECK:
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
        for of_reader, of_caller in _OF_THE_READER:
            if name.startswith(of_reader):
                return name, of_caller % call.tid + name[len(of_reader) :]
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
    file = File(path=program.executable or program.original or program.place.real)
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


class _Execution(NamedTuple):
    """A call, and what it is to come to."""

    router: Router
    call: Call
    program: Program
    place: Place
    """To which the caller's string leads."""
    at: int
    """Which argument that is."""
    after: After


def _run(execution: _Execution) -> int | Outcome:
    router, call, program, place, at, after = execution
    name = program.given
    is_outside = outside.needs_descriptor(router, call, program.place, relative=True)
    if is_outside:
        real = b"./" + os.path.basename(program.place.real)
    else:
        real = tracee_string(router, call, program.place)
    wanted = program.comm or os.path.basename(name)[:15]
    string = padded(_named(router, call, program, real), len(name))
    is_same = place.plain and not (program.rebuilt or program.is_copy or is_outside)
    if is_same and name[:8] != b"/dev/fd/":
        string = name  # a link at its end gives the process its name
    elif program.comm is None and os.path.basename(string)[:15] != wanted:
        program.comm = wanted
    row = TABLE["execve"]

    def at_exec(stop: ExecStop) -> None:
        loaded = {} if program.executable is None else base_of(stop, program.place.real)
        told = name if len(name) <= len(string) else None
        patch_auxiliary(stop, after.auxiliary | loaded, told)
        if program.comm is not None:
            stop.remote_call(157, [PR_SET_NAME, program.comm + b"\0"])
        if program.executable is not None:
            hide_loader(stop)
            handover.loads(router, stop, program.interpreter)
        if program.is_copy:
            with suppress(OSError):
                undisguise(router.view, stop.pid, name)
        _write_state(router, stop, after.state)
        _forget(router, call)

    argv: Argument = vector(program.argv) if program.rebuilt else call.raw[at + 1]
    if program.is_asked and program.executable is None and not program.unseen:
        handed = _hand_over(execution, string, argv)
        if handed is not None:
            return handed
    envp = call.raw[at + 2]
    rewrite = Rewrite(
        row.number, [string + b"\0", argv, envp], row.cookie.arg, row.cookie.shift,
        at_exec=at_exec, before=questions(router, call, program.unseen, place),
    )  # fmt: skip
    if is_outside:
        rewrite = outside.execute(router, call, rewrite, program.place.parent)

    def strings() -> tuple[dict[int, bytes] | None, Callable[[], None]]:
        """For a thread that cannot be traced: the kernel looks through the script once more."""
        path: bytes | None
        if program.elsewhere:
            path = _stand_in(router, program, real, program.comm or os.path.basename(name))
        else:
            path = tracee_string(router, call, place)
        wanted = None if path is None else {at: path}
        return wanted, lambda: undisguise(router.view, call.pid, name, path)

    _forget(router, call)
    return router.fix_up(call, rewrite, strings, plain=place.plain and not program.elsewhere)


def _hand_over(execution: _Execution, string: bytes, argv: Argument) -> int | None:
    """See handover.py; None: it cannot be done so."""
    router, call, program, place, _, after = execution
    name, ids = program.given, after.auxiliary
    state = None if after.state == call.process_state else after.state
    if len(name) > len(string):
        return None
    try:
        if program.comm is not None:
            if len(router.view.standins.files) >= MOST_LINKS:
                return None
            string = padded(linked(router.view, program.place.real, program.comm), len(name))
        beginning = None
        if string != name or ids or state is not None:
            if string == name or not handover.can_begin(program.loader, ids):
                return None
            header = None if program.copy is None else program.copy.header
            beginning = handover.Beginning(string, name, ids, header, state)
    except OSError:
        return None
    handed = handover.hand_over(router, call, string, argv, beginning)
    if handed is None:
        return None
    _forget(router, call)
    if state is None and not program.rebuilt:
        stands_in = program.is_copy or program.comm is not None
        _teach(execution, string if stands_in else place.real)
    return handed


def _teach(execution: _Execution, string: bytes) -> None:
    router, _, program, place, _, after = execution
    name = os.path.basename(string)[:15]
    is_known = handover.can_begin(program.loader, after.auxiliary)
    if not is_known or name != os.path.basename(program.given)[:15]:
        return
    with suppress(OSError):
        loader = program.loader, program.loader_real
        handover.teach(router, handover.Taught(place.real, name, *loader, string, program.copy))


def _named(router: Router, call: Call, program: Program, real: bytes) -> bytes:
    """A path of the loader by which the kernel itself gives the process its name, which saves two
    stops of the program; else `real`. A copy has the name already."""
    if program.is_copy:
        if os.path.basename(real)[:15] == program.comm:
            program.comm = None
        return real
    task, root = router.tasks.get(call.tid)
    if not program.executable or not program.comm or root != b"/" or not task.like_us:
        return real
    if len(router.view.standins.files) >= MOST_LINKS:
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
        path = linked(view, copied(view, executable, real).path, name)
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
