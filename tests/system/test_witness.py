"""Programs that notice what a monitor does wrong: each prints the same natively and in a view.

A witness states most of what it expects itself; here stands the line that it has to print, so
that one that finds nothing to look at fails natively too.
"""

from __future__ import annotations

import functools
import os
import re
import subprocess
from dataclasses import dataclass

import pytest

from .view import LeftOver, Place, place, run_in_view
from .witness import build

LONG = os.environ.get("VIEWOS_TEST_LONG") == "1"
"""Ten thousand rounds where CI has two thousand, and so on."""
NOBODY = 65534


@dataclass(frozen=True)
class Witness:
    """One program: its source, its arguments after DIR, and what its output must contain."""

    source: str
    must: str
    args: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    users: tuple[int, ...] = (0, NOBODY)
    timeout: float = 60


def _rounds(often: int, seldom: int) -> str:
    return str(often if LONG else seldom)


WRITE_CLOSE_EXEC = _rounds(10_000, 2_000)

WITNESSES = {
    "write, close, execve": Witness(
        "etxtbsy",
        f"{WRITE_CLOSE_EXEC} rounds, 0 ETXTBSY, 0 other failures\nwhile open for writing: ETXTBSY",
        (WRITE_CLOSE_EXEC,),
        timeout=100,
    ),
    "flock": Witness("flock", "1000 rounds, 0 times still locked\nhanded over, child ended with 0"),
    "FIFO": Witness("fifo", "100 rounds of open, hello, end"),
    "sockets": Witness("fin", "datagram socket: DIR/datagram\n200 rounds each"),
    "storm with SA_RESTART": Witness(
        "storm", "ran under signals, doubled 0, failed 0, restart broken 0",
        ("restart", _rounds(20_000, 2_000)), timeout=100,
    ),
    "storm without SA_RESTART": Witness(
        "storm", "ran under signals, doubled 0, failed 0, restart broken 0",
        ("interrupt", _rounds(20_000, 2_000)), timeout=100,
    ),
    "execve in a thread": Witness("exec_thread", "40 of 40 executed, same pid"),
    "all receivers": Witness("receivers", "16 threads, 20 rounds"),
    "goroutines": Witness("goroutines", "spoiled 0, failed 0", timeout=100),
    "RLIMIT_NOFILE": Witness(
        "nofile", "opened 7, then EMFILE", options=("-static",)
    ),
    "Landlock": Witness("landlock", "read allowed: OK\nlist allowed: OK\nread denied: EACCES"),
    "signals in open": Witness("fifo_signals", "handler without SA_RESTART: status 21, promptly"),
    "bystanders": Witness("bystander", "2000 rounds, never held up"),
    "500 threads": Witness("crowd", "1500 of 1500", timeout=90),
    "killed at any moment": Witness("killed", "300 of 300 killed\nand the view goes on"),
    "SIGSTOP and SIGCONT": Witness("stopcont", "200 stops, 200 continues, child ended with 7"),
    "vfork and posix_spawn": Witness("spawn", "vfork, chdir, exec: 7\nthe parent is in DIR"),
    "300 processes": Witness("forkbomb", "root ended with 0, 300 files"),
    "PR_SET_DUMPABLE": Witness("dumpable", "after the set: dumpable 0\nstat 0 size 4"),
    "queued signals": Witness("queued", "2000 of 2000, in order, masks changed 0"),
    "signals that are waited for": Witness(
        "waiting", "sigwait 400, signalfd 400 in order, children 100\n60 stops"
    ),
    "RLIMIT_FSIZE": Witness("fsize", "truncate to 2000: EFBIG, SIGXFSZ 1"),
    "another uid": Witness("setuid", "nobody: dumpable 0\n  read private: EACCES", users=(0,)),
    "umask": Witness("umask", "umask 027\n  open 0750"),
    "chroot": Witness("chroot", "passwd: ENOENT\n/\n", users=(0,)),
    "a sixth argument": Witness("sixth", "words tried: many, 0 wrong answers"),
    "hostile pointers": Witness(
        "pointers", "a string that changes: 0 wrong answers\nstill here: yes"
    ),
}  # fmt: skip
CASES = [(name, user) for name, witness in WITNESSES.items() for user in witness.users]


def _run(witness: Witness, here: Place) -> str:
    result = here.run(
        [build(witness.source, *witness.options), here.directory, *witness.args],
        timeout=witness.timeout,
    )
    text = result.stdout.decode()
    assert result.returncode == 0 and result.stderr.count(b"Traceback") == 0, (
        f"status {result.returncode}\n{text}{result.stderr.decode()[-3000:]}"
    )
    here_stderr.append(result.stderr.decode())
    return text.replace(here.directory, "DIR")


here_stderr: list[str] = []
"""What the last run said on stderr: figures, which differ from run to run."""


@functools.cache
def _natively(name: str, user: int) -> str:
    witness = WITNESSES[name]
    with place("native", user) as here:
        text = _run(witness, here)
    assert witness.must in text
    return text


@pytest.mark.timeout(240)
@pytest.mark.parametrize(("name", "user"), CASES, ids=[f"{n}-{u}" for n, u in CASES])
@pytest.mark.parametrize("where", ["native", "identity", "mnt"])
def test_witness(where: str, name: str, user: int) -> None:
    expected = _natively(name, user)
    if where == "native":
        return
    with place(where, user) as here:
        assert _run(WITNESSES[name], here) == expected


@pytest.mark.timeout(120)
@pytest.mark.parametrize("where", ["native", "identity", "mnt"])
def test_spurious_eintr_needs_a_signal(where: str) -> None:
    """seccomp_unotify(2): a signal before the monitor receives a call makes it EINTR.

    Natively never; in a view at most once a signal. How often is measured by benchmarks/eintr.py.
    """
    with place(where, 0) as here:
        _run(WITNESSES["storm without SA_RESTART"], here)
    figures = re.search(r"rounds (\d+) signals (\d+) eintr (\d+)", here_stderr[-1])
    assert figures is not None, here_stderr[-1]
    rounds, signals, interrupted = map(int, figures.groups())
    assert rounds and signals
    assert interrupted <= (0 if where == "native" else signals)


@pytest.mark.timeout(60)
def test_what_is_left_over_is_found_and_killed() -> None:
    with pytest.raises(LeftOver, match="sleep 987"):
        run_in_view(None, ["sh", "-c", "setsid -f sleep 987 >/dev/null 2>&1 </dev/null"])
    with pytest.raises(AssertionError, match="took over"):
        run_in_view(None, ["sleep", "988"], timeout=0.2)
    pgrep = subprocess.run(["pgrep", "-f", "sleep 98[78]"], capture_output=True, check=False)
    assert pgrep.stdout == b""


@pytest.mark.timeout(60)
def test_a_witness_can_fail() -> None:
    """The ETXTBSY witness sees a writer that somebody else holds: here the test itself."""
    with place("native", 0) as here:
        program = here.real / "program"
        program.touch(0o755)
        with program.open("r+b"):
            result = here.run([build("etxtbsy"), here.directory, "10"])
    assert b"10 rounds, 10 ETXTBSY" in result.stdout
