"""What a mount would refuse: changes where it is read-only, names in two mounts, mount points."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from viewos.abi.fcntl import AT_EMPTY_PATH, AT_REMOVEDIR, O_TMPFILE
from viewos.abi.row import Intent, PathArg
from viewos.monitor.emulate import removal_flags
from viewos.monitor.intents import NAME_INTENTS, intention, open_flags
from viewos.monitor.mountpoints import (
    described,
    directory_of,
    is_above_mount,
    is_mount_point,
    mounts_of,
    probe_flags,
    refuse_change,
)
from viewos.monitor.place import KERNEL, Place
from viewos.monitor.renames import check_rename

if TYPE_CHECKING:
    from viewos.call import Call
    from viewos.monitor.router import Router


_TAKES = frozenset({"rename", "rmdir", "unlink"})


def check_changes(router: Router, call: Call, places: list[Place]) -> None:
    """Refuse what a bind mount would: EROFS, EXDEV, EBUSY. Raises OSError."""
    if call.operation == "rename":
        check_rename(router, call, *places)
        return
    is_read_only = call.operation == "link" and any(p.is_read_only for p in places)
    if is_read_only and not _check_link(call, places[0]):
        return
    for argument, place in zip(call.row.paths, places, strict=True):
        if place.target is not None and router.is_read_only(place.target):
            _check_followed(router, call, argument, place)
        if argument.intent is Intent.REMOVE and is_mount_point(router, place):
            _refuse_mount_point(router, call, place)
        if place.is_read_only and place is not KERNEL:
            _check_read_only(router, call, argument, place)
    if call.operation == "link":
        _check_same_mount(router, call, *places)
    elif takes_claims(router, call, places):
        _refuse_holder(call, places[0])


def may_cross(router: Router, call: Call, places: list[Place]) -> bool:
    """May a call that the kernel could run change what is in two claims, or in which one stands?"""
    if places[-1].claim is not places[0].claim or takes_claims(router, call, places):
        return True
    links = call.operation == "link"
    return links and (places[0].target is not None or described(router, call) is not KERNEL)


def takes_claims(router: Router, call: Call, places: list[Place]) -> bool:
    """Is the call about to remove or rename what a claim stands on, in or below?"""
    return call.operation in _TAKES and any(
        is_above_mount(router, place) or is_mount_point(router, place) for place in places
    )


def _check_followed(router: Router, call: Call, argument: PathArg, place: Place) -> None:
    """Raise what a read-only mount says of what a magic link leads to."""
    if intention(router, call, argument)[0] not in ("write", "create"):
        return
    opens = argument.intent is Intent.OPEN and open_flags(router, call) & O_TMPFILE != O_TMPFILE
    if (opens or call.operation == "truncate") and os.path.isdir(place.real):
        raise OSError(errno.EISDIR, "directory")
    raise OSError(errno.EROFS, "read-only claim")


def _check_link(call: Call, old: Place) -> bool:
    """Raise what comes before EROFS where a link is made. False: the kernel finds it."""
    probe_flags(call)
    if old is KERNEL:
        return call.name == "linkat" and bool(call.raw[4] & AT_EMPTY_PATH)
    os.lstat(old.real)
    return True


def _check_same_mount(router: Router, call: Call, old: Place, new: Place) -> None:
    """link(2) stays in one mount."""
    if old is KERNEL:
        old = described(router, call)
    if KERNEL in (old, new) or new.native or (old.native and not old.target):
        return  # another file system, which the kernel sees for itself
    here = mounts_of(router, call, 0, old, of_parent=False)
    if not here.isdisjoint(mounts_of(router, call, 1, new, of_parent=True)):
        return
    # What else is wrong comes first: the kernel will say it.
    try:
        probe_flags(call)
        for path in (old.parent + b"/.", new.parent + b"/.", old.real):
            os.lstat(path)
    except OSError:
        return
    if not (new.real.endswith(b"/") or os.path.lexists(new.real)):  # EEXIST or ENOENT come first
        raise OSError(errno.EXDEV, "another claim")


def _refuse_mount_point(router: Router, call: Call, place: Place) -> None:
    flags = removal_flags(call)
    if flags & ~AT_REMOVEDIR:
        raise OSError(errno.EINVAL, "flags")
    holder, directory = directory_of(router, place)
    if holder is not None and holder.read_only:
        raise OSError(errno.EROFS, "read-only claim")
    root = router.root_of(call, router.tasks.get(call.tid)[1]).virtual
    is_wrong = place.virtual == root or (not flags and place.real.endswith(b"/"))
    if not is_wrong:  # else that is found first
        refuse_change(call, directory, place.real)
    is_directory = stat.S_ISDIR(os.lstat(place.real).st_mode)
    if is_directory != bool(flags):
        raise OSError(errno.EISDIR if is_directory else errno.ENOTDIR, "mount point")
    raise OSError(errno.EBUSY, "mount point")


def _refuse_holder(call: Call, place: Place) -> None:
    """Raise ENOTEMPTY for a directory that has no other entry than a claim, it may be."""
    if removal_flags(call) != AT_REMOVEDIR or not stat.S_ISDIR(os.lstat(place.real).st_mode):
        return
    refuse_change(call, place.parent)
    raise OSError(errno.ENOTEMPTY, "a claim stands there")


def _check_read_only(router: Router, call: Call, argument: PathArg, place: Place) -> None:
    """Raise EROFS, or what the kernel finds before it looks whether it may write (fs/namei.c,
    fs/open.c)."""
    intent = intention(router, call, argument)[0]
    if intent in ("look", "read"):
        return
    if argument.intent is Intent.OPEN:
        _check_open(router, call, place, intent)
        return
    if argument.intent in NAME_INTENTS:
        check_name(_operation(call), argument.intent, place)
    else:
        mode = os.lstat(place.real).st_mode
        if call.operation == "truncate" and not stat.S_ISREG(mode):
            raise OSError(errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL, "no file")
    raise OSError(errno.EROFS, "read-only claim")


def _check_open(router: Router, call: Call, place: Place, intent: str) -> None:
    flags = open_flags(router, call)
    if flags & os.O_CREAT and flags & os.O_DIRECTORY:
        _refuse_flags(flags)
    if intent == "create" and place.real.endswith(b"/"):
        os.stat(place.parent + b"/.")
        raise OSError(errno.EISDIR, "directory")
    try:
        mode = os.lstat(place.real).st_mode
    except FileNotFoundError:
        os.stat(place.parent + b"/.")
        if intent != "create":
            raise
        raise OSError(errno.EROFS, "read-only claim") from None
    makes = flags & O_TMPFILE == O_TMPFILE
    if flags & os.O_CREAT and flags & os.O_EXCL:
        raise OSError(errno.EEXIST, "exists")
    if stat.S_ISDIR(mode):
        if not makes and flags & (os.O_ACCMODE | os.O_CREAT | os.O_TRUNC):
            raise OSError(errno.EISDIR, "directory")
    elif flags & os.O_DIRECTORY:
        raise OSError(errno.ENOTDIR, "no directory")
    elif not stat.S_ISREG(mode):
        return
    if flags & os.O_ACCMODE in (os.O_WRONLY, os.O_RDWR) or flags & os.O_TRUNC:
        raise OSError(errno.EROFS, "read-only claim")


def _refuse_flags(flags: int) -> None:
    """Raise what the kernel says of flags before it looks at a path: EINVAL (Linux 6.4)."""
    with suppress(FileNotFoundError):
        os.close(os.open(b"", flags & ~os.O_CLOEXEC))


_DOTS = {"rmdir": (errno.EINVAL, errno.ENOTEMPTY, errno.EBUSY), "unlink": (errno.EISDIR,) * 3}
"""Of `.`, of `..` and of the root."""


def _operation(call: Call) -> str:
    removes = call.operation in ("unlink", "rmdir") and removal_flags(call) & AT_REMOVEDIR
    return "rmdir" if removes else call.operation


def check_name(operation: str, intent: Intent, place: Place) -> None:
    """Raise what is wrong with a name that is to be made or removed."""
    os.stat(place.parent + b"/.")
    name = os.path.basename(place.real.rstrip(b"/"))
    special = [b".", b"..", b""].index(name) if name in (b".", b"..", b"") else None
    if intent is Intent.REMOVE:
        if special is not None:
            raise OSError(_DOTS[operation][special], "no name")
    elif special is not None or os.path.lexists(place.real.rstrip(b"/")):
        raise OSError(errno.EADDRINUSE if operation == "bind" else errno.EEXIST, "exists")
    elif place.real.endswith(b"/") and operation != "mkdir":
        raise OSError(errno.ENOENT, "no directory")
