"""Run a case natively and in views, and say how the runs differ.

All runs see their directory as /mnt, so that there is nothing to translate before the comparison:
the native twin by a bind mount in a mount namespace of its own, the identity view likewise, and
the view `vfs:/mnt=DIR` by its claim. What lies outside is on another mount for the first two: cases
do not link or rename across that border.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tests.system.view import cache_variable, prefix, run_in_view
from tests.system.witness import build, cache

from .case import INPROC, NOBODY, Case
from .tree import Entry, scan

PROGRAMS = Path(__file__).parent / "programs"
WHERE = "/mnt"
MOUNTED = (
    *("unshare", "--mount", "--propagation", "private", "--", "sh", "-c"),
    f'mount --bind "$1" {WHERE} && shift && exec "$@"',
    "sh",
)
"""Words that let a command see the directory that they are followed by at WHERE."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """All that a run leaves."""

    stdout: bytes
    stderr: bytes
    status: int
    log: tuple[str, ...]
    """What viewos had to say, where the case does not expect it."""
    tree: Mapping[str, Entry]


_PURE = "VIEWOS_PURE=1"


def is_pure(user: int, view: str) -> bool:
    """Is the run made without the accelerator? One of four is, so that both are tested."""
    return user == NOBODY and view == "mnt"


def run(case: Case, user: int, view: str | None, *, inproc: bool = False) -> Outcome:
    """Run the case as that user, natively (None), in one of VIEWS, or INPROC. `inproc`: with the
    in-process tier in any case."""
    with _directory(user) as real:
        if case.given:
            _prepare(case, user, real)
        before: tuple[str, ...] = (*MOUNTED, real)
        words, log = _words(case.shell, case.script), os.path.join(os.path.dirname(real), "log")
        if view in ("mnt", INPROC):
            before = ()
        if view is not None:
            claim = "vfs:/=/" if view == "identity" else f"vfs:{WHERE}={real}"
            *launch, end = prefix([claim], user=user, inproc=inproc or view == INPROC)
            own = [cache_variable(user)] + [_PURE] * is_pure(user, view)  # for viewos alone
            unset = [word for one in own for word in ("-u", one.partition("=")[0])]
            words = ["env", *own, *launch, "--log", log, end, "env", *unset, *words]
            _touch(log, user)
        result = run_in_view(
            None,
            words,
            user=user,
            before=before,
            cwd="/",
            env=_environment(),
            input=case.stdin,
            timeout=case.timeout,
        )
        said = _said(log, case) if view else ()
        return Outcome(result.stdout, result.stderr, result.returncode, said, scan(real))


def _touch(path: str, user: int) -> None:
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o644))
    os.chown(path, user, user)


def _said(log: str, case: Case) -> tuple[str, ...]:
    with open(log, encoding="utf-8", errors="backslashreplace") as file:
        return tuple(line for line in file if not (case.leaves and " leaves the view" in line))


def _words(shell: tuple[str, ...], script: str) -> list[str]:
    return [*shell, f"cd {WHERE} || exit 99\n{script}"]


def _prepare(case: Case, user: int, real: str) -> None:
    run_in_view(
        None, _words(("dash", "-ec"), case.given), user=user, before=(*MOUNTED, real), cwd="/",
        env=_environment(), timeout=case.timeout, check=True,
    )  # fmt: skip


def _environment() -> dict[str, str]:
    return {
        "PATH": PATH,
        "HOME": WHERE,
        "SHELL": "/bin/sh",
        "TERM": "dumb",
        "TZ": "UTC",
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "BIN": str(cache()),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_DATE": "2001-02-03T04:05:06Z",
        "GIT_COMMITTER_DATE": "2001-02-03T04:05:06Z",
        "SOURCE_DATE_EPOCH": "981173106",
        "MALLOC_ARENA_MAX": "1",
    }


@contextmanager
def _directory(user: int) -> Iterator[str]:
    top = tempfile.mkdtemp(prefix="viewos-same-")
    try:
        os.chmod(top, 0o755)
        real = os.path.join(top, "real")
        os.mkdir(real, 0o755)
        os.chmod(real, 0o755)
        os.chown(real, user, user)
        yield real
    finally:
        shutil.rmtree(top, ignore_errors=True)
        if os.path.exists(top):  # a file that cannot be changed is in the way
            subprocess.run(["chattr", "-R", "-f", "-ia", top], check=False, timeout=30)
            shutil.rmtree(top)


def differences(expected: Outcome, got: Outcome) -> list[str]:
    """One line for each property in which two runs differ; none when they are the same."""
    found = []
    for name in ("stdout", "stderr"):
        here, there = getattr(expected, name), getattr(got, name)
        if here != there:
            found.append("\n".join([f"{name}: - natively, + in the view", *_diff(here, there)]))
    if expected.status != got.status:
        found.append(f"status: {expected.status} natively, {got.status}")
    if got.log:
        found.append("\n".join(["log:", *got.log]))
    for name in sorted(expected.tree.keys() | got.tree.keys()):
        native, viewed = expected.tree.get(name), got.tree.get(name)
        if native is None or viewed is None:
            found.append(f"tree: {name!r} is there only {'in the view' if viewed else 'natively'}")
        else:
            found += [
                f"{field.name} of {name!r}: {getattr(native, field.name)!r} natively, "
                f"{getattr(viewed, field.name)!r}"
                for field in dataclasses.fields(Entry)
                if getattr(native, field.name) != getattr(viewed, field.name)
            ]
    return found


def _diff(here: bytes, there: bytes) -> list[str]:
    """The lines that differ, with the line before for orientation."""
    texts = (
        [repr(line)[2:-1] for line in here.splitlines()],
        [repr(line)[2:-1] for line in there.splitlines()],
    )
    return list(difflib.unified_diff(*texts, lineterm="", n=1))[2:]


class Runs:
    """The runs of many cases, each made once, those of one case at the same time."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(os.cpu_count() or 1)
        self._made: dict[tuple[Case, int, str | None], Future[Outcome]] = {}

    def get(self, case: Case, user: int, view: str | None) -> Outcome:
        """The outcome of that run."""
        for each in (None, view) if view == INPROC else (None, *case.views):
            if (case, user, each) not in self._made:
                self._made[case, user, each] = self._pool.submit(run, case, user, each)
        return self._made[case, user, view].result()


@functools.cache
def programs() -> None:
    """Build the programs of the cases where $BIN leads: $BIN/NAME for each source."""
    for source in sorted(PROGRAMS.iterdir()):
        if source.suffix in {".c", ".go"}:
            build(source.stem, folder=PROGRAMS)
