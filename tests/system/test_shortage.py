"""Where the user may have no more processes or descriptors: one line that says so, and no hang."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from .users import python
from .view import run_in_view

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(os.getuid() != 0, reason="limits of processes do not bind root"),
]
USER = 54321
"""Nobody else's, because the kernel counts all that a user has."""


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("shortage")
    for path in (made, *made.parents):
        if path.owner() == "root" and str(path).startswith("/tmp/pytest"):
            path.chmod(0o755)
    os.chown(made, USER, USER)
    return made


def limited(
    limits: list[str], words: list[str], place: Path, *options: str
) -> subprocess.CompletedProcess[bytes]:
    return run_in_view(
        None,
        ["prlimit", *limits, python(USER), "-m", "viewos", "run", *options, "--", *words],
        user=USER, cwd=place, env={"TMPDIR": str(place)}, strict=False, timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize("layout", ["direct", "ancestor"])
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_processes_at_the_start(count: int, layout: str, place: Path) -> None:
    options = ["-m", "tmpfs:/mnt", "-m", "uid:0", "--layout", layout]
    done = limited([f"--nproc={count}"], ["true"], place, *options)
    lines = done.stderr.decode().splitlines()
    assert done.returncode == 125, done
    assert len(lines) == 1, done
    assert lines[0].startswith("viewos: ") and "ulimit -u" in lines[0]
    assert not [*place.glob("vos-*")]


def test_descriptors_at_the_start(place: Path) -> None:
    done = limited(["--nofile=6:6"], ["true"], place, "-m", "tmpfs:/mnt")
    lines = done.stderr.decode().splitlines()
    assert (done.returncode, len(lines)) == (125, 1), done
    assert "ulimit -n" in lines[0]


def test_the_size_of_files_at_the_start(place: Path) -> None:
    done = limited(["--fsize=1000"], ["true"], place, "-m", "tmpfs:/mnt")
    assert done.returncode == 125
    assert done.stderr.endswith(b"(see ulimit -f)\n")


@pytest.mark.parametrize("module", ["hostname:h", "tmpfs:/mnt"])
def test_a_module_and_the_size_of_files(module: str, place: Path) -> None:
    done = limited(["--fsize=0"], ["true"], place, "-m", module)
    assert done.returncode == 125
    assert done.stderr.endswith(b"(see ulimit -f)\n"), done.stderr


def test_a_module_and_a_full_directory() -> None:
    """It said that there is no space left, and not where."""
    full = (
        "mount -t tmpfs -o size=4k none /mnt && head -c 4096 /dev/zero > /mnt/x &&"
        ' TMPDIR=/mnt exec "$@"'
    )
    words = [python(0), "-m", "viewos", "run", "-m", "hostname:h", "--", "true"]
    done = run_in_view(None, ["unshare", "-m", "sh", "-c", full, "sh", *words], user=0)
    assert (done.returncode, done.stderr) == (
        125,
        b"viewos: module hostname: no space left in /mnt (TMPDIR says where views make their files)"
        b"\n",
    )


def test_a_full_disk_that_is_not_ours() -> None:
    """The log of uid stands on it: another TMPDIR would not help."""
    full = (
        "mount -t tmpfs -o size=4k none /mnt && : >/mnt/log &&"
        ' head -c 4096 /dev/zero > /mnt/x; exec "$@"'
    )
    words = [python(0), "-m", "viewos", "run", "-m", "uid:0,save=/mnt/log", "--", "true"]
    done = run_in_view(None, ["unshare", "-m", "sh", "-c", full, "sh", *words], user=0)
    assert (done.returncode, done.stderr) == (
        125, b"viewos: module uid: No space left on device: /mnt/log\n",
    )  # fmt: skip


BUSY = """
import os, signal, time
os.mkfifo("/mnt/fifo")
children = []
go, tell = os.pipe()
try:
    while len(children) < 60:
        child = os.fork()
        if not child:
            os.close(tell)
            os.read(go, 1)
            try:
                os.open("/mnt/fifo", os.O_RDONLY)
            except OSError as error:
                os.write(1, b"%d\\n" % error.errno)
            os._exit(0)
        children.append(child)
except BlockingIOError:
    pass
for _ in children:
    os.write(tell, b"x")
    time.sleep(0.01)
for _ in range(200):
    os.stat("/mnt/fifo")
print("served", flush=True)
for child in children:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
print(os.path.exists("/mnt/fifo"))
"""


@pytest.mark.parametrize("count", [14, 20])
def test_calls_are_answered_while_others_wait(count: int, place: Path) -> None:
    """Each waits in a thread of the monitor, as long as there are some."""
    (place / "d").mkdir()
    os.chown(place / "d", USER, USER)
    words = ["/usr/bin/python3", "-c", BUSY]
    options = ["-m", f"vfs:/mnt={place}/d", "--no-inproc"]
    done = limited([f"--nproc={count}"], words, place, *options)
    assert done.stdout.splitlines()[-2:] == [b"served", b"True"], done
    # EAGAIN, for those for whom there was no thread.
    assert {*done.stdout.split()} <= {b"served", b"True", b"11"}, done


ASKING = """
import os, signal, socket, time
children = []
try:
    while len(children) < 60:
        child = os.fork()
        if not child:
            signal.pause()
        children.append(child)
except BlockingIOError:
    pass
def asked():
    try:
        return socket.gethostbyname("db.test")
    except OSError as error:
        return "none"
print(asked(), flush=True)
for child in children:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
print(next(found for _ in range(100) if (found := asked()) != "none" or time.sleep(0.1)))
"""


def test_names_are_told_when_there_are_threads_again(place: Path) -> None:
    words = ["/usr/bin/python3", "-c", ASKING]
    done = limited(["--nproc=14"], words, place, "-m", "net:name=db.test=10.0.0.7")
    assert (done.stdout.split(), done.stderr) == ([b"none", b"10.0.0.7"], b"")


MANY = """
import os, sys
for number in range(int(sys.argv[1])):
    child = os.fork()
    if not child:
        try:
            os.chdir("/")
            os.stat("/mnt/x")
            os.close(os.open("/mnt/x", os.O_RDONLY))
        except OSError as error:
            print(number, error, flush=True)
        os._exit(0)
    os.waitpid(child, 0)
print("done")
"""


@pytest.mark.parametrize("pure", [True, False])
@pytest.mark.parametrize("count", [16, 200])
def test_more_programs_than_descriptors(count: int, pure: bool, place: Path) -> None:
    """What is remembered of programs that have ended took them all, and every call got EMFILE."""
    (place / "d").mkdir(mode=0o755)
    (place / "d/x").write_text("")
    words = ["prlimit", f"--nofile={count}", python(0), "-m", "viewos", "run"]
    options = ["--no-inproc", "-m", f"vfs:/mnt={place}/d", "-m", f"uid:0,save={place}/log"]
    done = run_in_view(
        None,
        [*words, *options, "--", "/usr/bin/python3", "-c", MANY, str(2 * count)],
        user=0, env={"VIEWOS_PURE": "1"} if pure else {}, timeout=60,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == (b"done\n", b"")


def test_too_few_descriptors(place: Path) -> None:
    """It was the program's directory that "too many open files" was said of."""
    done = limited(["--nofile=8"], ["true"], place, "-m", "vfs:/mnt=/")
    assert (done.returncode, done.stderr) == (
        125,
        b"viewos: the monitor needs 16 descriptors, and may have 8 (see ulimit -n)\n",
    )
