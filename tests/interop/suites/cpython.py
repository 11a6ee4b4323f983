"""Modules of CPython's test suite, as Debian packs it."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

from .sources import need
from .suite import Run, Statuses, Suite, ending

PYTHON = "/usr/bin/python3.11"
TESTS = "/usr/lib/python3.11/test/test_os.py"
MODULES = """test_os test_posix test_shutil test_subprocess test_pathlib test_tempfile test_glob
test_socket""".split()
LIMIT = 3000
"""Seconds for one module: their --timeout is for a whole module, too."""


class CPython(Suite):
    """A group is a module."""

    name = "cpython"
    subset = False

    def build(self, subset: bool) -> None:
        """Debian builds it. Raises NotRun."""
        need(PYTHON, TESTS)

    def groups(self, user: int, subset: bool) -> list[str]:
        """Modules."""
        return MODULES

    def run(self, run: Run, group: str) -> Statuses:
        """One module."""
        with run.directory(group) as (work, real):
            options = ["-v", "--timeout", str(LIMIT), "-i", "*VSOCK*", "--tempdir", str(work)]
            report = ["--junit-xml", str(work / "report.xml")]
            argv = [PYTHON, "-m", "test", *options, *report, group]
            outcome = run(argv, cwd=work, log=group, limit=LIMIT + 60)
            return {**_statuses(real / "report.xml"), "end": ending(outcome)}


def _statuses(report: Path) -> Statuses:
    if not report.exists():
        return {}
    found: dict[str, str] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        kinds = {child.tag for child in case}
        if kinds & {"failure", "error"}:
            status = "fail"
        else:
            status = "skip" if "skipped" in kinds else "pass"
        name = case.get("name", "").removeprefix("test.")
        found[name] = max(status, found.get(name, ""), key=("", "pass", "skip", "fail").index)
    return found
