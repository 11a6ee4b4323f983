"""What a security module forbids a program by its label (here AppArmor, which knows a program by a
profile) is forbidden in a view: the monitor, which has another label, must not act for it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from viewos.monitor.task import Tasks

from .users import NOBODY
from .view import Place, place
from .witness import build, cache

needs_apparmor = pytest.mark.skipif(
    not Path("/sys/module/apparmor/parameters/enabled").exists(),
    reason="the kernel has no AppArmor (CONFIG_SECURITY_APPARMOR, lsm=...,apparmor)",
)
PROFILE = """
profile %(name)s flags=(attach_disconnected) {
  /{,**/}lib{,64}/** mr,
  /etc/ld.so.* r,
  %(programs)s/** mr,
  %(directory)s/ok/{,**} r,
  %(directory)s/may-*{,/} rw,
  /proc/** r,
}
"""
NAME = "viewos-test"
MAPPED = "net:map=10.1.2.3=127.0.0.1"


@pytest.fixture(params=["native", "identity", "mnt", "net"])
def where(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[0, NOBODY])
def here(request: pytest.FixtureRequest, where: str) -> Iterator[Place]:
    """A directory, and a profile that allows little in it."""
    with place("native" if where == "net" else where, request.param) as found:
        _parse("--replace", found.real)
        try:
            yield replace(found, modules=(MAPPED,)) if where == "net" else found
        finally:
            _parse("--remove", found.real)


def _parse(option: str, directory: Path) -> None:
    text = PROFILE % {"name": NAME, "directory": directory, "programs": cache()}
    subprocess.run(["apparmor_parser", option], input=text.encode(), check=True, timeout=60)


@needs_apparmor
@pytest.mark.parametrize("options", [(), ("-static",)], ids=["dynamic", "static"])
def test_what_a_profile_forbids_stays_forbidden(here: Place, options: tuple[str, ...]) -> None:
    result = here.run([build("label", *options), here.directory, NAME])
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout.decode().splitlines() == EXPECTED


DENIED = (
    "read denied", "list denied", "write in the readable one", "truncate while opening",
    "truncate", "create", "mkdir", "symlink", "link", "chmod", "unlink", "rename",
)  # fmt: skip
EXPECTED = [
    "before: read: OK", "read allowed: OK", "list allowed: OK",
    *(f"{what}: EACCES" for what in DENIED),
    "stat: OK", "access: OK", "readlink: OK",  # AppArmor does not judge these
    "make where it may: OK", "mkdir where it may: OK", "rmdir where it may: OK",
    "chdir: OK", "read denied from there: EACCES", "connect: EACCES", "execute: EACCES",
]  # fmt: skip


def test_a_task_of_another_label_is_not_acted_for() -> None:
    tasks = Tasks()
    task, _ = tasks.get(os.getpid())
    assert task.like_us and not tasks.is_labelled(os.getpid())
    task.our_label = b"another"
    assert task.has_our_ids and task.is_labelled and not task.like_us
