"""A user's own views, with a directory for their control sockets, and what asks for them."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.system.users import NOBODY, python
from tests.system.view import run_in_view, started

USERS = (0, NOBODY)
PATIENCE = 20.0
NAME = "here"


class Ground:
    """A directory of a user's, with trees for backings, and a place for sockets of its own."""

    def __init__(self, user: int, path: Path) -> None:
        self.user = user
        self.path = path
        self.env = {"VIEWOS_RUNTIME_DIR": str(path / "run")}

    def ask(self, *words: str, **kw: Any) -> subprocess.CompletedProcess[bytes]:
        """`viewos WORD...` outside of every view."""
        env = {**self.env, **kw.pop("env", {})}
        return run_in_view(
            None, [python(self.user), "-m", "viewos", *words], user=self.user, env=env, **kw
        )

    def says(self, *words: str, **kw: Any) -> str:
        """What a command prints, and how it ends if that is not well."""
        done = self.ask(*words, **kw)
        text = (done.stdout + done.stderr).decode()
        return text + (f"status {done.returncode}\n" if done.returncode else "")

    def json(self, *words: str) -> Any:
        """What a command prints with --json."""
        done = self.ask(*words, "--json")
        assert (done.returncode, done.stderr) == (0, b"")
        return json.loads(done.stdout)

    @contextmanager
    def view(
        self, modules: Sequence[str], command: Sequence[str], *options: str, name: str = NAME
    ) -> Iterator[subprocess.Popen[bytes]]:
        """A view that runs, when its control socket is there."""
        words = [python(self.user), "-m", "viewos", "run", "--name", name, *options]
        for module in modules:
            words += ["-m", module]
        with started(
            None, [*words, "--", *command], user=self.user, env=self.env,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, strict=False,
        ) as process:  # fmt: skip
            until(lambda: any(one["name"] == name for one in self.json("ps")))
            yield process

    @property
    def socket(self) -> Path:
        """The one socket that there is."""
        (found,) = (self.path / "run").glob("*.sock")
        return found


@pytest.fixture(params=USERS, ids=lambda user: f"as-{user}")
def ground(request: pytest.FixtureRequest) -> Iterator[Ground]:
    user = request.param
    path = Path(tempfile.mkdtemp(prefix="viewos-ctl-"))
    for name in ("a", "b", "run"):
        (path / name).mkdir()
        (path / name / name).write_text(f"in {name}\n")
    (path / "run" / "run").unlink()
    for each in (path, *path.rglob("*")):
        os.chown(each, user, user)
    path.chmod(0o755)
    (path / "run").chmod(0o700)
    yield Ground(user, path)
    shutil.rmtree(path)


def until(holds: Callable[[], Any]) -> Any:
    """What `holds` gives, when it is true."""
    end = time.monotonic() + PATIENCE
    while not (value := holds()):
        assert time.monotonic() < end, "it does not come true"
        time.sleep(0.05)
    return value


SLEEP = ["sleep", "100"]


def converse(client: socket.socket, method: str, **parameters: Any) -> Any:
    """The reply to a call of a method."""
    request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}
    client.sendall(json.dumps(request).encode() + b"\n")
    return reply(client)


def reply(client: socket.socket) -> Any:
    """The next reply; None: it hung up."""
    client.settimeout(PATIENCE)
    data = b""
    while not data.endswith(b"\n"):
        try:
            more = client.recv(1 << 16)
        except ConnectionResetError:  # it hung up before it had let us in
            return None
        if not more:
            return None
        data += more
    return json.loads(data)
