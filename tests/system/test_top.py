"""viewos top: its screen over views that run, driven as by a user."""

from __future__ import annotations

import fcntl
import os
import select
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.system.control import NAME, PATIENCE, Ground, ground
from tests.system.users import python
from tests.system.view import started
from viewos.cli.rates import between

__all__ = ["ground"]  # the fixture
pytestmark = pytest.mark.timeout(120)


def test_the_screen(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    if ground.user:
        return  # the screen runs in the test's own process
    from textual.widgets import DataTable, Static

    from viewos.cli.screen import Screen

    monkeypatch.setenv("VIEWOS_RUNTIME_DIR", str(ground.path / "run"))
    script = "while :; do id -G; cat /mnt/a; cat /mnt/b; sleep 0.02; done > /dev/null 2>&1"
    seen: dict[str, list[list[str]]] = {}

    async def look() -> None:
        screen = Screen(None, 0.2)
        async with screen.run_test(size=(160, 50)) as pilot:
            with anyio.fail_after(30):
                while not _is_complete(seen):
                    await pilot.pause(0.2)
                    for name in ("views", "calls", "modules", "processes"):
                        table: Any = screen.query_one(f"#{name}", DataTable)
                        seen[name] = [table.get_row_at(i) for i in range(table.row_count)]
            assert "1 views, " in str(screen.query_one("#status", Static).render())
            await pilot.press("space")
            await pilot.pause(0.3)
            await pilot.press("q")
        assert screen.return_code == 0

    with ground.view(["uid:0", f"vfs:/mnt={ground.path}/a"], ["sh", "-c", script]):
        anyio.run(look)
    (view,) = seen["views"]
    assert view[1] == NAME and int(view[3]) > 0 and view[5].startswith("uid:0 vfs:/mnt=")
    assert [row[0] for row in seen["modules"]] == ["uid"]


def _is_complete(seen: dict[str, list[list[str]]]) -> bool:
    calls = {row[0]: row[1:] for row in seen.get("calls", [])}
    answered = calls.get("getgroups", ["0", "0"])[1]
    return int(answered) > 0 and bool(seen["processes"]) and int(seen["modules"][0][1]) > 0


def test_a_view_that_is_not_there(ground: Ground, tmp_path: Path) -> None:
    assert ground.says("top", "zzz") == (
        "viewos: there is no view zzz, and no other one either\nstatus 125\n"
    )
    for delay in ("0", "x", "-1"):
        said = ground.says("top", f"--delay={delay}")
        assert said == (
            f"viewos: viewos top: -d {delay}: expected seconds, 0.05 to 3600\nstatus 2\n"
        )


def test_without_a_terminal(ground: Ground) -> None:
    """It draws nothing into a file, and does not run for ever."""
    assert ground.says("top", timeout=20) == (
        "viewos: viewos top: this needs a terminal: `viewos stats` has the same figures\nstatus 2\n"
    )
    with _terminal() as (_, terminal):
        for stream in ("stdin", "stdout", "stderr"):
            streams = dict.fromkeys(("stdin", "stdout", "stderr"), terminal)
            streams[stream] = subprocess.DEVNULL
            assert ground.ask("top", timeout=20, **streams).returncode == 2, stream


@pytest.mark.parametrize("key", [b"q", b"\x11", b"\x03"], ids=["q", "ctrl-q", "ctrl-c"])
def test_keys_that_end_it(ground: Ground, key: bytes) -> None:
    words = [python(ground.user), "-m", "viewos", "top"]
    with _terminal() as (keyboard, terminal):
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), terminal)
        env = {**ground.env, "TERM": "xterm-256color"}
        with started(None, words, user=ground.user, env=env, **streams) as process:
            shown = b""
            while b"calls/s" not in shown:
                assert select.select([keyboard], [], [], PATIENCE)[0], shown
                shown += os.read(keyboard, 1 << 16)
            os.write(keyboard, key)
            end = time.monotonic() + PATIENCE
            while process.poll() is None and time.monotonic() < end:
                if select.select([keyboard], [], [], 0.05)[0]:
                    os.read(keyboard, 1 << 16)
            assert process.poll() == 0


@contextmanager
def _terminal() -> Iterator[tuple[int, int]]:
    """Both ends of one."""
    ends = os.openpty()
    fcntl.ioctl(ends[1], termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    try:
        yield ends
    finally:
        for fd in ends:
            os.close(fd)


def test_without_what_textual_needs(ground: Ground) -> None:
    """The user was told that there is no "rich"."""
    hidden = ground.path / "a" / "textual"
    hidden.mkdir(mode=0o755)
    (hidden / "__init__.py").write_text("import no_such_module\n")
    said = ground.says("top", env={"PYTHONPATH": f"{hidden.parent}:{_python_path()}"})
    assert said.startswith("viewos: this needs textual: pip install 'viewos[top]', or")


def test_without_textual(ground: Ground) -> None:
    hidden = ground.path / "a" / "textual"
    hidden.mkdir(mode=0o755)
    (hidden / "__init__.py").write_text("raise ImportError('not here')\n")
    said = ground.says("top", env={"PYTHONPATH": f"{hidden.parent}:{_python_path()}"})
    assert said == (
        "viewos: this needs textual (not here): pip install 'viewos[top]', or use `viewos stats`\n"
        "status 125\n"
    )


def _python_path() -> str:
    from tests.system.view import environment

    return environment()["PYTHONPATH"]


def test_rates() -> None:
    def figures(time: float, **counted: float) -> dict[str, Any]:
        return {
            "time": time, "calls": {"open": counted},
            "views": [{"id": "1", "calls": counted["answered"], "modules": {"vfs": 3 * time}}],
            "processes": [{"pid": 7, "name": "sh", "calls": 10 * time}],
        }  # fmt: skip

    before = figures(10, answered=5, accelerator=100)
    found = between(before, figures(12, answered=9, accelerator=1100, slowest=0.002))
    (call,) = found.calls
    assert call == (
        "open", {"accelerator": 500, "answered": 2, "failed": 0, "continued": 0}, 2,
    )  # fmt: skip
    assert found.modules == [("vfs", 3)] and found.processes == [(7, "sh", 10)]
    assert found.views == {"1": 2}
