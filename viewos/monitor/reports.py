"""What the kernel reports of mappings, mounts, limits and the auxiliary vector: files of procfs,
and statmount(2).

Who opens such a file gets what it says at that moment, with names mapped back, as a file of its
own; where no name changes, the kernel's own file is opened. Such a copy cannot be polled.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

from viewos.kernel import syscall
from viewos.monitor import auxv, mountlines
from viewos.monitor.inproc.memfd import label
from viewos.monitor.intents import open_flags
from viewos.monitor.namespaces import is_view
from viewos.monitor.outcome import CONTINUE, Outcome
from viewos.monitor.pathcalls import path_call, resolve_all
from viewos.view import RLIM_INFINITY

if TYPE_CHECKING:
    from viewos.call import Call
    from viewos.monitor.place import Place
    from viewos.monitor.router import Router
    from viewos.view import View

_PAGE = 4096
_LARGEST_STATMOUNT = 1 << 16
_STATMOUNT_MNT_POINT = 0x10
_MNT_POINT, _STATMOUNT_STRINGS = 108, 512
"""Offsets in struct statmount (linux/mount.h)."""
_DELETED = b" (deleted)"
_MAPPING = rb"(?m)^([0-9a-f]+-[0-9a-f]+ [rwxps-]{4} [0-9a-f]+ )(\S+ \d+)( +)(/.*)$"
_NUMA = rb"(?m)( file=)()()(/\S*)"
_LOCKS = rb"(?m)^(Max file locks {12})(\S+) +(\S+) +"
_OF_MOUNTS = {
    b"mountinfo": mountlines.MOUNTINFO,
    b"mounts": mountlines.MOUNTS,
    b"mountstats": mountlines.MOUNTSTATS,
}
_REPORT = rb"/(\d+)(?:/task/\d+)?/(maps|smaps|numa_maps|mountinfo|mounts|mountstats|limits|auxv)\Z"


def open_(router: Router, call: Call) -> int | Outcome:
    """open(2) and its kin."""
    places = resolve_all(router, call)
    inproc = router.nesting.inproc
    if inproc is not None and places and inproc.is_for_libc(call, places[0].virtual):
        given = inproc.offer(router, call, places[0].real)
        if given is not None:
            return given
    if places is not None and places[0].native:
        report = _report(router, call, places[0])
        if report is not None:
            return report
    return path_call(router, call)


def _report(router: Router, call: Call, place: Place) -> int | None:
    """A copy of the report, given to the tracee; None where the kernel's own will do."""
    match = router.mounts.match_proc(_REPORT, place.real)
    if match is None or call.process_state.confined:
        return None
    if not call.task.like_us and int(match[1]) != call.pid:
        return None  # whether it may look is the kernel's to say, and its eyes are not ours
    flags = open_flags(router, call)
    if flags & (os.O_ACCMODE | os.O_PATH | os.O_DIRECTORY):
        return None
    try:
        with open(place.real, "rb") as file:
            text = file.read()
        said = _translated(router, match[2], int(match[1]), text)
    except OSError:
        return None
    if said == text:
        return None
    return router.inject(call, _file_of(said), cloexec=bool(flags & os.O_CLOEXEC))


def _translated(router: Router, what: bytes, pid: int, text: bytes) -> bytes:
    if what == b"auxv":
        return auxv.of_program(router, pid, text)
    inproc, view = router.nesting.inproc, router.view
    text = text if inproc is None else inproc.hide(text)
    if what in _OF_MOUNTS:
        return _mounts(router, what, pid, text)
    return _TRANSLATIONS[what](view, text)


def _mounts(router: Router, what: bytes, pid: int, text: bytes) -> bytes:
    task, real = router.tasks.get(pid)
    state = router.view.states.found_in(pid) if router.view.states.several else None
    root = (state and state.view == router.number and state.root) or b"/"
    if real != b"/":  # the kernel tells those below it, by names from there
        if not is_view(task):
            return text
        with open(b"/proc/self/" + what, "rb") as file:
            text = file.read()
        root = router.resolver.root_of(real).virtual
    view = router.view
    return mountlines.translate(_OF_MOUNTS[what], view.claims, text, view.mounted, root)


def _file_of(text: bytes) -> int:
    """A descriptor that can only read `text`."""
    with open(os.memfd_create("viewos-report"), "wb", buffering=0) as file:
        rest = memoryview(text)
        while rest:
            rest = rest[file.write(rest) :]
        return os.open(f"/proc/self/fd/{file.fileno()}", os.O_RDONLY | os.O_CLOEXEC)


def statmount(router: Router, call: Call) -> int | Outcome:
    """statmount(2), Linux 6.8: the mount point is a name of the view."""
    task, _ = router.tasks.get(call.tid)
    if not task.like_us or call.decode(3):
        return CONTINUE
    (size,) = struct.unpack("=I", router.read_exact(call, call.raw[0], 4))
    request = router.read_exact(call, call.raw[0], min(size, _PAGE))
    room = min(call.decode(2), _LARGEST_STATMOUNT)
    buffer = ctypes.create_string_buffer(room)
    syscall(call.row.number, request, buffer, room, 0)
    data = bytearray(buffer.raw[: struct.unpack_from("=I", buffer)[0]])
    (mask,) = struct.unpack_from("=Q", data, 8)
    if mask & _STATMOUNT_MNT_POINT:
        (at,) = struct.unpack_from("=I", data, _MNT_POINT)
        real = bytes(data[_STATMOUNT_STRINGS + at :]).partition(b"\0")[0]
        name = router.view.claims.reverse(real)
        if name is not None and name != real:
            struct.pack_into("=I", data, _MNT_POINT, len(data) - _STATMOUNT_STRINGS)
            data += name + b"\0"
            struct.pack_into("=I", data, 0, len(data))
    if len(data) > room:
        raise OSError(errno.EOVERFLOW, "bufsize")
    router.memory.write(call.tid, call.raw[1], bytes(data))
    return 0


# ---- translations -------------------------------------------------------------------------------


def _mapped(pattern: bytes, escape: Callable[[bytes], bytes]) -> _Translation:
    def translate(view: View, text: bytes) -> bytes:
        def name_of(match: re.Match[bytes]) -> bytes:
            said, file = mountlines.unescape(match[4]), match[2]
            real = said.removesuffix(_DELETED)
            tail, original = said[len(real) :], view.standins.originals.get(real)
            name = view.claims.told(original or real)
            if original is not None:
                name, file = name or original, _label(view, real, file)
                tail = _DELETED if view.standins.is_gone(original, real) else b""
            if name is None:
                return match[0]
            return match[1] + file + match[3] + escape(name + tail)

        return re.sub(pattern, name_of, text)

    return translate


def _label(view: View, copy: bytes, known: bytes) -> bytes:
    """How a mapping tells which file it is of, of the program from whose copy a process runs."""
    source, made = view.standins.sources.get(copy), view.standins.copied.get(copy)
    if made is None:
        return known
    try:
        found = made.file if source is None else os.fstat(source)
    except OSError:
        return known
    return known and label(found.st_dev, found.st_ino)


def _escape_newline(name: bytes) -> bytes:
    return name.replace(b"\n", b"\\012")


def _escape_for_numa(name: bytes) -> bytes:
    return mountlines.escape(name, rb"[\n\t= ]")


def _limits(view: View, text: bytes) -> bytes:
    """The line of RLIMIT_LOCKS, in which the view keeps a process's state."""

    def believed(match: re.Match[bytes]) -> bytes:
        soft = RLIM_INFINITY if match[2] == b"unlimited" else int(match[2])
        if not view.states.is_token(soft):
            return match[0]
        limits = view.states.of_limit(soft).locks or (RLIM_INFINITY, RLIM_INFINITY)
        words = [b"unlimited" if n == RLIM_INFINITY else b"%d" % n for n in limits]
        return b"%s%-20s %-20s " % (match[1], *words)

    return re.sub(_LOCKS, believed, text)


_Translation = Callable[["View", bytes], bytes]
_TRANSLATIONS: dict[bytes, _Translation] = {
    b"maps": _mapped(_MAPPING, _escape_newline),
    b"smaps": _mapped(_MAPPING, _escape_newline),
    b"numa_maps": _mapped(_NUMA, _escape_for_numa),
    b"limits": _limits,
}
