"""What a check is, and what it finds."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from viewos.tuples import NamedTuple


class State(Enum):
    """What became of a check.

    OK: it is there. LACKING: it is not, and views work, at the cost that the finding names.
    FAILED: it is not, and no view works. UNTRIED: what the check stands on was not there.
    """

    OK = "ok"
    LACKING = "lacking"
    FAILED = "failed"
    UNTRIED = "untried"


class Missing(Exception):
    """What was tried is not there. `remedy` replaces what the table says."""

    def __init__(self, detail: str, remedy: str = "") -> None:
        super().__init__(detail)
        self.detail, self.remedy = detail, remedy


class Check(NamedTuple):
    """One row of the table."""

    name: str
    what: str
    test: Callable[[], str]
    """Tries it; what there is to say when it is there. Raises Missing, OSError."""
    cost: str
    """What it costs to lack it."""
    remedy: str
    """What to do then."""
    needed: bool = False
    """No view works without it."""
    after: tuple[str, ...] = ()
    """The checks without which this one cannot be tried."""


class Finding(NamedTuple):
    """What one check found."""

    name: str
    what: str
    state: State
    detail: str
    cost: str = ""
    remedy: str = ""
