"""RLIMIT_LOCKS, which carries what is remembered of a process, is finite at the start."""

from __future__ import annotations

import os

import pytest

from viewos.launcher.layout import has_capability
from viewos.monitor.process import CAP_SYS_RESOURCE

from .control import NAME, SLEEP, Ground, ground
from .launching import LAYOUTS
from .users import NOBODY, python
from .view import ONLY_IDS, run_in_view

__all__ = ["ground"]  # the fixture
pytestmark = pytest.mark.timeout(60)
ROOM = 1_000_000
MAY_RAISE = os.getuid() == 0 and has_capability(CAP_SYS_RESOURCE)
LIMITS = [(ROOM, 0), (ROOM, NOBODY), *[(7, 0)] * MAY_RAISE]
every_limit = pytest.mark.parametrize(("limit", "user"), LIMITS)
CLAIM = ["-m", "vfs:/mnt/deep=/usr"]
DEEP = ["sh", "-c", "cd /mnt/deep && pwd -P && cd .. && pwd -P"]


def limited(limit: int, *words: str, user: int, how: str = "-x", **kw: object) -> tuple[int, str]:
    """How a command ends, and what it says, with that limit."""
    command = ["bash", "-c", f'ulimit {how} {limit}; exec "$@"', "bash", *words]
    done = run_in_view(None, command, user=user, timeout=30, **kw)  # type: ignore[arg-type]
    return done.returncode, (done.stdout + done.stderr).decode()


def run(user: int, *words: str) -> list[str]:
    return [python(user), "-m", "viewos", "run", *words]


@every_limit
@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_remembered(layout: str, limit: int, user: int) -> None:
    """A directory in a claim; an identity; a nested view."""
    deep = run(user, "--layout", layout, *CLAIM, "--", *DEEP)
    assert limited(limit, *deep, user=user) == (0, "/mnt/deep\n/mnt\n")
    start = run(user, "--layout", layout, *CLAIM, "-C", "/mnt/deep", "pwd")
    assert limited(limit, *start, user=user) == (0, "/mnt/deep\n")
    other = ["setpriv", "--reuid=7", "id", "-u"]
    became = run(user, "--layout", layout, "-m", "uid:0", "--", *other)
    assert limited(limit, *became, user=user) == (0, "7\n" + ONLY_IDS.decode())
    nested = run(user, "--layout", layout, "--nestable", "--", *run(user, *deep[6:]))
    assert limited(limit, *nested, user=user) == (0, "/mnt/deep\n/mnt\n")


@every_limit
@pytest.mark.parametrize("how", ["-x", "-Sx"])
def test_the_believed_limit_is_that_of_the_launch(how: str, limit: int, user: int) -> None:
    look = "ulimit -Sx; ulimit -Hx; ulimit -x 5 && ulimit -Hx; grep locks /proc/self/limits"
    wanted = limited(limit, "bash", "-c", look, user=user, how=how)
    assert (
        limited(limit, *run(user, *CLAIM, "--", "bash", "-c", look), user=user, how=how) == wanted
    )
    assert wanted[1].startswith(f"{limit}\n")


def test_no_room() -> None:
    """An ordinary user cannot raise a hard limit."""
    status, text = limited(7, *run(NOBODY, "true"), user=NOBODY)
    assert (status, text.count("\n")) == (125, 1)
    assert text.startswith("viewos: the hard limit of file locks (`ulimit -Hx`) is 7: ")
    status, text = limited(7, python(NOBODY), "-m", "viewos", "doctor", user=NOBODY)
    assert status == 1 and "views do not work here, for want of: tokens\n" in text


def test_exec_brings_a_limit_along(ground: Ground) -> None:
    """Of this view tokens are higher."""
    look = "ulimit -Sx; ulimit -Hx; cd /mnt/deep && pwd -P"
    words = [python(ground.user), "-m", "viewos", "exec", NAME, "--", "bash", "-c", look]
    may_raise = MAY_RAISE and ground.user == 0
    with ground.view(["vfs:/mnt/deep=/usr"], SLEEP):
        soft, hard = (
            limited(7, *words, user=ground.user, env=ground.env, how=how) for how in ("-Sx", "-x")
        )
    assert soft == (0, "7\nunlimited\n/mnt/deep\n")
    if may_raise:
        assert hard == (0, "7\n7\n/mnt/deep\n")
    else:
        assert (hard[0], hard[1].count("\n")) == (125, 1) and "RLIMIT_LOCKS" in hard[1]
