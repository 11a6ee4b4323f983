"""What an execve really runs: scripts and loaders, resolved in the view.

What the kernel would look up by itself, outside of the view, is resolved here first: the
interpreter of a script (binfmt_script's rules: 256 bytes, one argument, nesting of 4), and the
loader of an ELF file.
"""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING

from viewos.claims import join
from viewos.kernel import AT_FDCWD
from viewos.monitor.binfmt import (
    ELF64,
    loader_of,
    needs_libraries,
    parse_shebang,
    read_head,
    takes_argv0,
)
from viewos.monitor.copies import Copy, copied, keep_source
from viewos.monitor.links import below_root
from viewos.monitor.pathcalls import resolve_path
from viewos.monitor.permission import Unseen, can_check, refuse_what_is_written
from viewos.monitor.place import Place
from viewos.monitor.scratch import scratch_directory
from viewos.monitor.standins import MOST_LINKS, linked
from viewos.monitor.task import flags_in, is_like_us

if TYPE_CHECKING:
    from viewos.call import Call
    from viewos.monitor.router import Router

MAX_NESTING = 4
_LARGEST_COPY = 8 << 20
"""Bytes of a program of which a copy is made to save time."""
_DELETED = b" (deleted)"
_EM_386, _EM_X86_64, _ELFCLASS64 = 3, 62, 2


class Program:
    """What is to be executed, after all scripts and loaders have been looked through."""

    def __init__(self, place: Place, name: bytes, argv: list[bytes | int]) -> None:
        """`name` is the caller's string, or the kernel's for what a descriptor leads to: what
        scripts and AT_EXECFN see."""
        self.place, self.name, self.argv = place, name, argv
        self.given = name
        self.readable = place.real
        """A path by which we reach the file."""
        self.rebuilt = False
        """argv is not the caller's own array any more."""
        self.comm: bytes | None = None
        """The name of the process, where the kernel would take another."""
        self.executable: bytes | None = None
        """The program behind a loader: what /proc/self/exe has to show."""
        self.interpreter = b""
        """As it names that loader."""
        self.words: list[bytes] = []
        """What scripts put in the place of the caller's argv[0]."""
        self.elsewhere = False
        """An interpreter or a loader is another one in the view than outside."""
        self.loader = self.loader_real = b""
        """The one that opens an ELF file's libraries, and where it is; b"": it has none, or nobody
        asks."""
        self.is_asked = False
        """Its caller executes what it is handed over: handover.py."""
        self.original: bytes | None = None
        """The program, of which a copy is executed."""
        self.copy: Copy | None = None
        self.is_copy = False
        """`place` is a copy that names the loader by its real path."""
        self.descriptor: int | None = None
        """Of the caller: `given` leads through it."""
        self.file_name = b""
        """What a magic link says of it, if there is one."""
        self.is_nameless = False
        """The view has no name of it: a memfd, or a file that was removed."""
        self.unseen: list[Unseen] = []
        """What the kernel is to say whether the caller may execute it."""
        self.is_secure = False
        """It will have more rights than its caller (AT_SECURE)."""
        self.is_known_by_file = False
        """The process gets the name of the file that is executed, and not of the descriptor."""


class NoInterpreterError(OSError):
    """The view does not have it."""


def named(real: bytes) -> Place:
    """A file that has the same name in the view and outside."""
    return Place(real, real, None, True)


def look_through(router: Router, call: Call, program: Program, argv_at: int) -> bool:
    """Resolve interpreters in the view; True where the kernel would find the same by itself."""
    natural = True
    for nesting in range(MAX_NESTING + 2):
        head = read_head(program.readable)
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
    _leave(call, program)
    if program.descriptor is not None and _is_closed_on_exec(call, program.descriptor):
        raise OSError(errno.ENOENT, "closed on exec")
    place = resolve_path(router, call, interpreter, intent="read")
    natural = place.plain and program.place.plain
    program.elsewhere |= not place.plain
    if not program.rebuilt:
        program.argv = list(router.memory.read_pointers(call.tid, call.raw[argv_at]))
        if program.argv:  # the kernel reads it, and drops it then
            router.memory.read(call.tid, int(program.argv[0]), 1)
        program.comm = os.path.basename(program.name)[:15]
    if program.is_known_by_file:
        program.comm = os.path.basename(place.real)[:15]
    program.is_nameless = False
    words = [interpreter]
    if argument is not None:
        words.append(argument)
    words.append(program.name)
    program.argv = [*words, *program.argv[1:]]
    program.words = [*words, *program.words[1:]]
    program.rebuilt = True
    program.place, program.readable, program.name = place, place.real, interpreter
    if not os.path.lexists(place.real):
        raise NoInterpreterError(errno.ENOENT, "interpreter", interpreter)
    return natural


def _leave(call: Call, program: Program) -> None:
    """The kernel will not be handed what `program` is now, but what executes that: so it is asked
    of it, here or, for a caller that may do less or more than we, in the caller."""
    is_like = is_like_us(call, call.task)
    if is_like or not can_check():
        refuse_what_is_written(program.readable)
    if not is_like:
        program.unseen = [*program.unseen, Unseen(program.name, program.place)]


def refuse_32_bits(router: Router, name: bytes, head: bytes) -> None:
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
    refuse_32_bits(router, program.name, head)
    interpreter = loader_of(program.readable)
    if interpreter is None:
        return True
    executed: Copy | None = router.view.standins.copied.get(program.file_name)
    if executed is not None:  # a program whose name has gone executes itself
        interpreter = executed.loader
    place = resolve_path(router, call, interpreter, intent="read")
    if program.is_asked and needs_libraries(program.readable):
        program.loader, program.loader_real = interpreter, place.real
    # By that name the kernel finds it in the caller's root directory, and we in ours.
    is_ours = router.tasks.get(call.tid)[1] == b"/" and _same_file(place.real, interpreter)
    if place.plain or is_ours:
        return True
    _leave(call, program)
    if program.is_nameless or program.is_secure or not takes_argv0(place.real):
        _take_copy(router, program, place.real)
        return False
    if _may_be_copied(router, call, program):
        with suppress(OSError):  # there is no room for it
            _take_copy(router, program, place.real)
            return False
    path = below_root(router, call, program.place.virtual)
    if not program.rebuilt:
        program.argv = list(router.memory.read_pointers(call.tid, call.raw[argv_at]))
        path = _relative(router, call, program) or path
    if program.comm is None:
        program.comm = os.path.basename(program.name)[:15]
    program.executable, program.interpreter = program.place.real, interpreter
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
    router.view.standins.loaders.add(place.real)
    return False


def _may_be_copied(router: Router, call: Call, program: Program) -> bool:
    """May there be one copy more, of a program for which there is another way? Its permissions are
    ours, and it lies outside of any other root directory."""
    if not is_like_us(call, call.task) or call.task.link("root") != b"/":
        return False
    try:
        if os.statvfs(scratch_directory(router.view)).f_flag & os.ST_NOEXEC:
            return False
    except FileNotFoundError:  # somebody has cleaned up: it is made anew
        pass
    except OSError:
        return False
    return os.path.getsize(program.readable) <= _LARGEST_COPY


def _take_copy(router: Router, program: Program, loader: bytes) -> None:
    """Execute what names the loader by its real path, where that could not be told argv[0], or what
    to execute. glibc's dies of an assertion when it drops variables of a secure program that it was
    told of."""
    name = program.comm or os.path.basename(program.name)[:15]
    copy = copied(router.view, program.readable, loader, program.file_name)
    originals, gone = router.view.standins.originals, program.file_name
    program.original = originals.get(gone, gone) if program.is_nameless else program.place.real
    originals[copy.path] = program.original
    if program.is_nameless or program.place.best:
        keep_source(router.view, copy.path, program.readable, gone)
    program.copy, path = copy, copy.path
    if os.path.basename(path)[:15] != name and len(router.view.standins.files) < MOST_LINKS:
        path = linked(router.view, path, name)
    program.place = named(path)
    program.comm, program.elsewhere, program.is_copy = name, True, True


def _relative(router: Router, call: Call, program: Program) -> bytes | None:
    """The caller's string, where the loader may find the program by it alone: directories above
    the working directory ask for nothing. None: there is another way, for $ORIGIN is to show the
    program's own name; or links are in it."""
    name = program.name
    if call.name != "execve" or name[:1] == b"/":
        return None
    if is_like_us(call, call.task) and not program.place.best:
        return None
    start = router.resolver.start(call.task, AT_FDCWD, router.cwd_hint(call))
    if start is None or os.path.normpath(join(start.virtual, b"/" + name)) != program.place.virtual:
        return None
    return name if b"/" in name else b"./" + name


def opened(router: Router, call: Call, fd: int) -> Program | None:
    """The program that a descriptor of the caller leads to; None: it is none that runs."""
    link, name = b"/proc/%d/fd/%d" % (call.tid, fd), b"/dev/fd/%d" % fd
    program = linked_to(router, link, Program(named(link), name, []))
    if program is None:
        return None
    program.descriptor = fd
    program.is_known_by_file = _names_by_file()
    if program.is_known_by_file:
        program.comm = os.path.basename(program.file_name)[:15]
    return program


def linked_to(router: Router, link: bytes, program: Program) -> Program | None:
    """The same with the file's own name in its place, which outlives the descriptor that a magic
    link stands for."""
    try:
        text = os.readlink(link)
        if not os.path.isfile(link):
            return None
    except OSError:
        return None
    program.file_name = text.removesuffix(_DELETED)
    virtual = router.resolver.claims.reverse(text)
    if virtual is None or not _same_file(text, link):
        program.is_nameless = True
    else:
        program.place = program.place._replace(virtual=virtual, real=text)
        program.readable = text
    return program


def _is_closed_on_exec(call: Call, fd: int) -> bool:
    """Is it so of a descriptor of the caller?"""
    try:
        with open(f"/proc/{call.tid}/fdinfo/{fd}", "rb", buffering=0) as file:
            return bool(flags_in(file.read()) & os.O_CLOEXEC)
    except OSError:
        return False  # the kernel says of what it fails


_TRIAL = """import os, sys
os.execve(os.open(sys.executable, os.O_RDONLY), [sys.executable, "-ISc", sys.argv[1]], {})"""


@cache
def _names_by_file() -> bool:
    """Does a process get the name of the file that it executes by a descriptor? Since Linux 6.14,
    and in some stable series before: it is tried there."""
    major, minor = os.uname().release.split(".")[:2]
    if (int(major), int(minor)) >= (6, 14):
        return True
    import subprocess  # no start waits for it

    argv = [sys.executable, "-ISc", _TRIAL, "print(open('/proc/self/comm').read())"]
    try:
        said = subprocess.run(argv, check=False, capture_output=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return False
    return bool(said) and not said.isdigit()


def _same_file(one: bytes, other: bytes) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False
