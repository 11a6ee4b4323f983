"""`drop`: what procfs shows of processes, and to whom, by who they are in the view (fs/proc)."""

from __future__ import annotations

import errno
import os
import re
import stat
from functools import lru_cache
from io import FileIO
from typing import TYPE_CHECKING

from viewos import Owners
from viewos.modules.uid.credentials import PERFMON, SYS_ADMIN, SYS_PTRACE, Credentials
from viewos.modules.uid.others import OtherProcesses, may_see
from viewos.modules.uid.shown import OWNER, OWNER_AT, StatModule

if TYPE_CHECKING:
    from viewos import Call, File, Verdict
    from viewos.modules.uid.table import Record

_OF_A_PROCESS = rb"/proc/(\d+)(?:/task/\d+)?"
_PROCESS = re.compile(rb"/proc/(\d+)(?:/(?!(?:task/\d+/)?net/).*)?\Z")
_STATUS = re.compile(_OF_A_PROCESS + rb"/status\Z")
_DESCRIPTORS = re.compile(_OF_A_PROCESS + rb"/fdinfo\Z")
"""What asks whether the process may be traced before it looks at the mode."""
_MEMORY = re.compile(
    _OF_A_PROCESS + rb"/(?:(mem|timers)|maps|smaps|smaps_rollup|numa_maps|auxv|environ|pagemap)\Z"
)
"""What asks for that when it is opened, whatever its mode; to read memory CAP_PERFMON does, too
(may_access_mm)."""
_OWN = re.compile(_OF_A_PROCESS + rb"/(?:fd|map_files)\Z|/proc/(\d+)/task/\d+/comm\Z")
"""What a process may always reach of itself (proc_fd_permission, proc_tid_comm_permission)."""
_NAME_SPACES = rb"ns/+(?:cgroup|ipc|mnt|net|user|uts|(?:pid|time)(?:_for_children)?)"
_MAGIC = re.compile(
    rb"(/+proc/+(\d+)/+(?:task/+\d+/+)?(?:cwd|exe|root|fd/+\d+|"
    + _NAME_SPACES
    + rb"|(map_files/+[\da-f]+-[\da-f]+)))(/|\Z)"
)
_FOR_ALL = stat.S_IFDIR | 0o555
"""The mode of the directories that keep a process's ids whatever it is (task_dump_owner)."""
_ROOT = 0, 0
_PLAIN = os.O_ACCMODE | os.O_DIRECTORY | os.O_PATH


class ProcfsModule(OtherProcesses, StatModule):
    """/proc/PID."""

    # ---- who may look at it ---------------------------------------------------------------------

    def _check_links(self, call: Call, index: int) -> None:
        """Raise OSError EACCES where a path's words begin with a magic link of a process that may
        not be traced, and the link is followed or read."""
        words = call.row.paths[index].path if call.row.paths else None
        match = None if words is None or not call.raw[words] else _MAGIC.match(call.decode(words))
        if match is None or self._may(call, int(match[2]), may_see):
            return
        is_used = match[4] or call.operation == "readlink" or not _is_link(call, index)
        if match[3] or (is_used and os.path.lexists(match[1])):
            raise OSError(errno.EACCES, "another user's process")

    def _check_opened_process(self, call: Call, flags: int) -> None:
        """Raise OSError EACCES for what is told to those only that may trace a process."""
        who = self._who(call)
        if who.may(SYS_PTRACE) or flags & (os.O_PATH | os.O_DIRECTORY):
            return
        match = _MEMORY.match(path_of(call) or b"")
        if match is None or (not match[2] and who.may(PERFMON | SYS_ADMIN)):
            return
        if not self._may(call, int(match[1]), may_see):
            raise OSError(errno.EACCES, "another user's process")

    # ---- whose it is ----------------------------------------------------------------------------

    def _seen(self, call: Call, file: File, path: bytes | None) -> Record:
        """What the view shows of a file, and of procfs and pipes what it would."""
        shown, device = self._shown(file)[0], file.device
        mode = shown.mode or 0
        if device == _device_of_pipes():
            return shown._replace(mode=mode | 0o666)  # who finds it in /proc has it
        if path is None or device != _device_of_procfs():
            return shown
        own = _OWN.match(path)
        if own and int(own[1] or own[2]) in (call.pid, call.tid):
            return shown._replace(mode=mode | (0o777 if stat.S_ISDIR(mode) else 0o666))
        owner = self._owner_at(call, path, mode)
        kept = _DESCRIPTORS.match(path)
        if kept and not self._may(call, int(kept[1]), may_see):
            shown = shown._replace(mode=stat.S_IFMT(mode))
        return shown if owner is None else shown._replace(uid=owner[0], gid=owner[1])

    def _owner_at(self, call: Call, path: bytes | None, mode: int) -> tuple[int, int] | None:
        """Whose a file of procfs is, if it belongs to a process (task_dump_owner)."""
        match = None if path is None else _PROCESS.match(path)
        if match is None:
            return None
        try:
            who: Credentials = call.recall_of(int(match[1]), self._initial)
        except OSError:
            return None
        if who.dumpable != 1 and mode != _FOR_ALL:
            return _ROOT
        return who.uid.effective, who.gid.effective

    def stat(self, call: Call) -> Verdict:
        """stat(2) and its kin; what belongs to a process in procfs has its owner."""
        path = call.path
        file = None if path is None or not _PROCESS.match(path) else call.file()
        if file is None or file.device != _device_of_procfs():
            return super().stat(call)
        owner = self._owner_at(call, path, _mode(file))
        if owner is None:
            return super().stat(call)
        owners = Owners({}, {}, *owner)
        return self._statx(call, owners) if call.name == "statx" else self._stat(call, owners)

    # ---- what it says ---------------------------------------------------------------------------

    def _status(self, call: Call, flags: int) -> Verdict | None:
        """/proc/PID/status, with the ids and capabilities of the view, where an open is for reading
        it."""
        path = path_of(call)
        match = None if path is None or flags & _PLAIN else _STATUS.match(path)
        if match is None:
            return None
        try:
            who: Credentials = call.recall_of(int(match[1]), self._initial)
            with open(f"/proc/{int(match[1])}/status", "rb") as file:
                lines = file.read().splitlines(keepends=True)
        except OSError:
            return None
        said = _lines(who)
        text = b"".join(said.get(line.split(b":")[0], line) for line in lines)
        fd = os.memfd_create("viewos-status")
        with FileIO(fd, "w") as made:
            made.write(text)
            return FileIO(os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC))


def path_of(call: Call) -> bytes | None:
    """Where it leads; None, too, where that is nowhere: the directories on the way are looked at
    first."""
    try:
        return call.path
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        return None


def _mode(file: File) -> int:
    mode: int = OWNER.unpack_from(file.stat(), OWNER_AT)[0]
    return mode


def _is_link(call: Call, index: int) -> bool:
    """Does a path lead to a symbolic link, which is not followed?"""
    try:
        file = call.file(index)
    except OSError:
        return False
    return file is not None and stat.S_ISLNK(_mode(file))


@lru_cache
def _device_of_procfs() -> int:
    return os.stat("/proc").st_dev


@lru_cache
def _device_of_pipes() -> int:
    ends = os.pipe()
    try:
        return os.fstat(ends[0]).st_dev
    finally:
        for end in ends:
            os.close(end)


def _lines(who: Credentials) -> dict[bytes, bytes]:
    words = {
        b"Uid": b"\t".join(b"%d" % one for one in who.uid),
        b"Gid": b"\t".join(b"%d" % one for one in who.gid),
        b"Groups": b" ".join(b"%d" % one for one in who.groups) + b" ",
        b"CapInh": b"%016x" % who.inheritable, b"CapPrm": b"%016x" % who.permitted,
        b"CapEff": b"%016x" % who.effective, b"CapBnd": b"%016x" % who.bounding,
        b"CapAmb": b"%016x" % who.ambient,
    }  # fmt: skip
    return {name: name + b":\t" + value + b"\n" for name, value in words.items()}
