"""Fix-up: let the kernel run a trapped call *in the tracee*, with other arguments.

A momentary ptrace. While a PTRACE_INTERRUPT is pending, the call is answered with -ERESTARTNOINTR:
the tracee then stops before the restart, registers are set, and on resume the kernel runs the
call with them. The view's cookie in a spare argument lets it pass the filter. At the exit stop the
registers come back, all but the result.

All of one fix-up happens in one thread, because everything about ptrace belongs to a thread.
-ERESTARTNOINTR and not -ERESTARTSYS: with a signal pending whose handler lacks SA_RESTART the
latter turns into EINTR. Signals are blocked meanwhile, or a signal frame would overwrite the
scratch string.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import suppress

from viewos import kernel
from viewos.abi.ptrace import (
    ARGUMENT_REGISTERS,
    ERESTARTNOINTR,
    PTRACE_EVENT_EXEC,
    PTRACE_INTERRUPT,
    RED_ZONE,
)
from viewos.abi.syscalls import TABLE
from viewos.monitor.rewrite import Ending, Result, Rewrite, Scratch
from viewos.monitor.traced import M64, RESTARTS, ExecStop, Lost, Session, Stop, signed, write_memory

STACK_SCRATCH = 360
"""Bytes that fit below any stack's red zone: a goroutine's stack has 2 KB and a guard of some
800."""
_NR_CLOSE, _NR_MMAP, _NR_MUNMAP = 3, 9, 11
_MAP_PRIVATE_ANONYMOUS = 0x22
_PROT_READ_WRITE = 3


def _on_stack(session: Session, scratch: Scratch) -> list[int] | None:
    """The register values, with what they point at below the stack's red zone; None: no room."""
    if scratch.size > STACK_SCRATCH:
        return None
    base = (session.original["rsp"] - RED_ZONE - scratch.size) & ~15
    values, blob = scratch.place(base)
    try:
        if blob:
            write_memory(session.tid, base, blob)
    except OSError:  # another mapping below, or the stack's limit
        return None
    return values


def _drive(session: Session, rewrite: Rewrite) -> Result:
    session.stop_before_restart()
    calls = *rewrite.before, rewrite
    behind = () if rewrite.then is None else (rewrite.then,)
    scratch = Scratch([argument for call in (*calls, *behind) for argument in call.args])
    mapped, size = 0, scratch.size + 4095 & ~4095
    values = _on_stack(session, scratch)
    if values is None:
        mapped = session.run(
            _NR_MMAP, [0, size, _PROT_READ_WRITE, _MAP_PRIVATE_ANONYMOUS, M64, 0], first=True
        )
        if mapped > M64 - 4096:
            _close(session, rewrite)
            session.give_back(mapped)
            return Result(Ending.DONE, signed(mapped))
        values, blob = scratch.place(mapped)
        write_memory(session.tid, mapped, blob)
    value, first = 0, not mapped
    for call in calls:
        registers = _registers(session, call, values)
        value, first = _run_within(session, call, registers, first=first), False
        if call.after is not None and value not in RESTARTS:
            call.after(signed(value), registers)
        if call is not rewrite and value:
            break
    if not (rewrite.again or rewrite.close or value in RESTARTS):
        session.has_made(value)
    for call in behind if not value else ():
        session.run(call.number, _registers(session, call, values), first=False)
    if mapped:
        session.run(_NR_MUNMAP, [mapped, size], first=False)
    _close(session, rewrite)
    if rewrite.again:
        session.give_back_call()
        return Result(Ending.AGAIN, signed(value))
    session.give_back(value)
    return Result(Ending.AGAIN if value in RESTARTS else Ending.DONE, signed(value))


def _registers(session: Session, call: Rewrite, values: list[int]) -> list[int]:
    """The arguments of a call, which are taken from `values`, and its cookie."""
    count = len(call.args)
    taken = values[:count] + [session.original[r] for r in ARGUMENT_REGISTERS[count:]]
    del values[:count]
    keep = taken[call.cookie_arg] & ((1 << call.cookie_shift) - 1)
    taken[call.cookie_arg] = keep | session.cookie << call.cookie_shift & M64
    return taken


def _close(session: Session, rewrite: Rewrite) -> None:
    for fd in rewrite.close:
        session.run(_NR_CLOSE, [fd], first=False)


def _run_within(session: Session, rewrite: Rewrite, values: list[int], *, first: bool) -> int:
    """The call itself, in the directory in which it is to be made."""
    if rewrite.within is None:
        return session.run(rewrite.number, values, first=first, may_block=rewrite.may_block)
    there, back = rewrite.within
    value = _enter(session, there, first=first)
    if not value:
        value = session.run(rewrite.number, values, first=False)
        _enter(session, back, first=False)
    return value


def _enter(session: Session, fd: int, *, first: bool) -> int:
    """fchdir(2), which may be trapped too."""
    where = TABLE["fchdir"].cookie
    args = [fd, *(session.original[register] for register in ARGUMENT_REGISTERS[1:])]
    args[where.arg] = session.cookie << where.shift
    return session.run(TABLE["fchdir"].number, args, first=first)


def fix_up(tid: int, cookie: int, rewrite: Rewrite, answer: Callable[[int], bool]) -> Result:
    """Run `rewrite` in the tracee in place of the call that it waits in.

    Arguments: `answer(error)` answers the notification with minus that errno, and says whether
    it still was there. Raises Traced when somebody else traces the thread; then nothing was done.
    """
    try:
        session = Session(tid, cookie)
    except ProcessLookupError:
        return Result(Ending.GONE)
    try:
        kernel.ptrace(PTRACE_INTERRUPT, tid, 0, 0)
        answer(ERESTARTNOINTR)
        return _drive(session, rewrite)
    except Stop as stop:
        return _at_stop(session, stop, rewrite)
    except (Lost, ProcessLookupError):
        session.bury()
        return Result(Ending.GONE)
    except BaseException as error:  # nobody may be left stopped: the call fails
        number = error.errno if isinstance(error, OSError) else None
        with suppress(OSError, Lost):
            session.give_back(-(number or errno.EIO) & M64)
        raise


def _at_stop(session: Session, stop: Stop, rewrite: Rewrite) -> Result:
    try:
        if stop.status >> 16 == PTRACE_EVENT_EXEC:
            session.tid = stop.tid  # a non-leader's exec is reported at the group's id
            session.prepare_exec()
            at_exec = ExecStop(session)
            try:
                if rewrite.at_exec is not None:
                    rewrite.at_exec(at_exec)
                    at_exec.finish()
            finally:
                at_exec.close()
                session.detach()
            return Result(Ending.EXEC)
        session.abandon(stop)
        if session.result is not None:
            return Result(Ending.DONE, signed(session.result))
        return Result(Ending.AGAIN)
    except (Lost, ProcessLookupError):
        session.bury()
        return Result(Ending.GONE)
