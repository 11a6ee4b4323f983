"""Nothing of a view is left in TMPDIR when it has ended."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.system.control import Ground, ground
from tests.system.view import run_in_view
from viewos.monitor.scratch import remove_tree

__all__ = ["ground"]  # the fixture
pytestmark = pytest.mark.timeout(60)
LEFT = {
    "no write permission": "mkdir d; touch d/f; ln -s . d/link; chmod 555 d",
    "no permission": "mkdir -p d/e/g; touch d/e/f; chmod 0 d/e/g d/e d",
    "no search permission": "mkdir -p d/e; touch d/f; chmod 600 d",
    "no permission for the top": "mkdir -p d/e; chmod 0 .",
    "a deep tree": 'python3 -c \'import os\nfor _ in range(1100): os.mkdir("d"), os.chdir("d")\'',
}


@pytest.mark.parametrize("left", LEFT)
def test_what_programs_leave(ground: Ground, left: str) -> None:
    outside = ground.path / "outside"
    outside.mkdir()
    outside.chmod(0o555)
    where = ground.path / "tmp"
    where.mkdir()
    where.chmod(0o1777)
    script = f"cd /srv && ln -s {outside} out && {LEFT[left]}"
    done = run_in_view(
        ["tmpfs:/srv"], ["sh", "-c", script], user=ground.user, cwd=ground.path,
        env={**(ground.env or {}), "TMPDIR": str(where)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert os.listdir(where) == [] and outside.stat().st_mode & 0o777 == 0o555


def test_no_link_is_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").touch()
    tree = tmp_path / "tree"
    (tree / "d").mkdir(parents=True)
    (tree / "d" / "link").symlink_to(outside)
    (tree / "link").symlink_to(outside)
    remove_tree(os.fsencode(tree))
    assert os.listdir(tmp_path) == ["outside"] and os.listdir(outside) == ["file"]
