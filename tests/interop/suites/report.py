"""What the runs showed: lines for people, a table for the documentation, JSON for programs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .places import VIEWS
from .runner import Result

BEGIN, END = "<!-- suites: begin -->", "<!-- suites: end -->"
COLUMNS = ("suite", "user", "tests", "passes natively", *VIEWS, "the kernel's", "flaky")
MOST = 40
"""Differences of one view that are printed; the JSON has all."""
LONGEST = 160
"""Characters of a status that are printed."""


def row(result: Result) -> list[str]:
    """One row of the table."""
    if result.not_run is not None:
        return [result.suite, result.user, "not run", *[""] * (len(COLUMNS) - 3)]
    views = [
        f"{len(result.differences[view])}" if view in result.differences else "-" for view in VIEWS
    ]
    counts = [len(result.native), result.passes]
    return [
        result.suite,
        result.user,
        *(f"{count:,}" for count in counts),
        *views,
        str(len(result.listed)),
        str(len(result.flaky)),
    ]


def table(results: Sequence[Result]) -> str:
    """All rows, in Markdown. The columns of the views count differences."""
    rows = [list(COLUMNS), *map(row, results)]
    widths = [max(len(cells[i]) for cells in rows) for i in range(len(COLUMNS))]
    lines = [
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        + " |"
        for cells in rows
    ]
    lines.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    return "\n".join(lines)


def details(result: Result) -> str:
    """The tests of one result that differ, with both statuses, and the flaky ones."""
    lines = [f"{result.suite} as {result.user}:"]
    if result.not_run is not None:
        return f"{lines[0]} not run: {result.not_run}"
    if result.ended is not None:
        lines.append(f"  ENDED in {result.ended}: all that follows has not been run")
    for view, tests in result.differences.items():
        for test, (native, there) in list(tests.items())[:MOST]:
            lines += [f"  DIFFERS in {view}: {test}", *_pair(native, there)]
        if len(tests) > MOST:
            lines.append(f"  ... and {len(tests) - MOST} more in {view}")
    lines += [f"  VANISHED, but on the kernel's list: {test}" for test in result.vanished]
    lines += [f"  as under mount --bind: {test}" for test in result.bound]
    lines += [f"  the kernel's: {test}: {reason}" for test, reason in result.listed.items()]
    for test, (first, second) in result.flaky.items():
        lines += [f"  flaky, natively: {test}", *_pair(first, second)]
    lines.append(f"  {len(result.native):,} tests, {result.passes:,} pass; {result.seconds}")
    return "\n".join(lines)


def _pair(first: str, second: str) -> list[str]:
    """The two statuses; of long ones the first line that is not the same."""
    for a, b in zip(first.splitlines(), second.splitlines(), strict=False):
        if a != b:
            first, second = a, b
            break
    else:
        count = min(len(first.splitlines()), len(second.splitlines()))
        rest = [(text.splitlines()[count:] or ["(end)"])[0] for text in (first, second)]
        first, second = rest
    return [f"    - {first[:LONGEST]}", f"    + {second[:LONGEST]}"]


def as_json(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Everything that is in the results."""
    return [
        {**dataclasses.asdict(result), "passes": result.passes, "good": result.good}
        for result in results
    ]


def read_json(path: Path) -> list[Result]:
    """What `write_json` has written there."""
    names = {field.name for field in dataclasses.fields(Result)}
    return [
        Result(**{name: value for name, value in entry.items() if name in names})
        for entry in json.loads(path.read_text())
    ]


def write_json(results: Sequence[Result], path: Path) -> None:
    """Write `results` to `path`."""
    path.write_text(json.dumps(as_json(results), indent=1) + "\n")


def combined(results: Iterable[Result]) -> list[Result]:
    """One for each suite and user: of a group of tests what the last one says that has run it."""
    found: dict[tuple[str, str], Result] = {}
    for result in results:
        key = result.suite, result.user
        found[key] = _with(found[key], result) if key in found else result
    return list(found.values())


def _with(first: Result, second: Result) -> Result:
    again = {test.partition(":")[0] for test in second.native}

    def old(test: str) -> bool:
        return test.partition(":")[0] not in again

    def both(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Any]:
        return {**{test: a[test] for test in a if old(test)}, **b}

    def each(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Any]:
        return {view: both(a.get(view, {}), b.get(view, {})) for view in {**a, **b}}

    return dataclasses.replace(
        second,
        native=both(first.native, second.native),
        flaky=both(first.flaky, second.flaky),
        views=each(first.views, second.views),
        differences=each(first.differences, second.differences),
        listed=both(first.listed, second.listed),
        bound=[*filter(old, first.bound), *second.bound],
        vanished=[*filter(old, first.vanished), *second.vanished],
    )


def write_docs(results: Sequence[Result], path: Path) -> None:
    """Put the table of `results` between the marks of the page `path`.

    Rows of suites that were not asked for stay as they are. Raises ValueError without the marks.
    """
    text = path.read_text()
    before, begin, rest = text.partition(BEGIN)
    old, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{path}: no {BEGIN} and {END}")
    new = {tuple(row(result)[:2]): row(result) for result in results}
    kept = {tuple(cells[:2]): cells for cells in _rows(old)}
    rows = list({**kept, **new}.values())
    lines = ["| " + " | ".join(COLUMNS) + " |", "| --- " * len(COLUMNS) + "|"]
    lines += ["| " + " | ".join(cells) + " |" for cells in rows]
    path.write_text("".join([before, begin, "\n", "\n".join(lines), "\n", end, after]))


def _rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
