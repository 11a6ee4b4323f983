"""viewos run -p and viewos profile, as a user calls them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from .users import REPOSITORY
from .view import run_in_view

VIEWOS = [sys.executable, "-m", "viewos"]


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    (tmp_path / "file").write_text("text\n")
    path = tmp_path / "p.toml"
    path.write_text(
        f'modules = ["vfs:/mnt={tmp_path}", "hostname:h"]\nchdir = "/mnt"\nnestable = true\n'
    )
    return path


def test_chdir_of_the_command_line_counts(profile: Path) -> None:
    words = [*VIEWOS, "run", "-p", str(profile)]
    assert run_in_view(None, [*words, "--", "cat", "file"]).stdout == b"text\n"
    done = run_in_view(None, [*words, "-C", "/usr", "--", "pwd"])
    assert done.stdout == b"/usr\n"


def test_nestable_counts(profile: Path) -> None:
    # uid nests in a view without it only where the outermost one is nestable.
    inner = [*VIEWOS, "run", "-m", "uid:12", "--", "id", "-u"]
    done = run_in_view(None, [*VIEWOS, "run", "-C", str(REPOSITORY), "-p", str(profile), *inner])
    assert (done.stdout, done.stderr) == (b"12\n", b"")


def test_in_a_view_the_file_and_its_errors_are_the_views(tmp_path: Path) -> None:
    (tmp_path / "good.toml").write_text('modules = ["hostname:inner", "vfs:/media=/mnt"]')
    (tmp_path / "bad.toml").write_text('modules = [\n"vfs:media=/mnt"]')
    script = (
        f"{sys.executable} -m viewos run -p /mnt/good.toml -- sh -c 'uname -n; ls /media';"
        f"{sys.executable} -m viewos run -p /mnt/bad.toml -- true; echo $?"
    )
    done = run_in_view([f"vfs:/mnt={tmp_path}"], ["sh", "-c", script])
    assert done.stdout == b"inner\nbad.toml\ngood.toml\n2\n"
    assert done.stderr.startswith(b"viewos: /mnt/bad.toml:2: module vfs: 'media=/mnt':")


@pytest.mark.parametrize(("words", "said"), [
    ([], "check is what it can do"),
    (["chek", "x"], "check is what it can do"),
    (["check"], "which PROFILE?"),
    (["check", "./none.toml"], "profile ./none.toml: No such file or directory"),
])  # fmt: skip
def test_bad_input(words: list[str], said: str) -> None:
    done = run_in_view(None, [*VIEWOS, "profile", *words])
    assert done.returncode == 2 and done.stdout == b""
    assert said in done.stderr.decode() and done.stderr.count(b"\n") == 1


def test_nothing_wrong_is_nothing_said(profile: Path) -> None:
    done = run_in_view(None, [*VIEWOS, "profile", "check", str(profile)])
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
