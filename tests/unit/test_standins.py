"""Files that stand in for programs, executed as they are."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from viewos.abi.machine import MACHINE
from viewos.monitor.standins import linked, scripted
from viewos.view import View

PROGRAM = os.fsencode(os.path.realpath("/bin/cat"))
PYTHON = os.fsencode(os.path.realpath(sys.executable))
TELL = "import sys; print(sys.orig_argv)"


@pytest.fixture
def view(tmp_path: Path) -> View:
    made = View()
    made.scratch = os.fsencode(tmp_path)
    return made


def output(path: bytes, *words: str, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        ["its name", *words], executable=path, check=True, capture_output=True, env=env, timeout=20
    )
    return done.stdout.decode()


def test_a_link_has_another_name(view: View) -> None:
    link = linked(view, PROGRAM, b"name")
    assert output(link, "/proc/self/comm") == "name\n"
    assert linked(view, PROGRAM, b"name") == link


@pytest.mark.skipif(MACHINE != "x86_64", reason="its instructions are x86-64's")
@pytest.mark.parametrize("words", [[b"x"], [b"python", b"-I", b"-c", TELL.encode(), b"\xff", b""]])
def test_words_in_front_of_the_callers(view: View, words: list[bytes]) -> None:
    path = scripted(view, PYTHON if words[1:] else PROGRAM, words, b"name")
    assert path is not None
    if words[1:]:
        wanted = [*map(os.fsdecode, words), "a b", "", "c"]
        assert output(path, "a b", "", "c", env={"PYTHONUTF8": "1"}) == f"{wanted}\n"
    else:
        assert output(path, "/proc/self/cmdline") == "x\0/proc/self/cmdline\0"
