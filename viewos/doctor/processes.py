"""Checks of what a monitor does to other processes: memory, ptrace, descriptors, limits."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from viewos import kernel
from viewos.abi.ptrace import PTRACE_DETACH, PTRACE_INTERRUPT, PTRACE_SEIZE
from viewos.doctor.finding import Missing
from viewos.doctor.trial import attempt, child
from viewos.errors import ViewosError
from viewos.launcher.layout import Layout, choose, ptrace_scope
from viewos.view import RLIMIT_LOCKS, States, initial_state

NOBODY = 65534
_SECRET = b"in memory"
_cell = ctypes.create_string_buffer(_SECRET, 16)
"""Stands at the same address in every child."""


@contextmanager
def _sleeper(uid: int | None = None) -> Iterator[int]:
    """A child that waits, as another user if `uid` is given. Raises OSError: may not become it."""
    ready_end, ready = os.pipe()
    life_end, life = os.pipe()

    def wait() -> None:
        os.close(life)
        if uid is not None:
            try:
                os.setresuid(uid, uid, uid)
            except OSError as error:
                os.write(ready, b"%d" % (error.errno or 0))
                return
        os.write(ready, b"0")
        os.read(life_end, 1)

    pid = child(wait)
    os.close(ready)
    failed = int(os.read(ready_end, 8) or b"0")
    try:
        if failed:
            raise OSError(failed, os.strerror(failed))
        yield pid
    finally:
        for fd in (ready_end, life_end, life):
            os.close(fd)
        os.waitpid(pid, 0)


def _by_process_vm(pid: int) -> None:
    found = kernel.RemoteIO().read(pid, ctypes.addressof(_cell), len(_SECRET))
    if found != _SECRET:
        raise Missing(f"process_vm_readv found {found!r}")
    kernel.RemoteIO().write(pid, ctypes.addressof(_cell) + len(_SECRET), b"x")


def _by_proc_mem(pid: int) -> None:
    fd = os.open(f"/proc/{pid}/mem", os.O_RDWR | os.O_CLOEXEC)
    try:
        if os.pread(fd, len(_SECRET), ctypes.addressof(_cell)) != _SECRET:
            raise Missing("/proc/PID/mem does not show the memory")
        os.pwrite(fd, b"x", ctypes.addressof(_cell) + len(_SECRET))
    finally:
        os.close(fd)


# ---- memory -------------------------------------------------------------------------------------


def memory() -> str:
    """Read and write a child's memory through /proc/PID/mem, as fix-ups do."""

    def body() -> str:
        with _sleeper() as pid:
            _by_proc_mem(pid)
        return ""

    return attempt(body)


def process_vm() -> str:
    """Read and write a child's memory by process_vm_readv(2) and process_vm_writev(2)."""

    def body() -> str:
        with _sleeper() as pid:
            _by_process_vm(pid)
        return ""

    return attempt(body)


def layout() -> str:
    """Read a program's memory from where the monitor would stand: beside it, or above."""

    def body() -> str:
        scope = ptrace_scope()
        try:
            chosen = choose()
        except ViewosError as error:
            raise Missing(str(error)) from error
        with _sleeper() as program:
            if chosen is Layout.ANCESTOR:
                _by_proc_mem(program)
                return f"the monitor stands above the program (ptrace_scope {scope})"
            failed = _beside(lambda: _by_proc_mem(program))
            if failed:
                raise Missing(
                    f"a process beside the program may not read it: {os.strerror(failed)}",
                    "`viewos run --layout ancestor`",
                )
        return f"the monitor stands beside the program (ptrace_scope {scope})"

    return attempt(body)


def _beside(body: Callable[[], None]) -> int:
    """The errno of `body` in another child, 0 when it works."""
    reader, writer = os.pipe()

    def run() -> None:
        try:
            body()
        except OSError as error:
            os.write(writer, b"%d" % (error.errno or 0))

    pid = child(run)
    os.close(writer)
    said = os.read(reader, 8)
    os.close(reader)
    os.waitpid(pid, 0)
    return int(said or b"0")


def ptrace() -> str:
    """Seize a child, stop it, and let it go."""

    def body() -> str:
        with _sleeper() as pid:
            kernel.ptrace(PTRACE_SEIZE, pid)
            kernel.ptrace(PTRACE_INTERRUPT, pid)
            kernel.wait_own()
            kernel.ptrace(PTRACE_DETACH, pid)
        return ""

    return attempt(body)


# ---- other users --------------------------------------------------------------------------------


def other_users() -> str:
    """Read the memory of a child that has become another user."""
    return _of_another_user(_by_proc_mem, "a program that has changed its uid may not be read")


def other_users_limits() -> str:
    """Set RLIMIT_LOCKS of a child that has become another user."""

    def body(pid: int) -> None:
        kernel.prlimit(pid, RLIMIT_LOCKS, kernel.prlimit(pid, RLIMIT_LOCKS))

    return _of_another_user(body, "limits of a program that has changed its uid may not be set")


def _of_another_user(look: Callable[[int], None], refused: str) -> str:
    def body() -> str:
        uid = _another_user()
        if uid is None:
            return "not needed: this user name space has no other user"
        try:
            with _sleeper(uid) as pid:
                look(pid)
        except PermissionError as error:
            if not _may_become(uid):
                return "not needed: programs of this user stay programs of this user"
            raise Missing(refused) from error
        return ""

    return attempt(body)


def _another_user() -> int | None:
    """A uid that is not ours, and is one in this user name space; see user_namespaces(7)."""
    with open("/proc/self/uid_map", encoding="ascii") as file:
        mapped = [
            range(int(first), int(first) + int(count)) for first, _, count in map(str.split, file)
        ]
    found = [NOBODY, *(uid for some in mapped for uid in some[:2])]
    return next(
        (uid for uid in found if uid != os.getuid() and any(uid in m for m in mapped)), None
    )


def _may_become(uid: int) -> bool:
    try:
        with _sleeper(uid):
            return True
    except OSError:
        return False


def limits() -> str:
    """Set RLIMIT_LOCKS of a child."""

    def body() -> str:
        with _sleeper() as pid:
            kernel.prlimit(pid, RLIMIT_LOCKS, kernel.prlimit(pid, RLIMIT_LOCKS))
        return ""

    return attempt(body)


def tokens() -> str:
    """Find numbers for what is remembered of processes, within the hard limit."""
    try:
        States(initial_state())
    except ViewosError as error:
        raise Missing(str(error)) from error
    return ""


# ---- descriptors --------------------------------------------------------------------------------


def pidfd_getfd() -> str:
    """Take a copy of a child's descriptor."""

    def body() -> str:
        with _sleeper() as pid:
            pidfd = kernel.pidfd_open(pid)
            os.close(kernel.pidfd_getfd(pidfd, 0))
            os.close(pidfd)
        return ""

    return attempt(body)


def openat2() -> str:
    """Look at a path on which no symbolic link may lie."""

    def body() -> str:
        no_symlinks = 0x04
        os.close(kernel.openat2(kernel.AT_FDCWD, b"/", os.O_PATH | os.O_CLOEXEC, no_symlinks))
        return ""

    return attempt(body)


def unshare() -> str:
    """Give a thread an umask of its own."""

    def body() -> str:
        kernel.syscall(kernel.NR["unshare"], kernel.CLONE_FS)
        return ""

    return attempt(body)
