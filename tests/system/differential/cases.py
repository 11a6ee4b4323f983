"""All cases, by name."""

from __future__ import annotations

from . import (
    archives,
    building,
    contents,
    copying,
    credentials,
    data,
    debugging,
    files,
    kernel,
    languages,
    listing,
    processes,
    roots,
    shells,
    terminals,
    versions,
)
from .case import Case, Table

TABLES: tuple[Table, ...] = (
    listing.TABLE,
    copying.TABLE,
    files.TABLE,
    contents.TABLE,
    shells.TABLE,
    processes.TABLE,
    terminals.TABLE,
    archives.TABLE,
    versions.TABLE,
    data.TABLE,
    building.TABLE,
    debugging.TABLE,
    languages.TABLE,
    kernel.TABLE,
    roots.TABLE,
    credentials.TABLE,
)


def _all() -> dict[str, Case]:
    found: dict[str, Case] = {}
    for table in TABLES:
        for name, entry in table.items():
            if name in found:
                raise ValueError(f"two cases are named {name!r}")
            found[name] = Case(entry) if isinstance(entry, str) else entry
    return found


CASES = _all()
