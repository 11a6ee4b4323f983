"""What /proc says of a tracee, cached as long as it is certain to be the same task."""

from __future__ import annotations

import errno
import os
import resource
import struct
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from viewos.launcher.layout import CAP_SYS_PTRACE, has_capability

if TYPE_CHECKING:
    from viewos.call import Call

_OPEN_TASK = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_CREDENTIALS = (b"Uid:", b"Gid:", b"Groups:", b"CapEff:")


_LABEL = "attr/current"
_MOST = 256


def _our_label() -> bytes:
    try:
        with open(f"/proc/self/{_LABEL}", "rb", buffering=0) as file:
            return file.read()
    except OSError:
        return b""


def _credentials(status: bytes) -> tuple[bytes, ...]:
    return tuple(line for line in status.splitlines() if line.startswith(_CREDENTIALS))


def auxiliary(pid: int) -> dict[int, int]:
    """The auxiliary vector of a process (getauxval(3)). Raises OSError."""
    with open(f"/proc/{pid}/auxv", "rb", buffering=0) as file:
        return dict(struct.iter_unpack("=QQ", file.read()))


def tracer_of(tid: int) -> int:
    """The thread that traces another one; 0: none. Raises OSError."""
    return int(field(read_status(tid), b"TracerPid"))


def flags_in(info: bytes) -> int:
    """The flags of an open file, from what proc_pid_fdinfo(5) says of it."""
    words = info.split()
    return int(words[words.index(b"flags:") + 1], 8)


START_STACK, ARG_START = 28, 48
"""Fields of proc_pid_stat(5)."""


def stat_fields(pid: int) -> list[bytes]:
    """Those of /proc/PID/stat by their numbers in proc_pid_stat(5), the third and those behind it.
    Raises OSError."""
    with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
        return [b"", b"", b"", *file.read().rpartition(b") ")[2].split()]


def start_stack(pid: int) -> int:
    """Where the stack of a process began: argc stands there (System V ABI). Raises OSError."""
    return int(stat_fields(pid)[START_STACK])


def read_status(tid: int) -> bytes:
    """/proc/TID/status. Raises OSError when the task is gone or hidden."""
    with open(f"/proc/{tid}/status", "rb", buffering=0) as file:
        return file.read()


def field(status: bytes, name: bytes) -> bytes:
    """A line of /proc/TID/status (proc_pid_status(5)), behind the colon.

    Raises OSError ESRCH when the task was exiting: then it has some of them no more.
    """
    _, found, rest = status.partition(b"\n" + name + b":")
    if not found:
        raise ProcessLookupError(errno.ESRCH, "the task is exiting")
    return rest.partition(b"\n")[0].strip()


def _has_capability(status: bytes, capability: int) -> bool:
    return bool(int(field(status, b"CapEff"), 16) >> capability & 1)


def due_signals(status: bytes, blocked: int | None = None) -> bool:
    """Is a signal pending that is neither blocked nor ignored? `blocked` instead of the mask that
    /proc/TID/status tells."""
    pending = int(field(status, b"SigPnd"), 16) | int(field(status, b"ShdPnd"), 16)
    if blocked is None:
        blocked = int(field(status, b"SigBlk"), 16)
    return bool(pending & ~(blocked | int(field(status, b"SigIgn"), 16)))


class Task:
    """One tracee. The descriptor of /proc/TID never names another task, even when the id is
    reused."""

    __slots__ = (
        "directory", "has_left", "has_our_ids", "moving", "our_label", "same_mounts", "tgid", "tid",
    )  # fmt: skip

    def __init__(self, tid: int, directory: int, our_label: bytes) -> None:
        self.tid, self.tgid, self.directory, self.our_label = tid, tid, directory, our_label
        self.has_our_ids = False
        """Same credentials and name spaces as the monitor."""
        self.same_mounts = False
        """Same mount name space: its real paths are ours."""
        self.has_left = False
        """It is in another one, and the claims have been mounted there, or cannot be."""
        self.moving: Any = None
        """It is in another one, and mounts them now: see `namespaces`."""

    def __del__(self) -> None:
        # Closed with the last user and not with the cache entry: another thread may be reading.
        if self.directory >= 0:
            os.close(self.directory)

    @property
    def like_us(self) -> bool:
        """May the monitor emulate for this task? What it may not do, the task may not either."""
        return self.has_our_ids and not self.is_labelled

    @property
    def is_labelled(self) -> bool:
        """Does a security module judge the task by another label than the monitor? A program may
        change its own at any time (aa_change_hat(2), setcon(3))."""
        if not self.our_label:
            return False
        try:
            return self.read(_LABEL) != self.our_label
        except OSError:
            return True

    def link(self, name: str) -> bytes:
        """readlink of /proc/TID/NAME. Raises OSError (ESRCH, ENOENT) when the task is gone."""
        return os.readlink(name.encode(), dir_fd=self.directory)

    def read(self, name: str) -> bytes:
        """The contents of /proc/TID/NAME."""
        fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.directory)
        with open(fd, "rb", buffering=0) as file:
            return file.read()

    def umask(self) -> int:
        """The task's file mode creation mask. Raises OSError."""
        return int(field(self.read("status"), b"Umask"), 8)

    def may_follow(self, link: bytes) -> bool:
        """May the task pass through a magic link of another process, which the monitor has read?

        Its credentials count (ptrace(2), "access mode checking"); a process that is not dumpable
        belongs to root there.
        """
        if self.like_us or link.split(b"/")[2:3] == [b"%d" % self.tgid]:
            return True
        status = self.read("status")
        fsuid = int(field(status, b"Uid").split()[3])
        return _has_capability(status, CAP_SYS_PTRACE) or os.lstat(link).st_uid == fsuid

    def has_capability(self, capability: int) -> bool:
        """Is it among the task's effective capabilities?"""
        return _has_capability(self.read("status"), capability)

    def due_signals(self) -> bool:
        """Is a signal pending that the task neither blocks nor ignores?"""
        return due_signals(self.read("status"))


def is_like_us(call: Call, task: Task) -> bool:
    """May the monitor act for the caller, which `task` is?"""
    return not call.process_state.confined and task.like_us


def refuse_code(call: Call, task: Task) -> None:
    """Raise OSError EPERM unless the caller may have code run in the monitor: modules have its
    power."""
    if not is_like_us(call, task):
        raise OSError(errno.EPERM, "only a program with the monitor's own credentials")


def _size() -> int:
    """Each task holds a descriptor, and so do those of the accelerator."""
    with suppress(OSError):  # a container's filter may forbid it
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return max(1, min(_MOST, limit // 16))
    return _MOST


class Tasks:
    """A small cache of tasks. One a monitor; used by many threads, each operation is one dict
    step."""

    def __init__(self) -> None:
        self._size = _size()
        self._cache: OrderedDict[int, Task] = OrderedDict()
        self._changes = 0
        """How often something has been forgotten: what was read before is not kept then."""
        self.brought: set[bytes] = set()
        """Mount name spaces into which the claims have been brought. Their names are used again
        later: for warnings only."""
        self.ours = _credentials(read_status(os.getpid()))
        """Lines of proc_pid_status(5) that tell the monitor's own credentials."""
        self.our_label = _our_label()
        """What SELinux, AppArmor or Smack calls the monitor; b"" without such a security module."""
        self.mount_namespace = os.readlink(b"/proc/self/ns/mnt")
        self.user_namespace = os.readlink(b"/proc/self/ns/user")
        self.may_read_all = has_capability(CAP_SYS_PTRACE)
        """Processes that are not dumpable, too."""
        self.on_forget: Callable[[int | None, int], None] | None = None
        """Told of each task to be read anew (None: all of them), and which of its threads executes
        a program (0: none)."""
        self.doubts: dict[int, set[int]] = {}
        """Process -> threads that execute a program. Such a one gets the id of the first when all
        others have ended, some time after its call, and the program's credentials then: nothing
        that is read of the first meanwhile is believed again."""
        self._doubting = threading.Lock()
        self.on_shortage: Callable[[], None] | None = None
        """Told to give back descriptors."""

    def get(self, tid: int) -> tuple[Task, bytes]:
        """The task, and the real path of its root directory, which proves that the entry is alive.

        Raises OSError when the task is gone or may not be read.
        """
        task = self._cache.get(tid)
        if task is not None:
            try:
                if tid in self.doubts:
                    self._learn(task)
                return task, task.link("root")
            except OSError:
                self.forget(tid)
        before = self._changes
        try:
            task = self._read(tid)
        except OSError as error:
            if error.errno != errno.EMFILE:
                raise
            self.give_up()
            task = self._read(tid)
        root = task.link("root")
        if self._changes == before:
            self._cache[tid] = task
        while len(self._cache) > self._size:
            try:
                self._cache.popitem(last=False)
            except KeyError:
                break
        return task, root

    def _read(self, tid: int) -> Task:
        directory = os.open(f"/proc/{tid}", _OPEN_TASK)
        task = Task(tid, directory, self.our_label)
        self._learn(task)
        return task

    def _learn(self, task: Task) -> None:
        status = task.read("status")
        task.tgid = int(field(status, b"Tgid"))
        task.same_mounts = task.link("ns/mnt") == self.mount_namespace
        task.has_our_ids = (
            task.same_mounts
            and _credentials(status) == self.ours
            and task.link("ns/user") == self.user_namespace
        )

    def is_labelled(self, tid: int) -> bool:
        """`Task.is_labelled` of that task. Raises OSError when it is gone."""
        return bool(self.our_label) and self.get(tid)[0].is_labelled

    def forget(self, tid: int) -> None:
        """Read the task anew next time: what the cache holds is about to change."""
        self._forget(tid, 0)

    def _forget(self, tid: int, executing: int) -> None:
        self.drop([(tid, executing)])
        if self.on_forget is not None:
            self.on_forget(tid, executing)

    def drop(self, pairs: Iterable[tuple[int, int]]) -> None:
        """`forget`, where whoever has to be told knows already; or, with a thread, `executes`."""
        for tid, executing in pairs:
            if executing:
                self._doubt(tid, executing)
            self._changes += 1
            self._cache.pop(tid, None)

    def executes(self, group: int, tid: int) -> None:
        """A thread of a process is about to execute a program."""
        if tid != group:
            self._forget(tid, 0)
        self._forget(group, 0 if tid == group else tid)

    def _doubt(self, group: int, tid: int) -> None:
        with self._doubting:
            if len(self.doubts) >= _MOST:
                for other in [one for one in self.doubts if not os.path.exists(f"/proc/{one}")]:
                    del self.doubts[other]
            self.doubts.setdefault(group, set()).add(tid)

    def settle(self, tid: int, is_waiting: Callable[[], bool]) -> None:
        """Believe again what is read of a task that makes a call, where it is what a thread that
        executed has become, or no thread is any more that could: that is looked at first."""
        with self._doubting:
            if tid in self.doubts and self._is_over(tid) and is_waiting():
                self.drop([(tid, 0)])
                del self.doubts[tid]

    def _is_over(self, group: int) -> bool:
        executing = self.doubts[group]
        threads = f"/proc/{group}/task"
        with suppress(OSError):
            if len(executing) == 1 and not os.path.exists(f"{threads}/{min(executing)}"):
                return True
            return len(os.listdir(threads)) == 1
        return False

    def give_up(self) -> None:
        """The monitor has no descriptor left: close those of tasks, most of which have ended."""
        self._cache.clear()
        if self.on_shortage is not None:
            self.on_shortage()

    def forget_all(self) -> None:
        """Read every task anew next time."""
        self._changes += 1
        self._cache.clear()
        if self.on_forget is not None:
            self.on_forget(None, 0)
