"""fakeroot's own test suite, with viewos-fakeroot in the place of its command."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.suites.fakeroot import DEFS
from tests.interop.suites.sources import NotRun, unpack
from tests.system.users import python
from tests.system.view import run_in_view, scratch_directory

USER = 65534 if os.getuid() == 0 else os.getuid()
NAMES = (
    "chmod_dev", "echoarg", "falsereturn", "mknod", "no_ld_preload", "no_ld_preload_link", "option",
    "tar", "touchinstall", "truereturn", "xattr",
)  # fmt: skip
SWAPPED = """
run_fakeroot() {
    tmp=$tmp %s -m viewos fakeroot -f /no/faked -l /no/libfakeroot.so "$@"
}
"""


@pytest.fixture
def work() -> Iterator[Path]:
    with scratch_directory("viewos-fakeroot-test-") as path:
        yield path


def _tests(suite: str) -> Path:
    try:
        return unpack(suite).path / "test"
    except NotRun as why:
        pytest.skip(f"no suites: {why}")


def _status(place: Path, name: str, defs: str, user: int) -> int:
    shutil.copytree(_tests("fakeroot"), place)
    (place / "defs").write_text(defs)
    for path in (place, *place.rglob("*")):
        os.chown(path, user, user)
    env = {"srcdir": ".", "posixshell": "/bin/sh", "VERBOSE": "x"}
    result = run_in_view(
        None, ["sh", f"./t.{name}"], user=user, cwd=place, env=env, stderr=subprocess.STDOUT
    )
    print(result.stdout.decode())
    return result.returncode


@pytest.mark.parametrize("name", NAMES)
def test_a_case(work: Path, name: str) -> None:
    """As root itself gets it: getcap of today prints another line than t.xattr expects."""
    natively = 0 if name != "xattr" else 1
    if os.getuid() == 0:
        assert _status(work / "native", name, DEFS, 0) == natively
    assert _status(work / "view", name, DEFS + SWAPPED % python(USER), USER) == natively


def test_all_cases_are_there() -> None:
    found = {path.name for path in _tests("fakeroot").glob("t.*")}
    assert found == {f"t.{name}" for name in NAMES}


# ---- pseudo's tests ------------------------------------------------------------------------------

PSEUDO = ("chroot", "dir-move", "execl", "reexec-chroot")
PSEUDOS_OWN = (
    "env_i",  # its variables are in each environment
    "pseudo_disable-fork", "pseudo_disable-fork-env_i", "pseudo_unload-fork",
    "pseudo_unload-fork-env_i",  # PSEUDO_DISABLED and PSEUDO_UNLOAD let a program leave it
)  # fmt: skip


@pytest.mark.parametrize("name", PSEUDO)
def test_a_case_of_pseudos(work: Path, name: str) -> None:
    """Their command is `./bin/pseudo`, which one of them calls a second time."""
    shutil.copytree(_tests("pseudo"), work / "test")
    (work / "bin").mkdir()
    command = work / "bin" / "pseudo"
    view = "run -m vfs:/=/ -m uid:0 --"  # chroot(2) takes a view of all paths
    command.write_text(f'#!/bin/sh\nexec {python(USER)} -m viewos {view} "$@"\n')
    command.chmod(0o755)
    for path in (work, *work.rglob("*")):
        os.chown(path, USER, USER)
    result = run_in_view(
        None, ["./bin/pseudo", f"test/test-{name}.sh"], user=USER, cwd=work,
        stderr=subprocess.STDOUT,
    )  # fmt: skip
    print(result.stdout.decode())
    assert result.returncode == 0


def test_all_cases_of_pseudos_are_known() -> None:
    found = {path.name for path in _tests("pseudo").glob("test-*.sh")}
    assert found == {f"test-{name}.sh" for name in (*PSEUDO, *PSEUDOS_OWN)}
