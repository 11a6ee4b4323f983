"""Views whose names differ from their backings, and the same made of the kernel's bind mounts.

A claim behaves as a bind mount: so each test of such a view passes first in a private mount
namespace in which `mount --bind` has made what the view shows.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .view import run_in_view

SWAP = ("vfs:T/a=T/b,T/b=T/a",)
SCRIPT = '#!/bin/sh\necho "$0 $*"\npwd -P\n'


def mounts(modules: Sequence[str]) -> str:
    """The shell commands that mount what the modules show.

    Within one module a backing is a path of what lies below: all are set aside before the first
    is mounted. A module sees the claims of those before it, so the mounts are recursive.
    """
    lines = ["set -e", "mount -t tmpfs stage /media"]
    for module in modules:
        items = module.removeprefix("vfs:").split(",")
        read_only = items[-1] == "ro"
        claims = sorted((item.split("=") for item in items if "=" in item), key=lambda c: len(c[0]))
        for number, (_, backing) in enumerate(claims):
            aside = f"/media/{number}"
            lines.append(f"if [ -d '{backing}' ]; then mkdir -p {aside}; else : >{aside}; fi")
            lines.append(f"mount --rbind '{backing}' {aside}")
        for number, (prefix, _) in enumerate(claims):
            lines.append(f"mount --rbind /media/{number} '{prefix}'")
            if read_only:
                lines.append(f"mount -o remount,bind,ro '{prefix}'")
        lines.extend(f"umount -l /media/{n}; rm -rf /media/{n}" for n in range(len(claims)))
    return "\n".join([*lines, "umount -l /media", 'exec "$@"'])


@dataclass(frozen=True)
class Tree:
    """A directory with two trees in it, a and b, that tell what they are; T in names and output."""

    root: Path
    user: int

    def name(self, text: str) -> str:
        """`text` with T written out."""
        return re.sub(r"\bT(?=[/ ;]|$)", str(self.root), text)

    def run(
        self, how: str, modules: Sequence[str], argv: Sequence[str], *, cwd: str = "T/"
    ) -> subprocess.CompletedProcess[bytes]:
        """Run `argv` with what `modules` show, made by `how`: "mounts" or "view"."""
        named = [self.name(module) for module in modules]
        before: tuple[str, ...] = ()
        if how == "mounts":
            before = ("unshare", "-m", "--propagation", "private")
            before += ("sh", "-c", mounts(named), "sh")
        return run_in_view(
            named if how == "view" else None,
            [self.name(word) for word in argv],
            user=self.user,
            timeout=30,
            before=before,
            cwd=self.name(cwd),
        )

    def says(self, how: str, modules: Sequence[str], script: str, *, cwd: str = "T/") -> str:
        """Standard output and error of a shell script, with the directory's name as T again."""
        done = self.run(how, modules, ["sh", "-c", f"exec 2>&1; {script}"], cwd=cwd)
        text = (done.stdout + done.stderr).decode(errors="backslashreplace")
        return text.replace(str(self.root), "T")


def _plant(root: Path) -> None:
    for name, other in (("a", "b"), ("b", "a")):
        top = root / name
        (top / "sub").mkdir(parents=True)
        (top / "f").write_text(f"in {name}\n")
        (top / "sub" / "g").write_text(f"deep in {name}\n")
        (top / "script").write_text(SCRIPT)
        (top / "interpreted").write_text(f"#!{root}/{other}/say -x\n")
        (top / "say").write_text(f'#!/bin/sh\necho "{name} says $*"\n')
        for program in ("cat", "readlink"):
            shutil.copy(f"/bin/{program}", top / program)
        for script in ("script", "interpreted", "say"):
            (top / script).chmod(0o755)
        (top / "rel").symlink_to("f")
        (top / "out").symlink_to(f"../{other}/f")
        (top / "abs").symlink_to(root / other / "f")
        (top / "subabs").symlink_to(root / name / "sub")
        (top / "up").symlink_to("..")
    (root / "other").write_text("other\n")
    for name in ("c", "d", "mnt", "mntx"):
        (root / name).mkdir()
    (root / "d" / "of-d").write_text("of d\n")
    (root / "mntx" / "f").write_text("in mntx\n")
    (root / "mnt.f").write_text("beside mnt\n")


@contextmanager
def tree(user: int) -> Iterator[Tree]:
    """A fresh tree that belongs to `user`."""
    root = Path(tempfile.mkdtemp(prefix="viewos-swap-"))
    try:
        _plant(root)
        root.chmod(0o755)
        for folder, _, files in os.walk(root):
            for name in (".", *files):
                os.chown(os.path.join(folder, name), user, user, follow_symlinks=False)
        yield Tree(root, user)
    finally:
        shutil.rmtree(root)
