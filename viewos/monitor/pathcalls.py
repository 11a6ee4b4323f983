"""Every system call that takes a path: resolve, then continue, emulate or fix up."""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

from viewos.abi.row import HOW, Intent, PathArg, applies, signed32
from viewos.claims import lies_in
from viewos.kernel import AT_FDCWD
from viewos.monitor import marks
from viewos.monitor.descriptors import refuse_by_descriptor
from viewos.monitor.emulate import (
    EMULATIONS,
    checked_how,
    pack_how,
    read_how,
)
from viewos.monitor.exchanged import Exchanged, beyond_backing, tries
from viewos.monitor.intents import INTENTS, intention
from viewos.monitor.memory import Fault
from viewos.monitor.namespaces import is_view
from viewos.monitor.outcome import CONTINUE, FIX_UP, Outcome
from viewos.monitor.outside import lend, needs_descriptor
from viewos.monitor.place import KERNEL, PATH_MAX, RESOLVE_MASK, Place, Start
from viewos.monitor.refusals import check_changes, may_cross
from viewos.monitor.rewrite import Argument, Rewrite
from viewos.monitor.scratch import endless_path, short_name
from viewos.monitor.task import is_like_us

if TYPE_CHECKING:
    from viewos.call import Call
    from viewos.monitor.router import Router
    from viewos.view import ProcessState

T = TypeVar("T")
_BLOCKING = frozenset({"open", "openat", "openat2", "creat", "connect"})


def path_call(
    router: Router, call: Call, others: Mapping[int, bytes] = MappingProxyType({})
) -> int | Outcome:
    """The answer to a call that takes paths, when no module has answered it. `others`: strings
    beside the paths, by index, that the kernel is to be given instead of the tracee's."""
    return settled(router, call, lambda: _path_call(router, call, others))


def settled(router: Router, call: Call, attempt: Callable[[], T]) -> T:
    """What an attempt gives once nothing is exchanged while it is made. Raises OSError ELOOP."""
    for _ in tries():
        try:
            return attempt()
        except Exchanged:
            call.places = None
            if places := resolve_all(router, call):
                call.places = [beyond_backing(place) for place in places]
    raise OSError(errno.ELOOP, "symbolic links")


def _path_call(router: Router, call: Call, others: Mapping[int, bytes]) -> int | Outcome:
    places = resolve_all(router, call)
    if router.has_read_only:
        refuse_by_descriptor(router, call)
    if places is None:
        return CONTINUE
    may_all_continue = not others and all(may_continue(router, place) for place in places)
    if may_all_continue and marks.wanted(router, call, places[0]) is not None:
        may_all_continue = False
    if not may_all_continue or may_cross(router, call, places):
        check_changes(router, call, places)
    if may_all_continue:
        return CONTINUE
    answer: int | Outcome = FIX_UP
    emulation = EMULATIONS.get(call.name)
    if emulation is not None and emulable(call, places):
        answer = emulation(router, call, places)
    if answer is FIX_UP:
        answer = fix_up_paths(router, call, places, others)
    else:
        committed(call, places)
    return answer


# ---- resolving --------------------------------------------------------------------------------


def resolve_all(router: Router, call: Call) -> list[Place] | None:
    """The places of the call's path arguments; None where only the kernel can judge.

    Remembered in the call. Raises OSError ELOOP, EXDEV, ENAMETOOLONG.
    """
    if call.places is not None:
        return call.places or None
    call.task, root = router.tasks.get(call.tid)
    places: list[Place] = []
    if is_view(call.task):
        places = [_resolve_or_leave(router, call, argument, root) for argument in call.row.paths]
    else:
        router.in_other_mounts(call)
    call.places = places
    return places or None


def _resolve_or_leave(router: Router, call: Call, argument: PathArg, root_real: bytes) -> Place:
    try:
        return resolve_one(router, call, argument, root_real)
    except Fault:
        return KERNEL  # it finds the same bad pointer, and orders the errors rightly


def resolve_one(router: Router, call: Call, argument: PathArg, root_real: bytes) -> Place:
    """Where one path argument leads."""
    address = call.raw[argument.path]
    if argument.inside is not None:
        return _inside(router, call, argument)
    if not applies(argument, call.raw):
        return KERNEL
    if not address and argument.null_ok:
        return KERNEL
    rules = 0
    if argument.follow is HOW:
        rules = checked_how(router, call)[2] & RESOLVE_MASK
    path = router.memory.read_string(call.tid, address)
    if not path:
        return KERNEL  # the descriptor itself with AT_EMPTY_PATH, ENOENT without
    intent, follow, keep_last = intention(router, call, argument)
    if argument.intent is Intent.OPEN and intent == "create":
        # EISDIR, whatever stands there; the root itself is looked at.
        keep_last = path.endswith(b"/") and bool(path.strip(b"/"))
    resolver = router.resolver
    root = router.root_of(call, root_real)
    start = None
    if path[:1] != b"/" or rules:
        start = start_of(router, call, argument, path)
    try:
        return resolver.resolve(
            call.task, root, start, path,
            follow=follow, keep_last=keep_last, intent=intent, rules=rules,
        )  # fmt: skip
    except OSError as error:
        if error.errno != errno.ELOOP or rules:
            raise
        # The kernel finds this one endless as well, in the order in which it checks arguments.
        return Place(path, endless_path(router.view), None, False)


def resolve_path(
    router: Router,
    call: Call,
    path: bytes,
    *,
    follow: bool = True,
    keep_last: bool = False,
    intent: str = "look",
) -> Place:
    """Where a path leads that is no argument of the call, from the root or working directory of the
    caller. Raises as `Resolver.resolve`."""
    task, root = router.tasks.get(call.tid)
    start = None
    if path[:1] != b"/":
        start = router.resolver.start(task, AT_FDCWD, router.cwd_hint(call), path)
    return router.resolver.resolve(
        task, router.root_of(call, root), start, path,
        follow=follow, keep_last=keep_last, intent=intent,
    )  # fmt: skip


def start_of(router: Router, call: Call, argument: PathArg, path: bytes) -> Start | None:
    """The directory of a relative path argument; None where only the kernel can judge."""
    dirfd = AT_FDCWD if argument.dirfd is None else signed32(call.raw[argument.dirfd])
    is_cwd = dirfd == AT_FDCWD
    hint = router.cwd_hint(call) if is_cwd else marks.held_by(router, call.tid, dirfd)
    return router.resolver.start(call.task, dirfd, hint, path)


def _inside(router: Router, call: Call, argument: PathArg) -> Place:
    """A path in a structure (bpf's OBJ_PIN and OBJ_GET): it can be checked, but not replaced."""
    where = argument.inside
    if where is None or not applies(argument, call.raw):
        return KERNEL
    data = router.memory.read(call.tid, call.raw[argument.path], 64)
    (pointer,) = struct.unpack_from("=Q", data, where.pointer)
    place = resolve_path(router, call, router.memory.read_string(call.tid, pointer))
    if not place.plain:
        router.log.warning(
            f"{call.name}: a path inside a structure cannot lead into a claim", once=call.name
        )
        raise OSError(errno.EOPNOTSUPP, "path in a structure")
    return KERNEL


def may_continue(router: Router, place: Place) -> bool:
    """Will the kernel alone do the right thing with the tracee's own string?"""
    if not place.plain:
        return False
    if place.claim is None or place.native:
        return not (place.target and router.is_read_only(place.target))
    if place.claim.read_only or place.claim.module is not None:
        return False
    return not place.absolute and not router.view.no_continue


def emulable(call: Call, places: list[Place]) -> bool:
    """May the monitor act for this task, on these places?"""
    return not any(place.native or not place.real for place in places) and is_like_us(
        call, call.task
    )


def committed(call: Call, places: list[Place]) -> None:
    """Tell the modules that own a changed name."""
    for argument, place in zip(call.row.paths, places, strict=True):
        claim = place.claim
        if claim is None or claim.module is None or place is KERNEL:
            continue
        told = getattr(claim.module, "committed", None)
        if told is not None and argument.intent not in (Intent.READ, Intent.EXECUTE):
            told(
                claim.module_path + place.virtual[len(claim.prefix) :],
                INTENTS.get(argument.intent, "open"),
            )


# ---- fix-up -----------------------------------------------------------------------------------


def tracee_string(router: Router, call: Call, place: Place) -> bytes:
    """The string by which the tracee's own kernel lookup reaches the place."""
    _, root = router.tasks.get(call.tid)
    real = place.real
    if root != b"/":
        if not lies_in(real, root):
            router.log.warning(
                f"{call.name}: {os.fsdecode(real)} lies outside the root directory of process"
                f" {call.tid}",
                once="outside root",
            )
            raise OSError(errno.EACCES, "outside the root directory")
        real = real[len(root) :] or b"/"
    elif len(real) >= PATH_MAX:  # through a link, which lies outside of any other root
        real = short_name(router.view, real)
    if len(real) >= PATH_MAX:
        raise OSError(errno.ENAMETOOLONG, "backing")
    return real


def _is_outside(router: Router, call: Call, place: Place) -> bool:
    """Does only the tracee's own, relative string reach it, as its directory lies outside its
    root?"""
    if not place.plain or place.absolute:
        return False
    return not lies_in(place.real, router.tasks.get(call.tid)[1])


def fix_up_paths(
    router: Router,
    call: Call,
    places: list[Place],
    others: Mapping[int, bytes] = MappingProxyType({}),
    state: ProcessState | None = None,
) -> int | Outcome:
    """Let the kernel run the call in the tracee, with the real paths. `state`: of the process, when
    it has succeeded."""
    row = call.row
    args: list[Argument] = list(call.raw[: len(row.args)])
    strings: dict[int, bytes] = {}
    lent: list[int] = []
    for argument, place in zip(row.paths, places, strict=True):
        if place is KERNEL or not place.real or place.best or _is_outside(router, call, place):
            continue
        if argument.dirfd is not None and needs_descriptor(router, call, place):
            lent.append(lend(router, call, place.parent))
            args[argument.dirfd] = lent[-1]
            strings[argument.path] = place.real[len(place.parent) :].lstrip(b"/")
        else:
            strings[argument.path] = tracee_string(router, call, place)
        args[argument.path] = strings[argument.path] + b"\0"
        if argument.follow is HOW:  # the resolver has obeyed them, and the path is another one
            flags, mode, rules = read_how(router, call)
            how = pack_how(flags, mode, rules & ~RESOLVE_MASK)
            args[2], args[3] = how, len(how)
    for index, text in others.items():
        args[index] = text + b"\0"
    may_block = row.name in _BLOCKING
    if may_block and not any(p.native for p in places):
        may_block = row.name == "connect" or any(_may_wait(p.real) for p in places if p.real)
    after: Callable[[int, Sequence[int]], None] | None = None
    hint = marks.wanted(router, call, places[0])
    if hint is not None:
        after = lambda fd, _: marks.mark_in_tracee(router, call, fd, hint)  # noqa: E731
    if any(place.claim is not None and place.claim.module is not None for place in places):
        after = lambda result, _: None if result < 0 else committed(call, places)  # noqa: E731
    rewrite = Rewrite(
        row.number, args, row.cookie.arg, row.cookie.shift,
        may_block=may_block, after=after, close=tuple(lent),
    )  # fmt: skip
    plain = not others and all(place.plain for place in places)
    # A name in a lent directory is another file's without it.
    return router.fix_up(call, rewrite, None if others or lent else strings, plain, state)


def _may_wait(real: bytes) -> bool:
    try:
        return not stat.S_ISDIR(os.lstat(real).st_mode)
    except OSError:
        return False
