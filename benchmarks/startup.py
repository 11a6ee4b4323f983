"""What a view costs at the start of a program: `viewos run -- true` beside `python -c pass`.

    .venv/bin/python benchmarks/startup.py [ROUNDS]

The commands take turns, so that a busy machine slows all of them; the least of all rounds says
what each costs on an idle one. CPU is the time of the process that was started alone: in the direct
layout that is the way to the program, without the monitor's share, which runs at the same time.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

VIEWOS = str(Path(sys.executable).with_name("viewos"))
NO_INPROC = [VIEWOS, "run", "--no-inproc"]
PASS, TRUE = "python -c pass", "env true"
COMMANDS = {
    TRUE: ["env", "true"],
    PASS: [sys.executable, "-c", "pass"],
    "python -c 'import viewos.cli.main'": [sys.executable, "-c", "import viewos.cli.main"],
    "viewos run": [VIEWOS, "run", "--", "true"],
    "viewos run -m hostname:x": [VIEWOS, "run", "-m", "hostname:x", "--", "true"],
    "viewos run -m vfs:/mnt=/tmp": [VIEWOS, "run", "-m", "vfs:/mnt=/tmp", "--", "true"],
    "viewos run --no-inproc -m vfs:...": [*NO_INPROC, "-m", "vfs:/mnt=/tmp", "--", "true"],
    "viewos run -m vfs:/=/": [VIEWOS, "run", "-m", "vfs:/=/", "--", "true"],
    "viewos run --layout ancestor": [VIEWOS, "run", "--layout", "ancestor", "--", "true"],
}


def measure(command: list[str], env: dict[str, str]) -> tuple[float, float]:
    """(wall clock, CPU) of one run, in ms."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, env=env, check=True)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return wall * 1e3, cpu * 1e3


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    for command in COMMANDS.values():  # compiles what is not compiled
        measure(command, env)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
    for _ in range(rounds):
        for name, command in COMMANDS.items():
            found[name].append(measure(command, env))
    least = {name: min(wall for wall, _ in runs) for name, runs in found.items()}
    print(f"{'ms, of ' + str(rounds):<36}{'least':>8}{'median':>8}{'CPU':>8}", end="")
    print(f"{'- pass':>9}{'/ pass':>8}{'- true':>9}{'/ true':>8}")
    for name, runs in found.items():
        wall = least[name]
        median = statistics.median(wall for wall, _ in runs)
        cpu = min(cpu for _, cpu in runs)
        print(f"{name:<36}{wall:8.1f}{median:8.1f}{cpu:8.1f}", end="")
        for other in (PASS, TRUE):
            print(f"{wall - least[other]:+9.1f}{wall / least[other]:8.2f}", end="")
        print()


if __name__ == "__main__":
    main()
