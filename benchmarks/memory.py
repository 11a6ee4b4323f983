"""The monitor's memory while a program makes a million path calls.

python -m benchmarks.memory [--calls N] [--pure]
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.contenders import VIEWOS, WHERE

HERE = Path(__file__).resolve().parent


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--pure", action="store_true", help="without the accelerator")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="viewos-bench-") as name:
        program = f"{name}/calls"
        subprocess.run(["cc", "-O2", "-pthread", "-o", program, HERE / "calls.c"], check=True)
        env = {**os.environ, "VIEWOS_PURE": "1" if options.pure else ""}
        words = [f"{WHERE}/calls", "open", str(options.calls), f"{WHERE}/calls"]
        view = subprocess.Popen(
            [*VIEWOS, "--no-inproc", "-m", f"vfs:{WHERE}={name}", "--", *words], env=env
        )
        monitor = None
        while view.poll() is None:
            if monitor is None:
                monitor = _monitor(name)
            else:
                print(f"{_resident(monitor):6.1f} MB", flush=True)
            time.sleep(2)
        sys.exit(view.returncode)


def _monitor(directory: str) -> psutil.Process | None:
    """The monitor of the view of this directory, when it has started."""
    for process in psutil.process_iter(["name", "cmdline"]):
        if process.info["name"] == "viewos-monitor" and directory in str(process.info["cmdline"]):
            return process
    return None


def _resident(process: psutil.Process) -> float:
    with contextlib.suppress(psutil.NoSuchProcess):
        return float(process.memory_info().rss) / 1e6
    return 0.0


if __name__ == "__main__":
    main()
