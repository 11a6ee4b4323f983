"""Raw system calls that the standard library lacks, by ctypes.

Every function raises OSError with the kernel's errno unless it says otherwise. ctypes releases the
GIL for the time of each call, so a thread that waits in one holds up no other.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress

from viewos.abi.machine import MACHINE

libc = ctypes.CDLL(None, use_errno=True)
_syscall = libc.syscall
_syscall.restype = ctypes.c_long
_get_errno = ctypes.get_errno

AT_FDCWD = -100

# The monitor's own calls; the table in abi/ describes the tracees'.
_NR = {
    "x86_64": {
        "ptrace": 101, "getcwd": 79, "prlimit64": 302, "process_vm_readv": 310,
        "process_vm_writev": 311,
        "seccomp": 317, "pidfd_open": 434, "pidfd_getfd": 438, "openat2": 437, "newfstatat": 262,
        "statx": 332, "unshare": 272, "faccessat2": 439, "renameat2": 316, "linkat": 265,
        "fchmodat2": 452, "fchownat": 260, "mknodat": 259, "utimensat": 280, "readlinkat": 267,
        "capset": 126, "tgkill": 234, "close_range": 436, "getdents64": 217, "statfs": 137,
        "fstatfs": 138,
        "setsid": 112, "fchmodat": 268, "wait4": 61, "mkdirat": 258, "symlinkat": 266,
        "unlinkat": 263,
        "faccessat": 269, "openat": 257, "execveat": 322, "name_to_handle_at": 303,
        "setpriority": 141, "ioprio_set": 251, "kcmp": 312,
    },
}.get(MACHINE, {})  # fmt: skip
NR = _NR


def syscall(number: int, *args: object) -> int:
    """Make a raw system call; integers go as 64-bit values, bytes as pointers. Raises OSError."""
    result: int = _syscall(
        ctypes.c_long(number), *[ctypes.c_long(a) if isinstance(a, int) else a for a in args]
    )
    if result == -1:
        number = _get_errno()
        raise OSError(number, os.strerror(number))
    return result


# ---- seccomp notification -------------------------------------------------------------------

ioctl = libc.ioctl
ioctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p]
ioctl.restype = ctypes.c_int


def ioctl_errno(fd: int, request: int, address: int) -> int:
    """ioctl(2) that gives the errno (0: success) instead of raising: for the hot path."""
    return 0 if ioctl(fd, request, address) >= 0 else _get_errno()


# ---- files ----------------------------------------------------------------------------------

_OPEN_HOW = struct.Struct("=QQQ")


def openat2(dirfd: int, path: bytes, flags: int, resolve: int = 0, mode: int = 0) -> int:
    """openat2(2), Linux 5.6: a new descriptor."""
    how = _OPEN_HOW.pack(flags, mode, resolve)
    return syscall(_NR["openat2"], dirfd, path, how, _OPEN_HOW.size)


_openat2_how = ctypes.create_string_buffer(_OPEN_HOW.size)


def vouch(dirfd: int, path: bytes, how: bytes) -> int:
    """openat2(2) with a packed `struct open_how`: a descriptor, or minus the errno."""
    fd: int = _syscall(
        ctypes.c_long(_NR["openat2"]), ctypes.c_long(dirfd), path, how, ctypes.c_long(24)
    )
    return fd if fd >= 0 else -_get_errno()


_fstatat = libc["syscall"]  # one object for each list of types: the types cost less than c_long()
_fstatat.restype = ctypes.c_long
_fstatat.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int]
_handle_at = libc["syscall"]
_handle_at.restype = ctypes.c_long
_handle_at.argtypes = [
    ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int,
]  # fmt: skip


def raw_stat(dirfd: int, path: bytes, flags: int) -> bytes:
    """newfstatat(2): the kernel's `struct stat`, as bytes."""
    buffer = ctypes.create_string_buffer(144)
    if _fstatat(_NR["newfstatat"], dirfd, path, buffer, flags) < 0:
        number = _get_errno()
        raise OSError(number, os.strerror(number))
    return buffer.raw


def name_to_handle(dirfd: int, path: bytes, buffer: ctypes.Array[ctypes.c_char], flags: int) -> int:
    """name_to_handle_at(2) into a `struct file_handle`: 0, or the errno."""
    mount = ctypes.create_string_buffer(8)
    if _handle_at(_NR["name_to_handle_at"], dirfd, path, buffer, mount, flags) < 0:
        return _get_errno()
    return 0


def raw_statx(dirfd: int, path: bytes, flags: int, mask: int) -> bytes:
    """statx(2): the kernel's `struct statx`, as bytes."""
    buffer = ctypes.create_string_buffer(256)
    syscall(_NR["statx"], dirfd, path, flags, mask, buffer)
    return buffer.raw


def raw_statfs(path: bytes) -> bytes:
    """statfs(2): the kernel's `struct statfs`, as bytes."""
    buffer = ctypes.create_string_buffer(120)
    syscall(_NR["statfs"], path, buffer)
    return buffer.raw


def filesystem_type(path: bytes) -> int:
    """statfs(2)'s f_type (linux/magic.h). Raises OSError."""
    return int.from_bytes(raw_statfs(path)[:8], "little")


CLONE_FS = 0x200


class _Umask:
    guard: AbstractContextManager[object] = nullcontext()


def start_thread(body: Callable[..., object], name: str, *args: object) -> threading.Thread:
    """A new thread that ends with the process. Raises OSError EAGAIN: there can be none."""
    thread = threading.Thread(target=body, args=args, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        raise OSError(errno.EAGAIN, f"{name}: {error}") from error
    return thread


def unshare_fs() -> None:
    """Give the calling thread a working directory and a umask of its own (unshare(2)).

    Where that is forbidden (as by Docker's own profile) threads take turns: see `umask_guard`.
    """
    try:
        syscall(_NR["unshare"], CLONE_FS)
    except OSError:
        if isinstance(_Umask.guard, nullcontext):
            _Umask.guard = threading.Lock()


def has_own_umask() -> bool:
    """Have threads that called `unshare_fs` umasks of their own?"""
    return isinstance(_Umask.guard, nullcontext)


def umask_guard() -> AbstractContextManager[object]:
    """To be held while a thread has taken on another umask."""
    return _Umask.guard


def close_range(first: int, last: int = 0xFFFFFFFF) -> None:
    """close_range(2), Linux 5.9; one by one where it is missing or forbidden."""
    try:
        syscall(_NR["close_range"], first, last, 0)
    except OSError:
        for fd in [int(name) for name in os.listdir("/proc/self/fd")]:
            if first <= fd <= last:
                with suppress(OSError):  # the one by which the directory was read
                    os.close(fd)


# ---- other processes ------------------------------------------------------------------------


def pidfd_open(pid: int, flags: int = 0) -> int:
    """pidfd_open(2), Linux 5.3."""
    return syscall(_NR["pidfd_open"], pid, flags)


def pidfd_getfd(pidfd: int, fd: int) -> int:
    """pidfd_getfd(2), Linux 5.6: a copy of another process's descriptor."""
    return syscall(_NR["pidfd_getfd"], pidfd, fd, 0)


PIDFD_THREAD = os.O_EXCL


def descriptor_of(tid: int, fd: int, process: Callable[[], int]) -> int:
    """A copy of a descriptor of a thread, which may have a table of its own.

    `process` gives the thread's group, where the kernel has no pidfds of threads (before 6.9).
    """
    for flags in (0, PIDFD_THREAD, None):
        try:
            pidfd = pidfd_open(process()) if flags is None else pidfd_open(tid, flags)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOENT) or flags is None:
                raise
            continue
        try:
            return pidfd_getfd(pidfd, fd)
        finally:
            os.close(pidfd)
    raise OSError(errno.ESRCH, os.strerror(errno.ESRCH))


_KCMP_FILE = 0


def is_same_file(one: int, fd: int, other: int, other_fd: int) -> bool:
    """kcmp(2): are these descriptors of two processes the same open file? Raises OSError."""
    return syscall(_NR["kcmp"], one, other, _KCMP_FILE, fd, other_fd) == 0


def prlimit(pid: int, resource: int, new: tuple[int, int] | None = None) -> tuple[int, int]:
    """prlimit(2): set a limit of another process if `new` is given; its (soft, hard) before."""
    old = ctypes.create_string_buffer(16)
    argument = None if new is None else struct.pack("=QQ", *new)
    syscall(_NR["prlimit64"], pid, resource, argument, old)
    soft, hard = struct.unpack("=QQ", old.raw)
    return soft, hard


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


_process_vm_readv = libc.process_vm_readv
_process_vm_readv.restype = ctypes.c_ssize_t
_process_vm_readv.argtypes = [
    ctypes.c_int, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_ulong,
]  # fmt: skip
_process_vm_writev = libc.process_vm_writev
_process_vm_writev.restype = ctypes.c_ssize_t
_process_vm_writev.argtypes = _process_vm_readv.argtypes


class RemoteIO:
    """Reads and writes of another process's memory; one object a thread, its buffer is reused."""

    def __init__(self, size: int = 4096) -> None:
        self._buffer = ctypes.create_string_buffer(size)
        self._size = size
        self._local = _Iovec(ctypes.addressof(self._buffer), 0)
        self._remote = _Iovec(0, 0)
        self._local_at = ctypes.addressof(self._local)
        self._remote_at = ctypes.addressof(self._remote)

    def read(self, pid: int, address: int, size: int) -> bytes:
        """At most `size` (up to the buffer's) bytes; fewer where an unmapped page follows."""
        self._local.length = self._remote.length = min(size, self._size)
        self._remote.base = address
        count = _process_vm_readv(pid, self._local_at, 1, self._remote_at, 1, 0)
        if count < 0:
            number = _get_errno()
            raise OSError(number, os.strerror(number))
        return ctypes.string_at(self._buffer, count)

    def write(self, pid: int, address: int, data: bytes) -> int:
        """How many bytes could be written; page protections count, as in the kernel's copies."""
        source = ctypes.create_string_buffer(data, len(data))
        local = _Iovec(ctypes.addressof(source), len(data))
        remote = _Iovec(address, len(data))
        count = _process_vm_writev(pid, ctypes.addressof(local), 1, ctypes.addressof(remote), 1, 0)
        if count < 0:
            number = _get_errno()
            raise OSError(number, os.strerror(number))
        return int(count)


def ptrace(request: int, tid: int, address: object = 0, data: object = 0) -> int:
    """ptrace(2), the raw call. Everything about it belongs to the calling thread."""
    return syscall(_NR["ptrace"], request, tid, address, data)


WNOTHREAD = 0x20000000
WALL = 0x40000000


def wait_own(options: int = 0) -> tuple[int, int]:
    """wait4(2) for what the calling *thread* traces or made, and nothing else: (tid, status).

    tid is 0 with WNOHANG and nothing to tell. Raises ChildProcessError when nothing is left.
    """
    status = ctypes.c_int()
    tid = syscall(_NR["wait4"], -1, ctypes.byref(status), WALL | WNOTHREAD | options, None)
    return tid, status.value
