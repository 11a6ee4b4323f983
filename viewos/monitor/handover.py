"""execve(2) and chdir(2) that a program makes itself, with the path that it is handed over.

Where a fix-up stops the program several times under ptrace(2), this takes two calls: the code in a
program's libc (inproc/code.c) asks with a mark and some room on its stack, and executes, or enters,
what it is told there. The new program's memory is put right when its loader makes the first call
that is trapped, before any instruction of its own.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING

from viewos.abi.row import signed64
from viewos.abi.syscalls import TABLE
from viewos.monitor.binfmt import LoaderHeader
from viewos.monitor.copies import Copy
from viewos.monitor.initial import AT_EXECFN, NewProgram, address_of, patch_auxiliary
from viewos.monitor.memory import Fault
from viewos.monitor.pathcalls import tracee_string
from viewos.monitor.place import KERNEL, Place
from viewos.monitor.rewrite import Argument, Scratch
from viewos.tuples import NamedTuple

if TYPE_CHECKING:
    from viewos.call import Call
    from viewos.monitor.router import Router
    from viewos.view import ProcessState

_MARK, _ROOM = 0x766965776F732078, 512
"""HAND_OVER of code.h, HANDED_ROOM of tables.h."""
HANDED_OVER = 1
_M64 = (1 << 64) - 1
_PATH_KEPT = 256
_PROGRAM = struct.Struct(f"=QQqQQ56s16s{4 * f'{_PATH_KEPT}s'}")
"""struct program of accelerator.h."""
_LOADER = rb"/ld-(linux-x86-64\.so\.2|2\.\d+\.so)\Z"
"""Loaders that make a call which is trapped before the program begins: they open its libc."""
_IDS = frozenset({11, 12, 13, 14})
"""AT_UID, AT_EUID, AT_GID, AT_EGID: what no loader looks at."""
_MOST = 4096
"""Programs that are about to begin; of one that was killed meanwhile nobody hears."""


class Beginning(NamedTuple):
    """What has to be put right in a program that is about to begin."""

    string: bytes
    """The kernel's name of its file (AT_EXECFN)."""
    name: bytes
    """The view's."""
    ids: Mapping[int, int]
    """Entries of the auxiliary vector that are others in the view."""
    header: LoaderHeader | None
    """Of the program, of which a copy that names another loader is executed."""
    state: ProcessState | None
    """Of the process from then on; None: as before."""


def mark(router: Router) -> int:
    """By which a program shows that it has the code for it."""
    return ~router.cookie & _M64 ^ _MARK


def is_asked(router: Router, call: Call) -> bool:
    """Does the program execute by itself what it is told? Another thread than the first would
    become that one, and who is not like us might not execute what we would tell."""
    return (
        call.name == "execve"
        and call.raw[3] == mark(router)
        and call.tid == call.pid
        and call.task.like_us
        and call.task.link("root") == b"/"
        and router.notification.engine.helper is None
    )


def failed(router: Router, call: Call) -> int | None:
    """What the program says of the call that it was to make, minus an errno; None: it asks."""
    if call.name != "execve" or call.raw[3] != mark(router):
        return None
    result = signed64(call.raw[4])
    if not -4096 < result < 0:
        return None
    router.nesting.beginnings.pop(call.tid, None)
    return 0  # nobody looks at it, but for EINTR, which would say that nobody has heard


def hand_over(
    router: Router, call: Call, string: bytes, argv: Argument, beginning: Beginning | None
) -> int | None:
    """The answer, with which the program executes `string`; None: there is no room for it."""
    scratch = Scratch([string + b"\0", argv])
    if 16 + scratch.size > _ROOM:
        return None
    room = call.raw[4]
    values, blob = scratch.place(room + 16)
    router.memory.write(call.tid, room, struct.pack("=2Q", *values) + blob)
    router.nesting.beginnings.pop(call.tid, None)
    if beginning is not None:
        _await(router, call.tid, beginning)
    return HANDED_OVER


def hand_directory(router: Router, call: Call, place: Place) -> int | None:
    """The answer to a chdir(2), with which the program enters the place itself; None: it has no
    code for that, or no room."""
    if call.raw[3] != mark(router) or place is KERNEL or place.best or not place.real:
        return None
    path = tracee_string(router, call, place) + b"\0"
    if len(path) > _ROOM:
        return None
    try:
        router.memory.write(call.tid, call.raw[4], path)
    except Fault:  # it is not our code that asks
        return None
    return HANDED_OVER


class Taught(NamedTuple):
    """How a program is executed, for the accelerator to do the same the next time."""

    file: bytes
    """Its real path."""
    name: bytes
    """Of the process."""
    loader: bytes
    """As the program names it."""
    loader_real: bytes
    string: bytes
    """What is executed."""
    copy: Copy | None
    """If that is one."""


def teach(router: Router, taught: Taught) -> None:
    """Let the accelerator hand over the program by itself. Raises OSError."""
    fast = router.nesting.levels[0].router.accelerator
    texts = taught.loader, taught.loader_real, taught.file, taught.string
    if fast is None or any(len(text) >= _PATH_KEPT for text in texts):
        return
    copy = taught.copy
    found = os.stat(taught.file, follow_symlinks=False) if copy is None else copy.file
    header = None if copy is None else copy.header
    data = _PROGRAM.pack(
        found.st_dev, found.st_ino, found.st_ctime_ns, header.offset if header else 0,
        header is not None, header.data if header else b"", taught.name, *texts,
    )  # fmt: skip
    fast.learn_program(router.number, data)


def can_begin(program_loader: bytes, ids: Mapping[int, int]) -> bool:
    """Can a program of that loader, b"" for none, be put right after it has begun?"""
    return re.search(_LOADER, program_loader) is not None and all(
        key in _IDS or not value for key, value in ids.items()
    )


class Loading(NamedTuple):
    """A program that its loader has not mapped yet. glibc's has AT_EXECFN point to the path then
    that it was told, and moves the auxiliary vector."""

    name: int
    """Where the view's name stands, to which the kernel had AT_EXECFN point."""
    calls: int = 8
    """In so many it is done at the latest."""

    def look(self, program: NewProgram) -> Loading | None:
        """At a call of the program; None: nothing more is to be done. Raises OSError."""
        if program.auxiliary.get(AT_EXECFN) != self.name:  # it is another program
            return None
        word = address_of(program, AT_EXECFN)
        key, at = struct.unpack("=2Q", program.read(word - 8, 16))
        if key == AT_EXECFN and at == self.name:
            return self._replace(calls=self.calls - 1) if self.calls else None
        if key == AT_EXECFN:
            program.write(word, struct.pack("=Q", self.name))
        return None


def loads(router: Router, program: NewProgram, loader: bytes) -> None:
    """A program begins whose loader is told of it."""
    name = program.auxiliary.get(AT_EXECFN)
    if name is not None and re.search(_LOADER, loader) is not None:
        _await(router, program.pid, Loading(name))


def begin(router: Router, tid: int, number: int) -> None:
    """A thread makes a call: if it has begun what it was to execute, put that right."""
    beginning = router.nesting.beginnings.get(tid)
    if isinstance(beginning, Loading):
        _load(router, tid, beginning, number)
    elif beginning is not None:
        _begin(router, tid, beginning, number)


def _load(router: Router, tid: int, loading: Loading, number: int) -> None:
    program, left = NewProgram(tid), None
    try:
        if number != TABLE["execve"].number:
            left = loading.look(program)
    except (OSError, struct.error):  # it has ended
        pass
    finally:
        program.close()
    if left is None:
        router.nesting.beginnings.pop(tid, None)
    else:
        router.nesting.beginnings[tid] = left
        _expect(router, tid)


def _begin(router: Router, tid: int, beginning: Beginning, number: int) -> None:
    begun = Begun(tid)
    try:
        name = begun.name(len(beginning.string))
        if name == beginning.string:
            begun.put_right(beginning)
            if beginning.state is not None:
                router.view.states.write(tid, beginning.state)
            router.nesting.beginnings.pop(tid, None)
        elif name is None or number == TABLE["execve"].number:  # it has ended, or has not succeeded
            router.nesting.beginnings.pop(tid, None)
        else:  # the handler of a signal, before it executes anything
            _expect(router, tid)
    except (OSError, struct.error):  # it has ended
        router.nesting.beginnings.pop(tid, None)
    finally:
        begun.close()


def _await(router: Router, tid: int, what: Beginning | Loading) -> None:
    waiting = router.nesting.beginnings
    if len(waiting) >= _MOST:
        for oldest in tuple(waiting)[:1]:  # others change it meanwhile
            waiting.pop(oldest, None)
    waiting[tid] = what
    _expect(router, tid)


def _expect(router: Router, tid: int) -> None:
    fast = router.nesting.levels[0].router.accelerator
    if fast is not None:
        fast.expect(tid)


class Begun(NewProgram):
    """A program whose loader waits in its first call."""

    def name(self, size: int) -> bytes | None:
        """The kernel's name of its file, if that has so many bytes; None: it has no memory."""
        text = self.read(self.auxiliary.get(AT_EXECFN, 0), size + 1)
        if not text:
            return None
        return text[:-1] if text[-1:] == b"\0" else b""

    def put_right(self, beginning: Beginning) -> None:
        """Let it find in its memory what it has there in the view. Raises OSError."""
        if beginning.header is not None:
            self.show_header(beginning.header)
        patch_auxiliary(self, dict(beginning.ids), beginning.name)
