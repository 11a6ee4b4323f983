"""viewos umount: take away what is mounted in a view that runs."""

from __future__ import annotations

from viewos.cli.mount import VIEW
from viewos.cli.options import HELP, Option, UsageError, describe, parse

HELP_LINE = "take away what is mounted in a view that runs"

OPTIONS = (
    VIEW,
    Option("lazy", ("-l", "--lazy"), None, "also where programs use what is mounted"),
    HELP,
)

USAGE = f"""\
usage: viewos umount [-V VIEW] [-l] DIRECTORY

Takes away what a view shows on top of DIRECTORY: what `viewos mount` has put there, or a module
that shows nothing else. While a program has a file open there, or its working directory, that is
refused.

{describe(OPTIONS)}

examples:
  viewos umount -V build /mnt
"""


def main(argv: list[str]) -> int:
    """Unmount it. Raises ViewosError."""
    values, words = parse("viewos umount", argv, OPTIONS, anywhere=True)
    if values["help"]:
        print(USAGE, end="")
        return 0
    if len(words) != 1:
        raise UsageError("viewos umount: expected one DIRECTORY (see `viewos umount --help`)")
    from viewos.control.client import find
    from viewos.control.nested import named_directory

    found = find(values["view"])
    found.monitor.ask(
        "umount",
        view=found.number,
        target=words[0],
        lazy=values["lazy"],
        directory=named_directory(),
    )
    return 0
