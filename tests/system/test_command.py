"""The command line: help, version, lists, and what is said under -v, -q and --log."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import viewos as package
from tests.system.command import USERS, said, viewos
from tests.system.view import Place, place
from viewos.cli.main import COMMANDS
from viewos.loader import BUILT_IN

pytestmark = pytest.mark.timeout(60)
DIRECTORY = Path(__file__).parent


@pytest.fixture(params=USERS, ids=lambda user: f"as-{user}")
def here(request: pytest.FixtureRequest) -> Iterator[Place]:
    """A directory of that user."""
    with place("native", request.param) as where:
        yield where


def shown(*words: str, user: int | None = None) -> str:
    """stdout of a command that succeeds and says nothing else."""
    result = viewos(*words, user=user)
    assert (result.returncode, result.stderr) == (0, b"")
    return result.stdout.decode()


# ---- help and version ---------------------------------------------------------------------------


@pytest.mark.parametrize("user", USERS)
def test_version(user: int) -> None:
    assert shown("--version", user=user) == f"viewos {package.__version__}\n"


@pytest.mark.parametrize("words", [("--help",), ("-h",), ("help",), ("help", "zzz")], ids=" ".join)
def test_help(words: tuple[str, ...]) -> None:
    text = shown(*words)
    assert text.startswith("usage: viewos COMMAND [OPTION]...\n")
    for command in COMMANDS:
        assert re.search(rf"^  {command} +\w", text, re.MULTILINE)
    assert "\nexamples:\n  viewos run -m " in text


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command(command: str) -> None:
    text = shown(command, "--help")
    assert text == shown(command, "-h") == shown("help", command)
    assert text.startswith(f"usage: viewos {command} ")
    assert f"\nexamples:\n  viewos {command}" in text
    assert "-h, --help" in text
    assert max(map(len, text.splitlines())) <= 100


def test_help_wins_over_a_missing_command() -> None:
    assert shown("run", "-m", "zzz", "--help").startswith("usage: viewos run ")


def test_options_of_the_program_are_its_own() -> None:
    assert shown("run", "echo", "--help", "-v") == "--help -v\n"
    assert shown("run", "--", "echo", "--", "-x") == "-- -x\n"


ALL = ", ".join(COMMANDS)
WRONG = {
    (): "which COMMAND? (see `viewos --help`)",
    ("rnu",): "there is no command rnu: did you mean run?",
    ("zzz",): f"there is no command zzz; there are {ALL}",
    ("--bogus",): f"there is no command --bogus; there are {ALL}",
    ("-v",): f"there is no command -v; there are {ALL}",
    ("run",): "viewos run: which COMMAND? (see `viewos run --help`)",
    ("run", "--"): "viewos run: which COMMAND? (see `viewos run --help`)",
    ("modules", "-x"): "viewos modules: unknown option -x (see `viewos modules --help`)",
    ("modules", "vfs", "--json"): "viewos modules: options stand before names",
    ("doctor", "zzz"): "viewos doctor: takes no arguments, not zzz",
    ("doctor", "--jso"): "viewos doctor: unknown option --jso (see `viewos doctor --help`)",
}


@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_wrong_usage(words: tuple[str, ...]) -> None:
    assert said(viewos(*words)) == (2, WRONG[words])


@pytest.mark.parametrize(
    "words",
    [
        *((command, "WORD") for command in ("info", "wait", "stop", "stats")),
        ("WORD",), ("exec", "WORD", "--", "true"), ("run", "--WORD"), ("ps", "--WORD=x"),
        ("trace", "-V", "WORD"), ("module", "-V", "WORD", "ls"), ("name", "-V", "WORD", "x"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_word_does_not_act_on_the_terminal(words: tuple[str, ...]) -> None:
    result = viewos(*(word.replace("WORD", "a\nb\x1b[31m\x7f") for word in words))
    assert result.returncode
    line, end, rest = result.stderr.decode().partition("\n")
    assert line.isprintable()
    assert (end, rest) == ("\n", "")


INTERRUPTED = """import builtins, os, signal, sys
original = builtins.__import__
def interrupted(name, *others):
    if name == "viewos.cli.main":
        os.kill(os.getpid(), signal.SIGINT)
    return original(name, *others)
builtins.__import__ = interrupted
from viewos.__main__ import main
main()"""


def test_an_interrupt_at_the_very_beginning_says_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, b"", b"")


def test_wrong_usage_of_fakeroot() -> None:
    """It says its own name, as fakeroot does, and ends as fakeroot does."""
    result = viewos("fakeroot", "-z")
    text = b"viewos fakeroot: unknown option -z (see `viewos fakeroot --help`)\n"
    assert (result.returncode, result.stderr) == (1, text)


# ---- viewos modules -----------------------------------------------------------------------------


@pytest.mark.parametrize("user", USERS)
def test_the_list_of_modules(user: int) -> None:
    text = shown("modules", user=user)
    listed = json.loads(shown("modules", "--json", user=user))
    assert [one["name"] for one in listed][: len(BUILT_IN)] == sorted(BUILT_IN)
    for one in listed:
        assert set(one) == {"name", "summary", "grammar", "example", "error"}
        assert f"-m {one['grammar']}\n" in text and f"-m {one['example']}\n" in text
    assert text.endswith("Your own: -m path/to/file.py:CLASS[:ITEM,...]\n")


def test_some_modules() -> None:
    assert [one["name"] for one in json.loads(shown("modules", "--json", "uid"))] == ["uid"]
    assert shown("modules", "uid").count("-m ") == 2
    assert said(viewos("modules", "uid", "zzz", "yyy")) == (125, "there is no module yyy, zzz")


# ---- -v, -q, --log ------------------------------------------------------------------------------

NOISY = """
from viewos import VirtualModule

class Noisy(VirtualModule):
    def uname(self, call):
        raise ValueError("a bug")
"""
# Options -> whether stderr has the warning (a traceback).
SAID = {
    (): True,
    ("-v",): True,
    ("-q",): False,
    ("-qv",): True,
    ("-vq",): True,
    ("--log", "log"): False,
    ("-v", "--log", "log"): False,
    ("-q", "--log", "log"): False,
}


@pytest.mark.parametrize("options", SAID, ids=" ".join)
def test_what_is_said(here: Place, options: tuple[str, ...]) -> None:
    """A warning goes to stderr, or with --log to the file; -q keeps it from stderr alone."""
    (here.real / "noisy.py").write_text(NOISY)
    script = "(exec uname 2>/dev/null); echo ran"
    words = ["run", *options, "-m", "noisy.py", "--", "sh", "-c", script]
    result = viewos(*words, user=here.user, cwd=here.real)
    assert (result.returncode, result.stdout) == (0, b"ran\n")
    assert (b"ValueError: a bug" in result.stderr) is SAID[options]
    if not SAID[options]:
        assert result.stderr == b""
    log = here.real / "log"
    assert log.exists() is ("--log" in options)
    if log.exists():
        assert re.match(
            r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d uname by process \d+ fails", log.read_text()
        )


def test_a_log_is_appended_to_and_has_no_tag_for_the_user(here: Place) -> None:
    (here.real / "noisy.py").write_text(NOISY)
    log = here.real / "log"
    for _ in range(2):
        words = ["run", "--log", "log", "-m", "noisy.py", "--", "uname"]
        viewos(*words, user=here.user, cwd=here.real)
    assert log.read_text().count("ValueError: a bug") == 2
    assert "viewos: " not in log.read_text()
    assert log.stat().st_uid == here.user


def test_a_log_is_found_from_the_directory_of_the_caller(here: Place) -> None:
    (here.real / "noisy.py").write_text(NOISY)
    options = ["--log", "log", "-C", "/", "-m", "noisy.py"]
    viewos("run", *options, "--", "uname", user=here.user, cwd=here.real)
    assert (here.real / "log").exists()


@pytest.mark.skipif(os.getuid() != 0, reason="mounts need root")
def test_a_log_on_a_full_disk(here: Place) -> None:
    (here.real / "noisy.py").write_text(NOISY)
    words = ["run", "--log", "/dev/full", "-m", "noisy.py", "--", "sh", "-c", "uname; echo ran"]
    result = viewos(*words, user=here.user, cwd=here.real)
    assert result.stdout == b"ran\n"
    assert result.stderr == b"uname: cannot get system name: Input/output error\n"


def test_nothing_is_said_without_a_reason(here: Place) -> None:
    for options in ((), ("-v",), ("-q",)):
        words = ["run", *options, "-m", "vfs:/=/", "-m", "uid:0", "--", "sh", "-c", "ls >/dev/null"]
        result = viewos(*words, user=here.user, cwd=here.real)
        assert (result.returncode, result.stdout, result.stderr) == (0, b"", b""), options


def test_a_warning_does_not_go_where_stderr_no_longer_is(here: Place) -> None:
    """The program has given its stderr another meaning: what is said there would be data."""
    (here.real / "noisy.py").write_text(NOISY)
    script = "exec 2>data; uname >/dev/null; exec 2>&-; uname; cat data"
    words = ["run", "-m", "noisy.py", "--", "sh", "-c", script]
    result = viewos(*words, user=here.user, cwd=here.real)
    assert b"ValueError" not in result.stdout + result.stderr
