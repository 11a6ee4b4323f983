"""A program that came from outside, and that only a helper above it may look at (Yama)."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.system.control import NAME, PATIENCE, SLEEP, Ground, ground, until
from tests.system.test_fuzz import CALLS, difference, fuzz
from tests.system.test_fuzz import ground as fuzz_ground
from tests.system.users import python
from tests.system.view import run_in_view, started
from tests.system.witness import build

__all__ = ["ground"]  # the fixture
pytestmark = pytest.mark.timeout(120)


@contextmanager
def helped(ground: Ground, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """A program that is brought into the view with a helper above it."""
    run = [python(ground.user), "-m", "viewos", "exec", "--layout", "ancestor", NAME, "--"]
    with started(
        None, [*run, *words], user=ground.user, env=ground.env, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, strict=False,
    ) as process:  # fmt: skip
        yield process


def helper_of(process: subprocess.Popen[bytes]) -> psutil.Process:
    (helper,) = psutil.Process(process.pid).children()
    return helper


LOOP = "echo there; while read x; do cat /mnt/a; done"


def test_nothing_of_it_is_looked_at_by_the_monitor(ground: Ground) -> None:
    """The accelerator, which has no helper, settles none of its calls."""
    with ground.view([f"vfs:/mnt={ground.path}/a"], SLEEP):
        before = ground.json("stats", NAME)[0]["calls"]
        with helped(ground, "sh", "-c", LOOP) as process:
            out, _ = process.communicate(b"\n" * 20)
        assert out == b"there\n" + b"in a\n" * 20
        after = ground.json("stats", NAME)[0]["calls"]
        for name, counted in after.items():
            assert counted.get("accelerator", 0) == before.get(name, {}).get("accelerator", 0)
        assert after["openat"]["answered"] >= 20


def test_a_helper_that_is_killed(ground: Ground) -> None:
    """Its program's calls fail, and hang nowhere; others go on."""
    with (
        ground.view([f"vfs:/mnt={ground.path}/a"], SLEEP),
        helped(ground, "sh", "-c", LOOP) as process,
    ):
        assert process.stdout is not None and process.stdout.readline() == b"there\n"
        helper_of(process).send_signal(signal.SIGKILL)
        process.stdin.write(b"\n")  # type: ignore[union-attr]
        process.communicate(timeout=PATIENCE)
        assert ground.says("exec", NAME, "cat", "/mnt/a") == "in a\n"
        until(lambda: ground.json("ps")[0]["processes"] == 1)


def test_a_monitor_that_is_killed(ground: Ground) -> None:
    with (
        ground.view([f"vfs:/mnt={ground.path}/a"], SLEEP),
        helped(ground, "sh", "-c", LOOP) as process,
    ):
        assert process.stdout is not None and process.stdout.readline() == b"there\n"
        os.kill(ground.json("info", NAME)["monitor"], signal.SIGKILL)
        assert process.stderr is not None
        assert process.stderr.readline().startswith(b"viewos: the monitor of this view has ended")
        process.communicate(b"\n", timeout=PATIENCE)


def test_signals_reach_the_program(ground: Ground) -> None:
    with ground.view([f"vfs:/mnt={ground.path}/a"], SLEEP):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGKILL):
            with helped(ground, "sh", "-c", "echo there; exec sleep 100") as process:
                assert process.stdout is not None and process.stdout.readline() == b"there\n"
                process.send_signal(number)
                assert process.wait(PATIENCE) == -number


@pytest.mark.parametrize("layout", ["direct", "ancestor"])
def test_calls_do_the_same(ground: Ground, layout: str) -> None:
    """As in a view that was started for the program: see test_fuzz."""
    if ground.user:
        return  # the fuzzer's own directories are root's
    expected = fuzz("twin", 7, 0)
    program = build("callfuzz", folder=Path(__file__).parent / "fuzz")
    with fuzz_ground("bound", 0) as here:
        (claim,) = here.modules or ("",)
        with ground.view([claim], SLEEP):
            words = [python(0), "-m", "viewos", "exec", "--layout", layout, NAME, "--"]
            words += [program, "7", str(CALLS), str(here.directory)]
            run = run_in_view(
                None, words, timeout=90, cwd=str(here.directory.parent), env=ground.env
            )
        top = next(p for p in here.directory.parents if p.name.startswith("viewos-fuzz-"))
        dump = subprocess.run([program, "dump", str(top)], capture_output=True, check=True)
    text = (run.stdout + dump.stdout).decode(errors="backslashreplace")
    got = [*text.splitlines(), f"status {run.returncode} {run.stderr.decode()[-2000:]}"]
    assert difference(expected, got) is None
