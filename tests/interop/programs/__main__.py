"""The command line: see the package's docstring."""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.system.differential.case import Case
from tests.system.differential.runner import Outcome, differences, run
from tests.system.view import REPOSITORY, in_process

from .program import USERS, VIEWS, Program
from .table import TABLE

DOCS = REPOSITORY / "docs/compatibility.md"
BEGIN, END = "<!-- programs: begin -->", "<!-- programs: end -->"
SHELL = ("bash", "--norc", "-c")


@dataclasses.dataclass
class Result:
    """What the runs of one program showed."""

    program: str
    version: str
    does: str
    found: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    """"USER VIEW" -> how the run differs from the native one."""
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)

    @property
    def good(self) -> bool:
        """Did all runs show the same?"""
        return bool(self.found) and not any(self.found.values())


def main(argv: Sequence[str]) -> int:
    """Run what `argv` asks for. 1: something differs."""
    new = argparse.ArgumentParser("python -m tests.interop.programs", description=__doc__)
    new.add_argument("program", nargs="*", choices=[*(p.name for p in TABLE), []])
    new.add_argument("--user", choices=list(USERS), action="append", help="default: both")
    new.add_argument("--view", choices=VIEWS, action="append", help="default: both")
    new.add_argument("--json", type=Path, metavar="FILE", help="write everything there")
    new.add_argument("--write-docs", action="store_true", help=f"the table in {DOCS.name}")
    args = new.parse_args(argv)
    results = []
    for program in TABLE:
        if not args.program or program.name in args.program:
            users = [u for u in args.user or USERS if USERS[u] in program.users]
            results.append(_compare(program, users, args.view or VIEWS))
    if args.json:
        text = json.dumps([dataclasses.asdict(result) for result in results], indent=1)
        args.json.write_text(text + "\n")
    if args.write_docs:
        write_docs(results, DOCS)
    return 0 if all(result.good for result in results) else 1


def _compare(program: Program, users: Sequence[str], views: Sequence[str]) -> Result:
    result = Result(program.name, _version(program), program.does)
    case = Case(program.script, shell=SHELL, timeout=program.timeout, leaves=True)
    for user in users:
        natively = _timed(result, f"{user} native", case, USERS[user], None)
        if isinstance(natively, str) or not natively.stdout:
            result.found[f"{user} native"] = [str(natively)]
            continue
        for view in views:
            there = _timed(result, f"{user} {view}", case, USERS[user], view)
            found = [there] if isinstance(there, str) else _said(natively, there)
            result.found[f"{user} {view}"] = found
    print(f"{program.name}, {result.version}: {'the same' if result.good else 'DIFFERS'}")
    print(f"  {', '.join(f'{name} {took:.1f} s' for name, took in result.seconds.items())}")
    for name, lines in result.found.items():
        if lines:
            print(f"  {name}:", *lines, sep="\n    ")
    sys.stdout.flush()
    return result


def _timed(result: Result, name: str, case: Case, user: int, view: str | None) -> Outcome | str:
    start = time.monotonic()
    try:
        return run(case, user, view, inproc=in_process())
    except AssertionError as error:
        return str(error)
    finally:
        result.seconds[name] = round(time.monotonic() - start, 1)


def _said(natively: Outcome, there: Outcome) -> list[str]:
    """Differences of what was printed, the status and the log: files hold times and ids."""
    kept = {"stderr": b"", "tree": {}}
    return differences(dataclasses.replace(natively, **kept), dataclasses.replace(there, **kept))


def _version(program: Program) -> str:
    command = f"PATH=$PATH:$(echo /usr/lib/postgresql/*/bin); {program.version}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    match = re.search(r"\d+(\.\w+)+", done.stdout)
    return match[0] if match else ""


def write_docs(results: Sequence[Result], path: Path) -> None:
    """Put the table of `results` between the marks of the page `path`; rows of programs that were
    not asked for stay as they are. Raises ValueError without the marks."""
    text = path.read_text()
    before, begin, rest = text.partition(BEGIN)
    old, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{path}: no {BEGIN} and {END}")
    rows = {line.split("|")[1].strip(): line for line in old.splitlines() if line.startswith("|")}
    rows = {name: line for name, line in rows.items() if name not in ("program", "---")}
    rows |= {result.program: _row(result) for result in results}
    names = [program.name for program in TABLE]
    lines = [
        "| program | version | what it does | root | nobody |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines += [rows[name] for name in names if name in rows]
    path.write_text("".join([before, begin, "\n", "\n".join(lines), "\n", end, after]))


def _row(result: Result) -> str:
    cells = [result.program, result.version, result.does]
    for user in USERS:
        found = [lines for name, lines in result.found.items() if name.startswith(f"{user} ")]
        cells.append("-" if not found else "differs" if any(found) else "the same")
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
