"""Where the suites come from, and where they are built: outside of the project."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.system.view import REPOSITORY

BUILD_LIMIT = 1800.0
"""Seconds for one command of a build."""


class NotRun(Exception):
    """This suite cannot be run here; the message says why."""


def sources() -> Path:
    """The directory of the archives."""
    return Path(os.environ.get("VIEWOS_SUITES") or REPOSITORY.parent / "shared/suites/src")


def build_directory() -> Path:
    """The directory below which suites are unpacked and built.

    Other users run what root has built, and cannot reach root's home directory.
    """
    if chosen := os.environ.get("VIEWOS_SUITES_BUILD"):
        return Path(chosen)
    if cache := os.environ.get("XDG_CACHE_HOME"):
        return Path(cache) / "viewos-suites"
    if os.getuid() == 0:
        return Path("/var/cache/viewos-suites")
    return Path.home() / ".cache/viewos-suites"


def archive(name: str) -> Path:
    """The archive of the suite `name`. Raises NotRun when there is none."""
    places = [sources(), build_directory() / "sources"]
    found = sorted(path for place in places for path in place.glob(f"{name}-*.tar.xz"))
    if not found:
        raise NotRun(f"no {name}-*.tar.xz in {' or '.join(map(str, places))}")
    return found[-1]


def need(*programs: str) -> None:
    """Raises NotRun when one of `programs`, or of the files among them, is not there."""
    missing = [
        name
        for name in programs
        if not (os.path.exists(name) if name.startswith("/") else shutil.which(name))
    ]
    if missing:
        raise NotRun(f"not installed: {', '.join(missing)}")


@dataclass(frozen=True)
class Tree:
    """The unpacked sources of a suite."""

    path: Path

    def once(self, step: str, build: Callable[[], None]) -> None:
        """Run `build` unless an earlier run has done this `step`."""
        stamp = self.path / f".viewos-{step}"
        if not stamp.exists():
            build()
            stamp.touch()

    def make(
        self, *argv: str, cwd: str = ".", env: Mapping[str, str] | None = None, check: bool = True
    ) -> None:
        """Run a command of the build, with the least priority. Raises NotRun when it fails."""
        run_build(["nice", "-n", "10", *argv], self.path / cwd, env=env, check=check)


def run_build(
    argv: Sequence[str], cwd: Path, *, env: Mapping[str, str] | None = None, check: bool = True
) -> None:
    """Run `argv` in `cwd`. Raises NotRun with its last words when it fails."""
    result = subprocess.run(
        argv,
        cwd=cwd,
        env={**os.environ, "LC_ALL": "C.UTF-8", **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=BUILD_LIMIT,
        check=False,
    )
    if check and result.returncode:
        text = result.stdout.decode(errors="backslashreplace")
        raise NotRun(f"{' '.join(argv)}: status {result.returncode}: {text[-1500:]}")


def output_of(argv: Sequence[str], cwd: Path) -> str:
    """What a command that only asks prints. Raises NotRun when it fails."""
    result = subprocess.run(
        argv, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if result.returncode:
        raise NotRun(f"{' '.join(argv)}: status {result.returncode}: {result.stderr[-1500:]}")
    return result.stdout


def unpack(name: str) -> Tree:
    """The tree of the suite `name`, unpacked on first use. Raises NotRun."""
    source = archive(name)
    need("tar", "xz")
    target = build_directory() / source.name.removesuffix(".tar.xz")
    if not target.exists():
        part = target.with_name(target.name + ".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        part.parent.chmod(0o755)
        run_build(["tar", "--no-same-owner", "-xJf", str(source)], part)
        part.rename(target)
    (inner,) = (path for path in target.iterdir() if path.is_dir())
    return Tree(inner)
