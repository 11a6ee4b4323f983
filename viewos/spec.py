r"""The grammar of -m: `MODULE[:ITEM[,ITEM]...]`, ITEM = WORD or KEY=VALUE.

MODULE ends at the first colon; a file, `path/to/file.py:Class`, at the second. A backslash takes
the next character as it is, and an IPv6 address in brackets, `[::1]`, needs none.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextvars import ContextVar

from viewos.errors import SpecError, from_here, quoted
from viewos.tuples import NamedTuple

launch_directory: ContextVar[bytes | None] = ContextVar("launch_directory", default=None)
"""Where the program of the view is started, while a nested view is being made: a path of the view
around it. None: the working directory of this process."""
_SPECIAL = "\\:,="
_ADDRESS = re.compile(r"\[[0-9A-Fa-f]*:[0-9A-Fa-f:.]*(%\w+)?\]")


class Item(NamedTuple):
    """One item of a SPEC."""

    key: str | None
    """What stands before the first `=`, None for a word."""
    value: str
    text: str
    """The item as the user wrote it."""


class Items(list[Item]):
    """The items that a module is made of, and the errors that it raises about them."""

    def __init__(self, items: Iterable[Item], module: str, example: str = "") -> None:
        super().__init__(items)
        self.module = module
        self.example = example

    def error(self, item: Item | None, why: str) -> SpecError:
        """An error about one item, or about what is missing: the module, the word, an example."""
        word = "" if item is None else f" {quoted(item.text)}:"
        example = f" (for example: -m {self.example})" if self.example else ""
        return SpecError(f"module {self.module}:{word} {why}{example}")

    def finish(self) -> None:
        """Raise SpecError if there is an item: for modules that take none."""
        if self:
            raise self.error(self[0], "this module takes nothing behind its name")


class ModuleSpec(NamedTuple):
    """What stands behind one -m."""

    module: str
    """A name, or the path of a Python file."""
    class_name: str | None
    """Of a file: the class, None if the user names none."""
    items: tuple[Item, ...]

    @property
    def is_file(self) -> bool:
        """Is the module a file and not a name?"""
        return "/" in self.module or self.module.endswith(".py")


def parse(text: str) -> ModuleSpec:
    """Take a SPEC apart. Raises SpecError: nothing before the colon, a backslash at the end."""
    tokens = list(_tokens(text))
    name, rest = _until(tokens, ":")
    module = _plain(name)
    if not module:
        raise SpecError(f"-m {quoted(text)}: a module's name is missing (see `viewos modules`)")
    spec = ModuleSpec(module, None, ())
    if spec.is_file and rest is not None:
        class_name, rest = _until(rest, ":")
        spec = spec._replace(class_name=_plain(class_name) or None)
    return spec._replace(items=tuple(map(_item, _split(rest, ",") if rest else ())))


def quote(text: str) -> str:
    """`text` as a value in a SPEC: what means something there gets a backslash."""
    return "".join("\\" + char if char in _SPECIAL else char for char in text)


def absolute(path: bytes) -> bytes:
    """A path that a SPEC names, from the directory in which it was written: for modules, instead
    of os.path.abspath, because the monitor of a nested view works in another one."""
    if not path.startswith(b"/"):
        directory = launch_directory.get()
        if directory is None:
            path = os.fsencode(from_here(os.fsdecode(path)))
        else:
            path = os.path.join(directory, path)
    return os.path.normpath(path)


# A token is (character, as the user wrote it); one that was quoted separates nothing.
_Token = tuple[str, str]


def _tokens(text: str) -> Iterable[_Token]:
    at = 0
    while at < len(text):
        if text[at] == "\\":
            if at + 1 == len(text):
                raise SpecError(f"-m {quoted(text)}: the backslash at the end has nothing to quote")
            yield text[at + 1], text[at : at + 2]
            at += 2
        elif address := _ADDRESS.match(text, at):
            yield address[0], address[0]
            at = address.end()
        else:
            yield text[at], text[at]
            at += 1


def _until(tokens: list[_Token], separator: str) -> tuple[list[_Token], list[_Token] | None]:
    """(the tokens before the first separator, those behind it or None)."""
    for index, (_, written) in enumerate(tokens):
        if written == separator:
            return tokens[:index], tokens[index + 1 :]
    return tokens, None


def _split(tokens: list[_Token], separator: str) -> list[list[_Token]]:
    parts: list[list[_Token]] = [[]]
    for token in tokens:
        if token[1] == separator:
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def _plain(tokens: list[_Token]) -> str:
    return "".join(char for char, _ in tokens)


def _item(tokens: list[_Token]) -> Item:
    text = "".join(written for _, written in tokens)
    before, behind = _until(tokens, "=")
    if behind is None:
        return Item(None, _plain(before), text)
    return Item(_plain(before), _plain(behind), text)
