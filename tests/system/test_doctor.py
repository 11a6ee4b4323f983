"""viewos doctor: each check tries the thing, so that taking it away changes what is said."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from functools import cache
from typing import Any

import pytest

from tests.system.command import USERS, python, viewos
from tests.system.view import REPOSITORY, as_user, place, run_in_view

pytestmark = pytest.mark.timeout(90)
as_every_user = pytest.mark.parametrize("user", USERS)
as_root = pytest.mark.skipif(os.getuid() != 0, reason="mounts need root")


def examine(**kw: Any) -> tuple[int, dict[str, dict[str, str]]]:
    """(status, name -> what was found)."""
    result = viewos("doctor", "--json", **kw)
    assert result.stderr == b"", result.stderr.decode()
    report = json.loads(result.stdout)
    assert report["works"] is (result.returncode == 0)
    return result.returncode, {check["name"]: check for check in report["checks"]}


@cache
def lacking_here(user: int) -> frozenset[str]:
    """What this machine lacks anyway."""
    return frozenset(states(examine(user=user)[1], "lacking"))


def states(checks: dict[str, dict[str, str]], state: str) -> set[str]:
    return {name for name, check in checks.items() if check["state"] == state}


@as_every_user
def test_here_views_work(user: int) -> None:
    status, checks = examine(user=user)
    assert status == 0
    assert states(checks, "failed") == states(checks, "untried") == set()
    assert checks["architecture"]["detail"] == os.uname().machine
    assert checks["kernel"]["detail"] == f"Linux {os.uname().release}"
    assert {"fix-up", "addfd", "listener", "openat2", "newer-calls"} <= states(checks, "ok")


@as_every_user
def test_what_an_ordinary_user_lacks(user: int) -> None:
    """set-user-ID programs: as root they keep their power."""
    _, checks = examine(user=user)
    found = checks["privileges"]
    native = run_in_view(None, ["grep", "CapEff", "/proc/self/status"], user=user).stdout.split()[1]
    assert (found["state"] == "ok") is bool(int(native, 16) >> 21 & 1)
    if found["state"] != "ok":
        assert "sudo" in found["cost"] and "root" in found["remedy"]


def test_for_people() -> None:
    result = viewos("doctor")
    _, checks = examine()
    lines = result.stdout.decode().splitlines()
    assert lines[-1] == "views work here"
    named = [line.split()[1] for line in lines if re.match(r"ok |lacking |failed |untried ", line)]
    assert named == list(checks)
    for check in checks.values():
        if check["state"] in ("lacking", "failed"):
            assert check["cost"] and check["remedy"]
            assert f"cost: {check['cost']}" in result.stdout.decode()


# What is taken away -> what doctor finds failed, lacking; whether the main job still runs.
TAKEN = {
    "seccomp=EPERM": ({"listener"}, set()),
    "seccomp=ENOSYS": ({"listener"}, set()),
    "seccomp=EINVAL": ({"listener"}, set()),
    "ptrace=EPERM": ({"ptrace"}, set()),
    "openat2=ENOSYS": (set(), {"openat2"}),
    "process_vm_readv=EPERM": (set(), {"process-vm"}),
    "process_vm_writev=ENOSYS": (set(), {"process-vm"}),
    "pidfd_open=ENOSYS": (set(), {"pidfd-getfd"}),
    "pidfd_getfd=EPERM": (set(), {"pidfd-getfd"}),
    "prlimit64=EPERM": (set(), {"limits"}),
    "unshare=EPERM": (set(), {"unshare"}),
    "setpgid=EPERM": (set(), set()),
    "close_range=ENOSYS": (set(), set()),
}  # fmt: skip
PROBE = "cd /; cd /mnt; pwd; ls; umask 027; mkdir new; echo text > file; cat file; rm -r new file"


@as_every_user
@pytest.mark.parametrize("call", TAKEN)
def test_what_is_taken_away_is_missed(user: int, call: str) -> None:
    """And the main job runs exactly where doctor says so."""
    failed, lacking = TAKEN[call]
    status, checks = examine(user=user, forbid=[call])
    assert states(checks, "failed") == failed
    newly = states(checks, "lacking") - lacking_here(user)
    # What is true of a child is true of a child of another user, where there can be one.
    assert newly - {"other-limits"} == lacking
    assert status == (1 if failed else 0)

    with place("native", user) as here:
        (here.real / "seen").touch()
        words = ["run", "-q", "-m", f"vfs:/mnt={here.real}", "--", "sh", "-c", PROBE]
        result = viewos(*words, user=user, forbid=[call])
    if status == 0:
        assert (result.returncode, result.stderr, result.stdout) == (0, b"", b"/mnt\nseen\ntext\n")
    elif "listener" in failed:
        assert result.returncode == 125
        assert result.stderr.count(b"\n") == 1


@as_every_user
@pytest.mark.parametrize("modules", [[], ["vfs:/=/"], ["uid:0", "hostname:inner"]], ids=str)
def test_inside_a_view_it_says_so(user: int, modules: list[str]) -> None:
    argv = [python(user), "-m", "viewos", "doctor", "--json"]
    result = run_in_view(modules, argv, user=user, timeout=60)
    assert (result.returncode, result.stderr) == (0, b"")
    checks = {check["name"]: check for check in json.loads(result.stdout)["checks"]}
    assert checks.keys() == {"architecture", "view"}
    assert checks["view"]["state"] == "ok"


@as_root
def test_in_a_view_of_other_credentials_it_says_so() -> None:
    argv = as_user(65534, [python(65534), "-m", "viewos", "doctor", "--json"])
    result = run_in_view(["vfs:/=/"], argv, timeout=60)
    assert result.returncode == 1
    checks = {check["name"]: check for check in json.loads(result.stdout)["checks"]}
    assert states(checks, "failed") == {"outer-listener"}
    assert "other credentials" in checks["outer-listener"]["detail"]
    assert checks["listener"]["state"] == "ok"


@as_root
def test_without_proc() -> None:
    hidden = ["unshare", "-m", "sh", "-c", 'umount -l /proc && exec "$@"', "sh"]
    status, checks = examine(before=hidden)
    assert status == 1
    assert states(checks, "failed") == {"proc"}
    assert "mount" in checks["proc"]["remedy"]


@as_root
def test_with_the_proc_of_others() -> None:
    """A pid name space whose /proc is still the outer one."""
    status, checks = examine(before=["unshare", "-m", "-p", "-f"])
    assert status == 1
    assert states(checks, "failed") == {"proc"}
    assert "another pid name space" in checks["proc"]["detail"]


@as_root
def test_in_a_user_name_space_with_one_user() -> None:
    """Nobody can become another one there: it advised to run viewos as root."""
    status, checks = examine(before=["unshare", "-r"])
    assert status == 0
    for name in ("other-users", "other-limits"):
        assert (checks[name]["state"], checks[name]["detail"][:10]) == ("ok", "not needed")


@as_root
def test_without_a_null_device() -> None:
    """A bare chroot: it said that views work there, and that /tmp was mounted with noexec."""
    bare = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs none /dev && exec "$@"', "sh"]
    status, checks = examine(before=bare)
    assert status == 1
    assert states(checks, "failed") == {"null"}
    assert states(checks, "lacking") == lacking_here(0)
    for layout in ("direct", "ancestor"):
        result = viewos("run", "--layout", layout, "--", "echo", "ran", before=bare)
        assert (result.returncode, result.stdout) == (125, b"")
        assert result.stderr.decode() == (
            "viewos: /dev/null: No such file or directory (the monitor needs it)\n"
        )


SCRATCH = {
    "noexec": ("lacking", "noexec"),
    "nosymfollow": ("lacking", "nosymfollow"),
    "exec": ("ok", ""),
}


@as_root
@pytest.mark.parametrize("option", SCRATCH)
def test_the_scratch_directory(option: str) -> None:
    state, word = SCRATCH[option]
    mounted = f'mount -t tmpfs -o {option} none /mnt && TMPDIR=/mnt exec "$@"'
    status, checks = examine(before=["unshare", "-m", "sh", "-c", mounted, "sh"])
    assert status == 0  # a view of real directories makes nothing
    assert checks["scratch"]["state"] == state
    assert word in checks["scratch"]["detail"]


def test_another_architecture() -> None:
    """A 32-bit word from uname does not make a 64-bit process a 32-bit one."""
    status, checks = examine(before=["setarch", "i686"])
    assert (status, checks["architecture"]["detail"]) == (0, "x86_64")
    program = "import os, sys; word = os.uname_result(('Linux', 'x', '6', '1', 'riscv64'))\n"
    program += "os.uname = lambda: word\n"
    program += "from viewos.cli.main import main; sys.exit(main(['doctor']))"
    argv = [sys.executable, "-c", program]
    result = subprocess.run(argv, cwd=REPOSITORY, capture_output=True, timeout=30, check=False)
    assert result.returncode == 1
    assert result.stderr == b""
    assert b"failed   architecture" in result.stdout and b"riscv64" in result.stdout


YAMA = """
mount -t tmpfs none /mnt && cp /proc/sys/kernel/cap_last_cap /mnt && mkdir /mnt/yama &&
echo $0 > /mnt/yama/ptrace_scope && mount --bind /mnt /proc/sys/kernel && umount /mnt && exec "$@"
"""
SCOPES = {  # ptrace_scope -> user -> what stands in the report (capabilities(7): CAP_SYS_PTRACE)
    "0": ("beside the program", "beside the program"),
    "1": ("beside the program", "above the program"),
    "2": ("beside the program", "without CAP_SYS_PTRACE; set it to 1 or 0"),
    "3": ("no monitor may read", "no monitor may read"),
}


@as_root
@as_every_user
@pytest.mark.parametrize("scope", SCOPES)
def test_yama(scope: str, user: int) -> None:
    """And `viewos run` agrees."""
    before = ["unshare", "-m", "sh", "-c", YAMA, scope]
    words = SCOPES[scope][user != 0]
    status, checks = examine(user=user, before=before)
    assert words in checks["layout"]["detail"]
    works = words.endswith("the program")
    assert status == (0 if works else 1)
    assert states(checks, "failed") == (set() if works else {"layout"})
    result = viewos("run", "--", "echo", "ran", user=user, before=before)
    if works:
        assert (result.returncode, result.stdout, result.stderr) == (0, b"ran\n", b"")
    else:
        assert (result.returncode, result.stdout) == (125, b"")
        assert result.stderr.count(b"\n") == 1 and b"ptrace_scope" in result.stderr


# ---- trials -------------------------------------------------------------------------------------

TRIAL = """
import os, signal, sys, time
from viewos.doctor.finding import Missing
from viewos.doctor.trial import attempt, child

def hang():
    child(signal.pause)
    signal.pause()

def die():
    os.kill(os.getpid(), signal.SIGSYS)

def leave():
    child(signal.pause)
    return "left"

def fail():
    raise ValueError("odd")

try:
    print(attempt(globals()[sys.argv[1]], seconds=0.3))
except Missing as missing:
    print("missing:", missing.detail)
"""
TRIALS = {
    "hang": "missing: it hangs (no answer within 0 s)",
    "die": "missing: the trial was killed by signal 31 (Bad system call)",
    "leave": "left",
    "fail": "missing: ValueError: odd",
}


@pytest.mark.parametrize("name", TRIALS)
def test_a_trial_leaves_nothing(name: str) -> None:
    """`run_in_view` fails when a process is left over."""
    result = run_in_view(None, [sys.executable, "-c", TRIAL, name], timeout=30)
    assert result.stdout.decode() == TRIALS[name] + "\n", result.stderr.decode()


def test_doctor_killed_leaves_nothing() -> None:
    program = TRIAL.replace("seconds=0.3", "seconds=60").replace(
        "    signal.pause()\n\ndef die", "    print(1, flush=True)\n    signal.pause()\n\ndef die"
    )
    argv = [sys.executable, "-c", program, "hang"]
    script = 'exec 3< <("$@"); read -u 3 line; kill -KILL $!; echo "$line"'
    result = run_in_view(None, ["bash", "-c", script, "bash", *argv], timeout=30)
    assert result.stdout == b"1\n"
