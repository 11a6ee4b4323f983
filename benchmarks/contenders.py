"""Who takes part: how each lets a command see a directory at WHERE, or run at all."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

WHERE = "/mnt"
"""Where the directory of a work is seen by who can map it."""
_NOTHING: Mapping[str, str] = {}
VIEWOS = [sys.executable, "-m", "viewos", "run"]


class Contender(NamedTuple):
    """One way to run a command."""

    name: str
    prefix: Callable[[str], list[str]]
    """The words in front of the command, from the work's directory."""
    maps: bool
    """Is the directory seen at WHERE? Else the command runs at the directory's own path."""
    program: str = ""
    """What has to be installed."""
    env: Mapping[str, str] = _NOTHING
    given: str = ""
    """The environment variable that names a program which no package has."""
    only: str = ""
    """Works whose name has it; the others would show nothing new."""

    def missing(self) -> str:
        """Why it cannot take part here; empty: it can."""
        if self.given and self.given not in os.environ:
            return f"not built: name it in {self.given}"
        if self.program and shutil.which(self.program) is None:
            return f"{self.program} is not installed"
        return ""

    def seen(self, directory: str) -> str:
        """The directory as the command sees it."""
        return WHERE if self.maps else directory


def floor() -> str:
    """The bare C loop, compiled when it is first asked for."""
    source = Path(__file__).with_name("floor.c")
    program = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "viewos-floor"
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        program.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cc", "-O2", "-o", str(program), str(source)], check=True, timeout=60)
    return str(program)


def _vuos(directory: str) -> list[str]:
    umvu = os.environ["VIEWOS_BENCH_VUOS"]
    script = f'PATH="$PATH:{os.path.dirname(umvu)}"; vu_insmod vufs &&' + (
        f' vumount -t vufs "$0" {WHERE} && exec "$@"'
    )
    return [umvu, "--", "sh", "-c", script, directory]


_SANDLOCK = f"""
import sys
from sandlock import Sandbox
box = Sandbox(
    chroot="/", fs_mount={{"{WHERE}": sys.argv[1]}}, fs_readable=["/"], fs_writable=["/"]
)
sys.exit(box.run_interactive(sys.argv[2:]))
"""


def _claims(count: int) -> Contender:
    """A view with so many more claims, which nothing uses."""
    more = "".join(f",/claim/{number}=/usr" for number in range(count - 1))
    return Contender(
        f"viewos, {count} claims",
        lambda d: [*VIEWOS, "-m", f"vfs:{WHERE}={d}{more}", "--"],
        maps=True, only=" call",
    )  # fmt: skip


CONTENDERS = [
    Contender("native", lambda d: [], maps=False),
    Contender("viewos vfs:/mnt", lambda d: [*VIEWOS, "-m", f"vfs:{WHERE}={d}", "--"], maps=True),
    Contender("viewos vfs:/", lambda d: [*VIEWOS, "-m", "vfs:/=/", "--"], maps=False),
    Contender(
        "viewos vfs:/mnt, trapped",
        lambda d: [*VIEWOS, "--no-inproc", "-m", f"vfs:{WHERE}={d}", "--"],
        maps=True,
    ),
    Contender(
        "viewos vfs:/, trapped",
        lambda d: [*VIEWOS, "--no-inproc", "-m", "vfs:/=/", "--"],
        maps=False,
    ),
    Contender("viewos hostname", lambda d: [*VIEWOS, "-m", "hostname:bench", "--"], maps=False),
    Contender(
        "viewos vfs:/mnt, in Python", lambda d: [*VIEWOS, "-m", f"vfs:{WHERE}={d}", "--"],
        maps=True, env={"VIEWOS_PURE": "1"},
    ),
    *map(_claims, (10, 100, 1000)),
    Contender("bare C loop", lambda d: [floor()], maps=False),
    Contender(
        "bubblewrap",
        lambda d: ["bwrap", "--dev-bind", "/", "/", "--bind", d, WHERE, "--"],
        maps=True, program="bwrap",
    ),
    Contender("PRoot", lambda d: ["proot", "-b", f"{d}:{WHERE}"], maps=True, program="proot"),
    Contender(
        "PRoot (repository)",
        lambda d: [os.environ["VIEWOS_BENCH_PROOT"], "-b", f"{d}:{WHERE}"],
        maps=True, given="VIEWOS_BENCH_PROOT",
    ),
    Contender("VUOS", _vuos, maps=True, given="VIEWOS_BENCH_VUOS"),
    Contender(
        "sandlock",
        lambda d: [os.environ["VIEWOS_BENCH_SANDLOCK"], "-c", _SANDLOCK, d],
        maps=True, given="VIEWOS_BENCH_SANDLOCK",
    ),
    Contender("fakeroot", lambda d: ["fakeroot", "--"], maps=False, program="fakeroot"),
    Contender(
        "strace",
        lambda d: ["strace", "-f", "--seccomp-bpf", "-e", "trace=%file", "-o", "/dev/null"],
        maps=False, program="strace",
    ),
]  # fmt: skip
