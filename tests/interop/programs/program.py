"""A program of daily life, and what it is made to do."""

from __future__ import annotations

from dataclasses import dataclass

ROOT, NOBODY = 0, 65534
USERS = {"root": ROOT, "nobody": NOBODY}
VIEWS = ("identity", "mnt")


@dataclass(frozen=True)
class Program:
    """A script that prints the same lines wherever and whenever it runs."""

    name: str
    packages: str
    """Debian packages that it needs."""
    version: str
    """A command that prints its version."""
    script: str
    does: str
    """A few words for the table."""
    users: tuple[int, ...] = (ROOT, NOBODY)
    timeout: float = 180
    """Seconds for one run, natively or in a view."""
