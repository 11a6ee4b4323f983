"""pjdfstest: what POSIX says of file system calls, 8,800 small checks."""

from __future__ import annotations

from . import tap
from .places import ROOT
from .sources import need, unpack
from .suite import Run, Statuses, Suite

SLOW = "chown/00.t"
"""It sleeps for 98 seconds."""
SUBSET = "00.t"
"""Of each folder: the main rules."""


class Pjdfstest(Suite):
    """A group is a file of tests."""

    name = "pjdfstest"
    users = (ROOT,)

    def build(self, subset: bool) -> None:
        """Raises NotRun."""
        need("autoconf", "automake", "aclocal", "make", "gcc", "perl", "openssl")
        tree = unpack("pjdfstest")

        def build() -> None:
            tree.make("autoreconf", "-ifs")
            tree.make("./configure")
            tree.make("make", "pjdfstest")

        tree.once("all", build)

    def groups(self, user: int, subset: bool) -> list[str]:
        """FOLDER/FILE.t"""
        tests = unpack("pjdfstest").path / "tests"
        names = sorted(str(path.relative_to(tests)) for path in tests.glob("*/*.t"))
        if subset:
            return [n for n in names if n != SLOW and n.endswith(SUBSET)]
        return sorted(names, key=lambda name: name != SLOW)

    def run(self, run: Run, group: str) -> Statuses:
        """One file, in a directory of its own."""
        file = unpack("pjdfstest").path / "tests" / group
        with run.directory(group) as (work, _):
            outcome = run(["sh", str(file)], cwd=work, log=group, limit=900)
        return tap.parse(outcome)
