"""What mounts refuse of rename(2), in the order of do_renameat2 and vfs_rename (fs/namei.c)."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from viewos.claims import lies_in
from viewos.monitor.mountpoints import (
    directory_of,
    is_above_mount,
    is_mount_point,
    mounts_of,
    probe_flags,
    refuse_change,
)
from viewos.monitor.place import KERNEL, Place
from viewos.monitor.task import is_like_us

if TYPE_CHECKING:
    from viewos.call import Call
    from viewos.monitor.router import Router

_NOREPLACE, _EXCHANGE = 1, 2
_NOWHERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})


def check_rename(router: Router, call: Call, old: Place, new: Place) -> None:
    """Raise what the kernel would, of a rename that mounts have a say in."""
    if KERNEL in (old, new):
        return
    both = (old, new)
    is_busy = any(is_mount_point(router, place) for place in both)
    holds = any(is_above_mount(router, place) for place in both)
    is_read_only = any(_is_read_only(router, place) for place in both)
    differs = _differs(router, call, old, new)
    if not (differs or is_busy or is_read_only or holds):
        return
    flags = call.raw[4] & 0xFFFFFFFF if call.name == "renameat2" else 0
    probe_flags(call)
    directories = [directory_of(router, place)[1] for place in both]
    if not _are_there(call, directories):
        return
    mounts = {router.mounts.mount_of(directory) for directory in directories}
    if differs or (len(mounts) > 1 and not any(place.target for place in both)):
        raise OSError(errno.EXDEV, "another mount")
    root = router.root_of(call, router.tasks.get(call.tid)[1]).virtual
    if _is_no_name(old, root):
        raise OSError(errno.EBUSY, "no name")
    if _is_no_name(new, root):
        raise OSError(errno.EEXIST if flags & _NOREPLACE else errno.EBUSY, "no name")
    if is_read_only:
        raise OSError(errno.EROFS, "read-only claim")
    if old.virtual != new.virtual or flags & _NOREPLACE:
        replaced = _check_names(old, new, flags)
        _check_permissions(call, old, new, directories, replaced)
        _check_kinds(old, replaced, flags)
        if is_busy:
            raise OSError(errno.EBUSY, "mount point")
        if holds:
            _refuse_holder(router, old, new, bool(replaced) and not flags & _EXCHANGE)


def _are_there(call: Call, directories: list[bytes]) -> bool:
    """Are both directories there? Raises OSError; False: the call fails, and of what another's
    rights tell, which may end on the way to the first."""
    try:
        for directory in directories:
            os.stat(directory + b"/.")
    except OSError as error:
        if is_like_us(call, call.task) or error.errno not in _NOWHERE:
            raise
        return False
    return True


def _is_read_only(router: Router, place: Place) -> bool:
    """Is the directory of a name in a read-only claim?"""
    if place.target is not None:
        return router.is_read_only(place.target)
    claim = directory_of(router, place)[0]
    return claim is not None and claim.read_only


def _differs(router: Router, call: Call, old: Place, new: Place) -> bool:
    """Do the names stand in different claims?"""
    if new.native or (old.native and not old.target):
        return False  # another file system, which the kernel sees for itself
    here = mounts_of(router, call, 0, old, of_parent=True)
    return here.isdisjoint(mounts_of(router, call, 1, new, of_parent=True))


def _is_no_name(place: Place, root: bytes) -> bool:
    """Does the path end in dots, or is it the root itself?"""
    last = os.path.basename(place.real.rstrip(b"/"))
    return place.virtual == root or last in (b"", b".", b"..")


def _check_names(old: Place, new: Place, flags: int) -> int:
    """Raise what is wrong with two names in one mount. Returns the mode of what has the new one."""
    is_directory = stat.S_ISDIR(os.lstat(old.real.rstrip(b"/")).st_mode)
    try:
        replaced = os.lstat(new.real.rstrip(b"/")).st_mode
    except FileNotFoundError:
        if flags & _EXCHANGE:
            raise
        replaced = 0
    if replaced and flags & _NOREPLACE:
        raise OSError(errno.EEXIST, "exists")
    needs_directory = old.real.endswith(b"/") or new.real.endswith(b"/")
    if flags & _EXCHANGE:
        if new.real.endswith(b"/") and not stat.S_ISDIR(replaced):
            raise OSError(errno.ENOTDIR, "no directory")
        needs_directory = old.real.endswith(b"/")
    if needs_directory and not is_directory:
        raise OSError(errno.ENOTDIR, "no directory")
    _check_order(old, new, flags)
    return replaced


def _check_permissions(
    call: Call, old: Place, new: Place, directories: list[bytes], replaced: int
) -> None:
    """Raise OSError where the names may not be changed."""
    refuse_change(call, directories[0], old.real.rstrip(b"/"))
    refuse_change(call, directories[1], new.real.rstrip(b"/") if replaced else b"")


def _check_kinds(old: Place, replaced: int, flags: int) -> None:
    """Raise OSError where a directory would take a file's place, or the other way round."""
    is_directory = stat.S_ISDIR(os.lstat(old.real.rstrip(b"/")).st_mode)
    if replaced and not flags & _EXCHANGE and is_directory != stat.S_ISDIR(replaced):
        raise OSError(errno.ENOTDIR if is_directory else errno.EISDIR, "another kind")


def _refuse_holder(router: Router, old: Place, new: Place, replaces: bool) -> None:
    """Raise OSError where a name is that of a directory in which, or below, a claim stands, which
    would stay where it is: EBUSY, which the kernel does not say; or ENOTEMPTY, which it does."""
    is_full = is_above_mount(router, new) or _has_entries(new.real)
    if replaces and is_full and os.path.isdir(new.real):
        raise OSError(errno.ENOTEMPTY, "not empty")
    for place in (old, new):
        if is_above_mount(router, place) and os.path.isdir(place.real):
            name = os.fsdecode(place.virtual)
            router.log.warning(
                f"rename: {name} holds a directory or file of the view, which cannot move along:"
                " EBUSY",
                once=f"holder {name}",
            )
            raise OSError(errno.EBUSY, "a claim stands there")


def _has_entries(directory: bytes) -> bool:
    try:
        return bool(os.listdir(directory))
    except OSError:
        return False


def _check_order(old: Place, new: Place, flags: int) -> None:
    """Raise what is wrong where one name is a directory on the way to the other."""
    if old.virtual != new.virtual and lies_in(new.virtual, old.virtual):
        raise OSError(errno.EINVAL, "into itself")
    if old.virtual != new.virtual and lies_in(old.virtual, new.virtual):
        raise OSError(errno.EINVAL if flags & _EXCHANGE else errno.ENOTEMPTY, "not empty")
