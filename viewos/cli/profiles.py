"""Profiles: what `viewos run -p` takes from a TOML file, and where in the file it stands."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, NoReturn

from viewos.errors import SpecError, ViewosError, short
from viewos.tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from viewos.module import VirtualModule

KEYS = {
    "modules": "a list of strings, each as it stands behind -m",
    "chdir": "a string",
    "nestable": "true or false",
}
_TYPES = {"modules": list, "chdir": str, "nestable": bool}
_LARGEST = 1 << 20
_STRING = "\0"
_STRINGS = (
    r'"""(?:\\.|[^\\])*?"{3,5}(?!")|\'\'\'.*?\'{3,5}(?!\')'
    r'|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'|#[^\n]*'
)
"""What may hold anything: strings and comments."""


class Placed(NamedTuple):
    """What stands behind one -m, and where it stands."""

    text: str
    place: str
    """`FILE:LINE`."""

    def load(self) -> VirtualModule:
        """Make the module. Raises ViewosError, with the place in front."""
        from viewos.loader import load

        try:
            return load(self.text)
        except ViewosError as error:
            placed = ViewosError(f"{self.place}: {error}")
            placed.status = error.status
            raise placed from error


class Profile(NamedTuple):
    """What a file says."""

    modules: tuple[Placed, ...] = ()
    chdir: str | None = None
    nestable: bool = False


def file_of(name: str) -> str:
    """The file of a profile: a path, or a name in XDG_CONFIG_HOME."""
    if "/" in name or name.endswith(".toml"):
        return name
    home = os.environ.get("XDG_CONFIG_HOME", "")
    if not home.startswith("/"):  # the specification: a relative one is to be ignored
        home = os.path.expanduser("~/.config")
    return os.path.join(home, "viewos", name + ".toml")


def read(name: str) -> Profile:
    """The profile of a name or a path. Raises SpecError: `FILE:LINE: why`."""
    import tomllib

    file = file_of(name)
    text = _text(file)
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _syntax(file, text, str(error)) from error
    except RecursionError as error:
        raise SpecError(f"{file}: brackets in brackets, too deep") from error
    lines = _Lines(file, text)
    for key, value in values.items():
        _check(lines, key, value)
    texts = values.get("modules", [])
    places = lines.strings("modules") if texts else []
    modules = [Placed(*both) for both in zip(texts, places, strict=True)]
    return Profile(tuple(modules), values.get("chdir"), values.get("nestable", False))


def together(names: Sequence[str]) -> Profile:
    """Profiles, the later ones on top of those before. Raises SpecError."""
    profiles = [read(name) for name in names]
    directories = [one.chdir for one in profiles if one.chdir is not None]
    return Profile(
        tuple(module for one in profiles for module in one.modules),
        directories[-1] if directories else None,
        any(one.nestable for one in profiles),
    )


def _text(file: str) -> str:
    try:
        with open(file, "rb") as opened:
            data = opened.read(_LARGEST + 1)
    except OSError as error:
        raise SpecError(f"profile {file}: {error.strerror}") from error
    if len(data) > _LARGEST:
        raise SpecError(f"profile {file}: longer than {_LARGEST} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SpecError(f"{file}:{line}: this is not UTF-8") from error


def _syntax(file: str, text: str, said: str) -> SpecError:
    found = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)$", said)
    why = said[: found.start()] if found else said
    line = found[1] if found else None
    return SpecError(f"{file}:{line or len(text.splitlines()) or 1}: {why}")


def _check(lines: _Lines, key: str, value: Any) -> None:
    if key not in KEYS:
        from difflib import get_close_matches

        close = get_close_matches(key, KEYS, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(KEYS)}"
        lines.fail(key, f"there is no key {short(key)!r}: {hint}")
    texts = value if isinstance(value, list) else [value]
    is_list = key == "modules"
    if type(value) is not _TYPES[key] or (is_list and any(type(one) is not str for one in texts)):
        lines.fail(key, f"{key} is to be {KEYS[key]}")
    if any(isinstance(one, str) and "\0" in one for one in texts):
        lines.fail(key, f"{key}: a null character")


class _Lines:
    """Where keys and strings stand. tomllib does not say, but it has accepted the text."""

    def __init__(self, file: str, text: str) -> None:
        self._file = file
        # Strings and comments become marks, so that nothing in them looks like a key.
        self._text = re.sub(_STRINGS, self._mark, text, flags=re.DOTALL)

    @staticmethod
    def _mark(found: re.Match[str]) -> str:
        word = found[0]
        before = found.string[: found.start()].rpartition("\n")[2].strip(" \t")
        behind = found.string[found.end() :].lstrip(" \t")[:1]
        if word[0] == "#":
            return ""
        if (behind == "=" and not before) or (behind in (".", "]") and before in ("[", "[[")):
            return word[1:-1]
        return _STRING + "\n" * word.count("\n")

    def fail(self, key: str, why: str) -> NoReturn:
        """Raise SpecError about a key."""
        raise SpecError(f"{self._place(self._start(key))}: {why}")

    def strings(self, key: str) -> list[str]:
        """The places of the strings in the array behind a key."""
        start = self._text.find("[", self._start(key))
        end = self._text.find("]", start)
        return [self._place(at) for at in range(start, end) if self._text[at] == _STRING]

    def _start(self, key: str) -> int:
        pattern = rf"^[ \t]*(?:\[{{1,2}}[ \t]*)?({re.escape(key)})[ \t]*[=.\]]"
        found = re.search(pattern, self._text, re.MULTILINE)
        return found.start(1) if found else 0

    def _place(self, at: int) -> str:
        return f"{self._file}:{self._text.count(chr(10), 0, at) + 1}"
