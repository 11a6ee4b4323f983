"""The uid module: its rules against the running kernel, its state, its words."""

from __future__ import annotations

import ctypes
import errno
import grp
import itertools
import os
import pickle
import pwd
import random
import stat
import struct
from collections.abc import Callable

import pytest

from viewos import PASS, File
from viewos.abi.syscalls import TABLE
from viewos.modules.uid import Uid
from viewos.modules.uid.credentials import ALL, SETGID, SETUID, UNCHANGED, Credentials, Ids
from viewos.modules.uid.drop import DroppingUid
from viewos.modules.uid.permission import check_found
from viewos.modules.uid.reach import ReachingUid
from viewos.modules.uid.table import Record
from viewos.testing import FakeCall, FakeProcess

_libc = ctypes.CDLL(None, use_errno=True)
_CALLS = {
    "setuid": 1, "setgid": 1, "setreuid": 2, "setregid": 2, "setresuid": 3, "setresgid": 3,
    "setfsuid": 1, "setfsgid": 1,
}  # fmt: skip
_VERSION_3 = 0x20080522
_OPTIONS = (
    (8, 0), (8, 1), (8, 1), (8, 2), (7, 0), (23, 5), (23, 41), (24, 6), (27, 0), (28, 16), (28, 4),
    (28, 48),
)  # fmt: skip
"""PR_SET_KEEPCAPS and its like, with their argument."""
_POOL = (0, 0, 1, 2, 1000, 1000, UNCHANGED)
_SETS = (0, SETUID, SETGID, 1, SETUID | SETGID, ALL, ALL)

Step = tuple[str, tuple[int, ...]]
State = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], int, int]
"""Uids, gids, groups, effective and permitted capabilities."""
Outcome = tuple[int, State]


def _random_steps(rng: random.Random) -> list[Step]:
    steps: list[Step] = []
    for _ in range(rng.randint(1, 12)):
        if rng.random() < 0.1:
            groups = tuple(rng.choice(_POOL) for _ in range(rng.randint(0, 4)))
            steps.append(("setgroups", groups))
        elif rng.random() < 0.2:
            steps.append(("prctl", (*rng.choice(_OPTIONS), 0, 0)))
        elif rng.random() < 0.2:
            steps.append(("capset", (rng.choice(_SETS), rng.choice(_SETS))))
        else:
            name, count = rng.choice(list(_CALLS.items()))
            steps.append((name, tuple(rng.choice(_POOL) for _ in range(count))))
    return steps


def _native_state() -> State:
    with open("/proc/thread-self/status") as file:
        lines = dict(line.split(":", 1) for line in file)
    uid, gid = (tuple(map(int, lines[field].split())) for field in ("Uid", "Gid"))
    groups = tuple(map(int, lines["Groups"].split()))
    effective, permitted = (int(lines[field], 16) for field in ("CapEff", "CapPrm"))
    return uid, gid, groups, effective, permitted


def _header_and_sets(effective: int, permitted: int) -> tuple[bytes, bytes]:
    words = [part >> 32 * word & UNCHANGED for word in (0, 1) for part in (effective, permitted, 0)]
    return struct.pack("=Ii", _VERSION_3, 0), struct.pack("=6I", *words)


def _native_call(name: str, arguments: tuple[int, ...]) -> int:
    if name == "setgroups":
        data = struct.pack(f"={len(arguments)}I", *arguments)
        result = _libc.syscall(TABLE[name].number, len(arguments), data)
    elif name == "capset":
        result = _libc.syscall(TABLE[name].number, *_header_and_sets(*arguments))
    else:
        result = _libc.syscall(TABLE[name].number, *map(ctypes.c_uint, arguments))
    return -ctypes.get_errno() if result < 0 and not name.startswith("setfs") else result


def _natively(start: int, steps: list[Step]) -> list[Outcome]:
    """What the kernel answers in a child, which starts as that user and without groups."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setresgid(start, start, start)
                os.setresuid(start, start, start)
            outcomes = [(_native_call(*step), _native_state()) for step in steps]
            os.write(write, pickle.dumps(outcomes))
        finally:
            os._exit(0)
    os.close(write)
    with open(read, "rb") as pipe:
        data = pipe.read()
    os.waitpid(pid, 0)
    return pickle.loads(data)  # type: ignore[no-any-return]


def _virtual_call(process: FakeProcess, name: str, arguments: tuple[int, ...]) -> int:
    names = [arg.name for arg in TABLE[name].args]
    values: tuple[int | bytes, ...] = arguments
    if name == "setgroups":
        values = (len(arguments), struct.pack(f"={len(arguments)}I", *arguments))
    elif name == "capset":
        values = _header_and_sets(*arguments)
    names = names[: len(values)]
    try:
        return int(FakeCall(process, name, **dict(zip(names, values, strict=True))).answer())
    except OSError as error:
        return -(error.errno or 0)


def _state(who: Credentials) -> State:
    return tuple(who.uid), tuple(who.gid), who.groups, who.effective, who.permitted


def _virtually(start: Credentials, steps: list[Step]) -> list[Outcome]:
    module = Uid(0)
    module._initial = start
    process = FakeProcess(module)
    outcomes = []
    for step in steps:
        result = _virtual_call(process, *step)
        who: Credentials = process.state.of(0, start)
        outcomes.append((result, _state(who)))
    return outcomes


def _first(start: int) -> Credentials:
    """Who the native child is, in a container that keeps some capabilities to itself as well."""
    if os.geteuid() != 0:
        return Credentials.of(start, os.getgid(), tuple(os.getgroups()))
    effective, permitted = _native_state()[3:]
    mine = {} if start else {"effective": effective, "permitted": permitted}
    return Credentials.of(start, start, ())._replace(**mine, bounding=_native_bounding())


def _native_bounding() -> int:
    with open("/proc/thread-self/status") as file:
        return int(next(line for line in file if line.startswith("CapBnd")).split()[1], 16)


STARTS = (0, 1000) if os.geteuid() == 0 else (os.getuid(),)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("seed", range(4))
def test_the_kernel_says_the_same(seed: int, start: int) -> None:
    rng = random.Random(seed)
    first = _first(start)
    for _ in range(100):
        steps = _random_steps(rng)
        assert _virtually(first, steps) == _natively(start, steps), steps


@pytest.mark.parametrize("start", STARTS)
def test_a_setresuid_that_changes_nothing(start: int) -> None:
    """Whether the file system id follows depends on all of the arguments."""
    for name, fs in (("setresuid", "setfsuid"), ("setresgid", "setfsgid")):
        for wanted in itertools.product((UNCHANGED, start), repeat=3):
            steps: list[Step] = [(name, (1, 2, 3)), (fs, (3,)), (name, (1, UNCHANGED, 3))]
            steps += [(name, wanted), (fs, (1,)), (name, (1, 2, 3)), (name, wanted)]
            first = _first(start)
            assert _virtually(first, steps) == _natively(start, steps), steps


def _ids(process: FakeProcess) -> tuple[int, ...]:
    return tuple(FakeCall(process, "getresuid").answer())


def test_root_in_the_view_becomes_a_user_for_good() -> None:
    process = FakeProcess(Uid(0))
    assert _virtual_call(process, "setresuid", (1000, 1000, 1000)) == 0
    assert _ids(process) == (1000, 1000, 1000)
    assert FakeCall(process, "geteuid").answer() == 1000
    assert _virtual_call(process, "setuid", (0,)) == -errno.EPERM
    assert _virtual_call(process, "setgroups", (5,)) == -errno.EPERM


def test_a_child_inherits_and_does_not_act_back() -> None:
    parent = FakeProcess(Uid(0))
    _virtual_call(parent, "setreuid", (UNCHANGED, 7))
    child = parent.fork()
    _virtual_call(child, "setreuid", (UNCHANGED, 0))
    assert (_ids(parent), _ids(child)) == ((0, 7, 7), (0, 0, 7))


def test_setfsuid_gives_the_previous_id() -> None:
    process = FakeProcess(Uid(0))
    assert _virtual_call(process, "setfsuid", (5,)) == 0
    assert _virtual_call(process, "setfsuid", (6,)) == 5
    assert _virtual_call(process, "setfsuid", (UNCHANGED,)) == 6
    assert _virtual_call(process, "setfsgid", (9,)) == 0


def test_an_execve_saves_the_effective_ids() -> None:
    before = Credentials(Ids(1000, 7, 0, 8), Ids(5, 6, 7, 8), (1,), ALL, SETUID, secure=16)
    after = before.after_exec()._replace(dumpable=1)
    assert after == Credentials(Ids(1000, 7, 7, 7), Ids(5, 6, 6, 6), (1,), 0, 0)
    root = Credentials(Ids(0, 7, 0, 8), Ids.all(5), (), ALL, SETUID, bounding=3, secure=16)
    after = root.after_exec()
    assert (after.permitted, after.effective, after.secure) == (3, 0, 0)


def test_the_auxiliary_vector_tells_the_same() -> None:
    module = Uid(1000, 100)
    call = FakeCall(FakeProcess(module), "execve", path=b"/bin/true")
    call.layer = 0
    program = File(path=b"/bin/true")
    assert module.executed(call, program)[1] == {11: 1000, 12: 1000, 13: 100, 14: 100, 23: 0}


@pytest.mark.parametrize(
    ("size", "list_", "error"),
    [(65537, 0, errno.EINVAL), (-1, 0, errno.EINVAL), (1, 0, errno.EFAULT), (1, 8, errno.EFAULT)],
)
def test_setgroups_refuses(size: int, list_: int, error: int) -> None:
    with pytest.raises(OSError) as caught:  # noqa: PT011
        FakeCall(Uid(0), "setgroups", size=size, list=list_).answer()
    assert caught.value.errno == error


def test_groups_are_sorted_as_the_kernel_does() -> None:
    process = FakeProcess(Uid(0))
    _virtual_call(process, "setgroups", (9, 3, 5, 3))
    assert FakeCall(process, "getgroups", size=0).answer() == (3, 3, 5, 9)


# ---- who that is -----------------------------------------------------------------------------


def _who(module: Uid) -> tuple[int, int, tuple[int, ...]]:
    initial = module._initial
    return initial.uid.real, initial.gid.real, initial.groups


def test_a_named_user_has_the_groups_of_the_database() -> None:
    entry = pwd.getpwnam("root")
    groups = tuple(sorted(os.getgrouplist("root", entry.pw_gid)))
    assert _who(Uid("root")) == _who(Uid(0)) == (0, entry.pw_gid, groups)


def test_a_number_that_nobody_has() -> None:
    assert _who(Uid(54321)) == (54321, 54321, ())


def test_a_group_replaces_them() -> None:
    some = grp.getgrall()[-1]
    assert _who(Uid(0, some.gr_name)) == (0, some.gr_gid, ())
    assert _who(Uid("root", 77)) == (0, 77, ())


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: Uid("no-such-user"), LookupError),
        (lambda: Uid(0, "no-such-group"), LookupError),
        (lambda: Uid(-1), ValueError),
        (lambda: Uid(UNCHANGED), ValueError),
        (lambda: Uid(0, 1 << 32), ValueError),
    ],
)
def test_what_is_no_id(make: Callable[[], Uid], error: type[Exception]) -> None:
    with pytest.raises(error):
        make()


# ---- capabilities ------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [0x19980330, 0x20071026, 0x20080522])
def test_capget_shows_virtual_ones(version: int) -> None:
    process = FakeProcess(Uid(0))
    _virtual_call(process, "setresuid", (UNCHANGED, 5, UNCHANGED))
    at = process.memory.allocate(24)
    header = struct.pack("=Ii", version, process.pid)
    assert FakeCall(process, "capget", hdrp=header, data=at).answer() == 0
    words = struct.unpack("=6I", process.memory.read(at, 24))
    upper = (0, 0, 0) if version == 0x19980330 else (0, ALL >> 32, 0)
    assert words == (0, ALL & UNCHANGED, 0, *upper)


@pytest.mark.parametrize("header", [(0, 0), (0x20080522, 1)])
def test_capabilities_of_others_are_what_they_are(header: tuple[int, int]) -> None:
    process = FakeProcess(Uid(0))
    for name in ("capget", "capset"):
        call = FakeCall(process, name, hdrp=struct.pack("=Ii", *header), data=bytes(24))
        assert call.answer() is PASS


def test_a_capability_that_was_given_up() -> None:
    process = FakeProcess(Uid(0))
    header, sets = _header_and_sets(ALL & ~SETUID, ALL)
    assert FakeCall(process, "capset", hdrp=header, data=sets).answer() == 0
    assert _virtual_call(process, "setuid", (5,)) == -errno.EPERM
    assert _virtual_call(process, "setgid", (5,)) == 0


def test_other_options_of_prctl_pass() -> None:
    assert FakeCall(Uid(0), "prctl", option=15, arg2=8).answer() is PASS


@pytest.mark.parametrize("kind", [Uid, DroppingUid, ReachingUid])
def test_what_it_looks_at_it_asks_for(kind: type[Uid]) -> None:
    """And names that are removed, which take time, only where somebody looks."""
    assert kind(0).calls() >= kind.hooks.keys()
    assert ("unlink" in kind(0).calls()) is ("unlink" in kind.hooks)
    assert "unlink" in kind(0, save="log").calls()


@pytest.mark.parametrize(
    ("directory", "owner", "kind", "level", "refuses"),
    [
        (0o1777, 5, stat.S_IFREG, 1, True), (0o1777, 5, stat.S_IFREG, 0, False),
        (0o777, 5, stat.S_IFREG, 2, False), (0o1775, 5, stat.S_IFREG, 1, False),
        (0o1775, 5, stat.S_IFREG, 2, True), (0o1755, 5, stat.S_IFREG, 2, False),
        (0o1777, 6, stat.S_IFREG, 2, False), (0o1777, 0, stat.S_IFREG, 2, False),
        (0o1777, 5, stat.S_IFDIR, 2, False), (0o1777, 5, stat.S_IFLNK, 0, True),
        (0o1777, 5, stat.S_IFIFO, 0, False),
    ],
)  # fmt: skip
def test_files_of_others_in_sticky_directories(
    directory: int, owner: int, kind: int, level: int, refuses: bool
) -> None:
    """sysctl(8), fs.protected_regular."""
    where, found = Record(0, 0, stat.S_IFDIR | directory), Record(owner, 0, kind | 0o666)
    levels = {stat.S_IFREG: level, stat.S_IFIFO: 0}
    if refuses:
        with pytest.raises(PermissionError):
            check_found(Credentials.of(6, 6, ()), where, found, levels)
    else:
        check_found(Credentials.of(6, 6, ()), where, found, levels)
