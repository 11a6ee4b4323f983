"""`drop`: who is no virtual root may do no more than the view's owners and modes allow.

All path calls are looked at; what passes here still needs what the real user may.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING

from viewos import PASS, Claim, File, RealPath, VirtualPath, hook
from viewos.modules.uid.credentials import DAC_OVERRIDE, FOWNER, FSETID, SYS_PTRACE, Credentials
from viewos.modules.uid.module import Uid
from viewos.modules.uid.names import opening
from viewos.modules.uid.permission import (
    EXECUTE,
    READ,
    WRITE,
    check,
    check_attribute,
    check_found,
    check_link,
    check_opened,
    check_removal,
    check_times,
    protected_levels,
)
from viewos.modules.uid.procfs import ProcfsModule
from viewos.modules.uid.refusals import (
    UTIME_NOW,
    UTIME_OMIT,
    are_no_flags,
    cannot_be,
    has_directory,
    has_no_name,
    is_free,
    is_senseless,
    last_name,
    sets_no_time,
    stands,
    takes_directory,
    times_of,
)

if TYPE_CHECKING:
    from viewos import Call, Verdict
    from viewos.modules.uid.table import Record

_AT_EACCESS, _INT_MAX = 0x200, 0x7FFFFFFF
_NOREPLACE, _EXCHANGE = 1, 2
_WITH_RULES = b"trusted.", b"security.", b"system."
"""Names of attributes that have rules of their own."""


class DroppingUid(ProcfsModule, Uid):
    """uid:...,drop"""

    name = "uid"
    _says_what_ids_are = False

    def claims(self) -> Iterable[Claim]:
        """All paths, which stay what they are."""
        yield Claim(VirtualPath(b"/"), RealPath(b"/"))

    # ---- names ----------------------------------------------------------------------------------

    @hook("stat", "readlink", "statfs", "chmod", "chown", "listxattr")
    def may_look(self, call: Call) -> Verdict:
        """All directories on the way must be searchable."""
        who = self._who(call)
        if not (_is_restricted(who) and is_senseless(call)):
            self._search(call, who)
        return PASS

    @hook("open")
    def may_open(self, call: Call) -> Verdict:
        """open(2) and its kin."""
        flags = opening(call)[0]
        status = self._status(call, flags)
        if status is not None:
            return status
        who = self._who(call)
        if _is_restricted(who) and call.name != "openat2" and are_no_flags(flags & _INT_MAX):
            return PASS
        self._search(call)
        if not _is_restricted(who):
            self._check_opened_process(call, flags)
            return PASS if who.may(FSETID) else self._cut_if_there(call, flags)
        if flags & os.O_CREAT and call.args.path.endswith(b"/"):
            return PASS  # EISDIR
        try:
            file = call.file()
        except FileNotFoundError:
            if flags & os.O_CREAT:
                self._check_parent(call, who, 0)
            return PASS
        is_new = flags & os.O_CREAT and flags & os.O_EXCL  # EEXIST, says the kernel
        if file is not None and not is_new and not flags & os.O_PATH:
            seen = self._seen(call, file, call.path)
            parent = call.parent() if flags & os.O_CREAT else None
            if parent is not None:
                check_found(who, self._shown(parent)[0], seen, protected_levels())
            check_opened(who, seen, flags)
            self._check_opened_process(call, flags)
            return self._cut_if_there(call, flags)
        return PASS

    def _cut_if_there(self, call: Call, flags: int) -> Verdict:
        """An open that may cut a file."""
        if flags & (os.O_TRUNC | os.O_PATH) != os.O_TRUNC:
            return PASS
        try:
            file = call.file()
        except OSError:
            return PASS
        return PASS if file is None else self._cut(call, file)

    @hook("access")
    def may_access(self, call: Call) -> Verdict:
        """access(2), faccessat(2): for the real ids, unless AT_EACCESS is set."""
        who = self._who(call)
        flags = call.args.flags if call.name == "faccessat2" else 0
        if not flags & _AT_EACCESS:
            who = who.as_real()
        if _is_restricted(who) and is_senseless(call):
            return PASS
        self._search(call, who)
        file = call.file()
        if file is not None and _is_restricted(who):
            check(who, self._seen(call, file, call.path), call.args.mode & 7)
        return PASS

    @hook("execve")
    def may_execute(self, call: Call) -> Verdict:
        """execve(2) of a program."""
        return self._needs(call, EXECUTE)

    @hook("chdir", "fchdir")
    def may_enter(self, call: Call) -> Verdict:
        """chdir(2) into a directory."""
        return self._needs(call, EXECUTE, kind=stat.S_IFDIR)

    @hook("inotify_add_watch")
    def may_watch(self, call: Call) -> Verdict:
        """inotify_add_watch(2)."""
        return self._needs(call, READ)

    @hook("truncate")
    def may_write(self, call: Call) -> Verdict:
        """truncate(2), of what has a length."""
        return PASS if is_senseless(call) else self._needs(call, WRITE, kind=stat.S_IFREG)

    @hook("utime")
    def may_set_times(self, call: Call) -> Verdict:
        """utimensat(2) and its kin: who may write it sets the times to now."""
        who = self._who(call)
        if not _is_restricted(who) or is_senseless(call):
            return PASS
        wanted = _times(call)
        if wanted is not None:
            self._search(call)
            file = call.file()
            if file is not None and not sets_no_time(call):
                check_times(who, self._seen(call, file, call.path), are_given=wanted)
        return PASS

    @hook("getxattr", "fgetxattr")
    def may_read(self, call: Call) -> Verdict:
        """getxattr(2)."""
        return self._may_have(call, READ)

    @hook("setxattr", "removexattr", "fsetxattr", "fremovexattr")
    def may_change(self, call: Call) -> Verdict:
        """setxattr(2) and removexattr(2)."""
        return self._may_have(call, WRITE)

    def _may_have(self, call: Call, wanted: int) -> Verdict:
        who = self._who(call)
        if _is_restricted(who) and is_senseless(call):
            return PASS
        self._search(call)
        if _is_restricted(who) and not call.args.name.startswith(_WITH_RULES):
            file = call.file()
            if file is not None:
                check_attribute(who, self._seen(call, file, call.path), call.args.name, wanted)
        return PASS

    @hook("mkdir", "mknod", "symlink", "link")
    def may_make(self, call: Call) -> Verdict:
        """Calls that make a name."""
        who = self._who(call)
        if _is_restricted(who) and not is_senseless(call):
            index = len(call.row.paths) - 1
            for at in range(index):
                self._search(call, index=at)
                if not _is_there(call, at):
                    return PASS  # ENOENT, says the kernel
            self._search(call, index=index)
            if not is_free(call, index):
                return PASS  # EEXIST
            with _unless_it_cannot_be(call):
                if call.operation == "link" and _links_are_protected():
                    self._check_source(call, who)
                self._check_parent(call, who, index)
        return PASS

    def _check_source(self, call: Call, who: Credentials) -> None:
        source = call.file()
        if source is not None:
            check_link(who, self._shown(source)[0])

    @hook("unlink", "rmdir", "rename")
    def may_remove(self, call: Call) -> Verdict:
        """Calls that take a name, and rename(2), which may do so twice."""
        who = self._who(call)
        if not _is_restricted(who) or is_senseless(call):
            return PASS
        indices = range(len(call.row.paths))
        for index in indices:
            self._search(call, index=index)
            if not has_directory(call, index):
                return PASS  # ENOENT
            if has_no_name(call, index) and not _is_there(call, index):
                return PASS
        flags = call.args.flags if call.name == "renameat2" else 0
        needed = indices if flags & _EXCHANGE else (0,)
        is_off = flags & _NOREPLACE and (_is_there(call, 1) or stands(call, 1))
        is_there = takes_directory(call) and stands(call, 0)
        if is_off or not (is_there or all(_is_there(call, at) for at in needed)):
            return PASS  # whoever may or may not: the kernel says so
        with _unless_it_cannot_be(call):
            for index in indices:
                self._check_parent(call, who, index, removes=True)
            if call.operation == "rename":
                self._check_moved(call, who, both=bool(flags & _EXCHANGE))
        return PASS

    def _check_moved(self, call: Call, who: Credentials, *, both: bool) -> None:
        """A directory that gets another parent is written to: its `..` changes."""
        parents = [call.parent(index) for index in (0, 1)]
        places = [parent and parent.stat()[:16] for parent in parents]
        if places[0] == places[1]:
            return
        if not both and self._covers_file(call):
            return  # ENOTDIR
        for index in (0, 1) if both else (0,):
            moved = call.file(index)
            shown = None if moved is None else self._shown(moved)[0]
            if shown is not None and stat.S_ISDIR(shown.mode or 0):
                check(who, shown, WRITE)

    def _covers_file(self, call: Call) -> bool:
        """Is a name moved to that of a file that is no directory?"""
        shown = self._removed(call, 1)
        return shown is not None and not stat.S_ISDIR(shown.mode or 0)

    def _needs(self, call: Call, wanted: int, kind: int = 0) -> Verdict:
        """`kind`: what the kernel wants it to be, before it asks who may."""
        who = self._who(call)
        self._search(call)
        if _is_restricted(who):
            file = call.file()
            shown = None if file is None else self._seen(call, file, call.path)
            if shown is not None and kind in (0, stat.S_IFMT(shown.mode or 0)):
                check(who, shown, wanted)
        return PASS

    def _check_parent(
        self, call: Call, who: Credentials, index: int, *, removes: bool = False
    ) -> None:
        parent = call.parent(index)
        if parent is None:
            return
        directory = self._shown(parent)[0]
        if not removes:
            check(who, directory, WRITE | EXECUTE)
            return
        check_removal(who, directory, self._removed(call, index))

    def _removed(self, call: Call, index: int) -> Record | None:
        """What the view shows of the file whose name is taken."""
        path = last_name(call, index)
        if path is not None:
            with closing(File(os.open(path, os.O_PATH | os.O_NOFOLLOW))) as opened:
                return self._shown(opened)[0]
        try:
            file = call.file(index)
        except OSError:
            return None
        return None if file is None else self._shown(file)[0]

    def _search(self, call: Call, who: Credentials | None = None, index: int = 0) -> None:
        """Raise OSError EACCES unless the directories on the way may be searched."""
        who = who or self._who(call)
        if not who.may(SYS_PTRACE):
            self._check_links(call, index)
        if not _is_restricted(who):
            return
        seen: set[bytes] = set()
        for path in call.searched(index):
            if path in seen:
                continue
            seen.add(path)
            with _at(call, path) as file:
                shown = self._seen(call, file, path)
                if not stat.S_ISDIR(shown.mode or 0):
                    raise OSError(errno.ENOTDIR, "a name in what is no directory")
                check(who, shown, EXECUTE)


def _is_restricted(who: Credentials) -> bool:
    """Is there a rule about files that could say no?"""
    return not (who.may(DAC_OVERRIDE) and who.may(FOWNER))


@lru_cache
def _links_are_protected() -> bool:
    with open("/proc/sys/fs/protected_hardlinks", "rb") as file:
        return file.read().strip() == b"1"


@contextmanager
def _unless_it_cannot_be(call: Call) -> Iterator[None]:
    """The rule that says who may comes last: what else is wrong the kernel says."""
    try:
        yield
    except PermissionError:
        if not cannot_be(call):
            raise


def _is_there(call: Call, index: int) -> bool:
    try:
        call.file(index)
    except OSError:
        return False
    return True


def _times(call: Call) -> bool | None:
    """Are there times to set (True), or is it now (False)? None: the times stay as they are."""
    if not call.args.times or call.name != "utimensat":
        return bool(call.args.times)
    kinds = {nanoseconds for _, nanoseconds in times_of(call)}
    return None if kinds == {UTIME_OMIT} else kinds != {UTIME_NOW}


@contextmanager
def _at(call: Call, path: bytes) -> Iterator[File]:
    file = call.file_at(path)
    try:
        yield file
    finally:
        file.close()
