"""viewos shell: look around in a view that runs."""

from __future__ import annotations

import os

from viewos.cli.exec import CHDIR, LAYOUT, join
from viewos.cli.options import HELP, UsageError, describe, parse

HELP_LINE = "start a shell in a view that runs already"

OPTIONS = (CHDIR, LAYOUT, HELP)

USAGE = f"""\
usage: viewos shell [-C DIR] VIEW

Starts $SHELL (or /bin/sh) in a view that runs already, as `viewos exec` does.

{describe(OPTIONS)}

examples:
  viewos shell build
  viewos shell -C /mnt build
"""


def main(argv: list[str]) -> int:
    """Become the shell; returns only from --help. Raises ViewosError."""
    values, words = parse("viewos shell", argv, OPTIONS, anywhere=True)
    if not values["help"]:
        if len(words) != 1:
            raise UsageError("viewos shell: which VIEW? (see `viewos shell --help`)")
        join(words[0], [os.environ.get("SHELL") or "/bin/sh"], values)
    print(USAGE, end="")
    return 0
