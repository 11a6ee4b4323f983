"""viewos wait: until all programs of a view have ended."""

from __future__ import annotations

from contextlib import suppress

from viewos.cli.options import HELP, UsageError, describe, parse

HELP_LINE = "wait until all programs of a view have ended"

OPTIONS = (HELP,)

USAGE = f"""\
usage: viewos wait VIEW...

Waits until the last program of each of the views, and of those nested in them, has ended: also
those in the background, which `viewos run` does not wait for.

{describe(OPTIONS)}

examples:
  viewos wait build
"""


def main(argv: list[str]) -> int:
    """Wait. Raises ViewosError."""
    values, words = parse("viewos wait", argv, OPTIONS, anywhere=True)
    if values["help"]:
        print(USAGE, end="")
        return 0
    if not words:
        raise UsageError("viewos wait: which VIEW? (see `viewos wait --help`)")
    from viewos.control.client import Ended, find

    for found in [find(word) for word in words]:
        with suppress(Ended):
            found.monitor.ask("wait", view=found.number, deadline=None)
    return 0
