"""viewos module: what modules a running view has, and other ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from viewos.cli.options import HELP, Option, UsageError, describe, parse
from viewos.cli.ps import JSON
from viewos.cli.tables import as_json, table
from viewos.errors import shown

if TYPE_CHECKING:
    from viewos.control.client import Found

HELP_LINE = "list, add, remove and move modules of a view that runs"

OPTIONS = (
    Option("view", ("-V", "--view"), "VIEW", "of this view (default: the one we are in)"),
    Option("lazy", ("--lazy",), None, "rm: also where programs use what the module shows"),
    JSON,
    HELP,
)

USAGE = f"""\
usage: viewos module [-V VIEW] ls [--json]
       viewos module [-V VIEW] add MODULE[:ITEM,...]...
       viewos module [-V VIEW] rm [--lazy] LAYER
       viewos module [-V VIEW] move LAYER up|down|top|bottom

Changes what a view is made of while its programs run: it acts from their next system call on.

  ls    list the layers, from the top down
  add   put modules on top; paths are those of the view
  rm    take one out. LAYER is a number, or the name of a module that the view has once. While a
        program has a file open, or its working directory, in what the module shows, that is
        refused, and said.
  move  change the order

{describe(OPTIONS)}

examples:
  viewos module -V build add vfs:/etc/hosts=hosts.test
  viewos module -V build rm vfs
"""

_PLACES = ("up", "down", "top", "bottom")


def main(argv: list[str]) -> int:
    """Run a command about modules. Raises ViewosError."""
    values, words = parse("viewos module", argv, OPTIONS, anywhere=True)
    if values["help"]:
        print(USAGE, end="")
        return 0
    commands = {"ls": _list, "add": _add, "rm": _remove, "move": _move}
    if not words or words[0] not in commands:
        raise UsageError("viewos module: expected ls, add, rm or move (see `viewos module --help`)")
    from viewos.control.client import find

    commands[words[0]](find(values["view"]), words[1:], values)
    return 0


def _list(found: Found, words: list[str], values: dict[str, Any]) -> None:
    if words:
        raise UsageError("viewos module ls takes no words")
    listed = found.monitor.ask("modules", view=found.number)
    if values["json"]:
        print(as_json(listed))
        return
    rows = [
        (one["layer"], one["spec"], "" if one["own"] else "of the outer view") for one in listed
    ]
    print(table(("LAYER", "MODULE", ""), rows))


def _add(found: Found, words: list[str], values: dict[str, Any]) -> None:
    if not words:
        raise UsageError("viewos module add: which MODULE?")
    from viewos.control.nested import named_directory

    found.monitor.ask("add", view=found.number, modules=words, directory=named_directory())


def _remove(found: Found, words: list[str], values: dict[str, Any]) -> None:
    if len(words) != 1:
        raise UsageError("viewos module rm: expected one LAYER")
    found.monitor.ask(
        "remove", view=found.number, layer=layer_of(found, words[0]), lazy=bool(values["lazy"])
    )


def _move(found: Found, words: list[str], values: dict[str, Any]) -> None:
    if len(words) != 2 or words[1] not in _PLACES:
        raise UsageError(f"viewos module move: expected LAYER and one of {', '.join(_PLACES)}")
    layer = layer_of(found, words[0])
    own = [one["layer"] for one in found.monitor.ask("modules", view=found.number) if one["own"]]
    own.reverse()
    at = own.index(layer) if layer in own else 0
    top = max(0, len(own) - 1)
    place = {"up": min(at + 1, top), "down": max(at - 1, 0), "top": top, "bottom": 0}[words[1]]
    found.monitor.ask("move", view=found.number, layer=layer, place=place)


def layer_of(found: Found, word: str) -> int:
    """The number of a layer that is named by it, or by its module. Raises UsageError."""
    if word.isdigit():
        return int(word)
    listed = found.monitor.ask("modules", view=found.number)
    layers = [one["layer"] for one in listed if word in (one["module"], one["spec"])]
    if len(layers) == 1:
        return int(layers[0])
    if layers:
        numbers = ", ".join(map(str, layers))
        raise UsageError(
            f"there are several layers {shown(word)}: say which by its number ({numbers})"
        )
    raise UsageError(f"there is no layer {shown(word)} (`viewos module ls` lists them)")
