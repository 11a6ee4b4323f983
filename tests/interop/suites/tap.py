"""The Test Anything Protocol, as far as the suites here speak it."""

from __future__ import annotations

import re

from .execute import Outcome
from .suite import Statuses, ending

_LINE = re.compile(r"^(not )?ok (\d+)(.*)$", re.MULTILINE)


def parse(outcome: Outcome, *, names: bool = False) -> Statuses:
    """Test number -> status, and under "end" how the file ended.

    `names`: keep the description of a test that failed, too.
    """
    found = {}
    for failed, number, rest in _LINE.findall(outcome.output):
        _, mark, note = rest.partition("#")
        word = (note.split() or [""])[0].upper() if mark else ""
        status = "skip" if word == "SKIP" else "fail" if failed else "pass"
        if word == "TODO":
            status = f"{'skip' if failed else 'pass'} todo"
        elif failed and names:
            status = f"fail {rest.strip(' -')}"
        found[number] = status
    return {**found, "end": ending(outcome)}
