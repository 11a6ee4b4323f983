"""Small programs that notice what a monitor does wrong, and the means to build them."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
GCC = ("gcc", "-std=gnu17", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-pthread")


@functools.cache
def cache() -> Path:
    """A directory for the programs of this run, which every user may enter."""
    path = Path(tempfile.mkdtemp(prefix="viewos-witness-"))
    path.chmod(0o755)
    owner = os.getpid()
    atexit.register(lambda: shutil.rmtree(path) if os.getpid() == owner else None)
    return path


@functools.cache
def build(name: str, *options: str, folder: Path = HERE) -> str:
    """The program built from NAME.c or NAME.go in `folder`, as a path."""
    program = cache() / "-".join([name, *(o.lstrip("-") for o in options)])
    source = folder / f"{name}.c"
    if source.exists():
        argv = [*GCC, *options, "-o", str(program), str(source), "-ldl"]
    else:
        argv = ["go", "build", "-o", str(program), str(folder / f"{name}.go")]
    env = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "", "GO111MODULE": "off"}
    env.setdefault("GOCACHE", str(cache() / "gocache"))
    done = subprocess.run(argv, check=False, env=env, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    program.chmod(0o755)
    return str(program)
