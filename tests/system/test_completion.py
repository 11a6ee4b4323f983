"""viewos completion, in the shells themselves."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from viewos.cli.completion import complete

PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
ZSH = """
compdef() { :; }
compadd() { print -r -- add "$@"; }
_files() { print -r -- files "$@"; }
_command_names() { print -r -- commands "$@"; }
source <(viewos completion zsh)
words=("$@"); CURRENT=$#; _viewos
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "viewos").mkdir()
    (tmp_path / "viewos" / "mine.toml").touch()
    (tmp_path / "mind.txt").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", PATH)


ANSWERS = {
    "": (["run", "fakeroot"], "none"),
    "tr": (["trace"], "none"),
    "mo": (["module", "mount", "modules"], "none"),
    "run --ch": (["--chdir"], "none"),
    "run -m host": (["hostname:"], "files"),
    "run -m": (["-m"], "none"),
    "run -C ": ([], "directories"),
    "run --layout d": (["direct"], "none"),
    "run -p mi": (["mine"], "files"),
    "run -m vfs:/a=/b ": ([], "command"),
    "run -- -": ([], "command"),
    "run -q ls -": ([], "files"),
    "trace -o ": ([], "files"),
    "trace -e ": ([], "none"),
    "modules u": (["uid"], "none"),
    "profile check m": (["mine"], "files"),
    "net p": (["publish"], "none"),
    "net import ": ([], "files"),
    "completion z": (["zsh"], "none"),
    "nothing x": ([], "none"),
    "module ": (["add", "ls", "move", "rm"], "none"),
    "module add host": (["hostname:"], "files"),
    "mount ": ([], "files"),
}


@pytest.mark.parametrize("line", ANSWERS)
def test_what_can_stand_there(line: str) -> None:
    words, kind = ANSWERS[line]
    answer = complete(line.split(" "))
    assert answer.words[: len(words) or None] == words and answer.kind == kind


def run(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, timeout=50, check=True).stdout


def test_bash() -> None:
    script = """
    source <(viewos completion bash)
    try() { COMP_LINE=$1; COMP_POINT=${#1}; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
            compopt() { :; }; _viewos; echo "${COMPREPLY[@]}"; }
    try 'viewos tr' viewos tr
    try 'viewos run -p mi' viewos run -p mi
    try 'viewos run -C vi' viewos run -C vi
    try 'viewos run -C "a b" -m host' viewos run -C '"a b"' -m host
    try 'viewos run -m vfs:/x=mi' viewos run -m vfs : /x = mi
    try 'viewos run -q -- mkfif' viewos run -q -- mkfif
    """
    assert run("bash", "-c", script).splitlines() == [
        "trace", "mine mind.txt", "viewos", "hostname:", "mind.txt", "mkfifo",
    ]  # fmt: skip


@pytest.mark.parametrize(("line", "found"), [
    ("viewos tr", ["trace"]),
    ("viewos run -p mi", ["mind.txt", "mine"]),
    ("viewos run -C vi", ["viewos/"]),
    ("viewos run -m host", ["hostname:"]),
    ("viewos run -q -- mkfif", ["mkfifo"]),
])  # fmt: skip
def test_fish(line: str, found: list[str]) -> None:
    script = f"viewos completion fish | source; complete -C '{line}'"
    said = run("fish", "--no-config", "-c", script)
    assert sorted(one.split("\t")[0] for one in said.splitlines()) == found


@pytest.mark.parametrize(("line", "said"), [
    ("viewos tr", "add -- trace\n"),
    ("viewos run -m host", "add -S  -- hostname:\nfiles\n"),
    ("viewos run -C vi", "files -/\n"),
    ("viewos run -q -- mkfif", "commands -e\n"),
])  # fmt: skip
def test_zsh(line: str, said: str) -> None:
    """What it asks of zsh's own functions, which act in the line editor alone."""
    assert run("zsh", "-f", "-c", ZSH, "zsh", *line.split(" ")) == said
