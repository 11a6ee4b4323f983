"""Options of a command as a table."""

from __future__ import annotations

import subprocess
import sys

import pytest

from viewos.cli.options import HELP, Option, UsageError, describe, parse

OPTIONS = (
    Option("modules", ("-m", "--module"), "SPEC", "repeats", repeats=True),
    Option("log", ("--log",), "FILE", "once"),
    Option("verbose", ("-v", "--verbose"), None, "counts", repeats=True),
    Option("quiet", ("-q",), None, "a switch"),
    Option("layout", ("--layout",), "WHICH", "one of two\nand two lines", choices=("a", "b")),
    HELP,
)
NOTHING = {
    "modules": [], "log": None, "verbose": 0, "quiet": False, "layout": None, "help": False,
}  # fmt: skip

# argv -> (what differs from nothing, the rest).
PARSED = {
    (): ({}, []),
    ("make", "-v"): ({}, ["make", "-v"]),
    ("--", "-v"): ({}, ["-v"]),
    ("-v", "--", "--", "x"): ({"verbose": 1}, ["--", "x"]),
    ("-", "-v"): ({}, ["-", "-v"]),
    ("-m", "a", "-mb", "--module", "c", "--module=d"): ({"modules": ["a", "b", "c", "d"]}, []),
    ("-m", "-v", "x"): ({"modules": ["-v"]}, ["x"]),
    ("-m", "--", "x"): ({"modules": ["--"]}, ["x"]),
    ("-m", "", "x"): ({"modules": [""]}, ["x"]),
    ("--module=", "x"): ({"modules": [""]}, ["x"]),
    ("--module=a=b",): ({"modules": ["a=b"]}, []),
    ("-vvq",): ({"verbose": 2, "quiet": True}, []),
    ("-vm", "x", "y"): ({"verbose": 1, "modules": ["x"]}, ["y"]),
    ("-vmx", "y"): ({"verbose": 1, "modules": ["x"]}, ["y"]),
    ("-v", "--verbose"): ({"verbose": 2}, []),
    ("--log", "a", "--log", "b"): ({"log": "b"}, []),
    ("--layout", "b"): ({"layout": "b"}, []),
    ("-h",): ({"help": True}, []),
    ("-qh",): ({"quiet": True, "help": True}, []),
    ("", "-v"): ({}, ["", "-v"]),
}
WRONG = {
    ("--bogus",): "c: unknown option --bogus (see `c --help`)",
    ("-x",): "c: unknown option -x (see `c --help`)",
    ("-vx",): "c: unknown option -x (see `c --help`)",
    ("--modul", "x"): "c: unknown option --modul (see `c --help`)",
    ("--verbose=1",): "c: --verbose takes no argument",
    ("-m",): "c: -m needs SPEC behind it",
    ("-vm",): "c: -m needs SPEC behind it",
    ("--log",): "c: --log needs FILE behind it",
    ("--layout", "c"): "c: --layout c: expected one of a, b",
    ("--layout=",): "c: --layout '': expected one of a, b",
}


@pytest.mark.parametrize("argv", PARSED, ids=" ".join)
def test_what_words_mean(argv: tuple[str, ...]) -> None:
    values, rest = PARSED[argv]
    assert parse("c", argv, OPTIONS) == ({**NOTHING, **values}, rest)


@pytest.mark.parametrize("argv", WRONG, ids=" ".join)
def test_wrong_words(argv: tuple[str, ...]) -> None:
    with pytest.raises(UsageError) as caught:
        parse("c", argv, OPTIONS)
    assert str(caught.value) == WRONG[argv]
    assert caught.value.status == 2


def test_the_description() -> None:
    lines = describe(OPTIONS).splitlines()
    assert lines[0] == "  -m, --module SPEC       repeats"
    assert lines[-3:] == [
        "  --layout WHICH          one of two",
        f"{'':26}and two lines",
        "  -h, --help              say what is said here, and end",
    ]


@pytest.mark.parametrize("heavy", ["argparse", "anyio", "importlib.metadata", "subprocess"])
def test_start_up_imports_little(heavy: str) -> None:
    """Every `viewos run` pays for what is imported before the program starts."""
    program = "import sys, viewos.cli.run, viewos.cli.main, viewos.loader, viewos.monitor.start\n"
    program += f"sys.exit({heavy!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=30).returncode == 0
