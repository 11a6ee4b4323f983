"""viewos net: what belongs to the module of that name, outside of a view."""

from __future__ import annotations

from viewos.cli.options import HELP, UsageError, describe, parse

HELP_LINE = "reach a server in a view from outside"

OPTIONS = (HELP,)

USAGE = f"""\
usage: viewos net publish VIEW PORT:PORT

  publish   lead connections to the second PORT of 127.0.0.1 to the first one in a view that has
            net:ports=private or net:none, until it is ended. VIEW is the process id of the
            `viewos run` that started it.

{describe(OPTIONS)}

examples:
  viewos net publish 4711 8080:18080
"""


def main(argv: list[str]) -> int:
    """Run a command of the module. Raises ViewosError."""
    values, words = parse("viewos net", argv, OPTIONS)
    if values["help"]:
        print(USAGE, end="")
        return 0
    if words[:1] == ["publish"]:
        return _publish(words[1:])
    raise UsageError("viewos net: expected publish (see `viewos net --help`)")


def _publish(words: list[str]) -> int:
    from viewos.modules.net.publish import publish

    ports = words[1].split(":") if len(words) == 2 else []
    if not (len(ports) == 2 and all(word.isdigit() for word in (*ports, words[0]))):
        raise UsageError(
            "viewos net publish: expected VIEW PORT:PORT, a process id and two ports (for example:"
            " viewos net publish 4711 8080:18080)"
        )
    inside, outside = map(int, ports)
    publish(int(words[0]), inside, outside)
    return 0
