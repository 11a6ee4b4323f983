"""Random path calls with random and hostile arguments: native against a view, line by line.

VIEWOS_FUZZ_SEEDS, VIEWOS_FUZZ_FIRST and VIEWOS_FUZZ_CALLS make more of it. To see a difference
again, run the one test whose name has its seed.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from .view import run_in_view
from .witness import build

NOBODY = 65534
FIRST = int(os.environ.get("VIEWOS_FUZZ_FIRST", "1"))
SEEDS = range(FIRST, FIRST + int(os.environ.get("VIEWOS_FUZZ_SEEDS", "10")))
CALLS = int(os.environ.get("VIEWOS_FUZZ_CALLS", "1500"))
TOP = Path(tempfile.gettempdir(), f"viewos-fuzz-{os.getpid():07}")
"""The same name for both runs, and always as long: it stands in the output."""
DEEP = "1/2/3/4/5/6/7/8/w"
"""So deep that no path of the fuzzer climbs out of TOP."""
BIND = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'


@dataclass(frozen=True)
class Ground:
    """Where the fuzzer runs: the directory, and what shows it there."""

    directory: Path
    modules: tuple[str, ...] | None
    before: tuple[str, ...] = ()


@contextmanager
def ground(where: str, user: int) -> Iterator[Ground]:
    """A fresh tree. `where`: native, identity; or twin, bound: seen at another place by a bind
    mount of the kernel's, and by a claim.
    """
    shutil.rmtree(TOP, ignore_errors=True)
    directory, source = TOP / DEEP, TOP / "s"
    for path in (directory, source):
        path.mkdir(parents=True)
        os.chown(path, user, user)
    try:
        yield {
            "native": Ground(directory, None),
            "identity": Ground(directory, ("vfs:/=/",)),
            "twin": Ground(
                directory,
                None,
                (
                    *("unshare", "-m", "--propagation", "private"),
                    *("sh", "-c", BIND, "sh", str(source), str(directory)),
                ),
            ),
            "bound": Ground(directory, (f"vfs:{directory}={source}",)),
        }[where]
    finally:
        shutil.rmtree(TOP)


def fuzz(where: str, seed: int, user: int, *, pure: bool = False) -> list[str]:
    """What the calls of a seed print, and what they leave in the file system.

    `pure`: without the accelerator.
    """
    program = build("callfuzz", folder=Path(__file__).parent / "fuzz")
    with ground(where, user) as here:
        run = run_in_view(
            here.modules,
            [program, str(seed), str(CALLS), str(here.directory)],
            user=user,
            timeout=90,
            before=here.before,
            cwd=str(here.directory.parent),
            env={**os.environ, "VIEWOS_PURE": "1" if pure else ""},
        )
        dump = subprocess.run(
            [program, "dump", str(TOP)], capture_output=True, timeout=20, check=True
        )
    text = (run.stdout + dump.stdout).decode(errors="backslashreplace")
    return [*text.splitlines(), f"status {run.returncode} {run.stderr.decode()[-2000:]}"]


def difference(expected: list[str], got: list[str]) -> str | None:
    """The first line that differs, with what went before it."""
    for i, (a, b) in enumerate(itertools.zip_longest(expected, got)):
        if a != b:
            before = "\n".join(expected[max(0, i - 8) : i])
            return f"{before}\nnatively: {a}\nhere:     {b}"
    return None


@pytest.mark.timeout(200)
@pytest.mark.parametrize("user", [0, NOBODY])
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("native", "view"), [("native", "identity"), ("twin", "bound")])
def test_calls_do_the_same(native: str, view: str, seed: int, user: int) -> None:
    expected = fuzz(native, seed, user)
    assert expected[-1].startswith("status 0"), expected[-1]
    for pure in (False, True):
        found = difference(expected, fuzz(view, seed, user, pure=pure))
        assert found is None, f"seed {seed}, user {user}, {view}, pure {pure}:\n{found}"


@pytest.mark.timeout(60)
@pytest.mark.parametrize("user", [0, NOBODY])
@pytest.mark.parametrize("where", ["native", "twin"])
def test_the_fuzzer_repeats_itself(where: str, user: int) -> None:
    """Two native runs print the same, or a difference would mean nothing; and much succeeds."""
    lines = fuzz(where, FIRST, user)
    assert difference(lines, fuzz(where, FIRST, user)) is None
    assert sum(" = ok" in line for line in lines) > CALLS // 8
    assert len(lines) > CALLS


def test_another_seed_is_a_difference() -> None:
    assert difference(fuzz("native", 1, 0), fuzz("native", 2, 0)) is not None
