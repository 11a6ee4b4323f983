"""What commands print of views: tables for people, JSON for programs."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Sequence
from typing import Any


def as_json(value: Any) -> str:
    """One line of JSON."""
    return json.dumps(value)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Columns as wide as they have to be; those that hold numbers alone stand to the right."""
    texts = [[printable(str(cell)) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(head, *texts, strict=True)]
    to_right = [
        bool(texts) and all(isinstance(cell, str) and _is_number(cell) for cell in column)
        for column in zip(*texts, strict=True)
    ] or [False] * len(head)
    lines = []
    for row in [list(head), *texts]:
        cells = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, to_right, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _is_number(text: str) -> bool:
    return text.replace(",", "").replace(".", "").isdigit()


def duration(seconds: float) -> str:
    """`3s`, `2m05s`, `1h00m`, `4d03h`."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02}h"


def command(words: Sequence[str], most: int = 60) -> str:
    """A command as one would type it, cut where it is long."""
    text = printable(shlex.join(words))
    return text if len(text) <= most else text[: most - 3] + "..."


def printable(text: str) -> str:
    """A name as a terminal may get it: whoever gave it may have put control characters there."""
    return "".join(one if one.isprintable() else "?" for one in text)
