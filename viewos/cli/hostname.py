"""viewos hostname: give a view that runs another host name."""

from __future__ import annotations

from viewos.cli.mount import VIEW
from viewos.cli.options import HELP, UsageError, describe, parse

HELP_LINE = "give a view that runs another host name"

OPTIONS = (VIEW, HELP)

USAGE = f"""\
usage: viewos hostname [-V VIEW] NAME

Gives a view another host name: that of its module hostname changes, and where it has none, one is
put on top.

{describe(OPTIONS)}

examples:
  viewos hostname -V build builder7
"""


def main(argv: list[str]) -> int:
    """Give it. Raises ViewosError."""
    values, words = parse("viewos hostname", argv, OPTIONS, anywhere=True)
    if values["help"]:
        print(USAGE, end="")
        return 0
    if len(words) != 1 or not words[0]:
        raise UsageError("viewos hostname: expected one NAME (see `viewos hostname --help`)")
    from viewos.control.client import find

    found = find(values["view"])
    found.monitor.ask("hostname", view=found.number, name=words[0])
    return 0
