"""Who has an id by which the monitor knows another task has its own rights, and not that one's."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from .view import run_in_view, scratch_directory
from .witness import build

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(os.getuid() != 0, reason="set-user-ID programs, and pid name spaces"),
]
NOBODY = 65534
OWN_IDS = (
    "unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--mount-proc",
)  # fmt: skip


@pytest.fixture
def secret() -> Iterator[Path]:
    """A directory with a file that is root's alone."""
    with scratch_directory("viewos-ids-") as path:
        (path / "f").write_text("secret")
        (path / "f").chmod(0o600)
        yield path


@pytest.mark.parametrize("pure", ["", "1"], ids=["C", "Python"])
@pytest.mark.parametrize("options", [(), ("-static",)], ids=["dynamic", "static"])
def test_set_user_id_program_that_a_thread_executes(
    secret: Path, options: tuple[str, ...], pure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIEWOS_PURE", pure)
    with scratch_directory("viewos-suid-") as directory:
        program = shutil.copy(build("other_ids", *options), directory)
        os.chown(program, NOBODY, 0)
        Path(program).chmod(0o4755)
        words = [str(build("other_ids", *options)), "executes", "/mnt/f", "10", str(program)]
        done = run_in_view([f"vfs:/mnt={secret}"], words)
    assert (done.stdout, done.stderr) == (b"opened 0 of 10, otherwise 0\n", b"")


@pytest.mark.parametrize("pure", ["", "1"], ids=["C", "Python"])
def test_process_that_gets_the_id_of_another_at_once(
    secret: Path, pure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIEWOS_PURE", pure)
    words = [str(build("other_ids", "-static")), "reuses", "/mnt/f", "10"]
    done = run_in_view([f"vfs:/mnt={secret}"], words, before=OWN_IDS)
    assert (done.stdout, done.stderr) == (b"opened 0 of 10, otherwise 0\n", b"")
