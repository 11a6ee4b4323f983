"""Who may do what with a file: the kernel's rules (fs/namei.c), for what the view shows of it."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping
from functools import lru_cache

from viewos.modules.uid import acl
from viewos.modules.uid.credentials import DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER, Credentials
from viewos.modules.uid.table import Record

READ, WRITE, EXECUTE = 4, 2, 1


def check(who: Credentials, shown: Record, wanted: int) -> None:
    """Raise OSError EACCES unless the process may (generic_permission)."""
    mode = shown.mode or 0
    if stat.S_ISLNK(mode) or _granted(who, shown, wanted) & wanted == wanted:
        return
    is_directory = stat.S_ISDIR(mode)
    if who.may(DAC_OVERRIDE) and (is_directory or not wanted & EXECUTE or mode & 0o111):
        return
    looks = (READ | EXECUTE) if is_directory else READ
    if who.may(DAC_READ_SEARCH) and not wanted & ~looks:
        return
    raise OSError(errno.EACCES, "permission")


def _granted(who: Credentials, shown: Record, wanted: int) -> int:
    mode = shown.mode or 0
    if who.uid.fs == shown.uid:
        return mode >> 6 & 7
    entries = shown.attribute(acl.ACCESS)
    if entries is not None:
        return acl.granted(acl.parse(entries), who.uid.fs, shown.gid, who.in_group, wanted)
    return mode >> 3 & 7 if who.in_group(shown.gid) else mode & 7


def check_opened(who: Credentials, shown: Record, flags: int) -> None:
    """Raise OSError unless the process may open that file, which is there (do_open). What
    the kernel refuses for the kind of file that it is, it says itself."""
    is_directory = stat.S_ISDIR(shown.mode or 0)
    if flags & os.O_DIRECTORY and not is_directory:
        return
    if flags & os.O_TMPFILE == os.O_TMPFILE:
        check(who, shown, WRITE | EXECUTE)
        return
    wanted = {os.O_RDONLY: READ, os.O_WRONLY: WRITE}.get(flags & os.O_ACCMODE, READ | WRITE)
    wanted |= WRITE if flags & os.O_TRUNC else 0
    if is_directory and (wanted & WRITE or flags & os.O_CREAT):
        return
    check(who, shown, wanted)
    if flags & os.O_NOATIME and not _is_owner(who, shown):
        raise OSError(errno.EPERM, "O_NOATIME")


def check_found(
    who: Credentials, directory: Record, shown: Record, levels: Mapping[int, int]
) -> None:
    """Raise OSError EACCES where an open that would make a file finds another's in a sticky
    directory (may_create_in_sticky). `levels`: by kind, what sysctl says."""
    mode, kind = directory.mode or 0, stat.S_IFMT(shown.mode or 0)
    level = levels.get(kind)
    if not mode & stat.S_ISVTX or level == 0 or kind == stat.S_IFDIR:
        return
    if shown.uid in (directory.uid, who.uid.fs):
        return
    if mode & 0o002 or (mode & 0o020 and (level or 0) >= 2):
        raise OSError(errno.EACCES, "another's file in a sticky directory")


@lru_cache
def protected_levels() -> Mapping[int, int]:
    """fs.protected_regular and fs.protected_fifos, by kind."""
    levels = {}
    for kind, name in ((stat.S_IFREG, "regular"), (stat.S_IFIFO, "fifos")):
        with open(f"/proc/sys/fs/protected_{name}", "rb") as file:
            levels[kind] = int(file.read())
    return levels


def check_times(who: Credentials, shown: Record, *, are_given: bool) -> None:
    """Raise OSError unless the process may set the times of a file to now, or to what it gives
    (may_setattr, setattr_prepare)."""
    if _is_owner(who, shown):
        return
    if are_given:
        raise OSError(errno.EPERM, "not the owner")
    check(who, shown, WRITE)


def check_attribute(who: Credentials, shown: Record, name: bytes, wanted: int) -> None:
    """Raise OSError unless the process may read or write an attribute that has no rules of its own
    (xattr_permission)."""
    mode = shown.mode or 0
    if name.startswith(b"user."):
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            return  # it has none: the kernel says so
        is_sticky = stat.S_ISDIR(mode) and mode & stat.S_ISVTX
        if is_sticky and wanted & WRITE and not _is_owner(who, shown):
            raise OSError(errno.EPERM, "sticky directory")
    check(who, shown, wanted)


def _is_owner(who: Credentials, shown: Record) -> bool:
    """inode_owner_or_capable."""
    return who.uid.fs == shown.uid or who.may(FOWNER)


def check_removal(who: Credentials, directory: Record, shown: Record | None) -> None:
    """Raise OSError unless the process may take that name from a directory (may_delete)."""
    check(who, directory, WRITE | EXECUTE)
    if shown is None or not (directory.mode or 0) & stat.S_ISVTX:
        return
    if who.uid.fs not in (shown.uid, directory.uid) and not who.may(FOWNER):
        raise OSError(errno.EPERM, "sticky directory")


def check_link(who: Credentials, shown: Record) -> None:
    """Raise OSError EPERM where fs.protected_hardlinks forbids a link to that file (may_linkat)."""
    mode = shown.mode or 0
    if _is_owner(who, shown):
        return
    is_safe = stat.S_ISREG(mode) and not mode & stat.S_ISUID
    if is_safe and mode & (stat.S_ISGID | stat.S_IXGRP) != stat.S_ISGID | stat.S_IXGRP:
        try:
            check(who, shown, READ | WRITE)
        except OSError:
            pass
        else:
            return
    raise OSError(errno.EPERM, "fs.protected_hardlinks")
