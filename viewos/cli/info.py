"""viewos info: all about one view."""

from __future__ import annotations

from viewos.cli.options import HELP, UsageError, describe, parse
from viewos.cli.ps import JSON
from viewos.cli.tables import as_json, command, duration, printable, table

HELP_LINE = "say what a view is made of, and what runs in it"

OPTIONS = (JSON, HELP)

USAGE = f"""\
usage: viewos info [--json] [VIEW]

Says what a view is made of, and what runs in it. VIEW is an id or a name (`viewos ps` lists them);
without one it is the view in which the command is given.

{describe(OPTIONS)}

examples:
  viewos info build
  viewos info --json build
"""


def main(argv: list[str]) -> int:
    """Print it. Raises ViewosError."""
    values, words = parse("viewos info", argv, OPTIONS, anywhere=True)
    if values["help"]:
        print(USAGE, end="")
        return 0
    if len(words) > 1:
        raise UsageError("viewos info: expected one VIEW (see `viewos info --help`)")
    from viewos.control.client import find

    found = find(words[0] if words else None)
    about = found.monitor.ask("info", view=found.number)
    if values["json"]:
        print(as_json(about))
        return 0
    print(f"view      {about['id']}")
    if about.get("name"):
        print(f"name      {printable(about['name'])}")
    if about.get("outer"):
        print(f"in        {about['outer']}")
    if about.get("command"):
        print(f"command   {command(about['command'], 200)}")
    print(f"up        {duration(about.get('uptime', 0))}")
    print(f"monitor   {about['monitor']}{', nestable' if about['nestable'] else ''}")
    print(f"calls     {about.get('calls', 0)}")
    layers = [(one["layer"], one["spec"]) for one in about["layers"]]
    print("\n" + table(("LAYER", "MODULE"), layers) if layers else "\nno modules")
    claims = [
        (one["path"], one["backing"] or "(a module)", "ro" if one["read_only"] else "")
        for one in about["claims"]
    ]
    if claims:
        print("\n" + table(("PATH", "BACKING", ""), claims))
    programs = [(one["pid"], command(one["command"] or [one["name"]])) for one in about["programs"]]
    print("\n" + table(("PID", "PROGRAM"), programs))
    return 0
