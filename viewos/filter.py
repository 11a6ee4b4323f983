"""From what has to be trapped to a seccomp program: an array of `struct sock_filter`.

libseccomp (by pyseccomp) makes the program; in front of it stand a few instructions of our own,
because libseccomp would kill calls of another architecture, and let unknown numbers pass.

A call that nobody traps is decided by its number alone. That matters: the kernel then keeps the
verdict in a bitmap (Linux 5.11), and the call costs nothing.
"""

from __future__ import annotations

import errno
import os
import resource
import struct
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Any, Literal

from viewos.abi.row import NO_COOKIE, SIGNED_32, UNSIGNED_32, Row
from viewos.abi.seccomp import (
    AUDIT_ARCH_X86_64,
    SECCOMP_RET_ALLOW,
    SECCOMP_RET_ERRNO,
    SECCOMP_RET_USER_NOTIF,
)
from viewos.abi.syscalls import LAST_NUMBER, TABLE
from viewos.errors import ViewosError
from viewos.tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

BPF_MAXINSNS = 4096
MAX_ERRNO = 4095
_SOCK_FILTER = struct.Struct("=HBBI")  # struct sock_filter: code, jt, jf, k
_LD_ABS, _JEQ, _JGT, _RET = 0x20, 0x15, 0x25, 0x06
_JEQ_X, _SUB_X, _TAX = 0x1D, 0x1C, 0x07
_NR, _ARCH, _INSTRUCTION, _ARGS = 0, 4, 8, 16  # offsets in struct seccomp_data
_NOTHING: Mapping[str, int] = MappingProxyType({})
_BINARY_TREE = 2  # seccomp_attr_set(3): SCMP_FLTATR_CTL_OPTIMIZE, libseccomp 2.5


class ArgumentRule(NamedTuple):
    """Trap a call only when a test of one of its arguments holds.

    `arg` is the argument's index. `operator`: "==", "!=" (64-bit arguments only), or "&" (at least
    one of the bits of `value` is set). Arguments that the kernel takes as int are compared as such.
    """

    name: str
    arg: int
    operator: Literal["==", "!=", "&"]
    value: int


class StringRule(NamedTuple):
    """Let a call pass that is made by a certain instruction with a certain constant string.

    Both stand in one file that programs have mapped, and how far from each other tells which they
    are, wherever that is: that another call has the same distance is a chance of one in 2**31.
    """

    name: str
    arg: int
    """The index of the argument that is the address of the string."""
    distance: int
    """From the string to the instruction after the call, modulo 2**32."""
    other: int
    """The index of an argument of type int that has to be `value`."""
    value: int


class FilterPlan(NamedTuple):
    """What a program under the filter gets for its system calls, by their names in the table."""

    trap: frozenset[str] = frozenset()
    """Calls that always reach the monitor."""
    cookie: int = 0
    """64 bits; a trapped call that carries it passes. 0: there is none."""
    argument_rules: tuple[ArgumentRule, ...] = ()
    """Calls that reach the monitor when one of their rules holds."""
    constants: Mapping[str, int] = _NOTHING
    """Calls that do nothing and return a value; the kernel can return 0 only."""
    errnos: Mapping[str, int] = _NOTHING
    """Calls that fail with an errno."""
    strings: tuple[StringRule, ...] = ()
    """Calls that pass, whatever else is said of them."""


def build(plan: FilterPlan) -> bytes:
    """The seccomp program for a plan, as an array of `struct sock_filter`.

    Raises KeyError for a name that the table lacks, and ValueError for a plan that contradicts
    itself or that a seccomp program cannot express; ViewosError where libseccomp fails.
    """
    _check(plan)
    is_too_small = False
    with suppress(OSError):  # a container's filter may forbid it
        limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
        is_too_small = 0 <= limit < BPF_MAXINSNS * _SOCK_FILTER.size
    if is_too_small:
        raise ViewosError("the filter is written to a file, of at most 32 KB (see ulimit -f)")
    try:
        passing = b"".join(_passing(rule) for rule in plan.strings)
        program = _preamble() + passing + _exported(plan)
    except OSError as error:
        raise ViewosError(
            f"libseccomp cannot make the filter: {error.strerror} (the kernel lacks seccomp user"
            " notification, or a container's filter forbids it: see `viewos doctor`)"
        ) from error
    if len(program) > BPF_MAXINSNS * _SOCK_FILTER.size:
        raise ValueError("the filter is longer than the kernel takes (BPF_MAXINSNS)")
    return program


def _check(plan: FilterPlan) -> None:
    groups = (
        plan.trap,
        {rule.name for rule in plan.argument_rules},
        plan.constants,
        plan.errnos,
    )
    seen: set[str] = set()
    for group in groups:
        twice = seen.intersection(group)
        if twice:
            raise ValueError(f"the plan settles {', '.join(sorted(twice))} in two ways")
        seen.update(group)
    if any(plan.constants.values()):
        raise ValueError("SECCOMP_RET_ERRNO can return 0, and no other value")
    if not all(0 < number <= MAX_ERRNO for number in plan.errnos.values()):
        raise ValueError("an errno lies between 1 and 4095")
    if not 0 <= plan.cookie < 1 << 64:
        raise ValueError("the cookie has 64 bits")


def _preamble() -> bytes:
    """What libseccomp does not do: other architectures and unknown numbers reach the monitor.

    x32 numbers lie above the table's last one too. Number -1 passes: a debugger has skipped the
    call, or it is one that the kernel refuses itself.
    """
    return b"".join(
        _SOCK_FILTER.pack(*instruction)
        for instruction in (
            (_LD_ABS, 0, 0, _ARCH),
            (_JEQ, 1, 0, AUDIT_ARCH_X86_64),
            (_RET, 0, 0, SECCOMP_RET_USER_NOTIF),
            (_LD_ABS, 0, 0, _NR),
            (_JGT, 0, 3, LAST_NUMBER),
            (_JEQ, 0, 1, 0xFFFFFFFF),
            (_RET, 0, 0, SECCOMP_RET_ALLOW),
            (_RET, 0, 0, SECCOMP_RET_USER_NOTIF),
        )
    )


def _passing(rule: StringRule) -> bytes:
    """The test of a `StringRule`, which libseccomp cannot make: it compares with constants alone.

    Instruction and string lie in the same 4 GiB (if a boundary is between, the call is trapped).
    """
    number, address = TABLE[rule.name].number, _ARGS + 8 * rule.arg
    tests = [
        (_LD_ABS, _NR), (_JEQ, number),
        (_LD_ABS, _ARGS + 8 * rule.other), (_JEQ, rule.value),
        (_LD_ABS, address + 4), (_TAX, 0), (_LD_ABS, _INSTRUCTION + 4), (_JEQ_X, 0),
        (_LD_ABS, address), (_TAX, 0), (_LD_ABS, _INSTRUCTION), (_SUB_X, 0),
        (_JEQ, rule.distance),
    ]  # fmt: skip
    program = b""
    for at, (code, k) in enumerate(tests):
        fails = len(tests) - at if code in (_JEQ, _JEQ_X) else 0
        program += _SOCK_FILTER.pack(code, 0, fails, k)
    return program + _SOCK_FILTER.pack(_RET, 0, 0, SECCOMP_RET_ALLOW)


# ---- the part that libseccomp makes ------------------------------------------------------------


class _Comparison(NamedTuple):
    arg: int
    operator: str  # the name of pyseccomp's constant
    a: int
    b: int = 0


def _exported(plan: FilterPlan) -> bytes:
    seccomp = _pyseccomp()
    program = seccomp.SyscallFilter(seccomp.ALLOW)
    try:
        program.set_attr(seccomp.Attr.CTL_OPTIMIZE, _BINARY_TREE)
    except OSError as error:  # before libseccomp 2.5: a list, which does the same slowly
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.EEXIST):
            raise

    def add(action: int, row: Row, tests: Sequence[_Comparison] = ()) -> None:
        # By number: a libseccomp older than the kernel does not know every name.
        compared = [
            seccomp.Arg(test.arg, getattr(seccomp, test.operator), test.a, test.b) for test in tests
        ]
        program.add_rule_exactly(action, row.number, *compared)

    for name in sorted(plan.trap):
        for unlike in _unlike_cookie(TABLE[name], plan.cookie):
            add(SECCOMP_RET_USER_NOTIF, TABLE[name], unlike)
    for rule in plan.argument_rules:
        row = TABLE[rule.name]
        for test in _tests(row, rule):
            for unlike in _unlike_cookie(row, plan.cookie):
                add(SECCOMP_RET_USER_NOTIF, row, (test, *unlike))
    for name, number in {**plan.constants, **plan.errnos}.items():
        add(SECCOMP_RET_ERRNO | number, TABLE[name])
    with open(os.memfd_create("viewos-filter"), "r+b", buffering=0) as file:
        program.export_bpf(file)
        file.seek(0)
        return file.read()


def _unlike_cookie(row: Row, cookie: int) -> tuple[tuple[_Comparison, ...], ...]:
    """Alternatives, each a set of tests, of which one holds unless the call carries the cookie."""
    if not cookie or row.cookie == NO_COOKIE:
        return ((),)
    arg, shift = row.cookie
    if shift == 0:
        return ((_Comparison(arg, "NE", cookie),),)
    # The upper half of an int argument. libseccomp has no masked "not equal": below, or above.
    first = (cookie & 0xFFFFFFFF) << 32
    return (
        (_Comparison(arg, "LT", first),),
        (_Comparison(arg, "GT", first | 0xFFFFFFFF),),
    )


def _tests(row: Row, rule: ArgumentRule) -> tuple[_Comparison, ...]:
    """Alternatives of which one holds when the rule does."""
    is_int = row.args[rule.arg].kind in SIGNED_32 | UNSIGNED_32
    mask = 0xFFFFFFFF if is_int else 0xFFFFFFFFFFFFFFFF
    value = rule.value & mask
    if rule.arg == row.cookie.arg:
        raise ValueError(f"{rule.name}: the tested argument is where the cookie goes")
    if rule.operator == "==":
        return (_Comparison(rule.arg, "MASKED_EQ", mask, value),)
    if rule.operator == "&":
        bits = [1 << n for n in range(64) if value >> n & 1]
        return tuple(_Comparison(rule.arg, "MASKED_EQ", bit, bit) for bit in bits)
    if is_int:
        raise ValueError(f"{rule.name}: libseccomp cannot test an int for inequality")
    return (_Comparison(rule.arg, "NE", value),)


# ---- importing pyseccomp ------------------------------------------------------------------------


def _pyseccomp() -> Any:
    try:
        with _cheap_find_library():
            import pyseccomp
    except (ImportError, RuntimeError, OSError) as error:
        raise ViewosError(f"libseccomp cannot be used: {error} (see `viewos doctor`)") from error
    return pyseccomp


@contextmanager
def _cheap_find_library() -> Iterator[None]:
    """Let pyseccomp find its libraries by their names, which the dynamic linker knows.

    ctypes.util imports subprocess and runs ldconfig, gcc and ld: 20 ms of every start. Where the
    linker does not know the names (another libc), the real one is asked. `sys.modules` is put back.
    """
    import ctypes

    if "pyseccomp" in sys.modules or "ctypes.util" in sys.modules:
        yield
        return
    try:
        names = {"c": "libc.so.6", "seccomp": "libseccomp.so.2"}
        for name in names.values():
            ctypes.CDLL(name)
    except OSError:
        yield
        return
    stand_in = ModuleType("ctypes.util")
    stand_in.find_library = names.get  # type: ignore[attr-defined]
    sys.modules["ctypes.util"] = stand_in
    vars(ctypes)["util"] = stand_in
    try:
        yield
    finally:
        del sys.modules["ctypes.util"]
        del vars(ctypes)["util"]
