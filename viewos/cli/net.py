"""viewos net: what belongs to the module of that name, outside of a view."""

from __future__ import annotations

import os
import sys

from viewos.cli.options import HELP, UsageError, describe, parse

HELP_LINE = "reach a server in a view from outside; read proxychains' configuration"

OPTIONS = (HELP,)

USAGE = f"""\
usage: viewos net publish VIEW PORT:PORT
       viewos net import FILE

  publish   lead connections to the second PORT of 127.0.0.1 to the first one in a view that has
            net:ports=private or net:none, until it is ended. VIEW is its name, or the process id of
            the `viewos run` that started it.
  import    print the items of net that do what a proxychains.conf says; what they do not is said
            on stderr. FILE - is stdin.

{describe(OPTIONS)}

examples:
  viewos net publish 4711 8080:18080
  viewos run -m "$(viewos net import /etc/proxychains4.conf)" -- curl http://example.org
"""


def main(argv: list[str]) -> int:
    """Run a command of the module. Raises ViewosError."""
    values, words = parse("viewos net", argv, OPTIONS)
    if values["help"]:
        print(USAGE, end="")
        return 0
    if words[:1] == ["publish"]:
        return _publish(words[1:])
    if words[:1] == ["import"]:
        return _import(words[1:])
    raise UsageError("viewos net: expected publish or import (see `viewos net --help`)")


def _publish(words: list[str]) -> int:
    from viewos.modules.net.publish import publish

    ports = words[1].split(":") if len(words) == 2 else []
    if not (len(ports) == 2 and all(word.isdigit() for word in ports)):
        raise UsageError(
            "viewos net publish: expected VIEW PORT:PORT, a view and two ports (for example:"
            " viewos net publish build 8080:18080)"
        )
    inside, outside = map(int, ports)
    publish(_process_of(words[0]), inside, outside)
    return 0


def _process_of(view: str) -> int:
    """The process id by which the module knows a view."""
    if view.isdigit():
        return int(view)
    from viewos.control.client import find

    return int(find(view).about["id"].partition(".")[0])


def _import(words: list[str]) -> int:
    from viewos.errors import ViewosError
    from viewos.modules.net.proxychains import read_proxychains

    if len(words) != 1:
        raise UsageError("viewos net import: expected one FILE")
    if words[0] == "-":
        text = sys.stdin.read()
    else:
        with open(words[0], encoding="utf-8", errors="replace") as file:
            text = file.read()
    try:
        imported = read_proxychains(text)
    except ViewosError as error:
        raise ViewosError(f"{words[0]}: {error}") from error
    for note in imported.notes:
        os.write(2, f"viewos: {words[0]}: {note}\n".encode())
    print(imported.spec)
    return 0
