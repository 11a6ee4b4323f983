"""ptrace(2): requests, events and the x86-64 register set (linux/ptrace.h, sys/user.h)."""

from __future__ import annotations

import struct

PTRACE_TRACEME = 0
PTRACE_GETREGS = 12
PTRACE_SETREGS = 13
PTRACE_ATTACH = 16
PTRACE_DETACH = 17
PTRACE_SYSCALL = 24
PTRACE_CONT = 7
PTRACE_GETEVENTMSG = 0x4201
PTRACE_SEIZE = 0x4206
PTRACE_INTERRUPT = 0x4207
PTRACE_GETSIGMASK = 0x420A
PTRACE_SETSIGMASK = 0x420B

PTRACE_O_TRACESYSGOOD = 0x01
PTRACE_O_TRACEEXEC = 0x10

PTRACE_EVENT_EXEC = 4
PTRACE_EVENT_STOP = 128

# errno values that the kernel keeps to itself (linux/errno.h)
ERESTARTSYS = 512
ERESTARTNOINTR = 513
ERESTARTNOHAND = 514
ERESTART_RESTARTBLOCK = 516

# struct user_regs_struct, in the order of sys/user.h
REGISTERS = (
    "r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss "
    "fs_base gs_base ds es fs gs"
).split()
USER_REGS = struct.Struct("=27Q")
ARGUMENT_REGISTERS = ("rdi", "rsi", "rdx", "r10", "r8", "r9")
SYSCALL_INSTRUCTION_SIZE = 2
RED_ZONE = 128
"""Bytes below the stack pointer that belong to the program (System V ABI, x86-64)."""
