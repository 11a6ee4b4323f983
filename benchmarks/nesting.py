"""What a call costs ten views deep: rules in two of the levels, and nothing in those between.

    python -m benchmarks.nesting [--calls 20000] [--rounds 5]

In each round the depths take turns. The time is that of the calls alone: a run without any is
taken away. Two levels with rules are the outermost and the innermost one; a call is a stat(2) of a
path in the inner claim, whose backing lies in the outer one, and of one outside of both.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

VIEWOS = [sys.executable, "-m", "viewos", "run"]
OUTERMOST = [*VIEWOS, "--no-inproc"]
DEPTHS = (1, 2, 3, 5, 10)


def command(depth: int, tree: Path, words: list[str]) -> list[str]:
    """The words that run others in `depth` views; 1: both rules in one."""
    outer, inner = f"vfs:/mnt={tree}", "vfs:/media=/mnt"
    if depth == 1:
        return [*OUTERMOST, "-m", outer, "-m", inner, "--", *words]
    between = [word for _ in range(depth - 2) for word in (*VIEWOS, "--")]
    return [*OUTERMOST, "-m", outer, "--", *between, *VIEWOS, "-m", inner, "--", *words]


def took(words: list[str]) -> float:
    """Seconds of a run."""
    begin = time.perf_counter()
    subprocess.run(words, check=True)
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as top:
        tree, program = Path(top) / "tree", Path(top) / "calls"
        tree.mkdir()
        (tree / "file").touch()
        source = Path(__file__).with_name("calls.c")
        subprocess.run(["cc", "-O2", "-pthread", "-o", program, source], check=True)
        paths = {"in both claims": "/media/file", "outside": "/etc/passwd"}
        found: dict[tuple[int, str], list[float]] = {}
        for _ in range(options.rounds):
            for depth in DEPTHS:
                for where, path in paths.items():
                    words = [str(program), "stat", str(options.calls), path]
                    nothing = [str(program), "stat", "0", path]
                    spent = took(command(depth, tree, words)) - took(command(depth, tree, nothing))
                    found.setdefault((depth, where), []).append(spent * 1e6 / options.calls)
        print(
            f"{'us a call, of ' + str(options.rounds):<24}{'least':>8}{'median':>8}{'/ 1 view':>10}"
        )
        for (depth, where), runs in sorted(found.items(), key=lambda item: item[0][::-1]):
            base = statistics.median(found[1, where])
            median = statistics.median(runs)
            print(f"{where}, {depth:<2} deep".ljust(24), end="")
            print(f"{min(runs):8.2f}{median:8.2f}{median / base:10.2f}")


if __name__ == "__main__":
    main()
