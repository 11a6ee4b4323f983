"""Programs of the GNU system, and strace, with their own tests: Debian's source packages.

The tests run in a copy of the built tree, because they write beside themselves, and with the make
that starts them, because that is how anyone runs them.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import ClassVar

from . import aptsource
from .sources import Tree, need, output_of
from .suite import Run, Statuses, Suite, ending, unused

NOT_BUILT = (".git", "po", "doc", "debian", "gnulib-tests", ".viewos-*")
LEFT_OUT = ("*.o", "*.a", "*.lo", *NOT_BUILT)
"""What no test needs."""
LARGEST = 4 << 20
"""Bytes of a file that may have the name of the directory in it."""
NO_AUTOTOOLS = ("ACLOCAL=:", "AUTOCONF=:", "AUTOMAKE=:", "AUTOHEADER=:", "MAKEINFO=:")
"""Debian's patches are younger than what was generated from the files that they change."""
BUILT = ("check_PROGRAMS=", "check_LIBRARIES=", "check_DATA=", "check_LTLIBRARIES=")
"""Nothing is to be built any more."""
PART = 25
LIMIT = 3000.0
"""Seconds for one group."""
_RESULT = re.compile(r"^:test-result: (\w+)", re.MULTILINE)
_DEJAGNU = re.compile(
    r"^(PASS|FAIL|XFAIL|XPASS|UNTESTED|UNRESOLVED|UNSUPPORTED): (.*)$", re.MULTILINE
)
_AUTOTEST = re.compile(
    r"^ *(\d+): (.*?)  +(ok|skipped|FAILED|expected failure|UNEXPECTED PASS)", re.MULTILINE
)
_WORDS = {
    "PASS": "pass", "XFAIL": "pass, to fail", "SKIP": "skip", "FAIL": "fail",
    "XPASS": "fail to fail", "ERROR": "fail hard", "UNTESTED": "skip untested",
    "UNRESOLVED": "fail unresolved", "UNSUPPORTED": "skip unsupported", "ok": "pass",
    "skipped": "skip", "FAILED": "fail", "expected failure": "pass, to fail",
    "UNEXPECTED PASS": "fail to fail",
}  # fmt: skip


def copy(tree: Tree, real: Path, work: Path, user: int, left_out: Sequence[str] = LEFT_OUT) -> None:
    """A copy of a built tree at `real`, for a `user` who sees it as `work`."""
    ignore = shutil.ignore_patterns(*left_out)
    shutil.copytree(tree.path, real, symlinks=True, ignore=ignore, dirs_exist_ok=True)
    old, new = str(tree.path).encode(), str(work).encode()
    for path in [real, *real.rglob("*")]:
        if not path.is_symlink() and path.is_file() and path.stat().st_size < LARGEST:
            _replace(path, old, new)
        mode = path.lstat().st_mode
        os.chown(path, user, user, follow_symlinks=False)
        if mode & 0o6000 and not path.is_symlink():
            path.chmod(mode & 0o7777)  # which a change of the owner clears


def _replace(path: Path, old: bytes, new: bytes) -> None:
    data = path.read_bytes()
    if old in data and b"\0" not in data:
        status = path.stat()
        path.write_bytes(data.replace(old, new))
        # make would think that something has to be made again
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


class Package(Suite):
    """A source package, built in place."""

    subset = False
    needs: ClassVar[tuple[str, ...]] = ()
    configure: ClassVar[tuple[str, ...]] = ()

    @property
    def tree(self) -> Tree:
        """Its sources."""
        return aptsource.source(self.name)

    def build(self, subset: bool) -> None:
        """Raises NotRun."""
        need("make", "gcc", *self.needs)
        tree = self.tree

        def build() -> None:
            words = ["./configure", "CFLAGS=-O1", *self.configure]
            tree.make(*words, env={"FORCE_UNSAFE_CONFIGURE": "1"})
            tree.make("make", "-j2", *NO_AUTOTOOLS)

        tree.once("all", build)
        tree.once("tests", lambda: self.build_tests(tree))

    def build_tests(self, tree: Tree) -> None:
        """Build what only the tests need."""


class Automake(Package):
    """A group is some tests of one Makefile: their results are in files of a common format."""

    folder: ClassVar[str] = "."
    """Where the Makefile is."""
    left_out: ClassVar[tuple[str, ...]] = LEFT_OUT

    def build_tests(self, tree: Tree) -> None:
        """The programs that tests call."""
        make = ["make", "-j2", "-k", *NO_AUTOTOOLS, "check", "TESTS=", "SUBDIRS=."]
        tree.make(*make, cwd=self.folder, check=False)

    def groups(self, user: int, subset: bool) -> list[str]:
        """Of each part, the first test."""
        return list(self._parts())

    def _parts(self) -> dict[str, list[str]]:
        return _parts(self.tree.path / self.folder)

    def run(self, run: Run, group: str) -> Statuses:
        """One part, with the make of the package."""
        with run.directory(group) as (work, real):
            copy(self.tree, real, work, run.place.user, self.left_out)
            words = ["make", "-k", *NO_AUTOTOOLS, *BUILT, "check-TESTS"]
            tests = f"TESTS={' '.join(self._parts()[group])}"
            outcome = run([*words, tests], cwd=work / self.folder, log=group, limit=LIMIT)
            found: Statuses = {}
            for path in sorted((real / self.folder).rglob("*.trs")):
                name = str(path.relative_to(real / self.folder).with_suffix(""))
                for word in _RESULT.findall(path.read_text(errors="backslashreplace")):
                    found[unused(name, found)] = _WORDS[word]
            run.keep(group, [*real.rglob("test-suite.log")])
        if found and outcome.status is not None:
            return {**found, "end": "pass"}  # make fails where a test does, which is told already
        return {**found, "end": ending(outcome)}


@cache
def _parts(folder: Path) -> dict[str, list[str]]:
    words = ["make", "-s", *NO_AUTOTOOLS, "--eval=print-it: ; @echo tests: $(TESTS)", "print-it"]
    (line,) = re.findall(r"^tests: (.*)$", output_of(words, folder), re.MULTILINE)
    names = line.split()
    return {names[at]: names[at : at + PART] for at in range(0, len(names), PART)}


class Sed(Automake):
    """The stream editor."""

    name = "sed"


class Coreutils(Automake):
    """cp, ls, rm and their hundred kin."""

    name = "coreutils"
    left_out = NOT_BUILT  # each test asks for the programs, and those for their objects


class Strace(Automake):
    """strace's own tests: a tracer in a view."""

    name = "strace"
    folder = "tests"
    configure = ("--enable-mpers=no", "--disable-gcc-Werror", "--enable-bundled=yes")


class Findutils(Automake):
    """find, xargs and locate: beside the tests of their Makefile those of DejaGnu."""

    name = "findutils"
    needs = ("runtest",)
    TOOLS = ("find", "xargs", "locate")

    def groups(self, user: int, subset: bool) -> list[str]:
        """The parts, and the tools."""
        return [*super().groups(user, subset), *self.TOOLS]

    def run(self, run: Run, group: str) -> Statuses:
        """One of them."""
        if group not in self.TOOLS:
            return super().run(run, group)
        with run.directory(group) as (work, real):
            copy(self.tree, real, work, run.place.user)
            folder = f"{group}/testsuite"
            words = ["make", *NO_AUTOTOOLS, "check"]
            outcome = run(words, cwd=work / folder, log=group, limit=LIMIT)
            report = real / folder / f"{group}.sum"
            text = report.read_text(errors="backslashreplace") if report.exists() else ""
        found: Statuses = {}
        for word, test in _DEJAGNU.findall(text):
            found[unused(test, found)] = _WORDS[word]
        return {**found, "end": ending(outcome)}


class Tar(Package):
    """GNU tar: a script of Autotest, whose tests have numbers."""

    name = "tar"
    HELPERS = ("genfile", "checkseekhole", "ckmtime")

    def build_tests(self, tree: Tree) -> None:
        """The programs that make test data."""
        tree.make("make", *NO_AUTOTOOLS, *self.HELPERS, cwd="tests")

    def groups(self, user: int, subset: bool) -> list[str]:
        """Ranges of numbers."""
        text = output_of(["./testsuite", "--list"], self.tree.path / "tests")
        last = max(map(int, re.findall(r"^ *(\d+): ", text, re.MULTILINE)))
        return [f"{at}-{min(at + PART - 1, last)}" for at in range(1, last + 1, PART)]

    def run(self, run: Run, group: str) -> Statuses:
        """One range."""
        with run.directory(group) as (work, real):
            copy(self.tree, real, work, run.place.user)
            words = ["sh", "./testsuite", group]
            outcome = run(words, cwd=work / "tests", log=group, limit=LIMIT)
            run.keep(group, [real / "tests/testsuite.log"])
        return {
            **{
                f"{at} {name}": _WORDS[word] for at, name, word in _AUTOTEST.findall(outcome.output)
            },
            "end": ending(outcome),
        }


class Bash(Package):
    """bash: each script's output is compared with the expected one; the difference counts."""

    name = "bash"
    HELPERS = ("recho", "zecho", "printenv", "xcase")
    NEEDED = ("tests", "bash", *HELPERS)
    LOOP = 'for t; do echo "== test $t"; sh "$t"; echo "== status $?"; rm -f "$BASH_TSTOUT"; done'

    def build_tests(self, tree: Tree) -> None:
        """Programs that print their arguments."""
        tree.make("make", *self.HELPERS)
        for name in self.HELPERS:
            shutil.copy(tree.path / name, tree.path / "tests")

    def groups(self, user: int, subset: bool) -> list[str]:
        """Of each part, the first script."""
        return list(self._parts())

    def _parts(self) -> dict[str, list[str]]:
        names = sorted(path.name for path in (self.tree.path / "tests").glob("run-*"))
        names = [n for n in names if n not in ("run-all", "run-minimal", "run-gprof")]
        return {names[at]: names[at : at + PART] for at in range(0, len(names), PART)}

    def run(self, run: Run, group: str) -> Statuses:
        """Some scripts."""
        left_out = [p.name for p in self.tree.path.iterdir() if p.name not in self.NEEDED]
        with run.directory(group) as (work, real):
            copy(self.tree, real, work, run.place.user, left_out)
            env = {
                "THIS_SH": "../bash", "BUILD_DIR": str(work), "TMPDIR": str(work),
                "BASH_TSTOUT": f"{work}/output", "PATH": f"{work}/tests:.:{run.env['PATH']}",
            }  # fmt: skip
            words = ["sh", "-c", self.LOOP, "sh", *self._parts()[group]]
            outcome = run(words, cwd=work / "tests", log=group, limit=LIMIT, env=env)
        # Process ids and times are not the same twice.
        text = re.sub(r"[0-9]{3,}", "N", outcome.output.replace(str(work), "WORK"))
        found = {}
        for part in text.split("== test ")[1:]:
            name, _, said = part.partition("\n")
            said, _, status = said.rpartition("== status ")
            end = "pass" if status.strip() == "0" else f"fail status {status.strip()}"
            found[name] = f"{end}\n{said}"
        return {**found, "end": ending(outcome)}
