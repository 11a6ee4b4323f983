"""What a mount would refuse: changes where it is read-only, names in two mounts, mount points."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from viewos.abi.fcntl import AT_EMPTY_PATH, AT_REMOVEDIR, O_TMPFILE
from viewos.abi.row import Intent, PathArg, signed32
from viewos.kernel import AT_FDCWD, NR, syscall
from viewos.monitor.emulate import removal_flags
from viewos.monitor.intents import NAME_INTENTS, intention, open_flags
from viewos.monitor.paths import KERNEL, Place

if TYPE_CHECKING:
    from viewos.call import Call
    from viewos.monitor.router import Router


def check_changes(router: Router, call: Call, places: list[Place]) -> None:
    """Refuse what a bind mount would: EROFS, EXDEV, EBUSY. Raises OSError."""
    if call.operation == "rename":  # which looks at the mounts first (fs/namei.c)
        _check_same_mount(router, call, *places)
    is_looked_at = call.operation in ("rename", "link") and any(p.is_read_only for p in places)
    if is_looked_at and not _check_both(call, *places):
        return
    for argument, place in zip(call.row.paths, places, strict=True):
        claim = place.claim
        target_is_read_only = place.target is not None and router.is_read_only(place.target)
        if target_is_read_only and intention(router, call, argument)[0] in ("write", "create"):
            raise OSError(errno.EROFS, "read-only claim")
        if claim is None or place is KERNEL:
            continue
        if argument.intent is Intent.REMOVE and place.virtual == claim.prefix:
            _refuse_mount_point(call, place, places[-1])
        if claim.read_only:
            _check_read_only(router, call, argument, place)
    if call.operation == "link":
        _check_same_mount(router, call, *places)


def _check_both(call: Call, old: Place, new: Place) -> bool:
    """Raise what comes before EROFS where a call has two names. False: the kernel finds it."""
    _probe_flags(call)
    if call.operation == "link":
        if old is KERNEL:
            return call.name == "linkat" and bool(call.raw[4] & AT_EMPTY_PATH)
        os.lstat(old.real)
        return True
    if KERNEL in (old, new):
        return False
    for argument, place in zip(call.row.paths, (old, new), strict=True):
        if place.is_read_only:
            check_name("rename", argument.intent, place)
    return True


def _check_same_mount(router: Router, call: Call, old: Place, new: Place) -> None:
    """rename(2) and link(2) stay in one mount, and a mount point is busy."""
    if KERNEL in (old, new) or new.native or (old.native and not old.target):
        return  # another file system, which the kernel sees for itself
    is_rename = call.operation == "rename"
    here = _mounts_of(router, call, 0, old, of_parent=is_rename)
    differs = here.isdisjoint(_mounts_of(router, call, 1, new, of_parent=True))
    if is_rename and b"/" in (old.virtual, new.virtual):  # the directory is the root itself
        real = (place.real if place.virtual == b"/" else place.parent for place in (old, new))
        differs = differs or len({router.mounts.mount_of(path) for path in real}) > 1
    is_busy = is_rename and new.claim is not None and new.virtual == new.claim.prefix
    if not differs and not is_busy:
        return
    # What else is wrong comes first: the kernel will say it.
    try:
        _probe_flags(call)
        for place in (old, new):
            os.lstat(place.parent + b"/.")
        if not differs or not is_rename:
            os.lstat(old.real)
    except OSError:
        return
    ends_in_slash = new.real.endswith(b"/")  # EEXIST or ENOENT, which come first
    if is_rename or not (ends_in_slash or os.path.lexists(new.real)):
        raise OSError(*((errno.EXDEV, "another claim") if differs else (errno.EBUSY, "busy")))


def _probe_flags(call: Call) -> None:
    """Raise OSError EINVAL for flags that the kernel refuses before it looks at paths."""
    if call.name in ("renameat2", "linkat"):
        flags = call.raw[4] & 0xFFFFFFFF & ~(AT_EMPTY_PATH if call.name == "linkat" else 0)
        try:
            syscall(NR[call.name], AT_FDCWD, b"", AT_FDCWD, b"", flags)
        except FileNotFoundError:
            return


def _mounts_of(
    router: Router, call: Call, index: int, place: Place, *, of_parent: bool
) -> set[bytes | None]:
    """The prefixes of the claims where a name stands (`of_parent`: its directory; None: in none),
    several where a descriptor or a magic link stands for what has several names."""
    claims = router.view.claims
    dirfd = call.row.paths[index].dirfd
    by_descriptor = dirfd is not None and signed32(call.raw[dirfd]) != AT_FDCWD
    # Who stands in a claim has most likely opened it by that name.
    by_descriptor = by_descriptor and router.cwd_hint(call) == b""
    if place.target or (by_descriptor and not place.absolute):
        names = claims.names(place.target or (place.parent if of_parent else place.real))
        found = [claims.find(name) for name in names] or [place.claim]
    elif of_parent and place.claim is not None and place.virtual == place.claim.prefix:
        found = [claims.find(os.path.dirname(place.virtual))]
    else:
        found = [place.claim]
    return {None if claim is None else bytes(claim.prefix) for claim in found}


def _refuse_mount_point(call: Call, place: Place, new: Place) -> None:
    if call.operation in ("unlink", "rmdir"):
        flags = removal_flags(call)
        if flags & ~AT_REMOVEDIR:
            raise OSError(errno.EINVAL, "flags")
        is_directory = stat.S_ISDIR(os.lstat(place.real).st_mode)
        if is_directory != bool(flags):
            raise OSError(errno.EISDIR if is_directory else errno.ENOTDIR, "mount point")
    else:
        os.lstat(new.parent + b"/.")  # where a rename leads is looked up first
    raise OSError(errno.EBUSY, "mount point")


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
    if operation == "rename":
        if special is not None:
            raise OSError(errno.EBUSY, "no name")
    elif intent is Intent.REMOVE:
        if special is not None:
            raise OSError(_DOTS[operation][special], "no name")
    elif special is not None or os.path.lexists(place.real.rstrip(b"/")):
        raise OSError(errno.EADDRINUSE if operation == "bind" else errno.EEXIST, "exists")
    elif place.real.endswith(b"/") and operation != "mkdir":
        raise OSError(errno.ENOENT, "no directory")
