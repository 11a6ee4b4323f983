"""Start commands through the launcher, in both layouts and as both users, or natively."""

from __future__ import annotations

import os
import subprocess
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

from . import users
from .view import MARK, members, run_in_view, started

DRIVER = str(Path(__file__).with_name("driver.py"))
PREFIX = (DRIVER,)
"""What follows the interpreter and precedes the options: it may become ("-m", "viewos", "run")."""
LAYOUTS = ("direct", "ancestor")


class Way(NamedTuple):
    """How a command is started. layout None: natively."""

    layout: str | None
    uid: int

    def __str__(self) -> str:
        return f"{self.layout or 'native'}-{self.uid}"

    @property
    def native(self) -> Way:
        """The same without us."""
        return self._replace(layout=None)

    def prefix(self, *options: str) -> list[str]:
        """The words in front of the command."""
        if self.layout is None:
            return []
        return [users.python(self.uid), *PREFIX, "--layout", self.layout, *options, "--"]

    def view_prefix(self, *modules: str) -> list[str]:
        """The words in front of a command in a view of these modules. None contains a blank."""
        if self.layout is None:
            return []
        options = [word for module in modules for word in ("-m", module)]
        run = [users.python(self.uid), "-m", "viewos", "run", "--layout", self.layout, *options]
        assert not any(" " in word for word in run)
        return [*run, "--"]

    def run(
        self, *argv: str | bytes, options: tuple[str, ...] = (), **kw: Any
    ) -> subprocess.CompletedProcess[bytes]:
        """Run it to the end; AssertionError when something of it is left over."""
        kw.setdefault("timeout", 20)
        return run_in_view(None, [*self.prefix(*options), *argv], user=self.uid, **kw)

    def start(
        self, *argv: str | bytes, options: tuple[str, ...] = (), **kw: Any
    ) -> AbstractContextManager[subprocess.Popen[bytes]]:
        """Like `run`, but goes on while it runs."""
        return started(None, [*self.prefix(*options), *argv], user=self.uid, **kw)


WAYS = [Way(layout, uid) for layout in LAYOUTS for uid in users.USERS]


def kin(process: subprocess.Popen[bytes]) -> dict[str, int]:
    """comm -> pid of the living processes of a run, zombies apart."""
    found = {}
    for pid in members("", process.pid):
        found[comm(pid)] = pid
    return found


def comm(pid: int) -> str:
    """The name that ps shows; "" when it has gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def marked(mark: str) -> dict[str, int]:
    """comm -> pid of the living processes of the run with that mark (see view.MARK)."""
    return {comm(pid): pid for pid in members(mark, -1)}


def mark_of(process: subprocess.Popen[bytes]) -> str:
    """The mark of a run that `started` has started."""
    environ = Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")
    return next(
        os.fsdecode(word.partition(b"=")[2])
        for word in environ
        if word.startswith(os.fsencode(MARK + "="))
    )
