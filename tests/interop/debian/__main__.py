"""The command line: see the package's docstring."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.interop.debian import packages, system
from tests.system.users import REPOSITORY
from tests.system.view import scratch_directory

DOCS = REPOSITORY / "docs/foreign-roots.md"
Row = tuple[str, ...]


def main(argv: Sequence[str]) -> int:
    """Run what `argv` asks for. 1: something differs."""
    new = argparse.ArgumentParser("python -m tests.interop.debian", description=__doc__)
    new.add_argument("--write-docs", action="store_true", help=f"the table in {DOCS.name}")
    new.add_argument("what", choices=["packages", "system"])
    new.add_argument("name", nargs="*", help=f"default: {' '.join(packages.DEFAULT)}")
    args = new.parse_args(argv)
    head: Row = packages.HEAD if args.what == "packages" else system.HEAD
    with scratch_directory("viewos-debian-") as directory:
        if args.what == "packages":
            rows = packages.compare(directory, args.name or packages.DEFAULT)
        else:
            rows = system.compare(directory)
    for row in rows:
        print(" | ".join(row))
    if args.write_docs:
        write_docs(DOCS, args.what, [head, tuple("---" for _ in head), *rows])
    return 0 if all(row[-1].startswith("the same") for row in rows) else 1


def write_docs(docs: Path, title: str, rows: Sequence[Row]) -> None:
    """Put a table between its marks. Raises ValueError without them."""
    text = docs.read_text()
    begin, end = f"<!-- {title}: begin -->", f"<!-- {title}: end -->"
    before, found, rest = text.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found or not found_end:
        raise ValueError(f"{docs}: no {begin} and {end}")
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    docs.write_text(f"{before}{begin}\n{table}\n{end}{after}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
