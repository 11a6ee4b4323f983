"""The exported programs, run by a small interpreter of classic BPF."""

from __future__ import annotations

import errno
import struct
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from viewos.abi.fcntl import AT_EMPTY_PATH
from viewos.abi.row import SIGNED_32, UNSIGNED_32
from viewos.abi.seccomp import AUDIT_ARCH_I386, AUDIT_ARCH_X86_64, X32_SYSCALL_BIT
from viewos.abi.syscalls import BY_NUMBER, LAST_NUMBER, PATH_SYSCALLS, TABLE
from viewos.filter import BPF_MAXINSNS, ArgumentRule, FilterPlan, StringRule, build

pytestmark = pytest.mark.timeout(60)

ALLOW, NOTIFY, ERRNO = 0x7FFF0000, 0x7FC00000, 0x00050000
COOKIE = 0x8BAD_F00D_0DEF_ACED
U64 = (1 << 64) - 1
NONE = (0,) * 6

# ---- an interpreter of what the kernel accepts for seccomp (kernel/seccomp.c) --------------------

_COMPARE = {
    0x00: lambda a, k: a == k, 0x10: lambda a, k: a == k, 0x20: lambda a, k: a > k,
    0x30: lambda a, k: a >= k, 0x40: lambda a, k: bool(a & k),
}  # fmt: skip


class Machine:
    """Runs a program, and knows what a run has loaded of `struct seccomp_data`."""

    def __init__(self, program: bytes) -> None:
        assert len(program) % 8 == 0
        self.instructions = list(struct.iter_unpack("=HBBI", program))
        assert 0 < len(self.instructions) <= BPF_MAXINSNS
        self.loaded: set[int] = set()
        self.steps = 0

    def run(
        self,
        nr: int,
        args: Sequence[int] = NONE,
        arch: int = AUDIT_ARCH_X86_64,
        instruction: int = 0,
    ) -> int:
        data = struct.pack("=iIQ6Q", nr, arch, instruction, *args)
        self.loaded = set()
        a = x = at = self.steps = 0
        while True:
            self.steps += 1
            code, jt, jf, k = self.instructions[at]
            at += 1
            if code == 0x20:  # BPF_LD | BPF_W | BPF_ABS
                assert k % 4 == 0
                (a,) = struct.unpack_from("=I", data, k)
                self.loaded.add(k)
            elif code == 0x06:  # BPF_RET | BPF_K
                return k
            elif code == 0x05:  # BPF_JMP | BPF_JA
                at += k
            elif code & 0x0F == 0x05:  # BPF_JMP | BPF_K
                at += jt if _COMPARE[code & 0xF0](a, k) else jf
            elif code & 0x0F == 0x0D:  # BPF_JMP | BPF_X
                at += jt if _COMPARE[code & 0xF0](a, x) else jf
            elif code == 0x07:  # BPF_MISC | BPF_TAX
                x = a
            elif code == 0x1C:  # BPF_ALU | BPF_SUB | BPF_X
                a = (a - x) & 0xFFFFFFFF
            elif code == 0x54:  # BPF_ALU | BPF_AND | BPF_K
                a &= k
            else:
                raise AssertionError(f"instruction {code:#x}")

    def check_jumps(self) -> None:
        """Every jump leads forward to an instruction, and the last one returns."""
        count = len(self.instructions)
        for at, (code, jt, jf, k) in enumerate(self.instructions):
            if code & 0x07 == 0x05:
                for offset in (k,) if code == 0x05 else (jt, jf):
                    assert at + 1 + offset < count
        assert self.instructions[-1][0] == 0x06


# ---- what a plan means ---------------------------------------------------------------------------


def signed(number: int) -> int:
    return number - (1 << 32) if number >= 1 << 31 else number


def carries_cookie(name: str, args: Sequence[int], cookie: int) -> bool:
    arg, shift = TABLE[name].cookie
    if not cookie or arg < 0:
        return False
    return args[arg] == cookie if shift == 0 else args[arg] >> 32 == cookie & 0xFFFFFFFF


def holds(rule: ArgumentRule, args: Sequence[int]) -> bool:
    is_int = TABLE[rule.name].args[rule.arg].kind in SIGNED_32 | UNSIGNED_32
    value = args[rule.arg] & 0xFFFFFFFF if is_int else args[rule.arg]
    if rule.operator == "&":
        return bool(value & rule.value)
    return (value == rule.value) == (rule.operator == "==")


def expected(plan: FilterPlan, nr: int, args: Sequence[int], arch: int) -> int:
    if arch != AUDIT_ARCH_X86_64:
        return NOTIFY
    if nr == -1:
        return ALLOW
    if nr < 0 or nr > LAST_NUMBER:
        return NOTIFY
    row = BY_NUMBER.get(nr)
    if row is None:
        return ALLOW
    if row.name in plan.constants or row.name in plan.errnos:
        return ERRNO | {**plan.constants, **plan.errnos}[row.name]
    trapped = row.name in plan.trap or any(
        rule.name == row.name and holds(rule, args) for rule in plan.argument_rules
    )
    return NOTIFY if trapped and not carries_cookie(row.name, args, plan.cookie) else ALLOW


RULES = (
    ArgumentRule("prctl", 0, "==", 4),
    ArgumentRule("prctl", 0, "==", 3),
    ArgumentRule("prlimit64", 1, "==", 10),
    ArgumentRule("setrlimit", 0, "==", 10),
    ArgumentRule("clone", 0, "&", 0x00020000 | 0x10000000),
    ArgumentRule("sendto", 4, "!=", 0),
    ArgumentRule("recvfrom", 4, "!=", 0),
    ArgumentRule("accept4", 1, "!=", 0),
)
PLAN = FilterPlan(
    trap=PATH_SYSCALLS | {"bind", "connect", "getcwd"},
    cookie=COOKIE,
    argument_rules=RULES,
    constants={"getuid": 0, "geteuid": 0},
    errnos={"io_uring_setup": errno.ENOSYS},
)
STRING = StringRule("newfstatat", 1, 0x2092A - 0x29C99 & 0xFFFFFFFF, 3, AT_EMPTY_PATH)
PLANS = {
    "full": PLAN,
    "strings": PLAN._replace(strings=(STRING, STRING._replace(distance=5))),
    "without cookie": PLAN._replace(cookie=0),
    "cookie at its limits": PLAN._replace(cookie=U64),
    "everything": FilterPlan(trap=frozenset(TABLE), cookie=COOKIE),
    "nothing": FilterPlan(),
}

numbers = st.one_of(
    st.sampled_from(sorted(BY_NUMBER)),
    st.sampled_from([TABLE[rule.name].number for rule in RULES]),
    st.integers(-(1 << 31), (1 << 31) - 1),
    st.sampled_from([-1, -2, LAST_NUMBER, LAST_NUMBER + 1, X32_SYSCALL_BIT, X32_SYSCALL_BIT | 2]),
)
registers = st.one_of(
    st.integers(0, U64),
    st.integers(0, 12),
    st.sampled_from([COOKIE, COOKIE ^ 1, COOKIE ^ 1 << 63, COOKIE << 32 & U64, U64, 1 << 32]),
    st.integers(0, U64).map(lambda low: (COOKIE & 0xFFFFFFFF) << 32 | low & 0xFFFFFFFF),
    st.sampled_from([0x00020000, 0x10000000, 0x10000000 | 1 << 40, 3 | 1 << 32, 10 | 7 << 32]),
)


@pytest.mark.parametrize("name", PLANS)
def test_random_calls_get_what_the_plan_says(name: str) -> None:
    plan = PLANS[name]
    machine = Machine(build(plan))
    machine.check_jumps()

    @settings(max_examples=400)
    @given(numbers, st.tuples(*[registers] * 6))
    def check(nr: int, args: tuple[int, ...]) -> None:
        assert machine.run(nr, args) == expected(plan, nr, args, AUDIT_ARCH_X86_64)

    check()


@pytest.mark.parametrize("name", PLANS)
def test_every_call_with_and_without_its_cookie(name: str) -> None:
    plan = PLANS[name]
    machine = Machine(build(plan))
    for row in TABLE.values():
        arg, shift = row.cookie
        for args in (
            NONE,
            (1,) * 6,
            tuple(
                (plan.cookie if shift == 0 else (plan.cookie & 0xFFFFFFFF) << 32 | 5)
                if index == arg
                else 1
                for index in range(6)
            ),
        ):
            assert machine.run(row.number, args) == expected(
                plan, row.number, args, AUDIT_ARCH_X86_64
            ), row.name


def test_everything_trapped_means_everything() -> None:
    machine = Machine(build(PLANS["everything"]))
    for row in TABLE.values():
        assert machine.run(row.number) == NOTIFY, row.name


@pytest.mark.parametrize("name", PLANS)
def test_other_architectures_and_unknown_numbers_reach_the_monitor(name: str) -> None:
    machine = Machine(build(PLANS[name]))
    for nr in (0, 5, 11, -1, LAST_NUMBER, 10_000):
        assert machine.run(nr, arch=AUDIT_ARCH_I386) == NOTIFY
    for nr in (LAST_NUMBER + 1, 1 << 20, X32_SYSCALL_BIT, X32_SYSCALL_BIT | 59, -2):
        assert machine.run(nr) == NOTIFY
    assert machine.run(-1) == ALLOW


def test_untrapped_calls_are_decided_by_their_number_alone() -> None:
    """So the kernel can keep the verdict in its bitmap, and they cost nothing."""
    machine = Machine(build(PLAN))
    settled = PLAN.trap | {rule.name for rule in RULES}
    for row in TABLE.values():
        machine.run(row.number)
        if row.name not in settled:
            assert machine.loaded <= {0, 4}, row.name


@pytest.mark.parametrize("base", [0x7F12_3456_7000, 0x7F12_FFFD_8000])
def test_a_call_with_a_constant_string_passes(base: int) -> None:
    """`base`: of the file; in the second one a boundary of 4 GiB stands between the two."""
    machine = Machine(build(PLANS["strings"]))
    number, good = TABLE["newfstatat"].number, (3, base + 0x29C99, 0x7FFC_0000_1000, AT_EMPTY_PATH)
    instruction = base + 0x2092A

    def run(at: int, *args: int) -> int:
        return machine.run(number, (*args, 0, 0), instruction=at)

    is_split = base + 0x29C99 >> 32 != instruction >> 32
    assert is_split == (base == 0x7F12_FFFD_8000)
    for flags in (AT_EMPTY_PATH, AT_EMPTY_PATH | 1 << 40):  # an int
        assert run(instruction, *good[:3], flags) == (NOTIFY if is_split else ALLOW)
    for at, args in (
        (instruction + 1, good),
        (instruction + (2 << 32), good),
        (instruction, (3, good[1] + 1, good[2], AT_EMPTY_PATH)),
        (instruction, (3, good[1] ^ 2 << 32, good[2], AT_EMPTY_PATH)),
        (instruction, (*good[:3], AT_EMPTY_PATH | 0x100)),
        (instruction, (*good[:3], 0)),
    ):
        assert run(at, *args) == NOTIFY
    assert machine.run(TABLE["statx"].number, (*good, 0, 0), instruction=instruction) == NOTIFY


def test_the_search_for_a_number_is_short() -> None:
    """The binary tree of libseccomp is in use: read(2) is not compared with every trapped call."""
    program = build(FilterPlan(trap=frozenset(TABLE) - {"read", "exit_group"}, cookie=COOKIE))
    machine = Machine(program)
    for name in ("read", "exit_group"):
        assert machine.run(TABLE[name].number) == ALLOW
        assert machine.steps < 40


@pytest.mark.parametrize(
    ("plan", "complaint"),
    [
        (FilterPlan(trap=frozenset({"getuid"}), constants={"getuid": 0}), "two ways"),
        (FilterPlan(constants={"getuid": 1000}), "return 0"),
        (FilterPlan(errnos={"getuid": 0}), "errno"),
        (FilterPlan(errnos={"getuid": 4096}), "errno"),
        (FilterPlan(cookie=1 << 64), "64 bits"),
        (FilterPlan(argument_rules=(ArgumentRule("prctl", 0, "!=", 1),)), "inequality"),
    ],
)
def test_plans_that_make_no_sense(plan: FilterPlan, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        build(plan)


def test_an_unknown_name() -> None:
    with pytest.raises(KeyError, match="frobnicate"):
        build(FilterPlan(trap=frozenset({"frobnicate"})))
