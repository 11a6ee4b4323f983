"""The command line: see the package's docstring."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import prctl

from tests.system.view import INPROC, REPOSITORY

from . import report
from .execute import ended
from .places import USERS, VIEWS
from .runner import Options, Result, Session
from .sources import NotRun
from .suite import Suite
from .table import SUITES

DOCS = REPOSITORY / "docs/compatibility.md"


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    names = [suite.name for suite in SUITES]
    new = argparse.ArgumentParser("python -m tests.interop.suites", description=__doc__)
    new.add_argument("suite", nargs="*", choices=[*names, []], help="default: all")
    new.add_argument("--subset", action="store_true", help="the few minutes that CI runs")
    new.add_argument("--json", type=Path, metavar="FILE", help="write everything there")
    new.add_argument("--user", choices=list(USERS), help="default: all that a suite allows")
    new.add_argument("--view", choices=VIEWS, action="append", help="default: both")
    new.add_argument("--only", action="append", default=[], metavar="GROUP", help="these groups")
    new.add_argument("--work", type=Path, metavar="DIR", help="work below it: another file system")
    new.add_argument("--logs", type=Path, metavar="DIR", help="keep the output of all tests there")
    new.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N")
    new.add_argument(
        "--again", type=int, default=3, metavar="N", help="native runs of what differs"
    )
    new.add_argument(
        "--no-inproc", action="store_true", help="have all path calls of programs trapped"
    )
    new.add_argument("--build", action="store_true", help="build, run nothing")
    new.add_argument("--write-docs", action="store_true", help=f"the table in {DOCS.name}")
    new.add_argument(
        "--docs-from",
        type=Path,
        nargs="+",
        metavar="JSON",
        help="the table from earlier runs, and parts of them",
    )
    return new


def main(argv: Sequence[str]) -> int:
    """Run what `argv` asks for. 1: something differs. 3: a suite could not be run. 130: a signal
    has ended it; what was found until then is reported all the same."""
    args = parser().parse_args(argv)
    if args.docs_from:
        results = [r for path in args.docs_from for r in report.read_json(path)]
        report.write_docs(report.combined(results), DOCS)
        return 0
    if args.no_inproc:
        os.environ[INPROC] = "0"
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    prctl.set_child_subreaper(True)  # what a test orphans can be reaped, and is
    chosen = [
        s for s in SUITES if s.name in (args.suite or [s.name]) and (s.subset or not args.subset)
    ]
    work = Path(tempfile.mkdtemp(prefix="suites-", dir=args.work))
    work.chmod(0o755)
    logs = args.logs or work / "logs"
    options = Options(work, logs, args.jobs, args.subset, tuple(args.only), args.again)
    results = []
    try:
        for suite in chosen:
            for name in [args.user] if args.user else list(USERS):
                if ended.is_set():
                    break
                if USERS[name] in suite.users and os.getuid() in (0, USERS[name]):
                    results.append(_run(suite, name, args.view or VIEWS, options, args.build))
                    print(report.details(results[-1]), flush=True)
    finally:
        shutil.rmtree(work, ignore_errors=True)
        if args.json:
            report.write_json(results, args.json)
    print(report.table(results))
    if args.write_docs:
        report.write_docs(results, DOCS)
    if ended.is_set():
        return 130
    if any(result.not_run is None and not result.good for result in results):
        return 1
    return 0 if all(result.good for result in results) else 3


def _run(
    suite: Suite, user: str, views: Sequence[str], options: Options, build_only: bool
) -> Result:
    try:
        suite.build(options.subset)
        if build_only:
            return Result(suite.name, user)
        allowed = [view for view in views if view in suite.views]
        return Session(suite, user, options).run(allowed)
    except NotRun as reason:
        return Result(suite.name, user, not_run=str(reason))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
