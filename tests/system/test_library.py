"""viewos as a library, as root and as an ordinary user; `tests.system.library` has the checks."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

import pytest

from tests.system.users import NOBODY, USERS, as_user, environment, python

HERE = Path(__file__).parent / "library"
CHECKS = [
    (path.stem, node.name)
    for path in sorted(HERE.glob("[a-z]*.py"))
    for node in ast.parse(path.read_text()).body
    if isinstance(node, ast.FunctionDef) and node.name.startswith("check_")
]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize(("file", "check"), CHECKS, ids=lambda word: word.removeprefix("check_"))
def test_library(file: str, check: str, user: int) -> None:
    words = [python(NOBODY), "-m", "tests.system.library", file, check]
    result = subprocess.run(
        as_user(user, words), env=environment(), stdin=subprocess.DEVNULL, capture_output=True,
        text=True, errors="backslashreplace", check=False, timeout=280,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
