"""The memory with which a new program begins: its arguments, environment, and auxiliary vector.

All of it is changed at the stop behind an execve, before the program's first instruction.
"""

from __future__ import annotations

import errno
import os
import struct
from functools import cache
from typing import TYPE_CHECKING, Protocol

from viewos.abi.prctl import PR_SET_MM, PR_SET_MM_MAP
from viewos.abi.syscalls import TABLE
from viewos.kept import kept
from viewos.monitor.binfmt import LoaderHeader, elf_header
from viewos.monitor.task import ARG_START, START_STACK, auxiliary, start_stack, stat_fields

if TYPE_CHECKING:
    from viewos.monitor.traced import ExecStop

_AT_PHDR, _AT_BASE, _AT_ENTRY, AT_EXECFN = 3, 7, 9, 31
_MM_MAP = struct.Struct("=12QIi")
"""struct prctl_mm_map (linux/prctl.h)."""
_CODE, _DATA = (26, 27), (45, 46)
_START_BRK = 47
"""Fields of proc_pid_stat(5)."""


def hide_loader(stop: ExecStop) -> None:
    """Let /proc/PID/cmdline show the program's own words, and what sets a title write there.

    The program was started as LOADER --argv0 ARGV0 PROGRAM ARG...: PROGRAM and ARGV0 change
    places, and the kernel is told that the arguments begin with the latter. It is not told where
    it lacks PR_SET_MM_MAP (CONFIG_CHECKPOINT_RESTORE), or where a filter of the program's own,
    which it keeps over an execve, might punish the call.
    """
    fields = stat_fields(stop.pid)
    start_code, end_code, start_stack, start_data, end_data = (
        int(fields[at]) for at in (*_CODE, START_STACK, *_DATA)
    )
    _, arg_end, env_start, env_end = (int(word) for word in fields[ARG_START : ARG_START + 4])
    start_brk = int(fields[_START_BRK])
    if not arg_end or _filters(stop.pid) > _own_filters(os.getpid()) + 1:
        return
    pointers = struct.unpack("=4Q", stop.read(stop.stack + 8, 32))
    words = stop.read(pointers[2], arg_end - pointers[2])
    first, program, _rest = words.split(b"\0", 2)
    arg_start = pointers[2] + len(program) + 1
    stop.write(pointers[2], program + b"\0" + first + b"\0")
    stop.write(stop.stack + 8 + 16, struct.pack("=2Q", arg_start, pointers[2]))
    told = _MM_MAP.pack(
        start_code, end_code, start_data, end_data, start_brk, start_brk, start_stack,
        arg_start, arg_end, env_start, env_end, 0, 0, -1,
    )  # fmt: skip
    stop.remote_call(TABLE["prctl"].number, [PR_SET_MM, PR_SET_MM_MAP, told, len(told), 0])


def _filters(pid: int) -> int:
    """How many seccomp filters a process has (Linux 5.9)."""
    with open(f"/proc/{pid}/status", "rb", buffering=0) as file:
        for line in file.read().splitlines():
            if line.startswith(b"Seccomp_filters:"):
                return int(line.split()[1])
    return 0


@cache
def _own_filters(pid: int) -> int:
    return _filters(pid)  # a monitor adds none


class New(Protocol):
    """A program that has just begun, and waits."""

    @property
    def auxiliary(self) -> dict[int, int]:
        """The auxiliary vector as the kernel has made it."""

    @property
    def stack(self) -> int:
        """Where argc stands."""

    def read(self, address: int, size: int) -> bytes:
        """Read its memory; less where it ends."""

    def write(self, address: int, data: bytes) -> None:
        """Write to its memory."""


class NewProgram:
    """The same, of this machine's own /proc."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    @kept
    def auxiliary(self) -> dict[int, int]:
        """The auxiliary vector as the kernel has made it."""
        return auxiliary(self.pid)

    @kept
    def stack(self) -> int:
        """Where argc stands."""
        return start_stack(self.pid)

    @kept
    def _memory(self) -> int:
        return os.open(f"/proc/{self.pid}/mem", os.O_RDWR | os.O_CLOEXEC)

    def read(self, address: int, size: int) -> bytes:
        """Read its memory; less where it ends."""
        return os.pread(self._memory, size, address)

    def write(self, address: int, data: bytes) -> None:
        """Write to its memory, also where it may not itself."""
        os.pwrite(self._memory, data, address)

    def show_header(self, header: LoaderHeader) -> None:
        """Let it find there that it names its loader so."""
        self.write(self.auxiliary[_AT_PHDR] + header.offset, header.data)

    def close(self) -> None:
        """Nothing more is done to its memory."""
        if "_memory" in self.__dict__:
            os.close(self._memory)


def base_of(stop: New, loader: bytes) -> dict[int, int]:
    """The entry of the auxiliary vector that tells where the loader is, which the kernel leaves 0
    where it has executed that one itself; none if it cannot be read any more."""
    try:
        with open(loader, "rb", buffering=0) as file:
            elf = elf_header(file)
    except OSError:
        return {}
    at = stop.auxiliary.get(_AT_ENTRY)
    return {} if elf is None or at is None else {_AT_BASE: at - elf.entry}


def patch_auxiliary(stop: New, changes: dict[int, int], name: bytes | None) -> None:
    """Give the new program the ids and the file name (AT_EXECFN) that it has in the view."""
    if not changes and name is None:
        return
    entries = stop.auxiliary
    if name is not None and AT_EXECFN in entries:
        stop.write(entries[AT_EXECFN], name + b"\0")
    wanted = {key: value for key, value in changes.items() if entries.get(key, value) != value}
    if wanted and AT_EXECFN in entries:  # not so in a 32-bit program, whose entries are smaller
        address = _auxiliary_address(stop)
        for key in wanted:
            stop.write(_word(stop, address, key), struct.pack("=Q", wanted[key]))


def address_of(stop: New, key: int) -> int:
    """Where the value of an entry of the auxiliary vector stands. Raises OSError."""
    return _word(stop, _auxiliary_address(stop), key)


def _word(stop: New, vector: int, key: int) -> int:
    return vector + 16 * list(stop.auxiliary).index(key) + 8


def _auxiliary_address(stop: New) -> int:
    """Where the auxiliary vector stands: behind argc, argv and envp on the new stack."""
    address = stop.stack
    (count,) = struct.unpack("=Q", stop.read(address, 8))
    address += 8 * (count + 2)
    while True:
        data = stop.read(address, 4096)
        for index, (pointer,) in enumerate(struct.iter_unpack("=Q", data[: len(data) // 8 * 8])):
            if not pointer:
                return int(address + 8 * (index + 1))
        address += len(data) // 8 * 8
        if not data:
            raise OSError(errno.EFAULT, "stack")


def padded(real: bytes, length: int) -> bytes:
    """The same path, at least `length` bytes long: the kernel keeps the string in the new program's
    memory, where it is overwritten with the caller's name."""
    missing = length - len(real)
    if missing <= 0:
        return real
    cut = real.rindex(b"/")
    return real[:cut] + b"/" * missing + real[cut:]
