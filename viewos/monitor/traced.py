"""One thread under a momentary ptrace: from PTRACE_SEIZE to PTRACE_DETACH."""

from __future__ import annotations

import ctypes
import os
import signal
import struct
import time
from collections.abc import Sequence

from viewos import kernel
from viewos.abi.ptrace import (
    ARGUMENT_REGISTERS,
    ERESTART_RESTARTBLOCK,
    ERESTARTNOHAND,
    ERESTARTNOINTR,
    ERESTARTSYS,
    PTRACE_DETACH,
    PTRACE_EVENT_STOP,
    PTRACE_GETREGS,
    PTRACE_GETSIGMASK,
    PTRACE_INTERRUPT,
    PTRACE_O_TRACEEXEC,
    PTRACE_O_TRACESYSGOOD,
    PTRACE_SEIZE,
    PTRACE_SETREGS,
    PTRACE_SETSIGMASK,
    PTRACE_SYSCALL,
    RED_ZONE,
    REGISTERS,
    SYSCALL_INSTRUCTION_SIZE,
    USER_REGS,
)
from viewos.kept import kept
from viewos.monitor.initial import NewProgram
from viewos.monitor.rewrite import Argument, Scratch
from viewos.monitor.task import due_signals, read_status

M64 = (1 << 64) - 1
_ALL_SIGNALS = struct.pack("=Q", M64)
_SYSCALL_STOP = signal.SIGTRAP | 0x80
RESTARTS = frozenset(
    -n & M64 for n in (ERESTARTSYS, ERESTARTNOINTR, ERESTARTNOHAND, ERESTART_RESTARTBLOCK)
)


class Traced(Exception):
    """The thread has a tracer already (a debugger inside the view), or may not be traced."""


class Lost(Exception):
    """The tracee is gone."""


class Stop(Exception):
    """An unexpected stop."""

    def __init__(self, tid: int, status: int) -> None:
        super().__init__(status)
        self.tid, self.status = tid, status


def signed(value: int) -> int:
    """A register as a signed number."""
    return value - (1 << 64) if value >> 63 else value


class Session:
    """One seized thread, from PTRACE_SEIZE to PTRACE_DETACH."""

    def __init__(self, tid: int, cookie: int) -> None:
        self.tid = tid
        self.cookie = cookie
        self.mask = b""
        self.original: dict[str, int] = {}
        self.result: int | None = None
        """Of the call, when it has been made, and means another thing if it is made again."""
        try:
            kernel.ptrace(PTRACE_SEIZE, tid, 0, PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC)
        except PermissionError as error:
            raise Traced(str(error)) from None

    # ---- ptrace, one line each ----------------------------------------------------------------

    def registers(self) -> dict[str, int]:
        buffer = ctypes.create_string_buffer(USER_REGS.size)
        kernel.ptrace(PTRACE_GETREGS, self.tid, 0, buffer)
        return dict(zip(REGISTERS, USER_REGS.unpack(buffer.raw), strict=True))

    def set_registers(self, registers: dict[str, int]) -> None:
        kernel.ptrace(PTRACE_SETREGS, self.tid, 0, USER_REGS.pack(*registers.values()))

    def take_mask(self) -> None:
        buffer = ctypes.create_string_buffer(8)
        kernel.ptrace(PTRACE_GETSIGMASK, self.tid, 8, buffer)
        self.mask = buffer.raw
        kernel.ptrace(PTRACE_SETSIGMASK, self.tid, 8, _ALL_SIGNALS)

    def detach(self, signal_number: int = 0) -> None:
        try:
            if self.mask:
                kernel.ptrace(PTRACE_SETSIGMASK, self.tid, 8, self.mask)
            kernel.ptrace(PTRACE_DETACH, self.tid, 0, signal_number)
        except ProcessLookupError:
            self.bury()

    def bury(self) -> None:
        """Wait until a dying tracee is dead: before that its real parent could not reap it."""
        try:
            while True:
                _, status = kernel.wait_own()
                if status & 0xFF != 0x7F:
                    return
        except ChildProcessError:
            return

    def wait(self, options: int = 0) -> tuple[int, int]:
        """The next stop: (tid, status); tid 0 with WNOHANG. Raises Lost when the tracee ends."""
        while True:
            try:
                tid, status = kernel.wait_own(options)
            except InterruptedError:
                continue
            except ChildProcessError:
                raise Lost from None
            if tid and status & 0xFF != 0x7F:
                if tid == self.tid:
                    raise Lost
                continue
            return tid, status

    # ---- the steps ----------------------------------------------------------------------------

    def stop_before_restart(self) -> None:
        """Wait for the stop that PTRACE_INTERRUPT asked for. Raises Stop for any other."""
        tid, status = self.wait()
        registers = self.registers()
        is_interrupt = status >> 8 == PTRACE_EVENT_STOP << 8 | signal.SIGTRAP
        if not is_interrupt or registers["rax"] != -ERESTARTNOINTR & M64:
            raise Stop(tid, status)
        self.original = registers
        self.take_mask()

    def run(self, number: int, args: Sequence[int], *, first: bool, may_block: bool = False) -> int:
        """Let the tracee make one system call; its raw result. Raises Stop, Lost."""
        registers = dict(self.original)
        for name, value in zip(ARGUMENT_REGISTERS, args, strict=False):
            registers[name] = value & M64
        if first:
            registers["orig_rax"] = number
        else:
            registers["rip"] -= SYSCALL_INSTRUCTION_SIZE
            registers["rax"] = number
            registers["orig_rax"] = M64  # no restart logic for what is no call any more
        self.set_registers(registers)
        self.resume_to_syscall_stop()
        kernel.ptrace(PTRACE_SYSCALL, self.tid, 0, 0)
        if may_block:
            self.wait_watching_signals()
        else:
            self.expect_syscall_stop(*self.wait())
        return self.registers()["rax"]

    def resume_to_syscall_stop(self) -> None:
        kernel.ptrace(PTRACE_SYSCALL, self.tid, 0, 0)
        self.expect_syscall_stop(*self.wait())

    def expect_syscall_stop(self, tid: int, status: int) -> None:
        if status >> 8 != _SYSCALL_STOP:
            raise Stop(tid, status)

    def wait_watching_signals(self) -> None:
        """Wait for the end of a call that may block; a signal that is due interrupts it."""
        mask = struct.unpack("=Q", self.mask)[0]
        pause, interrupted = 0.0002, False
        while True:
            tid, status = self.wait(os.WNOHANG)
            if tid:
                self.expect_syscall_stop(tid, status)
                return
            time.sleep(pause)
            pause = min(pause * 1.5, 0.01)
            if not interrupted and pause > 0.001 and is_interrupted(self.tid, mask):
                kernel.ptrace(PTRACE_INTERRUPT, self.tid, 0, 0)
                interrupted = True

    def has_made(self, value: int) -> None:
        """The call has been made, with this result: whatever comes between, it does not restart."""
        self.original = {**self.original, "rax": value, "orig_rax": M64}
        self.result = value

    def give_back(self, value: int) -> None:
        """Original registers with this result, and let go."""
        registers = dict(self.original)
        registers["rax"] = value
        if value not in RESTARTS:
            registers["orig_rax"] = M64
        elif not is_interrupted(self.tid, struct.unpack("=Q", self.mask)[0]):
            # Only our own interrupt was pending: the kernel would not restart the call, so we do.
            self.give_back_call()
            return
        self.set_registers(registers)
        self.detach()

    def give_back_call(self) -> None:
        """Original registers, before the system call instruction, and let go."""
        registers = dict(self.original)
        registers["rax"] = registers["orig_rax"]
        registers["rip"] -= SYSCALL_INSTRUCTION_SIZE
        registers["orig_rax"] = M64
        self.set_registers(registers)
        self.detach()

    def prepare_exec(self) -> None:
        """The old program's registers mean nothing to the new one."""
        self.original = {}

    def abandon(self, stop: Stop) -> None:
        """Let go at an unexpected stop, as if nothing had been done: the call restarts."""
        signal_number = stop.status >> 8 & 0xFF
        event = stop.status >> 16
        if self.original:
            self.set_registers(self.original)
        is_signal = event == 0 and signal_number not in (signal.SIGTRAP, _SYSCALL_STOP)
        self.detach(signal_number if is_signal else 0)


def is_interrupted(tid: int, blocked: int | None = None) -> bool:
    """Is a signal due that the thread, which waits in a call, neither blocks nor ignores?
    `blocked` instead of its mask."""
    try:
        return due_signals(read_status(tid), blocked)
    except OSError:
        return True


_AT_SYSINFO_EHDR, _VDSO, _SYSCALL = 33, 8192, b"\x0f\x05"
_in_vdso = [0]
"""One element: where such an instruction was last."""


class ExecStop(NewProgram):
    """A process whose execve has just succeeded, stopped before its first instruction."""

    def __init__(self, session: Session) -> None:
        super().__init__(session.tid)
        self._session = session
        self._start: dict[str, int] = {}
        self._instruction = 0

    @kept
    def stack(self) -> int:
        """The initial stack pointer: argc stands there (System V ABI)."""
        return self._session.registers()["rsp"]

    def remote_call(self, number: int, args: Sequence[Argument]) -> int:
        """Let the new program make a system call, by the instruction in its vdso; its result."""
        if not self._start:
            kernel.ptrace(PTRACE_SYSCALL, self.pid, 0, 0)  # on to the exit stop of execve
            self._session.expect_syscall_stop(*self._session.wait())
            self._start = self._session.registers()
            self._instruction = self._system_call()
        scratch = Scratch(args)
        base = (self._start["rsp"] - RED_ZONE - scratch.size) & ~15
        values, blob = scratch.place(base)
        if blob:
            self.write(base, blob)
        values += [0] * (5 - len(values)) + [self._session.cookie]
        self._session.original = {
            **self._start, "rip": self._instruction + SYSCALL_INSTRUCTION_SIZE, "orig_rax": M64,
        }  # fmt: skip
        return signed(self._session.run(number, values[:6], first=False))

    def _system_call(self) -> int:
        """The address of an instruction for it, which stands at the same place in all vdsos."""
        first = self.auxiliary.get(_AT_SYSINFO_EHDR)
        if first is None:
            raise Lost
        if self.read(first + _in_vdso[0], 2) != _SYSCALL:
            _in_vdso[0] = self.read(first, _VDSO).find(_SYSCALL)
            if _in_vdso[0] < 0:
                raise Lost
        return first + _in_vdso[0]

    def finish(self) -> None:
        """Put the registers of the program's start back."""
        if self._start:
            self._session.set_registers({**self._start, "orig_rax": M64})


def write_memory(tid: int, address: int, data: bytes) -> None:
    # Through /proc/TID/mem: process_vm_writev gives EFAULT just below the stack's extent.
    fd = os.open(f"/proc/{tid}/mem", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.pwrite(fd, data, address)
    finally:
        os.close(fd)
