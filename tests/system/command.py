"""Run the `viewos` command itself, as root and as an ordinary user."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.system.users import python
from tests.system.view import run_in_view

USERS = (0, 65534) if os.getuid() == 0 else (os.getuid(),)
FORBIDDING = str(Path(__file__).with_name("forbidding.py"))


def viewos(
    *words: str | bytes, user: int | None = None, forbid: Sequence[str] = (), **kw: Any
) -> subprocess.CompletedProcess[bytes]:
    """`viewos WORD...`; with `forbid` ("seccomp=EPERM") where those system calls fail."""
    kw.setdefault("timeout", 30)
    argv: list[str | bytes] = [python(user), "-m", "viewos", *words]
    if forbid:
        argv = [python(user), FORBIDDING, *forbid, "--", *argv]
    return run_in_view(None, argv, user=user, **kw)


def said(result: subprocess.CompletedProcess[bytes]) -> tuple[int, str]:
    """(status, the one line on stderr without its `viewos: `); nothing may stand on stdout."""
    text = result.stderr.decode(errors="backslashreplace")
    assert result.stdout == b"", (result.stdout, text)
    assert text.startswith("viewos: ") and text.endswith("\n") and text.count("\n") == 1, text
    return result.returncode, text[len("viewos: ") : -1]
