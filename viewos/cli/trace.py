"""viewos trace: a program in a view, and what the view does for it."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any, NoReturn

from viewos.cli.options import HELP, Option, UsageError, describe, parse, say_usage
from viewos.errors import ViewosError, from_here

HELP_LINE = "run a program in a view, and show each call that a view answers"

OPTIONS = (
    Option(
        "modules", ("-m", "--module"), "MODULE[:ITEM,...]", "as for `viewos run`", repeats=True
    ),
    Option("chdir", ("-C", "--chdir"), "DIR", "start in this directory of the view"),
    Option(
        "expressions", ("-e",), "EXPR",
        "show only calls for which EXPR holds: names of system calls (open\n"
        "stands for openat and its kin too) with commas between them,\n"
        "failed, continued (the kernel runs the call as it is), path=PREFIX,\n"
        "module=NAME, or one of these behind a !",
        repeats=True,
    ),
    Option("view", ("-V", "--view"), "VIEW", "show what happens in a view that runs already"),
    Option("file", ("-o", "--output"), "FILE", "append the lines to FILE, and not to stderr"),
    Option("all", ("-a", "--all"), None, "trap what any module can use, not only what these do"),
    HELP,
)  # fmt: skip

USAGE = f"""\
usage: viewos trace [OPTION]... [--] COMMAND [ARG]...
       viewos trace -V VIEW [-e EXPR]... [-o FILE]

Runs COMMAND as `viewos run` does, and writes a line for each system call that reaches the monitor:
who was asked, what was done, and what came of it.

{describe(OPTIONS)}

A call that nobody traps is not there: strace shows those, in a view as outside.

examples:
  viewos trace -m vfs:/mnt=/tmp/x -e path=/mnt -- make -C /mnt
  viewos trace -m vfs:/mnt=/tmp/x -e '!continued' -- ls /mnt
  viewos trace -m uid:0 -e failed -o trace.txt -- ./install.sh
  viewos trace -a -e open,execve -- sh -c 'ls | wc -l'
  viewos trace -V build -e failed
"""


_HINT = " (name a file with -o)"


def main(argv: list[str]) -> int:
    """Become the program; returns only from --help. Raises ViewosError."""
    values, command = parse("viewos trace", argv, OPTIONS)
    if values["view"] is not None and not values["help"]:
        return _follow(values, command)
    if not values["help"]:
        _run(values, command)
    say_usage(USAGE)
    return 0


def _follow(values: dict[str, Any], words: list[str]) -> int:
    """Show the calls of a view that runs, until it ends or the user has seen enough."""
    if words or values["modules"] or values["chdir"] or values["all"]:
        raise UsageError("viewos trace -V: only -e and -o go with a view that runs already")
    from viewos.control.client import Ended, find

    output = _output(values["file"])
    found = find(values["view"])
    with suppress(Ended, KeyboardInterrupt):
        found.monitor.ask(
            "trace", view=found.number, expressions=values["expressions"],
            descriptors=[output], deadline=None,
        )  # fmt: skip
    return 0


def _output(file: str | None) -> int:
    """Where the lines go. Raises ViewosError: to the standard error, which is closed; OSError."""
    from viewos.launcher.raw import lifted

    if file is not None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        return lifted(os.open(file, flags, 0o644))
    try:
        os.fstat(2)
    except OSError as error:
        raise ViewosError(f"stderr: {error.strerror}{_HINT}") from error
    return 2


def _run(values: dict[str, Any], command: list[str]) -> NoReturn:
    if not command:
        raise UsageError("viewos trace: which COMMAND? (see `viewos trace --help`)")
    from viewos.launcher.contact import contact
    from viewos.loader import load
    from viewos.monitor.start import Tracing, run
    from viewos.monitor.trace import parse as parse_expressions
    from viewos.view import View

    if contact() is not None:
        raise ViewosError(
            "this process runs in a view: `viewos run` nests one in it, and `viewos trace -V VIEW`"
            " shows its calls"
        )
    parse_expressions(values["expressions"])
    run(
        View([load(text) for text in values["modules"]], nestable=values["all"], inproc=False),
        command,
        chdir=values["chdir"],
        trace=Tracing(_writable(values["file"]), tuple(values["expressions"])),
    )


def _writable(file: str | None) -> str | None:
    """The file's absolute path. Raises ViewosError when nothing can be written there."""
    path = "/proc/self/fd/2" if file is None else file and from_here(file)
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644))
    except OSError as error:
        hint = _HINT if file is None else ""
        shown = "stderr" if file is None else file or "''"
        raise ViewosError(f"{shown}: {error.strerror}{hint}") from error
    return None if file is None else path
