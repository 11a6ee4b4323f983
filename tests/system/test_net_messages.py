"""Messages that the kernel refuses, alone and behind others, fail as they fail natively."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.system.command import USERS
from tests.system.view import run_in_view
from tests.system.witness import build

HERE = Path(__file__).parent / "net"
pytestmark = pytest.mark.timeout(60)
each_user = pytest.mark.parametrize("user", USERS, ids=lambda user: f"as-{user}")
VIEWS = (
    "net:ports=private",
    "net:none",
    "net:map=9.9.9.9:1/udp=127.0.0.1:1",
    "net:deny=9.9.9.9/udp",
    "net:name=a.test=10.0.0.9",
    "net:bind=9=19",
    "uid:0",
    "vfs:/mnt=DIR",
)


@pytest.fixture
def place(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    user = request.getfixturevalue("user")
    os.chown(tmp_path, user, user)
    for directory in (tmp_path, *tmp_path.parents[:3]):
        directory.chmod(directory.stat().st_mode | 0o055)
    return tmp_path


@each_user
@pytest.mark.parametrize("kind", ["udp", "tcp", "unix"])
def test_refused_messages(kind: str, user: int, place: Path) -> None:
    program = build("messages", "-D_GNU_SOURCE", folder=HERE)

    def run(view: str | None, directory: Path) -> str:
        script = f"cd {directory} && {program} {kind} && rm -f here there"
        words = None if view is None else [view.replace("DIR", str(place))]
        done = run_in_view(words, ["sh", "-c", script], user=user, timeout=20, check=True)
        assert done.stderr == b""
        return done.stdout.decode()

    native = run(None, place)
    assert "sendmmsg, 1,025 vectors of 2: 2  4 4 77 77 left" in native
    for view in VIEWS:
        seen = run(view, Path("/mnt") if "DIR" in view else place)
        assert seen == native, view
