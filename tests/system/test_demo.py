"""script/demo does what it says as any user, and says so when something goes wrong."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.control import until
from tests.system.view import REPOSITORY, as_user

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A directory for temporary files of any user, which must be empty in the end."""
    with tempfile.TemporaryDirectory(prefix="viewos-demo-test-") as name:
        path = Path(name)
        path.chmod(0o1777)
        yield path


def demo(user: int, scratch: Path, path: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": path, "HOME": "/proc/none", "TMPDIR": str(scratch), "LC_ALL": "C.UTF-8"}
    return subprocess.run(
        as_user(user, [str(REPOSITORY / "script" / "demo")]),
        env={**os.environ, **env},
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.mark.parametrize("user", [0, 65534])
def test_the_demo_runs(user: int, scratch: Path) -> None:
    result = demo(user, scratch, os.environ["PATH"])
    assert result.returncode == 0, result.stdout
    assert "I am /mnt/hello, and I work in /mnt" in result.stdout
    assert "root at somewhere in /mnt" in result.stdout
    until(lambda: not os.listdir(scratch))  # a monitor ends after its program


def test_a_failing_step_ends_the_demo(scratch: Path) -> None:
    with tempfile.TemporaryDirectory() as tools:
        make = Path(tools, "make")
        make.write_text("#!/bin/sh\necho no rule today\nexit 2\n")
        make.chmod(0o755)
        result = demo(os.getuid(), scratch, f"{tools}:{os.environ['PATH']}")
    assert result.returncode == 1, result.stdout
    assert "no rule today" in result.stdout
    assert result.stdout.splitlines()[-1] == "script/demo: the command ended with status 2"
    until(lambda: not os.listdir(scratch))  # a monitor ends after its program
