"""Spurious EINTR: a signal that comes before the monitor has received a call makes it fail.

SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (Linux 5.19) protects a call once it is received; until
then a handler without SA_RESTART turns it into EINTR although nothing ran (seccomp_unotify(2)).
The shorter the wake-up of the receiver, the rarer that is. Prints a table, or JSON with --json.

    python benchmarks/eintr.py [--calls 100000] [--hz 1000] [--rounds 3] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TypedDict

HERE = Path(__file__).resolve().parent
VIEW = [sys.executable, "-m", "viewos", "run", "--no-inproc", "-m", "vfs:/=/", "--"]
WAYS: dict[str, tuple[list[str], dict[str, str]]] = {
    "native": ([], {}),
    "view": (VIEW, {}),
    "view without SYNC_WAKE_UP": (VIEW, {"VIEWOS_SYNC_WAKE_UP": "0"}),
}


class Result(TypedDict):
    """What one run of the C program says."""

    calls: int
    signals: int
    eintr: int
    failed: int
    seconds: float


class Row(TypedDict):
    """One way to run it, as medians over the rounds; times in microseconds."""

    way: str
    eintr_per_100_000_calls: float
    eintr_per_million_signals: float
    signals: int
    us_per_call: float


def build(folder: Path) -> Path:
    """The C program, compiled into `folder`. Raises CalledProcessError."""
    program = folder / "eintr"
    subprocess.run(["cc", "-O2", "-o", str(program), str(HERE / "eintr.c")], check=True, timeout=60)
    return program


def run(way: str, program: Path, calls: int, hz: int) -> Result:
    """One run. Raises CalledProcessError or TimeoutExpired."""
    words, extra = WAYS[way]
    env = {**os.environ, "PYTHONPATH": str(HERE.parent), **extra}
    done = subprocess.run(
        [*words, str(program), str(calls), str(hz)],
        env=env,
        stdout=subprocess.PIPE,
        check=True,
        timeout=60 + calls / 5000,
    )
    result: Result = json.loads(done.stdout)
    return result


def summary(way: str, results: list[Result]) -> Row:
    """The medians of some runs."""

    def median(of: list[float]) -> float:
        return round(statistics.median(of), 2)

    return {
        "way": way,
        "eintr_per_100_000_calls": median([r["eintr"] / r["calls"] * 1e5 for r in results]),
        "eintr_per_million_signals": median(
            [r["eintr"] / max(1, r["signals"]) * 1e6 for r in results]
        ),
        "signals": sum(r["signals"] for r in results),
        "us_per_call": median([r["seconds"] / r["calls"] * 1e6 for r in results]),
    }


def table(rows: list[Row]) -> str:
    """The rows for a reader."""
    head = f"{'':28}{'EINTR in 100,000 calls':>24}{'in 10^6 signals':>18}{'us a call':>12}"
    lines = [
        f"{r['way']:28}{r['eintr_per_100_000_calls']:>24}{r['eintr_per_million_signals']:>18}"
        f"{r['us_per_call']:>12}"
        for r in rows
    ]
    return "\n".join([head, *lines])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--hz", type=int, default=1000, help="signals a second")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--way", choices=WAYS, action="append", help="only this one; repeats")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="viewos-eintr-") as folder:
        program = build(Path(folder))
        rows = [
            summary(way, [run(way, program, args.calls, args.hz) for _ in range(args.rounds)])
            for way in args.way or WAYS
        ]
    print(json.dumps(rows, indent=2) if args.json else table(rows))


if __name__ == "__main__":
    main()
