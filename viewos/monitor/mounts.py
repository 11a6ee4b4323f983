"""Which real paths only the tracee itself may open.

On procfs, sysfs, cgroupfs and the device file systems the opener's identity, terminal and
credentials count, so the monitor never opens anything there.
"""

from __future__ import annotations

import os
import re
import select
import struct
import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from viewos.abi.fcntl import AT_STATX_DONT_SYNC
from viewos.kernel import AT_FDCWD, raw_statx

if TYPE_CHECKING:
    from viewos.monitor.task import Task

NATIVE_TYPES = frozenset(
    "proc sysfs cgroup cgroup2 devtmpfs devpts debugfs tracefs securityfs bpf configfs binfmt_misc "
    "mqueue autofs fusectl efivarfs pstore selinuxfs rpc_pipefs nsfs".split()
)

_MOUNTINFO = "/proc/self/mountinfo"
_WANTED = 0x1100
"""STATX_INO, STATX_MNT_ID (Linux 5.8)."""
_INO, _MNT_ID = 32, 144
"""Offsets in struct statx (linux/stat.h)."""


def _unescape(text: bytes) -> bytes:
    return re.sub(rb"\\([0-7]{3})", lambda m: bytes([int(m[1], 8)]), text)


class MountTable:
    """The monitor's mount namespace, read from /proc/self/mountinfo; `refresh` after a change."""

    def __init__(self) -> None:
        self.have_moved = False
        """A call has changed mounts: a name that /proc tells may be one in a tree that is mounted
        nowhere, or one that something covers."""
        self._stale_until = 0.0
        self._is_unread = False
        self._reading = threading.Lock()
        self._descriptor = -1
        """Of mountinfo, which tells by POLLPRI that it has changed since it was asked last
        (proc_pid_mountinfo(5)); open from the first call on that changes mounts."""
        self._watchers: tuple[Callable[[MountTable], None], ...] = ()
        self.refresh()

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def watch(self, watcher: Callable[[MountTable], None]) -> None:
        """Have every change of the table told, and that one may come."""
        self._watchers = (*self._watchers, watcher)
        watcher(self)

    def unwatch(self, watcher: Callable[[MountTable], None]) -> None:
        """Tell it no more."""
        self._watchers = tuple(one for one in self._watchers if one != watcher)

    @property
    def may_change(self) -> bool:
        """Is a change due, so that only a fresh look counts?"""
        return bool(self._stale_until)

    def expect_change(self) -> None:
        """A call that changes mounts is about to run: for a while, each look asks whether it
        has."""
        if self._descriptor < 0:
            self._descriptor = os.open(_MOUNTINFO, os.O_RDONLY | os.O_CLOEXEC)
        self.have_moved = self._is_unread = True
        self._stale_until = time.monotonic() + 2
        for watcher in self._watchers:
            watcher(self)

    def refresh(self) -> None:
        """Read the table again."""
        with self._reading:
            self._read()

    def _read(self) -> None:
        self._is_unread = False
        self._has_changed()  # a change from here on is told next time
        with open(_MOUNTINFO, "rb") as lines:
            self.load(lines)

    def _has_changed(self) -> bool:
        if self._descriptor < 0:
            return False
        asked = select.poll()
        asked.register(self._descriptor, select.POLLPRI)
        return bool(asked.poll(0))

    def load(self, lines: Iterable[bytes]) -> None:
        """Take the table from lines of proc_pid_mountinfo(5)."""
        table: dict[bytes, bytes] = {}
        for line in lines:
            left, _, right = line.partition(b" - ")
            table[_unescape(left.split(b" ")[4])] = right.split(b" ")[0]
        self._types = table
        self._native_tops = {p for p, t in table.items() if t.decode() in NATIVE_TYPES}
        # Most paths share no first component with any native mount: one look-up settles them.
        self._tops = {b"/" + p.split(b"/")[1] for p in self._native_tops}
        self._proc = {p for p, t in table.items() if t == b"proc"}
        self._proc_devices: set[int] | None = None
        for watcher in self._watchers:
            watcher(self)

    def types(self) -> dict[bytes, bytes]:
        """Mount point -> type of file system."""
        return dict(self._types)

    def is_native(self, real: bytes) -> bool:
        """Must the tracee itself do what is done to this canonical real path?"""
        if self._stale_until:
            self._refresh_if_stale()
        cut = real.find(b"/", 1)
        if (real if cut < 0 else real[:cut]) not in self._tops:
            return False
        return self.mount_of(real) in self._native_tops

    def _refresh_if_stale(self) -> None:
        if time.monotonic() > self._stale_until:
            self._stale_until = 0.0
        with self._reading:  # who comes while another reads waits for what that finds
            if self._is_unread or self._has_changed():
                self._read()

    def is_at(self, task: Task, link: str, real: bytes) -> bool:
        """Is a directory of a task (cwd, fd/N) where /proc says that it is?"""
        may_be_removed = real.endswith(b" (deleted)")
        is_other = not task.same_mounts  # a copy, whose mounts have other numbers
        # Of a tree that somebody outside has unmounted lazily /proc tells the root.
        is_certain = is_other or not (self.have_moved or real == b"/")
        if is_certain and not may_be_removed:
            return True
        return _is_same(task.directory, link.encode(), real, unless_seen=not may_be_removed)

    def leads_to(self, link: bytes, text: bytes) -> bool:
        """Does a magic link lead to what its text names here? Not into another mount name space,
        nor to what is mounted nowhere, or covered; and from then on descriptors may stand for
        such directories, too."""
        if _is_same(AT_FDCWD, link, text, unless_seen=True):
            return True
        if not self.have_moved:
            self.have_moved = True
            for watcher in self._watchers:
                watcher(self)
        return False

    def mount_of(self, real: bytes) -> bytes:
        """The mount point under which a canonical real path lies."""
        path = real
        while path not in self._types:
            cut = path.rfind(b"/")
            if cut <= 0:
                return b"/"
            path = path[:cut]
        return path

    def match_proc(self, pattern: bytes, real: bytes) -> re.Match[bytes] | None:
        """Match a pattern against what of a real path follows its procfs mount point, if it lies
        in one."""
        proc = self.proc_root(real)
        return None if proc is None else re.match(pattern, real[len(proc.rstrip(b"/")) :])

    def is_procs(self, device: int) -> bool:
        """Is it the st_dev of a procfs?"""
        if self._stale_until:
            self._refresh_if_stale()
        if self._proc_devices is None:
            self._proc_devices = {os.stat(p).st_dev for p in self._proc if os.path.isdir(p)}
        return device in self._proc_devices

    def proc_root(self, real: bytes) -> bytes | None:
        """The procfs mount point that holds the path, or None."""
        if b"proc" not in real[:6] and not (self._proc - {b"/proc"}):
            return None
        mount = self.mount_of(real)
        return mount if mount in self._proc else None


def _is_same(directory: int, link: bytes, real: bytes, *, unless_seen: bool) -> bool:
    """Are what a link leads to and what has that name one? `unless_seen`: what is said where
    nobody may look."""
    try:
        theirs = raw_statx(directory, link, AT_STATX_DONT_SYNC, _WANTED)
        found = raw_statx(AT_FDCWD, real, AT_STATX_DONT_SYNC, _WANTED)
    except PermissionError:
        return unless_seen  # it may be reached by its name only where it was mounted before
    except OSError:
        return False
    return _identity(theirs) == _identity(found)


def _identity(statx: bytes) -> tuple[int, int]:
    """(mount, inode)."""
    (inode,) = struct.unpack_from("=Q", statx, _INO)
    (mount,) = struct.unpack_from("=Q", statx, _MNT_ID)
    return mount, inode
