"""viewos exec: one more program in a view that runs."""

from __future__ import annotations

from typing import Any, NoReturn

from viewos.cli.options import HELP, Option, UsageError, describe, parse

HELP_LINE = "run a program in a view that runs already"

CHDIR = Option("chdir", ("-C", "--chdir"), "DIR", "start in this directory of the view")
LAYOUT = Option(
    "layout", ("--layout",), "LAYOUT",
    "direct (this process becomes the program), ancestor (it waits for\n"
    "it, and a helper above it looks at it for the view's monitor: Yama\n"
    "lets nobody else), auto (default)",
    choices=("auto", "direct", "ancestor"),
)  # fmt: skip
OPTIONS = (CHDIR, LAYOUT, HELP)

USAGE = f"""\
usage: viewos exec [-C DIR] VIEW [--] COMMAND [ARG]...

Becomes COMMAND in a view that runs already. Terminal, environment, open files, working directory
and process group are the caller's; what it sees is what the view shows. VIEW is an id or a name
(`viewos ps` lists them).

{describe(OPTIONS)}

The status is the program's; 127: not found, 126: not executable, 125: viewos failed.

examples:
  viewos exec build -- ls -l /mnt
  viewos exec build -- gdb -p 4711
"""


def main(argv: list[str]) -> int:
    """Become the program; returns only from --help. Raises ViewosError."""
    values, words = parse("viewos exec", argv, OPTIONS)
    if not values["help"]:
        _run(values, words)
    print(USAGE, end="")
    return 0


def _run(values: dict[str, Any], words: list[str]) -> NoReturn:
    view, command = words[:1], words[1:]
    if command[:1] == ["--"]:
        command = command[1:]
    if not view or not command:
        what = "which COMMAND?" if view else "which VIEW?"
        raise UsageError(f"viewos exec: {what} (see `viewos exec --help`)")
    join(view[0], command, values)


def join(view: str, command: list[str], values: dict[str, Any]) -> NoReturn:
    """Become a program in a view. Raises ViewosError."""
    from viewos.control.client import find
    from viewos.monitor import joining

    joining.run(find(view), command, chdir=values["chdir"], layout=values["layout"] or "auto")
