"""Links: readlink of what procfs says about names, mapped back to the view; hard links to what a
descriptor names."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from viewos.abi.fcntl import AT_EMPTY_PATH, AT_SYMLINK_FOLLOW
from viewos.abi.row import signed32
from viewos.abi.syscalls import TABLE
from viewos.claims import lies_in
from viewos.kernel import AT_FDCWD, NR, is_same_file, syscall
from viewos.launcher.layout import has_capability
from viewos.monitor.exchanged import reach
from viewos.monitor.magic import NAMES
from viewos.monitor.marks import held_by
from viewos.monitor.memory import Fault
from viewos.monitor.outcome import CONTINUE, Outcome
from viewos.monitor.pathcalls import (
    fix_up_paths,
    path_call,
    resolve_all,
    settled,
    tracee_string,
)
from viewos.monitor.place import KERNEL, Place
from viewos.monitor.refusals import check_changes
from viewos.monitor.rewrite import Rewrite
from viewos.monitor.states import Redo
from viewos.monitor.task import field, is_like_us, read_status
from viewos.monitor.traced import Traced

if TYPE_CHECKING:
    from viewos.call import Call
    from viewos.monitor.router import Router

_DELETED = b" (deleted)"
_CAP_DAC_READ_SEARCH = 2


def readlink(router: Router, call: Call) -> int | Outcome:
    """readlink(2), readlinkat(2)."""
    places = resolve_all(router, call)
    if places is None:
        return CONTINUE
    place = places[0]
    if place is KERNEL and call.name == "readlinkat":
        place = _opened_link(router, call)
    match = router.mounts.match_proc(NAMES, place.real) if place.native else None
    if match is not None:
        answer = _names(router, call, place, int(match[1]), match[2])
        if answer is not CONTINUE:
            return answer
    return path_call(router, call)


def _opened_link(router: Router, call: Call) -> Place:
    """The link that an empty path means: one that was opened with O_PATH | O_NOFOLLOW."""
    try:
        if router.memory.read_string(call.tid, call.raw[1]):
            return KERNEL
        return KERNEL._replace(real=call.task.link(f"fd/{signed32(call.raw[0])}"))
    except (Fault, OSError):
        return KERNEL


def _names(router: Router, call: Call, place: Place, pid: int, what: bytes) -> int | Outcome:
    is_own = pid == call.pid  # the kernel lets it look at itself, whoever it is
    if not is_own and not is_like_us(call, call.task) and not _may_look(router, call, place):
        return CONTINUE
    try:
        text = os.readlink(place.real)
    except OSError:
        return CONTINUE
    name = below_root(router, call, virtual_name(router, text, pid, what))
    if name == text:
        return CONTINUE
    at = 1 if call.name == "readlink" else 2
    size = call.raw[at + 1] & 0xFFFFFFFF
    if size == 0 or size >> 31:
        raise OSError(errno.EINVAL, "buffer size")
    router.memory.write(call.tid, call.raw[at], name[:size])
    return min(len(name), size)


def _may_look(router: Router, call: Call, place: Place) -> bool:
    """Whether it may look at another process is the kernel's to say, and its eyes are not ours: it
    makes the call once to ask, and then its own again."""
    asked = call.raw, place.real
    known = router.nesting.looked.pop(call.tid, None)
    if known is not None and known[0] == asked:
        return known[1]
    row = TABLE["readlink"]
    link = tracee_string(router, call, place) + b"\0"
    rewrite = Rewrite(
        row.number, [link, bytes(8), 8], row.cookie.arg, row.cookie.shift, again=True,
        after=lambda result, _: router.nesting.looked.update({call.tid: (asked, result >= 0)}),
    )  # fmt: skip
    try:
        router.run_again(call, rewrite)
    except Traced:
        return False
    raise Redo


def linkat(router: Router, call: Call) -> int | Outcome:
    """linkat(2) with AT_EMPTY_PATH, which takes CAP_DAC_READ_SEARCH or a descriptor that the caller
    itself has opened (Linux 6.10): one that was injected has the monitor as its opener."""
    flags = call.raw[4] & 0xFFFFFFFF
    if not flags & AT_EMPTY_PATH or signed32(call.raw[0]) == AT_FDCWD:
        return path_call(router, call)
    places = resolve_all(router, call)
    if places is None or not is_like_us(call, call.task):
        return path_call(router, call)
    if router.memory.read_string(call.tid, call.raw[1]):
        call.raw = (*call.raw[:4], flags & ~AT_EMPTY_PATH, *call.raw[5:])
        answer = path_call(router, call)
        return fix_up_paths(router, call, places) if answer is CONTINUE else answer
    new = places[1]
    if new is KERNEL or new.native or flags & ~(AT_EMPTY_PATH | AT_SYMLINK_FOLLOW):
        return path_call(router, call)
    if not _may_link(router, call, signed32(call.raw[0])):
        return path_call(router, call)
    return settled(router, call, lambda: _link_opened(router, call))


def _link_opened(router: Router, call: Call) -> int:
    places = resolve_all(router, call) or [KERNEL, KERNEL]
    check_changes(router, call, places)
    old = b"/proc/%d/fd/%d" % (call.tid, signed32(call.raw[0]))
    with reach(places[1].real) as (dirfd, name):
        return syscall(NR["linkat"], AT_FDCWD, old, dirfd, name, AT_SYMLINK_FOLLOW)


def _may_link(router: Router, call: Call, fd: int) -> bool:
    """Would the kernel let the caller link that file, had it and not the monitor opened it? An
    opener is known by its credentials as they were: a fork makes others, and so does an execve,
    which nobody remembers. False: the kernel is to judge, by the caller's own call."""
    try:
        copy = router.descriptor_of(call, fd)
    except OSError:
        return False
    try:
        syscall(NR["linkat"], copy, b"", AT_FDCWD, b"/", AT_EMPTY_PATH)
    except OSError as error:
        if error.errno != errno.EEXIST:  # the file is looked at before the name
            return False
    finally:
        os.close(copy)
    return has_capability(_CAP_DAC_READ_SEARCH) or not _is_inherited(call, fd)


def _is_inherited(call: Call, fd: int) -> bool:
    """Has the parent the same open file there?"""
    try:
        parent = int(field(read_status(call.tid), b"PPid"))
        return is_same_file(call.tid, fd, parent, fd)
    except OSError:
        return False


def below_root(router: Router, call: Call, name: bytes) -> bytes:
    """A name as a process sees it whose root directory is another one in the view."""
    root = router.root_of(call, router.tasks.get(call.tid)[1]).virtual
    if root == b"/" or not lies_in(name, root):
        return name
    return name[len(root) :] or b"/"


def virtual_name(router: Router, text: bytes, pid: int, what: bytes) -> bytes:
    """What a magic link of process `pid` says in the view."""
    if text[:1] != b"/":
        return text
    hint = None
    if what[:3] == b"fd/":
        hint = held_by(router, pid, int(what[3:]))
    if what in (b"cwd", b"exe"):
        try:
            state = router.view.states.read(pid)
        except OSError:
            state = router.view.states.initial
        hint = state.cwd if what == b"cwd" else None
        standins = router.view.standins
        program = standins.program_of(state, text) if what == b"exe" else None
        if program is not None:
            text = program + _DELETED if standins.is_gone(program, text) else program
    tail = _DELETED if text.endswith(_DELETED) else b""
    name = router.resolver.claims.told(text[: len(text) - len(tail)], hint)
    return text if name is None else name + tail
