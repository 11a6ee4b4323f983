"""execve in a view: `#!` interpreters, program loaders, and the names that the new program sees.

The kernel runs the program in the tracee, by fix-up. What it would look up by itself, outside of
the view, is resolved here first: the interpreter of a script (binfmt_script's rules: 256 bytes, one
argument, nesting of 4), and the loader of an ELF file.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from viewos.abi.fcntl import AT_EXECVE_CHECK
from viewos.abi.row import signed32
from viewos.abi.syscalls import TABLE
from viewos.claims import join
from viewos.files import File
from viewos.kernel import AT_FDCWD, NR, syscall
from viewos.monitor.binfmt import ELF64, loader_of, parse_shebang, read_head
from viewos.monitor.initial import hide_loader, patch_auxiliary
from viewos.monitor.links import below_root
from viewos.monitor.outcome import CONTINUE, FIX_UP, Outcome
from viewos.monitor.pathcalls import (
    fix_up_paths,
    may_continue,
    resolve_all,
    resolve_path,
    tracee_string,
)
from viewos.monitor.paths import KERNEL, Place
from viewos.monitor.rewrite import Argument, Rewrite, vector
from viewos.monitor.standins import linked, relinked, scripted, undisguise
from viewos.monitor.traced import ExecStop
from viewos.tuples import NamedTuple
from viewos.view import ProcessState

if TYPE_CHECKING:
    from viewos.call import Call
    from viewos.monitor.router import Router

MAX_NESTING = 4
AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW = 0x1000, 0x100
PR_SET_NAME = 15
_MOST_LINKS = 1000
"""In the scratch directory, of all names that programs have had."""
_EM_386, _EM_X86_64, _ELFCLASS64 = 3, 62, 2


class Program:
    """What is to be executed, after all scripts and loaders have been looked through."""

    def __init__(self, place: Place, name: bytes, argv: list[bytes | int]) -> None:
        """`name` is the caller's string: what scripts and AT_EXECFN see."""
        self.place, self.name, self.argv = place, name, argv
        self.rebuilt = False
        """argv is not the caller's own array any more."""
        self.comm: bytes | None = None
        """The name of the process, where the kernel would take another."""
        self.executable: bytes | None = None
        """The program behind a loader: what /proc/self/exe has to show."""
        self.words: list[bytes] = []
        """What scripts put in the place of the caller's argv[0]."""
        self.elsewhere = False
        """An interpreter or a loader is another one in the view than outside."""


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
    natural = look_through(router, call, program, at + 1)
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
    _refuse_32_bits(router, name, head)
    return _run_unchanged(router, call, _after(router, call, Program(_place(path), name, [])))


def _place(real: bytes) -> Place:
    return Place(real, real, None, True)


def _as_the_kernel_finds_it(router: Router, call: Call) -> tuple[bytes, bytes]:
    """(the caller's string, a path of ours that leads to the same file)."""
    at = 0 if call.name == "execve" else 1
    name = router.memory.read_string(call.tid, call.raw[at])
    dirfd = signed32(call.raw[0]) if at else AT_FDCWD
    if name[:1] == b"/":
        return name, b"/proc/%d/root%s" % (call.tid, name)
    start = b"cwd" if dirfd == AT_FDCWD else b"fd/%d" % dirfd
    return name, b"/proc/%d/%s%s" % (call.tid, start, b"/" + name if name else b"")


# ---- looking through scripts and loaders --------------------------------------------------------


def look_through(router: Router, call: Call, program: Program, argv_at: int) -> bool:
    """Resolve interpreters in the view; True where the kernel would find the same by itself."""
    natural = True
    for nesting in range(MAX_NESTING + 2):
        head = read_head(program.place.real)
        if head[:2] == b"#!":
            line = parse_shebang(head)
            if line is None:
                return natural
            if nesting > MAX_NESTING:
                raise OSError(errno.ELOOP, "interpreters")
            natural = _through_script(router, call, program, argv_at, line) and natural
        elif head[:4] == b"\x7fELF":
            return _through_loader(router, call, program, argv_at, head) and natural
        else:
            return natural
    return natural


def _through_script(
    router: Router, call: Call, program: Program, argv_at: int, line: tuple[bytes, bytes | None]
) -> bool:
    interpreter, argument = line
    place = resolve_path(router, call, interpreter, intent="read")
    natural = place.plain and program.place.plain
    program.elsewhere |= not place.plain
    if not program.rebuilt:
        program.argv = list(router.memory.read_pointers(call.tid, call.raw[argv_at]))
        program.comm = os.path.basename(program.name)[:15]
    words = [interpreter]
    if argument is not None:
        words.append(argument)
    words.append(program.name)
    program.argv = [*words, *program.argv[1:]]
    program.words = [*words, *program.words[1:]]
    program.rebuilt = True
    script = program.place.real
    program.place, program.name = place, interpreter
    if not os.path.lexists(place.real):
        _check(script)
        raise OSError(errno.ENOENT, "interpreter")
    return natural


def _check(real: bytes) -> None:
    """Raise what the kernel says of a file before it looks at what is in it (ETXTBSY)."""
    try:
        syscall(NR["execveat"], AT_FDCWD, real, None, None, AT_EXECVE_CHECK)
    except OSError as error:
        if error.errno != errno.EINVAL:  # before Linux 6.14
            raise


def _refuse_32_bits(router: Router, name: bytes, head: bytes) -> None:
    """Raise OSError ENOEXEC for a 32-bit program: its system calls would all fail."""
    if head[:4] != b"\x7fELF" or len(head) < ELF64.size:
        return
    ident, _kind, machine = ELF64.unpack_from(head)[:3]
    if machine == _EM_386 or (machine == _EM_X86_64 and ident[4] != _ELFCLASS64):
        router.log.warning(
            f"{os.fsdecode(name)}: a 32-bit program cannot run in a view (its system calls have"
            " another table): use a 64-bit one"
        )
        raise OSError(errno.ENOEXEC, "32-bit program")


def _through_loader(
    router: Router, call: Call, program: Program, argv_at: int, head: bytes
) -> bool:
    """Resolve PT_INTERP in the view; refuse a 32-bit program."""
    if len(head) < ELF64.size:
        return True
    _refuse_32_bits(router, program.name, head)
    interpreter = loader_of(program.place.real)
    if interpreter is None:
        return True
    place = resolve_path(router, call, interpreter, intent="read")
    if place.plain or _same_file(place.real, interpreter):
        return True
    path = below_root(router, call, program.place.virtual)
    if not program.rebuilt:
        program.argv = list(router.memory.read_pointers(call.tid, call.raw[argv_at]))
        path = _relative(router, call, program) or path
    if program.comm is None:
        program.comm = os.path.basename(program.name)[:15]
    program.executable = program.place.real
    program.elsewhere = True
    first: bytes | int = program.argv[0] if program.argv else b""
    program.argv = [
        interpreter,
        b"--argv0",
        first,
        path,
        *program.argv[1:],
    ]
    program.rebuilt = True
    program.place = place
    router.view.loaders.add(place.real)
    return False


def _relative(router: Router, call: Call, program: Program) -> bytes | None:
    """The caller's string, where the loader finds the program by it as the kernel would:
    directories above the working directory ask for nothing. None: links are in it, which $ORIGIN
    is not to show."""
    name = program.name
    if call.name != "execve" or name[:1] == b"/":
        return None
    start = router.resolver.start(call.task, AT_FDCWD, router.cwd_hint(call))
    if start is None or os.path.normpath(join(start.virtual, b"/" + name)) != program.place.virtual:
        return None
    return name if b"/" in name else b"./" + name


def _same_file(one: bytes, other: bytes) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


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
    stops of the program; else `real`."""
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
