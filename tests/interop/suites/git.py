"""git's own tests: t0 (its basics) and t1 (its object store, configuration, work trees)."""

from __future__ import annotations

from . import tap
from .sources import need, unpack
from .suite import Run, Statuses, Suite

SHORT = tuple("t000 t0021 t0060 t0061 t0070 t1006 t1300 t1301 t1304 t1500 t1501 t1510".split())
"""The subset."""


class Git(Suite):
    """A group is a file of tests."""

    name = "git"
    subset = False

    def build(self, subset: bool) -> None:
        """Raises NotRun."""
        need("make", "gcc", "/usr/include/zlib.h", "curl-config")
        tree = unpack("git")
        words = ["make", "-j2", "NO_RUST=1", "NO_TCLTK=1", "NO_GETTEXT=1"]
        tree.once("all", lambda: tree.make(*words))

    def groups(self, user: int, subset: bool) -> list[str]:
        """tNNNN-NAME.sh"""
        folder = unpack("git").path / "t"
        names = sorted(path.name for path in folder.glob("t[01]*.sh"))
        return [name for name in names if not subset or name.startswith(SHORT)]

    def run(self, run: Run, group: str) -> Statuses:
        """One file; its repositories are made in the work directory."""
        folder = unpack("git").path / "t"
        # The agent of gpg has a socket in it, whose name has room for 108 bytes.
        with run.directory(group.partition("-")[0]) as (work, _):
            env = {"TEST_OUTPUT_DIRECTORY": str(work)}
            argv = ["sh", f"./{group}", f"--root={work}"]
            outcome = run(argv, cwd=folder, log=group, limit=1500, env=env)
        return tap.parse(outcome)
