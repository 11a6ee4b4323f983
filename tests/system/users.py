"""Run commands as another user, with an interpreter that this user can execute."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import viewos

REPOSITORY = Path(viewos.__path__[0]).parent
NOBODY = 65534
USERS = (0, NOBODY)


def as_user(uid: int | None, argv: Sequence[str]) -> list[str]:
    """`argv` run by that user and group, without supplementary groups; None: by the caller."""
    if uid is None or uid == os.getuid():
        return list(argv)
    return ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", *argv]


def python(uid: int | None = None) -> str:
    """An interpreter that this user may execute (the test's own can lie in a private home)."""
    return sys.executable if uid is None or _anybody_can_reach(sys.executable) else _system_python()


def environment() -> dict[str, str]:
    """What lets the interpreter of any user find viewos and what it needs."""
    site = [path for path in sys.path if path.endswith("site-packages")]
    return {**os.environ, "PYTHONPATH": ":".join([str(REPOSITORY), *site])}


@lru_cache
def _anybody_can_reach(program: str) -> bool:
    for name in (program, os.path.realpath(program)):
        path = Path(name)
        if not all(above.stat().st_mode & 0o001 for above in (path, *path.parents)):
            return False
    return True


def _system_python() -> str:
    name = f"/usr/bin/python3.{sys.version_info.minor}"
    assert os.access(name, os.X_OK), f"{name} is not there, and {sys.executable} is private"
    return name
