"""Views that share what is remembered of files, at the same time."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from queue import SimpleQueue

import pytest

from tests.system.test_uid import USER, scratch
from tests.system.view import run_in_view, started
from viewos.modules.uid.lease import Lease

__all__ = ["scratch"]  # the fixture
pytestmark = pytest.mark.timeout(120)


def _shared(scratch: Path) -> tuple[list[str], Path]:
    """The module of each view, and a directory for their programs."""
    place = scratch / "view"
    place.mkdir()
    for path in (scratch, place):
        path.chmod(0o777)
    return [f"uid:0,save={scratch / 'log'}"], place


def test_views_at_the_same_time(scratch: Path) -> None:
    """What one is told is seen by the other at once."""
    modules, place = _shared(scratch)
    os.mkfifo(place / "go", 0o666)
    (place / "go").chmod(0o666)
    with started(
        modules, ["sh", "-c", "cat go; stat -c %u:%g made"], user=USER, cwd=place,
        stdout=subprocess.PIPE,
    ) as looking:  # fmt: skip
        script = "touch made; chown 5:6 made; echo now > go"
        run_in_view(modules, ["sh", "-c", script], user=USER, cwd=place, check=True)
        out, _ = looking.communicate(timeout=30)
    assert out == b"now\n5:6\n"


def test_programs_ask_again_from_when_another_view_comes(scratch: Path) -> None:
    """Until then they know themselves how files show: the log is their view's alone."""
    modules, place = _shared(scratch)
    (place / "made").touch()
    os.chown(place / "made", USER, USER)
    for name in ("go", "ready"):
        os.mkfifo(place / name)
        os.chown(place / name, USER, -1)
    with started(
        modules, ["python3", "-c", _STATS], user=USER, cwd=place, stdout=subprocess.PIPE
    ) as looking:
        for uid in range(1, 21):
            script = f"head -c1 ready >/dev/null; chown {uid} made; echo now > go"
            run_in_view(modules, ["sh", "-c", script], user=USER, cwd=place, check=True)
        out, _ = looking.communicate(timeout=60)
    assert out.split() == [b"%d" % uid for uid in range(21)]


_STATS = """
import os
for n in range(20):
    for _ in range(500): before = os.stat("made").st_uid
    if not n: print(before)
    os.write(os.open("ready", os.O_WRONLY), b"x")
    os.read(os.open("go", os.O_RDONLY), 9)
    print(os.stat("made").st_uid)
"""


def test_a_log_that_somebody_removes(scratch: Path) -> None:
    modules, place = _shared(scratch)
    script = f"touch a b; chown 5 a; rm {scratch / 'log'}; chown 6 b; stat -c %u a b"
    said = run_in_view(modules, ["sh", "-c", script], user=USER, cwd=place, check=True)
    assert said.stdout.split() == [b"5", b"6"]
    said = run_in_view(modules, ["stat", "-c", "%u", "b"], user=USER, cwd=place, check=True)
    assert said.stdout == b"6\n"


def test_who_opens_a_log_waits_until_the_others_know(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.touch()
    fd = os.open(path, os.O_RDWR)
    told: SimpleQueue[bool] = SimpleQueue()
    lease = Lease(lambda: os.dup(fd), told.put)
    for _ in range(2):
        assert told.get(timeout=30) is True
        other = os.open(path, os.O_RDWR)
        assert told.get_nowait() is False
        os.close(other)
    assert told.get(timeout=30) is True
    lease.close()
    assert told.get_nowait() is False
    os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))
    os.close(fd)


_MAKES = """
import os
os.write(os.open("ready", os.O_WRONLY), b"x")
os.read(os.open("go", os.O_RDONLY), 9)
os.mkdir("d/e")
print(os.stat("d/e").st_gid)
"""


def test_what_a_new_file_inherits_from_another_views_directory(scratch: Path) -> None:
    modules, place = _shared(scratch)
    for name in ("go", "ready"):
        os.mkfifo(place / name)
        os.chown(place / name, USER, -1)
    with started(
        modules, ["python3", "-c", _MAKES], user=USER, cwd=place, stdout=subprocess.PIPE
    ) as making:
        script = "head -c1 ready; mkdir d; chown 0:50 d; chmod 2775 d; echo now > go"
        run_in_view(modules, ["sh", "-c", script], user=USER, cwd=place, check=True)
        out, _ = making.communicate(timeout=30)
    assert out == b"50\n"


_CHANGES = """
import os, sys
reads, writes, turns = map(int, sys.argv[1:])
for turn in range(turns):
    os.chown("file", turn, turn + 1)
    os.write(writes, b"x")
    os.read(reads, 1)
"""
_LOOKS = """
import os, sys
reads, writes, turns = map(int, sys.argv[1:])
for turn in range(turns):
    os.read(reads, 1)
    for _ in range(9):
        found = os.stat("file")
        assert (found.st_uid, found.st_gid) == (turn, turn + 1), (turn, found)
        assert os.stat("other").st_uid == 0
    os.write(writes, b"x")
"""


def test_what_another_view_changes_is_seen_at_once(scratch: Path) -> None:
    """By the accelerator too, which answers what nobody has changed since."""
    modules, place = _shared(scratch)
    for name in ("file", "other"):
        (place / name).touch()
        os.chown(place / name, USER, -1)
    ends = [os.pipe(), os.pipe()]
    look, change = (ends[0][0], ends[1][1]), (ends[1][0], ends[0][1])

    def program(script: str, fds: tuple[int, int]) -> list[str]:
        return ["python3", "-c", script, *map(str, fds), "300"]

    with started(
        modules, program(_LOOKS, look), user=USER, cwd=place, pass_fds=look, stderr=subprocess.PIPE
    ) as looking:
        run_in_view(
            modules, program(_CHANGES, change), user=USER, cwd=place, pass_fds=change, check=True
        )
        _, errors = looking.communicate(timeout=60)
    for end in (*look, *change):
        os.close(end)
    assert looking.returncode == 0, errors.decode()


def test_a_log_that_somebody_empties(scratch: Path) -> None:
    """The view goes on with what it knows, and keeps what comes."""
    modules, place = _shared(scratch)
    script = (
        f"touch a b; chown 5:6 a; : >{scratch / 'log'}; stat -c %u:%g a b; chown 7:8 b;"
        " for x in 1 2 3; do stat -c %u:%g a b; done"
    )
    done = run_in_view(modules, ["sh", "-c", script], user=USER, cwd=place)
    assert done.stdout.split() == [b"5:6", b"0:0", *[b"5:6", b"7:8"] * 3], done.stderr
    assert (done.returncode, done.stderr) == (0, b"")
    later = run_in_view(modules, ["stat", "-c", "%u:%g", "b"], user=USER, cwd=place)
    assert later.stdout == b"7:8\n"
