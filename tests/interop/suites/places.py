"""Where a suite runs: natively, in the identity view, or with its work directory seen as /mnt."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.system.view import REPOSITORY, cache_variable, in_process

ROOT, NOBODY = 0, 65534
USERS = {"root": ROOT, "nobody": NOBODY}
NATIVE, BOUND = "native", "bound"
"""The second: natively, where mount(8) has put the work directory at /mnt, as the view does."""
VIEWS = ("identity", "mnt")
"""The views that every suite has to be the same in."""

_BIND = 'mount --bind "$0" /mnt && exec "$@"'
_LAUNCH = "import sys; sys.path[:0] = {!r}; from viewos.__main__ import main; sys.exit(main())"
NAMESPACES = ("unshare", "-m", "-u", "--propagation", "private", "--")
"""Some tests of root mount, and some set the host's name."""


def viewos_words(user: int) -> list[str]:
    """The words that start viewos for that user without leaving anything in the environment."""
    python = sys.executable if user == os.getuid() else "/usr/bin/python3"
    site = [path for path in sys.path if path.endswith("site-packages")]
    return [python, "-I", "-c", _LAUNCH.format([str(REPOSITORY), *site])]


@dataclass(frozen=True)
class Place:
    """One way to run commands, as one user, with one work directory."""

    name: str
    """"native", "bound", "identity" or "mnt"."""
    user: int
    real: Path
    """The work directory, as the world outside of a view calls it."""

    @property
    def work(self) -> Path:
        """What a program that runs here calls its work directory."""
        return Path("/mnt") if self.name in ("mnt", BOUND) else self.real

    def words(self, argv: list[str], cwd: Path) -> list[str]:
        """The whole command that runs `argv` here, in the directory `cwd` of this place."""
        words = ["env", "-C", str(cwd), *argv]
        if self.name not in (NATIVE, BOUND):
            claim = "vfs:/=/" if self.name == "identity" else f"vfs:/mnt={self.real}"
            launch = [*viewos_words(self.user), "run", "-m", claim]
            if not in_process():
                launch.append("--no-inproc")
            launch = ["env", cache_variable(self.user), *launch]
            words = ["env", "-u", "XDG_CACHE_HOME", *words]
            words = [*launch, "--", *words]
        if os.getuid() != 0:
            return words
        if self.user != ROOT:
            uid = str(self.user)
            words = ["setpriv", "--reuid", uid, "--regid", uid, "--clear-groups", *words]
        if self.name == BOUND:
            words = ["sh", "-c", _BIND, str(self.real), *words]
        return [*NAMESPACES, *words]
