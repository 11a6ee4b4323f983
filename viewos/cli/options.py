"""Options of a command as a table. (argparse costs 8 ms of every start.)"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from io import TextIOBase
from typing import Any

from viewos.errors import ViewosError, shown
from viewos.tuples import NamedTuple


class UsageError(ViewosError):
    """Words on the command line that are not right."""

    status = 2


class Closed(TextIOBase):
    """A standard output that was closed when this process began: who has something to say fails."""

    def write(self, text: str) -> int:
        """Raises ViewosError."""
        raise ViewosError("standard output is closed")


def say_usage(text: str) -> None:
    """What --help prints, in a command that becomes another program. Raises ViewosError."""
    print(text, end="", file=Closed() if sys.stdout is None else sys.stdout)


class Option(NamedTuple):
    """One option of a command."""

    field: str
    """Where its value goes."""
    names: tuple[str, ...]
    argument: str | None
    """What --help calls its argument; None: it takes none."""
    text: str
    repeats: bool = False
    """Each use adds to a list; without an argument, to a count."""
    choices: tuple[str, ...] = ()


HELP = Option("help", ("-h", "--help"), None, "say what is said here, and end")


def parse(
    command: str, argv: Sequence[str], options: Sequence[Option], *, anywhere: bool = False
) -> tuple[dict[str, Any], list[str]]:
    """(field -> value, the words that are no options).

    Options end at the first such word (not with `anywhere`), or at --. Raises UsageError.
    """
    by_name = {name: option for option in options for name in option.names}
    values: dict[str, Any] = {}
    for option in options:
        empty: Any = ([] if option.argument else 0) if option.repeats else None
        values[option.field] = empty if option.argument or option.repeats else False
    words = list(argv)
    others: list[str] = []
    while words:
        word = words.pop(0)
        if word == "-" or not word.startswith("-"):
            others.append(word)
            if not anywhere:
                break
            continue
        if word == "--":
            break
        name, given, rest = _split(word)
        found = by_name.get(name)
        if found is None:
            raise UsageError(f"{command}: unknown option {shown(name)} (see `{command} --help`)")
        if found.argument is None:
            if given is not None:
                raise UsageError(f"{command}: {name} takes no argument")
            if rest:
                words.insert(0, "-" + rest)  # -vq
            values[found.field] = values[found.field] + 1 if found.repeats else True
            continue
        value = rest or given
        if value is None:
            if not words:
                raise UsageError(f"{command}: {name} needs {found.argument} behind it")
            value = words.pop(0)
        _keep(command, values, found, name, value)
    return values, others + words


def _split(word: str) -> tuple[str, str | None, str]:
    """(name, the argument behind `=`, the rest of a word of short options)."""
    if word.startswith("--"):
        name, equals, value = word.partition("=")
        return name, value if equals else None, ""
    return word[:2], None, word[2:]


def _keep(command: str, values: dict[str, Any], option: Option, name: str, value: str) -> None:
    if option.choices and value not in option.choices:
        choices = ", ".join(option.choices)
        raise UsageError(f"{command}: {name} {shown(value)}: expected one of {choices}")
    if option.repeats:
        values[option.field].append(value)
    else:
        values[option.field] = value


def describe(options: Sequence[Option]) -> str:
    """The part of --help that says what there is."""
    lines = []
    for option in options:
        left = ", ".join(option.names) + (f" {option.argument}" if option.argument else "")
        text = option.text.split("\n")
        lines.append(f"  {left:<24}{text[0]}" if len(left) < 23 else f"  {left}\n{'':26}{text[0]}")
        lines += [f"{'':26}{line}" for line in text[1:]]
    return "\n".join(lines)
