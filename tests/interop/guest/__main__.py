"""The command line: see the package's docstring."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.interop.suites.sources import NotRun

from .boot import boot, fetched, first_files


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.interop.guest", description=__doc__)
    parser.add_argument("--package", default="linux-image-amd64", help="the kernel's")
    parser.add_argument("--accel", default="tcg", help="kvm, or tcg: ten times as slow, everywhere")
    parser.add_argument("--memory", default="3G")
    parser.add_argument("--seconds", type=float, default=3600, help="the machine's time limit")
    parser.add_argument("--patience", type=float, default=15, help="factor of tests' time limits")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    env = {
        "PATH": f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root", "PYTHONDONTWRITEBYTECODE": "1", "LC_ALL": "C.UTF-8", "NO_COLOR": "1",
        "VIEWOS_TEST_PATIENCE": str(options.patience),
    }  # fmt: skip
    try:
        kernel = fetched(options.package)
    except NotRun as error:
        print(f"guest: {error}", file=sys.stderr)
        return 125
    with tempfile.TemporaryDirectory(prefix="viewos-guest-") as work:
        first = first_files(kernel, options.command, env, Path(work))
        return boot(
            kernel, first, accelerator=options.accel, memory=options.memory, seconds=options.seconds
        )


if __name__ == "__main__":
    sys.exit(main())
