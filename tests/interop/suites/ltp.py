"""The Linux Test Project: its syscall tests of files, processes and sockets; fsstress and fsx."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from .sources import NotRun, Tree, need, sources, unpack
from .suite import Run, Statuses, Suite, ending

SYSCALLS = "testcases/kernel/syscalls"
FOLDERS = """access bind chdir chmod creat execve faccessat fchdir getcwd link mkdir mknod open
openat2 readlink rename rmdir stat symlink truncate unlink utimensat""".split()
"""What the subset builds and runs."""
TEST_LIMIT = 900.0
"""Seconds; linkat02 makes 65,000 links."""


def base() -> Tree:
    """LTP, configured, with its library built."""
    need("autoconf", "automake", "aclocal", "make", "gcc", "pkg-config")
    tree = unpack("ltp")

    def build() -> None:
        tree.make("make", "autotools")
        tree.make("./configure")
        tree.make("make", "-j2", "-C", "lib", "libltp.a", "ltp-version.h")

    tree.once("lib", build)
    return tree


def _pattern(name: str) -> re.Pattern[str]:
    path = sources().parent / name
    if not path.exists():
        raise NotRun(f"no {path}")
    return re.compile(path.read_text().strip())


@cache
def _entries() -> Mapping[str, tuple[str, Path]]:
    """Name of a selected test -> its command, and the program that it starts."""
    tree = unpack("ltp").path
    programs: dict[str, Path] = {}
    for folder, _, names in os.walk(tree / SYSCALLS):
        for name in names:
            path = Path(folder, name)
            if os.access(path, os.X_OK):
                programs.setdefault(name, path)
    select, skip = _pattern("ltp.select"), _pattern("ltp.skip")
    found = {}
    for line in (tree / "runtest/syscalls").read_text().splitlines():
        name, *words = line.split(None, 1) or ["#"]
        if not name.startswith("#") and select.match(name) and not skip.match(name):
            (command,) = words
            if program := programs.get(command.split()[0]):
                found[name] = (command.strip(), program)
    return found


class Syscalls(Suite):
    """The tests of system calls, those that need no block device: one process a test."""

    name = "ltp-syscalls"

    def build(self, subset: bool) -> None:
        """Raises NotRun."""
        for name in ("ltp.select", "ltp.skip"):
            _pattern(name)
        tree = base()
        tree.once("libs", lambda: tree.make("make", "-j2", "-C", "libs"))
        if subset and not (tree.path / ".viewos-syscalls").exists():
            for folder in FOLDERS:
                tree.once(
                    f"syscalls-{folder}",
                    lambda name=folder: tree.make("make", "-j2", "-C", f"{SYSCALLS}/{name}"),
                )
        if not subset:
            # Some need headers that are not installed: what is not built is not among the tests.
            tree.once(
                "syscalls", lambda: tree.make("make", "-j2", "-k", "-C", SYSCALLS, check=False)
            )

    def groups(self, user: int, subset: bool) -> list[str]:
        """The entries of LTP's own list that are selected."""
        return [
            name
            for name, (_, program) in _entries().items()
            if not subset or program.parent.name in FOLDERS
        ]

    def run(self, run: Run, group: str) -> Statuses:
        """One test; its status has the counts of its own summary."""
        command, program = _entries()[group]
        tree = unpack("ltp").path
        with run.directory(group) as (work, _):
            env = {
                "PATH": f"{program.parent}:{tree}/testcases/lib:{run.env['PATH']}",
                "TMPDIR": str(work),
                "KCONFIG_SKIP_CHECK": "1",
                "LTP_COLORIZE_OUTPUT": "n",
                "LTP_SINGLE_FS_TYPE": "tmpfs",
            }
            # Resources are found only from the test's own folder.
            outcome = run(
                ["sh", "-c", command], cwd=program.parent, log=group, limit=TEST_LIMIT, env=env
            )
        return {"": _ltp_status(ending(outcome), outcome.output)}


def _ltp_status(end: str, output: str) -> str:
    # 32: not configured. What else passed and failed is in the summary, or in lines of old tests.
    if end == "fail status 32":
        end = "skip"
    words = {"TPASS": "passed", "TFAIL": "failed", "TBROK": "broken", "TCONF": "not configured"}
    counts = {text: len(re.findall(rf"\b{word}\b", output)) for word, text in words.items()}
    return f"{end} ({', '.join(f'{count} {text}' for text, count in counts.items() if count)})"


class Fsstress(Suite):
    """Random file operations with fixed seeds: the log must be the same byte by byte."""

    name = "fsstress"
    SEEDS = (1, 7, 42, 1997, 31337, 65537)

    def build(self, subset: bool) -> None:
        """Raises NotRun."""
        tree = base()
        tree.once("fsstress", lambda: tree.make("make", "-C", "testcases/kernel/fs/fsstress"))

    def groups(self, user: int, subset: bool) -> list[str]:
        """A group is a seed."""
        return [str(seed) for seed in (self.SEEDS[:2] if subset else self.SEEDS)]

    def run(self, run: Run, group: str) -> Statuses:
        """The status is the log itself."""
        program = unpack("ltp").path / "testcases/kernel/fs/fsstress/fsstress"
        count = "2000" if run.subset else "5000"
        with run.directory(group) as (work, _):
            argv = [str(program), "-d", str(work), "-n", count, "-p", "1", "-s", group, "-v"]
            outcome = run(argv, cwd=work, log=group, limit=600)
        return {"": f"{ending(outcome)}\n{outcome.output}"}


class Fsx(Suite):
    """Random reads, writes, truncations and mappings of one file, each checked."""

    name = "fsx"

    def build(self, subset: bool) -> None:
        """Raises NotRun."""
        tree = base()
        tree.once("fsx", lambda: tree.make("make", "-C", "testcases/kernel/fs/fsx-linux"))

    def groups(self, user: int, subset: bool) -> list[str]:
        """It has no seed: a group is a run."""
        return ["1"] if subset else ["1", "2", "3"]

    def run(self, run: Run, group: str) -> Statuses:
        """One run."""
        program = unpack("ltp").path / "testcases/kernel/fs/fsx-linux/fsx-linux"
        with run.directory(group) as (work, _):
            env = {"TMPDIR": str(work), "KCONFIG_SKIP_CHECK": "1", "LTP_COLORIZE_OUTPUT": "n"}
            argv = [str(program), "-N", "3000"]
            outcome = run(argv, cwd=work, log=group, limit=300, env=env)
        return {"": _ltp_status(ending(outcome), outcome.output)}
