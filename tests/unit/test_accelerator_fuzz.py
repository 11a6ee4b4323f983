"""The accelerator's C under the address and undefined-behaviour sanitizers, fed with anything."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
C = ROOT / "viewos/monitor/accelerator"
SOURCES = [
    source
    for source in C.glob("*.c")
    if source.name not in ("module.c", "receiver.c", "serve.c", "teach.c", "teach_owners.c")
]
FLAGS = ["-std=c11", "-D_GNU_SOURCE", "-O1", "-g", f"-I{C}"]
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


@pytest.mark.timeout(120)
def test_nothing_is_read_or_written_that_is_not_there(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "a" / "b").mkdir(parents=True)
    (tree / "file").write_bytes(b"")
    for name, text in (
        ("link", "a/b"), ("loop", "loop"), ("up", ".."), ("abs", "/mnt/a"),
        ("a/over", "/mnt/over/b"),
        ("a/again", "/again/a"), ("a/up", "../../../.."), ("b", "a/" * 900 + "b"),
    ):  # fmt: skip
        (tree / name).symlink_to(text)
    program = tmp_path / "fuzz"
    subprocess.run(
        ["gcc", *FLAGS, *SANITIZE, "-DOWN_DRIVER", "-o", program,
         ROOT / "tests/fuzz/accelerator_fuzz.c", *SOURCES],
        check=True, timeout=60,
    )  # fmt: skip
    result = subprocess.run(
        [program, tree, "20000", "1"],
        env=os.environ | {"ASAN_OPTIONS": "detect_leaks=0"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
