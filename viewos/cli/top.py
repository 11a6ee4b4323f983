"""viewos top: what views are doing, on a screen that follows them."""

from __future__ import annotations

import os

from viewos.cli.options import HELP, Option, UsageError, describe, parse
from viewos.errors import ViewosError

HELP_LINE = "watch what views are doing"

OPTIONS = (
    Option("delay", ("-d", "--delay"), "SECONDS", "between two looks (default: 1)"),
    HELP,
)

USAGE = f"""\
usage: viewos top [-d SECONDS] [VIEW]

Shows, and goes on showing, the views and what they do: calls a second by system call and what
became of them, by module and by process, and the slowest. Without VIEW: of all monitors. q, Ctrl-Q
and Ctrl-C end it.

{describe(OPTIONS)}

It needs a terminal, and textual (pip install 'viewos[top]'); `viewos stats` has the same figures
without them.

examples:
  viewos top
  viewos top -d 0.5 build
"""


def main(argv: list[str]) -> int:
    """Show the screen until the user ends it. Raises ViewosError."""
    values, words = parse("viewos top", argv, OPTIONS, anywhere=True)
    if values["help"]:
        print(USAGE, end="")
        return 0
    if len(words) > 1:
        raise UsageError("viewos top: expected one VIEW (see `viewos top --help`)")
    try:
        delay = 1.0 if values["delay"] is None else float(values["delay"])
    except ValueError:
        delay = 0.0
    if not 0.05 <= delay <= 3600:
        raise UsageError(f"viewos top: -d {values['delay']}: expected seconds, 0.05 to 3600")
    try:
        from viewos.cli.screen import Screen
    except ImportError as error:
        why = "" if isinstance(error, ModuleNotFoundError) else f" ({error})"
        raise ViewosError(
            f"this needs textual{why}: pip install 'viewos[top]', or use `viewos stats`"
        ) from error
    if words:
        from viewos.control.client import find

        find(words[0])  # says what is wrong before the screen is taken
    if not all(map(os.isatty, (0, 1, 2))):  # textual reads from the first, and draws on the last
        raise UsageError("viewos top: this needs a terminal: `viewos stats` has the same figures")
    Screen(words[0] if words else None, delay).run()
    return 0
