"""viewos ps: the views that there are."""

from __future__ import annotations

from typing import Any

from viewos.cli.options import HELP, Option, UsageError, describe, parse
from viewos.cli.tables import as_json, command, duration, table

HELP_LINE = "list the views that run"

JSON = Option("json", ("--json",), None, "print JSON")
OPTIONS = (JSON, HELP)

USAGE = f"""\
usage: viewos ps [--json]

Lists the views of this user (for root: of all users), nested ones below those around them: the id
and the name, by which other commands know a view; its processes; the system calls that have reached
its monitor; what it was started with.

{describe(OPTIONS)}

examples:
  viewos ps
  viewos ps --json | jq -r ".[].id"
"""


def main(argv: list[str]) -> int:
    """Print the list. Raises ViewosError."""
    values, words = parse("viewos ps", argv, OPTIONS, anywhere=True)
    if values["help"]:
        print(USAGE, end="")
        return 0
    if words:
        raise UsageError(f"viewos ps: {words[0]}: it takes no words (see `viewos ps --help`)")
    from viewos.control.client import views

    found = [one.about for one in views()]
    if values["json"]:
        print(as_json(found))
        return 0
    print(table(("VIEW", "NAME", "PROCS", "CALLS", "UP", "MODULES", "COMMAND"), _rows(found)))
    return 0


def _rows(found: list[dict[str, Any]]) -> list[tuple[object, ...]]:
    by_id = {one["id"]: one for one in found}
    return [
        (
            "  " * _depth(one, by_id) + one["id"], one["name"] or "-", one["processes"],
            one["calls"], duration(one["uptime"]), " ".join(one["modules"]) or "-",
            command(one["command"]),
        )
        for one in found
    ]  # fmt: skip


def _depth(one: dict[str, Any], by_id: dict[str, dict[str, Any]]) -> int:
    outer = by_id.get(one["outer"])
    return 0 if outer is None else 1 + _depth(outer, by_id)
