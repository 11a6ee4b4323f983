"""A claim below a directory that becomes the kernel's root of a program: no path leads there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.view import run_in_view, scratch_directory
from tests.system.witness import build

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: chroot(2)"),
]
MODULES = {
    "claim": "vfs:{0}/top/home={0}/home",
    "both": "vfs:/mnt={0}/top,/mnt/home={0}/home",
    "all": "vfs:/=/,{0}/top/home={0}/home",
    "root": "vfs:/=/,{0}/top/home={0}/home uid:0",
}


@pytest.fixture
def trees() -> Iterator[Path]:
    """`top`, which becomes the root, and `home`, which stands in it."""
    with scratch_directory("viewos-root-") as path:
        (path / "top/home").mkdir(parents=True)
        (path / "home/inner").mkdir(parents=True)
        (path / "home/file").write_text("in home")
        (path / "home/link").symlink_to("file")
        shutil.copy(build("nested_root", "-static"), path / "home/program")
        yield path


def _natively(trees: Path, argv: list[str]) -> bytes:
    script = f'mount --bind {trees}/home {trees}/top/home && exec "$@"'
    done = run_in_view(None, ["unshare", "--mount", "sh", "-c", script, "sh", *argv])
    if done.returncode != 0:
        pytest.skip((done.stdout + done.stderr).decode())
    return done.stdout


@pytest.mark.parametrize("env", [{}, {"VIEWOS_PURE": "1"}], ids=["C", "Python"])
@pytest.mark.parametrize("where", MODULES)
def test_a_claim_in_another_root(trees: Path, where: str, env: dict[str, str]) -> None:
    program = build("nested_root", "-static")
    expected = _natively(trees, [program, f"{trees}/top"])
    for name in ("seen", "file"):
        (trees / "home" / name).unlink()
    (trees / "home/file").write_text("in home")
    top = "/mnt" if where == "both" else f"{trees}/top"
    done = run_in_view(MODULES[where].format(trees).split(), [program, top], env=env)
    assert done.stdout.decode() == expected.decode()
    assert done.stderr == b""
