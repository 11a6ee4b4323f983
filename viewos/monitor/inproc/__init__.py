"""The in-process tier: programs make the path calls of which they can be certain by themselves.

When a program's loader opens the libc, the view gives it an instrumented copy (image.py), whose
path calls ask a few lines of C (code.c) first. Those know the claims of the view (shared.py), let
the kernel vouch that no symbolic link is in a path, and leave all else to the monitor, with the
trapped call that the program would have made. docs/inproc.md.
"""

from __future__ import annotations

import errno
import itertools
import mmap
import os
import re
import resource
import threading
from contextlib import suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING

from viewos.abi.syscalls import TABLE
from viewos.errors import reason
from viewos.monitor.inproc.memfd import FUTURE_WRITE, NAME, NOTES_NAME, label, memfd, seal
from viewos.monitor.memory import Fault, TraceeGone, Unreadable
from viewos.monitor.plan import trapped_with_paths
from viewos.monitor.task import is_like_us
from viewos.monitor.trapped import MAKE_NAMES, TAKE_NAMES
from viewos.tuples import NamedTuple

if TYPE_CHECKING:
    from viewos.call import Call
    from viewos.monitor.inproc.changes import Image
    from viewos.monitor.inproc.notes import Notes
    from viewos.monitor.inproc.shared import Shared
    from viewos.monitor.log import Log
    from viewos.monitor.nesting import Nesting
    from viewos.monitor.router import Router
    from viewos.view import ProcessState

_LIBRARY = rb"/libc(\.so\.6|-2\.\d+\.so)$"
_LOADER = rb"/ld-(linux-x86-64\.so\.2|2\.\d+\.so)$"
_AT_SECURE = 23
MOST_COPIES = 32
"""Each takes 2 MB to the end; programs of more nested views make no calls themselves."""
_DESCRIPTORS = 128
_CODE = 32
"""OFFER_CODE of accelerator.h."""
_RX = mmap.PROT_READ | mmap.PROT_EXEC
_OFF, _WATCHED, _NO_ROOT = 0, 1, 4
"""Bytes of struct here (code.h)."""
_NOTED = (
    rb"(?m)^[0-9a-f]+-[^\n]* /memfd:%s \(deleted\)\n(?:[A-Z][^\n]*\n)*"
    rb"|^[0-9a-f]+ [^\n]*file=/memfd:%s\\040\(deleted\)[^\n]*\n" % (NOTES_NAME, NOTES_NAME)
)
"""What maps, smaps and numa_maps say of them."""


def lacking() -> str:
    """Why there can be no in-process tier; empty: there can."""
    if os.environ.get("VIEWOS_PURE") == "1":
        return "switched off by VIEWOS_PURE=1"
    try:
        from viewos.monitor.inproc import native  # noqa: F401
    except ImportError:
        return "it was not built"
    if find_spec("capstone") is None:  # it takes 50 ms to import, and is seldom needed
        return "there is no capstone"
    with suppress(OSError):  # a container's filter may forbid it
        if resource.getrlimit(resource.RLIMIT_NOFILE)[1] in range(_DESCRIPTORS):
            return f"fewer than {_DESCRIPTORS} files may be open"
    return ""


class _Library(NamedTuple):
    """A library that is instrumented."""

    image: Image
    path: bytes
    found: os.stat_result


class _Copy(NamedTuple):
    """What the programs of one view load."""

    library: _Library
    is_root: bool
    """For processes that act as a root of the view."""
    descriptor: int
    shared: Shared
    label: bytes
    """It, as /proc/PID/maps names it."""


class InProcess:
    """The instrumented libraries of a monitor's views."""

    def __init__(self, nesting: Nesting, cookie: int, log: Log) -> None:
        self._nesting, self._cookie, self._log = nesting, cookie, log
        self._lock = threading.Lock()
        self._libraries: dict[tuple[int, int, int, int], _Library | None] = {}
        self._copies: dict[tuple[int, _Library, bool], _Copy] = {}
        """By view, library, and whether it is for who acts as a root."""
        self._notes: dict[int, Notes] = {}
        self._numbers = itertools.count(1)
        self._filters = _filters("self") + 1
        """How many seccomp filters a program of the view is under that has added none."""

    # ---- giving it to programs ------------------------------------------------------------------

    @staticmethod
    def is_for_libc(call: Call, name: bytes) -> bool:
        """May it be a loader that opens the libc? `name`: by which the view knows the file."""
        flags = 0 if call.name == "openat2" else call.args.flags
        is_loading = flags & 0xFFFFFFFF == os.O_RDONLY | os.O_CLOEXEC
        return is_loading and re.search(_LIBRARY, name) is not None

    def offer(self, router: Router, call: Call, real: bytes) -> int | None:
        """The loader of a program opens a library: a descriptor of the copy, given to it; None:
        it shall have its own."""
        if not self._is_wanted(router, call):
            return None
        with self._lock:
            library = self._library(real)
            is_root = self._is_root(call.process_state)
            copy = None if library is None else self._copy(router, library, is_root)
        if copy is None:
            return None
        self._teach(router, call, copy)
        try:
            opened = os.open(f"/proc/self/fd/{copy.descriptor}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        return router.inject(call, opened, cloexec=True)

    def _is_wanted(self, router: Router, call: Call) -> bool:
        if call.process_state.root is not None or not is_like_us(call, call.task):
            return False
        try:
            if call.task.link("root") != b"/":  # by a real chroot(2): no claims are there
                return False
            status = call.task.read("status")
            auxv = memoryview(call.task.read("auxv")).cast("Q")
            maps = call.task.read("maps")
        except OSError:
            return False
        is_secure = dict(zip(auxv[::2], auxv[1::2], strict=True)).get(_AT_SECURE, 1)
        is_traced = b"\nTracerPid:\t0\n" not in status
        if is_secure or is_traced or _filters_in(status) != self._filters:
            return False
        return _is_loader(maps, router.notification.instruction)

    def _teach(self, router: Router, call: Call, copy: _Copy) -> None:
        """Programs like this one do not need to be looked at in Python."""
        fast = self._nesting.levels[0].router.accelerator
        if fast is None:
            return
        at = router.notification.instruction
        code = router.memory.read_exact(call.tid, at - _CODE // 2, _CODE)
        library = copy.library.found.st_dev, copy.library.found.st_ino
        offered = copy.is_root, copy.descriptor, self._filters, library, at, code
        fast.offer(router.number, *offered)

    def _library(self, real: bytes) -> _Library | None:
        """The instrumented library; None: it is left alone."""
        try:
            found = os.stat(real)
            key = (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size)
            if key not in self._libraries:
                image = self._instrument(found, real)
                self._libraries[key] = image and _Library(image, real, found)
        except OSError:
            return None
        return self._libraries[key]

    def _instrument(self, found: os.stat_result, real: bytes) -> Image | None:
        from viewos.monitor.inproc import cache, native

        blob, _ = native.code()
        key = cache.key(found, blob)
        made = cache.get(key)
        if made is not None:
            return made
        with open(real, "rb") as file:
            data = file.read()
        same = cache.key_of(data, blob)
        made = cache.get(same)
        if made is None:
            made = self._read(data, real)
            if made is None:
                return None
            cache.put(same, made)
        cache.put(key, made)
        return made

    def _read(self, library: bytes, path: bytes) -> Image | None:
        """What is found in a library's instructions."""
        from viewos.monitor.inproc import elf, image, native, sites

        blob, entry = native.code()
        try:
            whole = elf.Elf(library)
            with open(native.__file__, "rb") as file:
                ours = elf.Elf(file.read())
            return image.build(whole, sites.find(whole), ours, blob, entry)
        except (elf.NotUnderstood, ImportError) as error:
            self._log.warning(
                f"{os.fsdecode(path)}: left as it is, so that its programs are slower: {error}",
                once=f"inproc {path!r}",
            )
            return None

    def _copy(self, router: Router, library: _Library, is_root: bool) -> _Copy | None:
        key = router.number, library, is_root
        copy = self._copies.get(key)
        if copy is None and len(self._copies) == MOST_COPIES:
            return None
        if copy is None:
            try:
                copy = self._copies[key] = self._new_copy(library, is_root)
            except OSError as error:
                self._log.warning(
                    f"memfd: {reason(error)}: programs are slower", once="inproc memfd"
                )
                return None
            self._say(router, copy)
        return copy

    def _new_copy(self, library: _Library, is_root: bool) -> _Copy:
        from viewos.monitor.inproc.shared import SIZE, Shared

        descriptor = memfd()
        with open(library.path, "rb", buffering=0) as file:
            library.image.write(file.fileno(), library.found.st_size, descriptor)
        memory = mmap.mmap(descriptor, SIZE, offset=library.image.shared)
        with mmap.mmap(descriptor, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE, prot=_RX):
            pass  # a security module may forbid it: to us, and not to a program's loader
        seal(descriptor, FUTURE_WRITE)
        found = os.fstat(descriptor)
        said, name = Shared(memory, self._cookie), label(found.st_dev, found.st_ino)
        return _Copy(library, is_root, descriptor, said, name)

    def close(self) -> None:
        """No program will be given a copy any more."""
        copies, self._copies = self._copies, {}
        notes, self._notes = self._notes, {}
        for copy in copies.values():
            os.close(copy.descriptor)
        for one in notes.values():
            one.close()

    # ---- keeping it right ------------------------------------------------------------------------

    def changed(self, number: int) -> None:
        """A view has been changed, or is looked at by somebody, or not any more."""
        router = self._nesting.levels[number].router
        with self._lock:
            for (view, *_), copy in self._copies.items():
                if view == number:
                    self._say(router, copy)

    def _say(self, router: Router, copy: _Copy) -> None:
        from viewos.monitor.inproc import shared as said

        ours = router.accelerated
        fast = self._nesting.levels[0].router.accelerator
        shows = fast is not None and fast.show_in(router.number, copy.shared.shown)
        asked = (said.ASKS, said.ASKS_OPEN, said.NAMES, said.PAIRS)
        # What is not is the kernel's, also in a claim.
        trapped = trapped_with_paths(self._nesting.trapped)
        calls = said.kinds(
            name for name, kind in said.KINDS.items()
            if name in trapped and (
                ours.is_ours(TABLE[name])
                or (kind == said.EXECUTES and ours.executes)
                or (shows and kind == said.LOOKS)
                or (shows and kind == said.OPENS and ours.leaves_unless_made(name))
                or (shows and name in ours.changes and (copy.is_root or kind in asked))
            )
        ) | (said.SHOWN if shows else 0)  # fmt: skip
        if not ours.changes.isdisjoint(TAKE_NAMES):
            calls |= said.KNOWN
        opens = [name for name, kind in said.KINDS.items() if kind == said.OPENS]
        if all(name not in trapped and ours.leaves_unless_made(name) for name in opens):
            calls |= said.OPENS | said.FREE
            if shows and copy.is_root and ours.changes.issuperset(MAKE_NAMES):
                calls |= said.MAKES
        if router.traces or router.view.no_continue:
            calls = 0
        copy.shared.say(router.view.claims, calls)

    def leave(self, router: Router, pid: int) -> None:
        """From now on a process's calls mean something else: it makes them as ever."""
        self._switch(router, pid, list(self._copies.values()), _OFF)

    def watched(self, router: Router, tid: int) -> None:
        """A debugger, or a filter of the program's own, is about to look at a thread's calls: it
        makes them where the library does, and each once."""
        code = self._switch(router, tid, list(self._copies.values()), _WATCHED)
        if code and tid != router.notification.tid:
            from viewos.monitor.inproc import leaving

            leaving.wait(tid, code, router.step_aside)

    def becomes(self, router: Router, pid: int, state: ProcessState) -> None:
        """A process is about to have another state: if it acts as a root no more, it asks."""
        copies = [copy for copy in self._copies.values() if copy.is_root]
        if copies and not self._is_root(state):
            self._switch(router, pid, copies, _NO_ROOT)

    def _is_root(self, state: ProcessState) -> bool:
        fast = self._nesting.levels[0].router.accelerator
        return fast is not None and fast.acts_as_root(state)

    def _switch(
        self, router: Router, pid: int, copies: list[_Copy], at: int
    ) -> list[tuple[int, int]]:
        """Set one of the bytes of struct here (code.h) in a process. Where it has their code."""
        code: list[tuple[int, int]] = []
        if not copies:
            return code
        try:
            with open(f"/proc/{pid}/maps", "rb") as file:
                maps = file.read()
        except OSError:
            return code
        for copy in copies:
            image = copy.library.image
            line = rb"(?m)^([0-9a-f]+)-([0-9a-f]+) \S+ %08x %s "
            for match in re.finditer(line % (image.switch, copy.label), maps):
                with suppress(TraceeGone, Unreadable, Fault):
                    router.memory.write(pid, int(match[1], 16) + at, b"\1")
            found = re.finditer(line % (image.end, copy.label), maps)
            code += [(int(match[1], 16), int(match[2], 16)) for match in found]
        return code

    def give_notes(self, router: Router, call: Call) -> int:
        """A program asks for memory to note changes of owners in. Raises OSError."""
        with self._lock:
            notes = self._notes_of(router)
        if notes is None:
            raise OSError(errno.EPERM, "no program notes anything here")
        return router.inject(call, notes.opened(), cloexec=True)

    def _notes_of(self, router: Router) -> Notes | None:
        from viewos.monitor.inproc.notes import Notes

        fast = self._nesting.levels[0].router.accelerator
        place = None if fast is None else fast.place(router.number)
        known = self._notes.get(router.number)
        if known is not None and known.place == place:
            return known
        if fast is None or place is None:
            return None
        notes = Notes(place)
        if not fast.note_in(place, notes.memory, next(self._numbers)):
            notes.close()
            return None
        if known is not None:
            known.close()
        self._notes[router.number] = notes
        return notes

    def hide(self, text: bytes) -> bytes:
        """A report of mappings, with the library's own name for that of the copy, and without
        the notes."""
        if self._notes:
            text = re.sub(_NOTED, b"", text)
        for copy in list(self._copies.values()):
            library = copy.library
            place = label(library.found.st_dev, library.found.st_ino) + b" "

            def named(
                match: re.Match[bytes], place: bytes = place, path: bytes = library.path
            ) -> bytes:
                return (match[1] + place).ljust(73) + path

            lines = rb"(?m)^([0-9a-f]+-\S+ \S+ \S+ )%s +/memfd:%s \(deleted\)$"
            text = re.sub(lines % (copy.label, NAME.encode()), named, text)
            text = text.replace(
                b"file=/memfd:%s\\040(deleted)" % NAME.encode(), b"file=" + library.path
            )
        return text


def _filters(pid: str) -> int:
    with open(f"/proc/{pid}/status", "rb") as file:
        return _filters_in(file.read())


def _filters_in(status: bytes) -> int:
    found = re.search(rb"(?m)^Seccomp_filters:\t(\d+)$", status)
    return int(found[1]) if found else -1


def _is_loader(maps: bytes, instruction: int) -> bool:
    """Is the instruction one of the dynamic loader's?"""
    for line in maps.splitlines():
        span, _, rest = line.partition(b" ")
        first, _, end = span.partition(b"-")
        if int(first, 16) <= instruction < int(end, 16):
            return re.search(_LOADER, rest) is not None
    return False
