"""The kernel's own test of seccomp, as a program in a view sees it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from . import aptsource
from .sources import Tree, build_directory, need, run_build
from .suite import Run, Statuses, Suite, ending

PACKAGE = "linux-source-6.1"
WANTED = ("seccomp", "clone3", "kselftest*.h")
_LINE = re.compile(r"^(not )?ok \d+ (\S+?)(?: # (SKIP).*)?$", re.MULTILINE)


def _tree() -> Tree:
    return Tree(build_directory() / f"debian-{PACKAGE}" / "tools/testing/selftests/seccomp")


class Seccomp(Suite):
    """One program; a group is the whole."""

    name = "seccomp_bpf"
    subset = False

    def build(self, subset: bool) -> None:
        """Unpacks no more of the kernel than is wanted. Raises NotRun."""
        need("gcc", "apt-get", "dpkg-deb", "/usr/include/sys/capability.h")
        tree = _tree()
        if not tree.path.exists():
            self._fetch(build_directory() / f"debian-{PACKAGE}")

        def build() -> None:
            words = ["-O1", "-pthread", "-o", "seccomp_bpf", "seccomp_bpf.c", "-lcap"]
            tree.make("gcc", *words)

        tree.once("all", build)

    @staticmethod
    def _fetch(target: Path) -> None:
        part = target.with_name(target.name + ".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        part.parent.chmod(0o755)
        aptsource.download(PACKAGE, part)
        members = " ".join(f"'*/tools/testing/selftests/{name}*'" for name in WANTED)
        run_build(
            ["sh", "-c", "dpkg-deb --fsys-tarfile *.deb | tar -xO --wildcards '*.tar.xz'"
             f" | tar -xJ --strip-components=1 --wildcards {members}; rm *.deb"], part,
        )  # fmt: skip
        part.rename(target)

    def groups(self, user: int, subset: bool) -> list[str]:
        """One."""
        return ["all"]

    def run(self, run: Run, group: str) -> Statuses:
        """All tests."""
        with run.directory(group) as (work, _):
            program = str(_tree().path / "seccomp_bpf")
            outcome = run([program], cwd=work, log=group, limit=900)
        found: Statuses = {}
        for failed, test, skipped in _LINE.findall(outcome.output):
            found[test] = "skip" if skipped else "fail" if failed else "pass"
        # How it ends follows from the tests.
        end = ending(outcome)
        return {**found, "end": end if outcome.status is None or outcome.status < 0 else "pass"}
