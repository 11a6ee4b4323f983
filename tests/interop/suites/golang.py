"""Go's standard library: static programs that make their system calls themselves."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from .sources import build_directory, need, run_build
from .suite import Run, Statuses, Suite, ending

PACKAGES = ("os", "os/exec", "syscall", "net", "os/user", "path/filepath")
_STATUS = re.compile(r"^\s*--- (PASS|FAIL|SKIP): (\S+)", re.MULTILINE)


def _root() -> Path:
    words = ["go", "env", "GOROOT"]
    return Path(subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip())


class Golang(Suite):
    """A group is a package."""

    name = "go"
    subset = False

    def build(self, subset: bool) -> None:
        """Raises NotRun."""
        need("go")
        target = build_directory() / "go"
        target.mkdir(parents=True, exist_ok=True)
        target.parent.chmod(0o755)
        env = {"CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false"}
        for package in PACKAGES:
            if not self._program(package).exists():
                words = ["nice", "-n", "10", "go", "test", "-c", "-o", str(self._program(package))]
                run_build([*words, package], target, env=env)

    def _program(self, package: str) -> Path:
        return build_directory() / "go" / f"{package.replace('/', '-')}.test"

    def groups(self, user: int, subset: bool) -> list[str]:
        """Packages."""
        return list(PACKAGES)

    def run(self, run: Run, group: str) -> Statuses:
        """One package, in its own source folder: it reads the files there."""
        with run.directory(group) as (work, _):
            env = {"TMPDIR": str(work), "HOME": str(work), "GOCACHE": f"{work}/cache"}
            argv = [str(self._program(group)), "-test.v", "-test.short", "-test.timeout=500s"]
            outcome = run(argv, cwd=_root() / "src" / group, log=group, limit=600, env=env)
        statuses = {test: word.lower() for word, test in _STATUS.findall(outcome.output)}
        return {**statuses, "end": ending(outcome)}
