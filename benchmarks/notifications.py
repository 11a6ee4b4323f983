"""How many calls of each work reach the monitor, and who answers them.

    python -m benchmarks.notifications [WORK...] [--modules SPEC]

In a view of `vfs:/mnt=DIR` (or of SPEC, in which DIR stands for the work's directory).
"""

from __future__ import annotations

import argparse
import re
import subprocess
import tempfile
from pathlib import Path

from benchmarks.contenders import VIEWOS, WHERE
from benchmarks.works import WORKS, Unavailable

LINE = re.compile(r"accelerator: (\d+) calls settled, (\d+) left to Python \((.*)\)")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.notifications", description=__doc__)
    parser.add_argument("works", nargs="*", metavar="WORK")
    parser.add_argument("--modules", default=f"vfs:{WHERE}=DIR", metavar="SPEC")
    options = parser.parse_args()
    print(f"{'work':<40}{'in C':>10}{'in Python':>10}")
    for work in WORKS:
        if options.works and work.name not in options.works:
            continue
        with tempfile.TemporaryDirectory(prefix="viewos-bench-") as name:
            try:
                work.prepare(Path(name))
                work.reset(Path(name))
            except Unavailable as why:
                print(f"{work.name:<40}{why}")
                continue
            log = Path(name) / "view.log"
            spec = options.modules.replace("DIR", name)
            seen = WHERE if WHERE in spec else name
            subprocess.run(
                [*VIEWOS, "-v", "--log", str(log), "-m", spec, "--", *work.command(seen)],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                check=True, timeout=600,
            )  # fmt: skip
            found = LINE.search(log.read_text())
            settled, left, names = found.groups() if found else ("?", "?", "no accelerator")
            print(f"{work.name:<40}{settled:>10}{left:>10}  {names}", flush=True)


if __name__ == "__main__":
    main()
