"""Callers that ignore SIGCHLD: their children cannot be waited for, and inherit that."""

from __future__ import annotations

import sys

import pytest

from .command import USERS
from .launching import WAYS, Way
from .users import python
from .view import run_in_view

pytestmark = pytest.mark.timeout(60)
IGNORING = ["bash", "-c", 'trap "" CHLD; exec "$@"', "bash"]
LOOK = [
    "/usr/bin/python3", "-c",
    "import signal; print(signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN); raise SystemExit(3)",
]  # fmt: skip
IN_THE_LIBRARY = f"""
from viewos import View
with View() as view:
    print(view.run({LOOK!r}, capture_output=True).stdout)
"""


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_the_program_ignores_it_and_ends_as_it_does(way: Way) -> None:
    wanted, found = (
        run_in_view(None, [*IGNORING, *one.prefix(), *LOOK], user=way.uid, timeout=20)
        for one in (way.native, way)
    )
    assert (wanted.returncode, wanted.stdout) == (3, b"True\n")
    assert (found.returncode, found.stdout, found.stderr) == (3, b"True\n", b"")


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize(
    "words",
    [["trace", "-o", "/dev/null"], ["fakeroot"], ["fakeroot", "-s", "/dev/null"]],
    ids=" ".join,
)
def test_commands(words: list[str], user: int) -> None:
    command = [*IGNORING, python(user), "-m", "viewos", *words, "--", *LOOK]
    done = run_in_view(None, command, user=user, timeout=20)
    assert (done.returncode, done.stdout, done.stderr) == (3, b"True\n", b"")


@pytest.mark.parametrize("user", USERS)
def test_doctor(user: int) -> None:
    command = [*IGNORING, python(user), "-m", "viewos", "doctor"]
    assert b"views work here" in run_in_view(None, command, user=user).stdout


def test_the_library() -> None:
    done = run_in_view(None, [*IGNORING, sys.executable, "-c", IN_THE_LIBRARY], timeout=20)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"b'True\\n'\n", b"")
