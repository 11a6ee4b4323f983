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
from viewos.kernel import AT_FDCWD, NR, syscall
from viewos.monitor.emulate import readlink as emulated_readlink
from viewos.monitor.memory import Fault
from viewos.monitor.namespaces import is_view
from viewos.monitor.outcome import CONTINUE, Outcome
from viewos.monitor.pathcalls import (
    emulable,
    fix_up_paths,
    may_continue,
    path_call,
    resolve_all,
    tracee_string,
)
from viewos.monitor.paths import KERNEL, Place
from viewos.monitor.refusals import check_changes
from viewos.monitor.rewrite import Rewrite
from viewos.monitor.states import Redo
from viewos.monitor.task import is_like_us
from viewos.monitor.traced import Traced

if TYPE_CHECKING:
    from viewos.call import Call
    from viewos.monitor.copies import Copy
    from viewos.monitor.router import Router
    from viewos.view import ProcessState

_NAMES = rb"/(\d+)(?:/task/\d+)?/(cwd|root|exe|fd/\d+|map_files/[^/]+)\Z"
_OF_VIEW = rb"/(\d+)(?:/task/\d+)?/(root|exe)\Z"
_DELETED = b" (deleted)"


def readlink(router: Router, call: Call) -> int | Outcome:
    """readlink(2), readlinkat(2)."""
    places = resolve_all(router, call)
    if places is None:
        return CONTINUE
    place = places[0]
    if place is KERNEL and call.name == "readlinkat":
        place = _opened_link(router, call)
    match = router.mounts.match_proc(_NAMES, place.real) if place.native else None
    if match is not None:
        answer = _names(router, call, place, int(match[1]), match[2])
        if answer is not CONTINUE:
            return answer
    if may_continue(router, place):
        return CONTINUE
    if emulable(call, places):
        return emulated_readlink(router, call, places)
    return fix_up_paths(router, call, places)


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
    check_changes(router, call, places)
    old = b"/proc/%d/fd/%d" % (call.tid, signed32(call.raw[0]))
    if not os.path.lexists(old):
        raise OSError(errno.EBADF, "dirfd")
    return syscall(NR["linkat"], AT_FDCWD, old, AT_FDCWD, new.real, AT_SYMLINK_FOLLOW)


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
    if what in (b"cwd", b"exe"):
        try:
            state = router.view.states.read(pid)
        except OSError:
            state = router.view.states.initial
        hint = state.cwd if what == b"cwd" else None
        program = _program(router, state, text) if what == b"exe" else None
        if program is not None:
            text = program + _DELETED if _is_gone(router, program, text) else program
    tail = _DELETED if text.endswith(_DELETED) else b""
    name = router.resolver.claims.reverse(text[: len(text) - len(tail)], hint)
    return text if name is None else name + tail


def stands_for(router: Router, link: bytes, text: bytes) -> bytes | None:
    """The path to which /proc/PID/root or exe leads in the view, where the kernel's own link leads
    elsewhere (`text`): out of the view, or to the loader of the program."""
    match = router.mounts.match_proc(_OF_VIEW, link)
    state = None if match is None else router.view.states.found_in(int(match[1]))
    if match is None or state is None:
        return None
    if match[2] == b"exe":
        executed, standins = text.removesuffix(_DELETED), router.view.standins
        if executed in standins.sources:
            return None
        program, is_copy = _program(router, state, text), executed in standins.originals
        if program is None or (is_copy and _is_gone(router, program, text)):
            return None  # of a program without a name the copy is what is left
        return router.resolver.claims.reverse(program)
    is_shown = state.view == router.number and text == b"/" and leads_to(router, link, text)
    return (state.root or b"/") if is_shown else None


def kept_for(router: Router, link: bytes, text: bytes) -> bytes | None:
    """A path that leads to the program from whose copy a process runs, where /proc/PID/exe would
    lead to the copy: of a program without a name, or that we may not reach by it."""
    source = router.view.standins.sources.get(text.removesuffix(_DELETED))
    if source is None or not link.endswith(b"/exe"):
        return None
    return b"/proc/%d/fd/%d" % (os.getpid(), source)


def hint_for(router: Router, link: bytes) -> bytes | None:
    """The claim by which a process has entered its working directory, of /proc/PID/cwd."""
    match = router.mounts.match_proc(_NAMES, link)
    if match is None or match[2] != b"cwd" or router.keeps_nothing:
        return None
    state = router.view.states.found_in(int(match[1]))
    return None if state is None else state.cwd


def leads_to(router: Router, link: bytes, text: bytes) -> bool:
    """Is the directory behind a magic link of procfs the one that its text names in the view?
    Another mount name space has others by the same names, unless the view goes on there."""
    match = router.mounts.match_proc(_NAMES, link)
    if match is not None and router.view.states.found_in(int(match[1])) is not None:
        try:
            task, _ = router.tasks.get(int(match[1]))
            if not task.same_mounts and is_view(task):
                return True
        except OSError:
            return False
    return router.mounts.leads_to(link, text)


def _is_gone(router: Router, program: bytes, executed: bytes) -> bool:
    """Has the program lost its name, or is another one there? `executed`: perhaps a copy of it."""
    copy: Copy | None = router.view.standins.copied.get(executed.removesuffix(_DELETED))
    try:
        found = os.stat(program, follow_symlinks=False)
    except OSError as error:
        return error.errno in (errno.ENOENT, errno.ENOTDIR)
    return copy is not None and not os.path.samestat(found, copy.file)


def _program(router: Router, state: ProcessState, executed: bytes) -> bytes | None:
    """The program of which the kernel has executed the loader, or a copy; None: itself."""
    by_loader = state.executable if executed in router.view.standins.loaders else None
    return router.view.standins.originals.get(executed.removesuffix(_DELETED), by_loader)
