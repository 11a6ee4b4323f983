"""The differences that are the kernel's own, by test, each with its reason: kernel.txt."""

from __future__ import annotations

from functools import cache
from pathlib import Path

LIST = Path(__file__).with_name("kernel.txt")


def listed(suite: str, user: str) -> dict[str, str]:
    """Test -> the reason why it may differ, for that suite and user."""
    return {
        test: reason
        for (where, who, test), reason in entries().items()
        if where == suite and who in (user, "*")
    }


@cache
def entries() -> dict[tuple[str, str, str], str]:
    """(suite, user or "*", test) -> reason. Raises ValueError for a line without a reason."""
    found = {}
    for line in LIST.read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            entry, mark, reason = line.partition(" # ")
            suite, user, test = entry.split(None, 2)
            if not mark or not reason.strip():
                raise ValueError(f"{LIST}: no reason: {line}")
            found[suite, user, test.strip()] = reason.strip()
    return found
