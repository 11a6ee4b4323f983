"""viewos name: give a view a name."""

from __future__ import annotations

from viewos.cli.options import HELP, UsageError, describe, parse

HELP_LINE = "give a view a name"

OPTIONS = (HELP,)

USAGE = f"""\
usage: viewos name [VIEW] NAME

Gives a view a name, by which other commands know it from then on; an empty one takes it away.
Without VIEW it is the view in which the command is given.

{describe(OPTIONS)}

examples:
  viewos name 4711 build
  viewos name build ""
"""


def main(argv: list[str]) -> int:
    """Give it. Raises ViewosError."""
    values, words = parse("viewos name", argv, OPTIONS, anywhere=True)
    if values["help"]:
        print(USAGE, end="")
        return 0
    if len(words) not in (1, 2):
        raise UsageError("viewos name: expected [VIEW] NAME (see `viewos name --help`)")
    from viewos.control.client import find

    found = find(words[0] if len(words) == 2 else None)
    found.monitor.ask("name", view=found.number, name=words[-1])
    return 0
