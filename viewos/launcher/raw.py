"""The launcher's own system calls."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import signal
import struct
from collections.abc import Iterable, Sequence

from viewos import kernel
from viewos.abi import seccomp as abi
from viewos.abi.prctl import (
    PR_GET_CHILD_SUBREAPER,
    PR_SET_CHILD_SUBREAPER,
    PR_SET_DUMPABLE,
    PR_SET_NAME,
    SUID_DUMP_DISABLE,
)
from viewos.launcher.errors import LaunchError

_SOCK_FPROG = struct.Struct("@HP")
_SIGNALFD_SIGINFO_SIZE = 128
_HIDE_RECEIVED = "VIEWOS_WAIT_KILLABLE_RECV"
_REFUSALS = {
    errno.EBUSY: "this process already has a seccomp listener (an outer view, or a container"
    " manager's), and Linux allows only one",
    errno.ENOSYS: "the kernel has no seccomp(2), or a container's filter hides it",
    errno.EPERM: "a container's filter forbids seccomp(2)",
    errno.EINVAL: "the kernel lacks seccomp user notification (Linux 5.0 has it)",
}

kernel.libc.prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]


def _prctl(option: int, argument: int) -> None:
    if kernel.libc.prctl(option, argument, 0, 0, 0) == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def is_child_subreaper() -> bool:
    """Do orphans of this process's descendants become its children?"""
    flag = ctypes.c_int()
    _prctl(PR_GET_CHILD_SUBREAPER, ctypes.addressof(flag))
    return bool(flag.value)


def become_child_subreaper() -> None:
    """Let orphans of this process's descendants become its children (Linux 3.4)."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def forbid_core_dump() -> None:
    """Let this process leave no core, not even to a handler that ignores RLIMIT_CORE (core(5))."""
    _prctl(PR_SET_DUMPABLE, SUID_DUMP_DISABLE)


def set_name(name: bytes) -> None:
    """Name the calling thread, at most 15 bytes, as ps and /proc/PID/comm show it."""
    buffer = ctypes.create_string_buffer(name)
    _prctl(PR_SET_NAME, ctypes.addressof(buffer))


def set_filter(program: bytes, flags: int) -> int:
    """seccomp(2), SECCOMP_SET_MODE_FILTER: with NEW_LISTENER, its descriptor. Raises OSError."""
    instructions = ctypes.create_string_buffer(program, len(program))
    fprog = _SOCK_FPROG.pack(len(program) // 8, ctypes.addressof(instructions))
    return kernel.syscall(kernel.NR["seccomp"], abi.SECCOMP_SET_MODE_FILTER, flags, fprog)


def install_filter(program: bytes) -> int:
    """Put the calling thread under a seccomp program; its listener (O_CLOEXEC).

    The thread needs no_new_privs or CAP_SYS_ADMIN. Raises LaunchError: nothing was installed.
    """
    flags = abi.SECCOMP_FILTER_FLAG_NEW_LISTENER | abi.SECCOMP_FILTER_FLAG_SPEC_ALLOW
    wait_killable = abi.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
    attempts = [flags | wait_killable, flags]  # Linux 5.19 has it
    if os.environ.get(_HIDE_RECEIVED) == "0":  # some 6.12 kernels misbehave with it
        attempts = [flags]
    for attempt in attempts:
        try:
            return set_filter(program, attempt)
        except OSError as error:
            failure = error
            if error.errno != errno.EINVAL:
                break
    reason = _REFUSALS.get(failure.errno or 0, failure.strerror)
    raise LaunchError(f"cannot install the seccomp filter: {reason}")


def execve(path: bytes, argv: Sequence[bytes], env: Sequence[bytes]) -> OSError:
    """execve(2) with exactly these bytes; returns only when it fails."""
    kernel.libc.execve(path, _vector(argv), _vector(env))
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))


def _vector(words: Sequence[bytes]) -> ctypes.Array[ctypes.c_char_p]:
    return (ctypes.c_char_p * (len(words) + 1))(*words, None)


def signalfd(signals: Iterable[int]) -> int:
    """signalfd(2): a descriptor from which blocked signals can be read."""
    mask = 0
    for number in signals:
        mask |= 1 << (number - 1)
    fd: int = kernel.libc.signalfd(
        -1, struct.pack("=Q", mask).ljust(128, b"\0"), os.O_CLOEXEC | os.O_NONBLOCK
    )
    if fd == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return lifted(fd)


def lifted(fd: int) -> int:
    """The descriptor, or a copy of it that is none of 0, 1 and 2 (the original is closed).

    We may have been started with some of those closed. They are the program's, and stay closed;
    the processes beside it put /dev/null there.
    """
    if fd > 2:
        return fd
    high = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    os.close(fd)
    return high


SI_KERNEL = 0x80
"""The code of a signal that a terminal sends to its foreground group (asm-generic/siginfo.h)."""


def is_stopped(pid: int) -> bool:
    """Is this process stopped, by a signal or by a tracer? True for one that has ended."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            return file.read().rpartition(b") ")[2][:1] in b"Tt"
    except OSError:
        return True


def read_signals(fd: int) -> list[tuple[int, int, int]]:
    """All that are pending at a signalfd: (signal, pid of the sender, its code)."""
    found: list[tuple[int, int, int]] = []
    while True:
        try:
            data = os.read(fd, 32 * _SIGNALFD_SIGINFO_SIZE)
        except BlockingIOError:
            return found
        for at in range(0, len(data), _SIGNALFD_SIGINFO_SIZE):
            number, _, code, sender = struct.unpack_from("=IiiI", data, at)
            found.append((number, sender, code))


def block_signals() -> set[int]:
    """Block all that can be blocked; the mask before."""
    return set(signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals()))
