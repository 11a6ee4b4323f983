"""The tests of two neighbours whose work views do, too: PRoot and fakechroot.

Their command is replaced by a view. It is compared with PRoot itself, and with the real chroot(8).
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from . import tap
from .gnu import copy
from .places import NATIVE, ROOT, viewos_words
from .sources import Tree, need, unpack
from .suite import Run, Statuses, Suite, ending

PART = 30
WORDS = {"ok": "pass", "skipped": "skip", "FAILED": "fail"}
_CHECK = re.compile(r"^  CHECK\t(\S+) (ok|skipped|FAILED)$", re.MULTILINE)
SHIMS = Path(__file__).with_name("shims")
PYTHON = "/usr/bin/python3"


def shim(name: str, path: Path, user: int) -> None:
    """Write a command to `path` that takes the options of `name` and makes a view of them."""
    words = [PYTHON, "-I", str(SHIMS / f"{name}.py"), *viewos_words(user), "--"]
    path.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
    path.chmod(0o755)


class Proot(Suite):
    """A group is a test."""

    name = "proot"
    subset = False
    views = ("identity",)
    only_passes = True
    UNFIT: ClassVar[Mapping[str, str]] = {
        "03969e70": "an empty PATH names the cwd, as for execvp(3); PRoot's own search says no",
        "071599da": "PROOT_FORCE_KOMPAT: the auxiliary vector of an older kernel",
        "092c5e26": "-q: an emulator for foreign binaries",
        "1fedd9a3": "the real mode that it asks for: uid keeps one that its user can use (reach)",
        "22222222": "PRoot rewrites the text of links; a bind mount leaves it",
        "2401b850": "-q: an emulator for foreign binaries",
        "33333333": "the status is that of who ends last; a view's is the program's, as natively",
        "3624be91": "it kills its tracer, and a program in a view has none",
        "517e1d6b": "-q: an emulator for foreign binaries",
        "6b5a254a": "-b A:B! binds over the link B itself; mount(2) follows it",
        "8e5fa256": "PRoot rewrites the text of links; a bind mount leaves it",
        "aaaaaaaa": "-b A:B! binds over the link B itself; mount(2) follows it",
        "cb1143ab": "-b of a directory over a file; mount(2) says ENOTDIR",
        "gggggggg": "a mount point that does not exist is listed in its parent; PRoot hides it",
        "python01": "-p SCRIPT: PRoot's own extensions in Python",
        "rrrrrrrr": "PRoot tells the real name as /proc/self/root; behind chroot(2) it is /",
        "tempdire": "PROOT_TMP_DIR: PRoot refuses to start where it cannot write",
        "xxxxxxxx": "its environ is a bad pointer: natively EFAULT, which PRoot never gets to",
    }
    """Tests of what a view does not claim to do."""
    UNFIT_FOR_ROOT: ClassVar[Mapping[str, str]] = {
        "53355a5b": "root searches any directory (CAP_DAC_OVERRIDE); PRoot asks its mode alone",
    }
    UNFIT_FOR_OTHERS: ClassVar[Mapping[str, str]] = {
        "getresid": "PRoot takes each set-user-ID program for root's; in a view its owner counts",
    }

    def build(self, subset: bool) -> None:
        """Raises NotRun."""
        need("make", "gcc", "/usr/include/talloc.h", "/usr/include/uthash.h", "mcookie")
        tree = unpack("proot")

        def build() -> None:
            tree.make("make", "proot", cwd="src")
            tree.make("make", "-k", "setup", cwd="test", check=False)

        tree.once("all", build)

    def groups(self, user: int, subset: bool) -> list[str]:
        """Of each part, the first test."""
        return list(self._parts(user))

    def _parts(self, user: int) -> dict[str, list[str]]:
        folder = unpack("proot").path / "test"
        names = sorted(p.name for p in folder.glob("test-*.*") if p.suffix in (".sh", ".c"))
        unfit = {**self.UNFIT, **(self.UNFIT_FOR_ROOT if user == ROOT else self.UNFIT_FOR_OTHERS)}
        names = [n for n in names if n.removeprefix("test-").split(".")[0] not in unfit]
        return {names[at]: names[at : at + PART] for at in range(0, len(names), PART)}

    def run(self, run: Run, group: str) -> Statuses:
        """Some tests, in a copy of their directory."""
        tree = unpack("proot").path
        with run.directory(group) as (_, real):
            copy(Tree(tree / "test"), real / "test", real / "test", run.place.user)
            command = tree / "src/proot"
            if run.place.name != NATIVE:
                command = real / "proot"
                shim("proot", command, run.place.user)
            checks = [f"check-{name}" for name in self._parts(run.place.user)[group]]
            words = ["make", "-k", *checks, f"PROOT={command}"]
            outcome = run.outside(words, cwd=real / "test", log=group, limit=1200)
        found = _statuses(outcome.output)
        return found if outcome.status is not None else {**found, "end": ending(outcome)}


def _statuses(output: str) -> Statuses:
    """Some tests have several parts of one name, in the same order each time."""
    found: Statuses = {}
    for test, word in _CHECK.findall(output):
        name = test.removeprefix("test-")
        again = sum(one.split("#")[0] == name for one in found)
        found[f"{name}#{again + 1}" if again else name] = WORDS[word]
    return found


class Fakechroot(Suite):
    """A group is a file of tests: those that compare fakechroot with chroot(8)."""

    name = "fakechroot"
    subset = False
    users = (ROOT,)
    views = ("identity",)

    def build(self, subset: bool) -> None:
        """Raises NotRun."""
        need("autoreconf", "libtoolize", "make", "gcc")
        tree = unpack("fakechroot")

        def build() -> None:
            tree.make("autoreconf", "-fi")
            tree.make("./configure")
            tree.make("make", "check", cwd="test/src")

        tree.once("programs", build)

    def groups(self, user: int, subset: bool) -> list[str]:
        """NAME.t"""
        folder = unpack("fakechroot").path / "test/t"
        files = [p for p in sorted(folder.glob("*.t")) if "for chroot in" in p.read_text()]
        return [path.name for path in files]

    def run(self, run: Run, group: str) -> Statuses:
        """One file."""
        with run.directory(group) as (_, real):
            shutil.copytree(unpack("fakechroot").path / "test", real / "test", symlinks=True)
            command = Path("/usr/bin/env")
            if run.place.name != NATIVE:
                command = real / "fakechroot"
                shim("fakechroot", command, run.place.user)
            env = {"FAKECHROOT": str(command), "srcdir": ".", "SHELL": "/bin/sh"}
            words = ["sh", f"t/{group}"]
            outcome = run.outside(words, cwd=real / "test", log=group, limit=300, env=env)
        return tap.parse(outcome)
