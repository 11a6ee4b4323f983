"""viewos modules: what -m can name."""

from __future__ import annotations

import json

from viewos.cli.options import HELP, Option, UsageError, describe, parse
from viewos.errors import ViewosError

HELP_LINE = "list the modules that -m can name"

OPTIONS = (Option("json", ("--json",), None, "for programs"), HELP)

USAGE = f"""\
usage: viewos modules [OPTION]... [NAME]...

Lists the modules that can be loaded, or those named, with the grammar and an example of what
stands behind -m. A module of your own needs no name: -m path/to/file.py:CLASS.

{describe(OPTIONS)}

examples:
  viewos modules
  viewos modules vfs
  viewos modules --json
"""


def main(argv: list[str]) -> int:
    """Print the list. Raises ViewosError."""
    values, names = parse("viewos modules", argv, OPTIONS)
    if values["help"]:
        print(USAGE, end="")
        return 0
    if any(name.startswith("-") for name in names):
        raise UsageError("viewos modules: options stand before names")

    from viewos.loader import available

    listed = [one for one in available() if not names or one.name in names]
    missing = set(names) - {one.name for one in listed}
    if missing:
        raise ViewosError(f"there is no module {', '.join(sorted(missing))}")
    if values["json"]:
        print(json.dumps([one._asdict() for one in listed], indent=2))
        return 0
    for one in listed:
        if one.error is not None:
            print(f"{one.name:<10}cannot be loaded: {one.error}\n")
            continue
        print(f"{one.name:<10}{one.summary}\n{'':10}-m {one.grammar}\n{'':10}-m {one.example}\n")
    if not names:
        print("Your own: -m path/to/file.py:CLASS[:ITEM,...]")
    return 0
