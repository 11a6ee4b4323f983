"""Run the works under all contenders, in turn, and show what each costs.

    python -m benchmarks [WORK...] [--rounds N] [--contender NAME]... [--json FILE] [--charts DIR]

The contenders take turns in every round (A B C A B C ...), so that a busy machine slows all.
Figures are ratios to native: the least time of each, the median, the most.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.contenders import CONTENDERS, Contender
from benchmarks.works import WORKS, Unavailable, Work

PATIENCE = 600
"""Seconds for one run."""


def measure(contender: Contender, work: Work, directory: Path) -> float | str:
    """Seconds of one run, or why there are none."""
    work.reset(directory)
    took = _measure(contender, directory, work.command)
    if work.nothing is None or isinstance(took, str):
        return took
    nothing = _measure(contender, directory, work.nothing)
    return nothing if isinstance(nothing, str) else max(took - nothing, 1e-9)


def _measure(
    contender: Contender, directory: Path, command: Callable[[str], list[str]]
) -> float | str:
    words = [*contender.prefix(str(directory)), *command(contender.seen(str(directory)))]
    env = {**os.environ, **contender.env}
    begin = time.perf_counter()
    try:
        done = subprocess.run(
            words, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, timeout=PATIENCE, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"over {PATIENCE} s"
    took = time.perf_counter() - begin
    if done.returncode:
        said = done.stderr.decode(errors="backslashreplace").strip().splitlines()
        return f"status {done.returncode}: {said[-1] if said else 'nothing said'}"
    return took


def run(work: Work, contenders: list[Contender], rounds: int) -> dict[str, Any]:
    """All rounds of a work: name -> seconds, or a reason."""
    contenders = [c for c in contenders if c.only in work.name]
    times: dict[str, Any] = {c.name: c.missing() or [] for c in contenders}
    with tempfile.TemporaryDirectory(prefix="viewos-bench-") as name:
        directory = Path(name)
        work.prepare(directory)
        for _ in range(rounds):
            for contender in contenders:
                known = times[contender.name]
                if isinstance(known, str):
                    continue
                found = measure(contender, work, directory)
                if isinstance(found, str):
                    times[contender.name] = found
                else:
                    known.append(found)
    return times


def table(work: Work, times: dict[str, Any]) -> str:
    """The work's part of the report."""
    native = times["native"]
    base = statistics.median(native)
    unit = f"{base * 1e6 / work.calls:.2f} us a call" if work.calls else f"{base:.3f} s"
    lines = [f"{work.name}: {work.what}; native {unit}"]
    for name, found in times.items():
        if isinstance(found, str):
            lines.append(f"  {name:<28} {found}")
            continue
        ratios = [min(found) / min(native), statistics.median(found) / base, max(found) / base]
        line = f"  {name:<28}" + "".join(f"{ratio:8.2f}" for ratio in ratios)
        if work.calls:
            line += f"   {(statistics.median(found) - base) * 1e6 / work.calls:+8.2f} us"
        lines.append(line)
    return "\n".join(lines)


def charts(results: dict[str, dict[str, Any]], folder: Path) -> None:
    """One bar chart of medians: ratios to native."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = list(dict.fromkeys(name for times in results.values() for name in times))
    names.remove("native")
    figure, axes = pyplot.subplots(figsize=(11, 0.9 * len(results) + 1.5))
    height = 0.8 / len(names)
    for row, name in enumerate(names):
        at, values = [], []
        for line, times in enumerate(results.values()):
            if isinstance(times.get(name), list) and times[name]:
                at.append(line + row * height - 0.4)
                values.append(statistics.median(times[name]) / statistics.median(times["native"]))
        axes.barh(at, values, height, label=name)
    axes.set_yticks(range(len(results)), list(results))
    axes.invert_yaxis()
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_xlabel("time, as a ratio to native (median)")
    axes.legend()
    figure.tight_layout()
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / "works.png", dpi=110)


def main(known: list[Work], all_contenders: list[Contender], what: str | None) -> None:
    """The command line, for these works and contenders."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=what)
    parser.add_argument("works", nargs="*", metavar="WORK", help="; ".join(w.name for w in known))
    parser.add_argument("--rounds", type=int, default=5)
    names = "; ".join(c.name for c in all_contenders)
    parser.add_argument("--contender", action="append", help=names)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--charts", type=Path)
    options = parser.parse_args()
    works = [w for w in known if not options.works or w.name in options.works]
    contenders = [
        c for c in all_contenders
        if c.name == "native" or not options.contender or c.name in options.contender
    ]  # fmt: skip
    if not works or len(contenders) < 2:
        parser.error("no such work or contender (--help lists them)")
    print(f"{'':<30}{'least':>8}{'median':>8}{'most':>8}   (ratios to native)")
    results: dict[str, dict[str, Any]] = {}
    for work in works:
        try:
            results[work.name] = run(work, contenders, options.rounds)
        except Unavailable as why:
            print(f"{work.name}: {why}", file=sys.stderr)
            continue
        print(table(work, results[work.name]), flush=True)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))
    if options.charts:
        charts(results, options.charts)


if __name__ == "__main__":
    main(WORKS, CONTENDERS, __doc__)
