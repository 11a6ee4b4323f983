"""An OSError without an errno, raised by a module, is an exception like any other."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.system.command import USERS, viewos
from tests.system.view import Place, place, run_in_view

pytestmark = pytest.mark.timeout(60)
MODULES = """
import io, socket
from viewos import Entry, FileModule, TreeModule, VirtualModule, hook

class Hook(VirtualModule):
    @hook("uname")
    def look(self, call):
        raise TimeoutError

class Text(VirtualModule):
    @hook("uname")
    def look(self, call):
        raise ValueError("gro\\xdf \\u20ac \\udcff \\ud800")

class Restarts(VirtualModule):
    @hook("uname")
    def look(self, call):
        raise OSError(512, "ERESTARTSYS, which is the kernel's own")

class NoHost(VirtualModule):
    async def uname(self, call):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

class Tree(TreeModule):
    mount_point = b"/net"

    def entries(self, path):
        if path == b"/dir":
            raise io.UnsupportedOperation("no list")
        return [Entry.file(b"a", 1), Entry.directory(b"dir")]

    def read(self, path):
        raise TimeoutError

class File(FileModule):
    mount_point = b"/net"

    def prepare(self, path, intent):
        if path == b"/a":
            raise TimeoutError("no answer")
"""


@pytest.fixture(params=USERS[-1:], ids=lambda user: f"as-{user}")
def here(request: pytest.FixtureRequest) -> Iterator[Place]:
    with place("native", request.param) as where:
        (where.real / "e.py").write_text(MODULES)
        yield where


@pytest.mark.parametrize("inproc", [(), ("--no-inproc",)], ids=["inproc", "no-inproc"])
@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("Hook uname", "TimeoutError"),
        ("Restarts uname", "OSError: [Errno 512] ERESTARTSYS, which is the kernel's own"),
        ("NoHost uname", "socket.gaierror: [Errno -2] Name or service not known"),
        ("Tree cat /net/a", "TimeoutError"),
        ("Tree ls /net/dir", "io.UnsupportedOperation: no list"),
        ("File cat /net/a", "TimeoutError: no answer"),
    ],
)
def test_it_is_told(here: Place, words: str, told: str, inproc: tuple[str, ...]) -> None:
    """One traceback for each call that fails so, and EIO."""
    name, *command = words.split()
    options = (*inproc, "-m", f"./e.py:{name}")
    result = viewos("run", *options, "--", *command, user=here.user, cwd=here.real)
    said = result.stderr.decode()
    assert result.returncode in (1, 2)
    assert said.count("Traceback (most") == said.count(" fails with EIO\n") >= 1, said
    assert told in said.splitlines() and "Input/output error" in said.splitlines()[-1]


def test_what_is_said_into_a_file_stays_there(here: Place) -> None:
    """Neither the log nor the program, which shares the file's position, writes over it."""
    script = "echo before >&2; uname; echo after >&2"
    with (here.real / "said").open("wb") as said:
        os.fchmod(said.fileno(), 0o666)  # it can be opened a second time
        run_in_view([f"{here.real}/e.py:Hook"], ["sh", "-c", script], user=here.user, stderr=said)
    lines = (here.real / "said").read_text().splitlines()
    assert (lines[0], lines[-1]) == ("before", "after")
    assert lines[2].startswith("Traceback") and lines[-3:-1] == [
        "TimeoutError", "uname: cannot get system name: Input/output error",
    ]  # fmt: skip


@pytest.mark.parametrize("encoding", ["UTF-8", "ASCII"])
def test_a_text_that_cannot_be_encoded(here: Place, encoding: str) -> None:
    """It is told all the same, to the user and to a log, and the call fails."""
    env = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}
    for options in ((), ("--log", "log")):
        words = ("run", *options, "-m", "./e.py:Text", "--", "uname")
        result = viewos(
            *words, user=here.user, cwd=here.real, env=env if encoding == "ASCII" else {}
        )
        said = (here.real / "log").read_bytes() if options else result.stderr
        shown = "gro\xdf \u20ac".encode(encoding, "backslashreplace")
        assert b"ValueError: " + shown in said and b"\\ud800" in said, said
        assert result.returncode == 1 and b"Input/output error" in result.stderr
