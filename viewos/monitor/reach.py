"""From a call to the object that it is about: what `Call.file` gives."""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import Iterable
from typing import TYPE_CHECKING

from viewos.abi.fcntl import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS
from viewos.abi.row import HOW, PathArg, applies, follows, may_be_empty, signed32
from viewos.claims import join
from viewos.files import File
from viewos.kernel import AT_FDCWD, vouch
from viewos.monitor.emulate import checked_how
from viewos.monitor.exchanged import open_how
from viewos.monitor.intents import intention
from viewos.monitor.pathcalls import resolve_all, settled, start_of
from viewos.monitor.place import KERNEL, RESOLVE_MASK, Place
from viewos.monitor.task import flags_in, is_like_us

if TYPE_CHECKING:
    from viewos.call import Call
    from viewos.monitor.router import Router
    from viewos.monitor.task import Task

_PATH_ONLY = os.O_PATH | os.O_CLOEXEC
_RULES = {
    (follow, rule): struct.pack("=QQQ", _PATH_ONLY | (0 if follow else os.O_NOFOLLOW), 0, rule)
    for follow in (True, False)
    for rule in (RESOLVE_NO_SYMLINKS, RESOLVE_NO_MAGICLINKS)
}
_NOWHERE = b"\0"
"""No path."""
_FOLLOW, _NOFOLLOW = _PATH_ONLY, _PATH_ONLY | os.O_NOFOLLOW


def reach(router: Router, call: Call, index: int) -> File | None:
    """The object of a path argument, or of the descriptor of a call that has no path.

    None where only the kernel can judge: another task's credentials or name spaces, a bad
    descriptor. Raises the OSError that the call gets when there is nothing.
    """
    task, root = router.tasks.get(call.tid)
    if not is_like_us(call, task):
        return None
    if not call.row.paths:
        fd = signed32(call.raw[call.row.position("fd")])
        if call.name != "fstat" and not _is_usable(task, fd):
            return None  # EBADF: the kernel says so
        return _descriptor(router, task, "fd/%d", fd)
    argument = call.row.paths[index]
    address = call.raw[argument.path]
    if not applies(argument, call.raw):
        return None
    path = router.memory.read_string(call.tid, address) if address else b""
    dirfd = AT_FDCWD if argument.dirfd is None else signed32(call.raw[argument.dirfd])
    if not path:
        if address and not may_be_empty(argument, call.raw):
            raise OSError(errno.ENOENT, "empty path")
        if not address and call.operation == "utime":
            usable = argument.null_ok and _is_usable(task, dirfd)
            return _descriptor(router, task, "fd/%d", dirfd) if usable else None
        if not address and not (argument.null_ok and may_be_empty(argument, call.raw)):
            return None
        if dirfd != AT_FDCWD and not _is_open(task, dirfd):
            return None
        return _descriptor(router, task, "fd/%d" if dirfd != AT_FDCWD else "cwd", dirfd)
    if router.view.claims or root != b"/":
        return _resolved(router, call, index)
    follow = _follows(argument, call) or path.endswith(b"/")
    return _direct(router, call, index, task, dirfd, path, follow)


def reach_parent(router: Router, call: Call, index: int) -> File | None:
    """The directory in which the last name of a path argument stands. As `reach`."""
    return settled(router, call, lambda: _parent(router, call, index))


def _parent(router: Router, call: Call, index: int) -> File | None:
    places = resolve_all(router, call)
    if places is None or places[index] is KERNEL or not call.task.like_us:
        return None
    return File(_opened(places[index], places[index].parent, _FOLLOW))


def searched(router: Router, call: Call, index: int) -> Iterable[bytes]:
    """See `Call.searched`."""
    end = _end(router, call, index)
    if end is None:
        return []
    task, root_real = router.tasks.get(call.tid)
    argument = call.row.paths[index]
    path = router.memory.read_string(call.tid, call.raw[argument.path])
    root = start = router.root_of(call, root_real)
    rules = checked_how(router, call)[2] & RESOLVE_MASK if argument.follow is HOW else 0
    if path[:1] != b"/" or rules & RESOLVE_IN_ROOT:
        below = start_of(router, call, argument, path)
        if below is None:
            return []
        start = below
        root = start if rules & RESOLVE_IN_ROOT else root
    found, at = by_letters(start.virtual, path)
    if at == end:
        return found  # no symbolic link has led elsewhere
    _, follow, keep_last = intention(router, call, argument)
    return router.resolver.searched(
        task, root, start, path, follow=follow, keep_last=keep_last, rules=rules
    )


def _end(router: Router, call: Call, index: int) -> bytes | None:
    """Where a path leads, _NOWHERE (ELOOP) included; None: only the kernel can judge."""
    try:
        places = resolve_all(router, call)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        return _NOWHERE
    return None if places is None or places[index] is KERNEL else places[index].virtual


def by_letters(start: bytes, path: bytes) -> tuple[list[bytes], bytes]:
    """(the directories in which names are looked up, where it ends), where nothing is a link."""
    found, at = [], start
    for name in path.split(b"/"):
        if name == b"..":
            return [], b""
        if name:
            found.append(at)
        if name not in (b"", b"."):
            at = join(at, b"/" + name)
    return found, at


def _follows(argument: PathArg, call: Call) -> bool:
    return call.name != "openat2" and follows(argument, call.raw)


def _descriptor(router: Router, task: Task, form: str, fd: int) -> File | None:
    """What a descriptor (or the working directory) stands for."""
    if fd < 0 and fd != AT_FDCWD:
        return None
    name = form % fd if "%" in form else form
    read_only = False
    if router.has_read_only:
        try:
            read_only = router.is_read_only(task.link(name))
        except OSError:
            return None
    return File(path=b"/proc/%d/%s" % (task.tid, name.encode()), read_only=read_only)


def _is_open(task: Task, fd: int) -> bool:
    return os.access(f"fd/{fd}", os.F_OK, dir_fd=task.directory, follow_symlinks=False)


def _is_usable(task: Task, fd: int) -> bool:
    """Is there such a descriptor, and none of O_PATH, which serves to look only?"""
    try:
        return not flags_in(task.read(f"fdinfo/{fd}")) & os.O_PATH
    except OSError:
        return False


def _direct(
    router: Router, call: Call, index: int, task: Task, dirfd: int, path: bytes, follow: bool
) -> File | None:
    """The kernel's own walk, for a task that has all names in common with us.

    Where it meets no symbolic link it leads where the task's would. One that does may pass
    /proc/self, which is ours here: where it ended in procfs, or nowhere, the resolver walks.
    """
    start = AT_FDCWD
    if path[:1] != b"/":
        name = "cwd" if dirfd == AT_FDCWD else f"fd/{dirfd}"
        try:
            start = os.open(name, _PATH_ONLY, dir_fd=task.directory)
        except OSError:
            return None
    try:
        fd = vouch(start, path, _RULES[follow, RESOLVE_NO_SYMLINKS])
        if fd == -errno.ELOOP:
            fd = vouch(start, path, _RULES[follow, RESOLVE_NO_MAGICLINKS])
            if fd < 0 or router.mounts.is_procs(os.fstat(fd).st_dev):
                if fd >= 0:
                    os.close(fd)
                return _resolved(router, call, index)
    finally:
        if start != AT_FDCWD:
            os.close(start)
    if fd < 0:
        raise OSError(-fd, os.strerror(-fd))
    return File(fd)


def _resolved(router: Router, call: Call, index: int) -> File | None:
    """Where the resolver says that the path leads."""

    def look() -> File | None:
        places = resolve_all(router, call)
        if places is None or places[index] is KERNEL or not places[index].real:
            return None
        return at_place(router, places[index], _follows(call.row.paths[index], call))

    return settled(router, call, look)


def at_place(router: Router, place: Place, follow: bool) -> File:
    """The object at a place. `follow`: none where a link has been put meanwhile. Raises OSError,
    Exchanged."""
    target = place.target
    read_only = place.is_read_only
    if target is not None and router.has_read_only:
        read_only = router.is_read_only(target)
    follow = target is not None or (follow and not place.native)
    fd = _opened(place, place.real, _FOLLOW if follow else _NOFOLLOW)
    if place.real.endswith(b"/") and not stat.S_ISDIR(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.ENOTDIR, "not a directory")
    return File(fd, read_only=read_only)


def _opened(place: Place, real: bytes, flags: int) -> int:
    if place.native or place.target is not None:  # magic links may lead there
        return os.open(real, flags)
    return open_how(AT_FDCWD, real, flags, 0, 0)
