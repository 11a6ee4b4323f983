"""viewos stop: end all programs of a view."""

from __future__ import annotations

import signal
from contextlib import suppress

from viewos.cli.options import HELP, Option, UsageError, describe, parse

HELP_LINE = "end all programs of a view"

OPTIONS = (
    Option("signal", ("-s", "--signal"), "SIGNAL", "send this one first (default: TERM)"),
    Option(
        "patience", ("-t", "--time"), "SECONDS", "kill what has not ended by then (default: 10)"
    ),
    HELP,
)

USAGE = f"""\
usage: viewos stop [OPTION]... VIEW...

Sends all programs of the views, and of those nested in them, a signal; kills what has not ended
after a while; ends when none of them is left.

{describe(OPTIONS)}

examples:
  viewos stop build
  viewos stop -s INT -t 60 4711.1
"""


def main(argv: list[str]) -> int:
    """Stop them. Raises ViewosError."""
    values, words = parse("viewos stop", argv, OPTIONS, anywhere=True)
    if values["help"]:
        print(USAGE, end="")
        return 0
    if not words:
        raise UsageError("viewos stop: which VIEW? (see `viewos stop --help`)")
    number, patience = _signal(values["signal"]), _seconds(values["patience"])
    from viewos.control.client import Ended, find

    for found in [find(word) for word in words]:
        with suppress(Ended):
            found.monitor.ask(
                "stop", view=found.number, signal=number, patience=patience, deadline=None
            )
    return 0


def _signal(text: str | None) -> int:
    if text is None:
        return signal.SIGTERM
    if text.isdigit() and int(text) in signal.valid_signals():
        return int(text)
    name = text.upper() if text.upper().startswith("SIG") else f"SIG{text.upper()}"
    try:
        return signal.Signals[name]
    except KeyError:
        raise UsageError(f"viewos stop: there is no signal {text} (for example: TERM)") from None


def _seconds(text: str | None) -> float:
    try:
        seconds = 10.0 if text is None else float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 1e9:
        raise UsageError(f"viewos stop: -t {text}: expected a number of seconds")
    return seconds
