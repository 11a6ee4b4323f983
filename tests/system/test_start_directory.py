"""-C of `viewos run` and `viewos exec`: where a program starts, and what PWD says of that."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .control import NAME, SLEEP, Ground, ground
from .view import run_in_view, scratch_directory

__all__ = ["ground"]  # the fixture
pytestmark = pytest.mark.timeout(60)

VIEWOS = [sys.executable, "-m", "viewos"]
WAYS = {
    "run": [*VIEWOS, "run"],
    "ancestor": [*VIEWOS, "run", "--layout", "ancestor"],
    "nested": [*VIEWOS, "run", "--nestable", "--", *VIEWOS, "run"],
}
BELOW = ["deep", "./deep", ".//deep/", "../share/deep"]


@pytest.fixture
def top() -> Iterator[Path]:
    """What a view shows as /usr/share, where there is no such directory outside."""
    with scratch_directory("viewos-start-") as made:
        (made / "deep").mkdir()
        yield made


def starts(way: str, claim: str, wanted: str, *command: str, **kw: str) -> tuple[bytes, bytes]:
    """What a command prints that is started from /usr/share."""
    words = [*WAYS[way], "-m", f"vfs:{claim}", "-C", wanted, "--", *command]
    env = {**kw, "PATH": "/usr/bin:/bin"}
    done = run_in_view(None, words, cwd="/usr/share", env=env)
    return done.stdout, done.stderr


@pytest.mark.parametrize("wanted", BELOW)
@pytest.mark.parametrize("way", WAYS)
def test_a_relative_directory_is_one_of_the_view(way: str, wanted: str, top: Path) -> None:
    """It is relative to the caller's directory as the view shows it, not to that outside."""
    assert starts(way, f"/usr/share={top}", wanted, "pwd", "-P") == (b"/usr/share/deep\n", b"")


@pytest.mark.parametrize("way", WAYS)
def test_a_relative_directory_may_lead_into_a_claim(way: str, top: Path) -> None:
    assert starts(way, f"/usr/new={top}", "../new/deep", "pwd", "-P") == (b"/usr/new/deep\n", b"")


@pytest.mark.parametrize("way", WAYS)
def test_a_relative_directory_that_is_only_outside(way: str, top: Path) -> None:
    text = b"viewos: /usr/share/misc: No such file or directory\n"
    assert starts(way, f"/usr/share={top}", "misc", "pwd") == (b"", text)


@pytest.mark.parametrize("wanted", ["/mnt", "/mnt/.", "../../mnt"])
@pytest.mark.parametrize("way", WAYS)
def test_a_shell_does_not_believe_the_callers_name(way: str, wanted: str) -> None:
    """/usr/share is another name of the directory in which it starts."""
    command = ("bash", "-c", "pwd")
    assert starts(way, "/mnt=/usr/share", wanted, *command, PWD="/usr/share") == (b"/mnt\n", b"")


def test_only_a_variable_that_is_there_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PWD", "OLDPWD"):
        monkeypatch.delenv(name, raising=False)
    claim = "/mnt=/usr/share"
    told, _ = starts("run", claim, "/mnt/", "env", PWD="/usr/share", OLDPWD="/")
    assert {b"PWD=/mnt", b"OLDPWD=/"} <= set(told.splitlines())
    assert b"PWD=" not in starts("run", claim, "/mnt/", "env")[0]


@pytest.mark.parametrize("layout", ["direct", "ancestor"])
def test_exec_too(ground: Ground, top: Path, layout: str) -> None:
    with ground.view([f"vfs:/usr/share={top},/mnt=/usr/share"], SLEEP):
        run = ("exec", "--layout", layout, "-C")
        assert ground.says(*run, "deep", NAME, "pwd", "-P", cwd="/usr/share") == "/usr/share/deep\n"
        assert ground.says(*run, "misc", NAME, "pwd", cwd="/usr/share") == (
            "viewos: /usr/share/misc: No such file or directory\nstatus 125\n"
        )
        shell = ("bash", "-c", "pwd")
        told = ground.says(*run, "/mnt", NAME, *shell, cwd="/usr/share", env={"PWD": "/usr/share"})
        assert told == "/mnt\n"


@pytest.mark.parametrize("claim", ["vfs:/=/", "vfs:/mnt=/usr"])
@pytest.mark.parametrize("way", [*WAYS, "exec"])
def test_a_directory_to_which_no_path_may_be_searched(
    ground: Ground, top: Path, way: str, claim: str
) -> None:
    """The caller is in it all the same, as it is natively."""
    (top / "deep" / "there").touch()
    top.chmod(0o700)
    words = [*VIEWOS, "exec", NAME] if way == "exec" else [*WAYS[way], "-m", claim]
    with ground.view([claim] if way == "exec" else [], SLEEP):
        done = run_in_view(
            None, [*words, "--", "ls"], cwd=top / "deep", env=ground.env,
            user=ground.user,
        )  # fmt: skip
    assert (done.stdout, done.stderr) == (b"there\n", b"")
