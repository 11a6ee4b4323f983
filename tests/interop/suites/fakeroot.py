"""fakeroot's own tests, with nothing in front of their commands: natively, and in a view."""

from __future__ import annotations

import shutil

from .sources import need, unpack
from .suite import Run, Statuses, Suite, ending

DEFS = """\
me=$(basename "$0")
tmp=$me.dir
rm -rf "$tmp"
trap 'rm -rf "$tmp"' EXIT
LDPRELOADVAR=LD_PRELOAD
run_fakeroot() {
    while [ "${1#-}" != "$1" ]; do
        [ "$1" = -- ] && { shift; break; }
        shift
    done
    tmp=$tmp "$@"
}
"""
"""What their configure script makes of defs.in, without a fakeroot."""


class Fakeroot(Suite):
    """A group is a test."""

    name = "fakeroot"

    def build(self, subset: bool) -> None:
        """Raises NotRun."""
        need("uudecode", "setcap", "tar", "gzip", "awk")
        unpack("fakeroot")

    def groups(self, user: int, subset: bool) -> list[str]:
        """t.NAME"""
        return sorted(path.name for path in (unpack("fakeroot").path / "test").glob("t.*"))

    def run(self, run: Run, group: str) -> Statuses:
        """One test, in a copy of their directory."""
        with run.directory(group) as (work, real):
            for file in (unpack("fakeroot").path / "test").iterdir():
                shutil.copy(file, real)
            (real / "defs").write_text(DEFS)
            env = {"srcdir": ".", "posixshell": "/bin/sh", "VERBOSE": "x"}
            outcome = run(["sh", f"./{group}"], cwd=work, log=group, limit=60, env=env)
        return {"": ending(outcome)}
