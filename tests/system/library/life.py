"""What lives how long: views, their programs, and the process that serves them."""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE

import pytest

from viewos import PASS, Call, FileModule, Verdict, View, ViewosError, VirtualModule, hook
from viewos.modules.vfs import Vfs

PYTHON = "/usr/bin/python3"
LAYOUTS = ("direct", "ancestor")


class Scratch(FileModule):
    """Has a file in the scratch directory."""

    mount_point = b"/scratch"

    def start(self, scratch: bytes) -> None:
        super().start(scratch)
        Path(os.fsdecode(self.root), "file").write_text("in scratch\n")


# ---- closing ------------------------------------------------------------------------------------


def check_close_waits_for_daemons() -> None:
    """Their calls need an answer, to the last one."""
    for layout in LAYOUTS:
        os.mkfifo("fifo")
        Path("answer").unlink(missing_ok=True)
        view = View([Scratch(), Vfs("/mnt", ".")], layout=layout)
        script = "(read x; cat /scratch/file > /mnt/answer) < /mnt/fifo > /dev/null 2>&1 &"
        assert view.run(["sh", "-c", script]).returncode == 0
        events: list[str] = []
        closing = threading.Thread(target=_close, args=(view, events))
        closing.start()
        with open("fifo", "w") as fifo:
            events.append("written")
            fifo.write("\n")
        closing.join()
        assert events == ["written", "closed"]
        assert Path("answer").read_text() == "in scratch\n"
        os.unlink("fifo")


def _close(view: View, events: list[str]) -> None:
    view.close()
    events.append("closed")


def check_a_closed_view_runs_nothing() -> None:
    with View() as view:
        view.run(["true"], check=True)
    for use in (lambda: view.run(["true"]), lambda: view.Popen(["true"]), view.open):
        with refused("is closed"):
            use()
    view.close()
    never_opened = View()
    never_opened.close()
    with refused("is closed"):
        never_opened.run(["true"])


@contextlib.contextmanager
def refused(text: str) -> Iterator[None]:
    with pytest.raises(ViewosError, match=text):
        yield


def check_a_refusal_leaves_nothing() -> None:
    """A backing that is not there, twice: the view can be made right meanwhile."""
    view = View([Scratch(), Vfs("/mnt", "missing")])
    before = descriptors()
    for _ in range(2):
        with refused("missing: no such file or directory"):
            view.run(["true"])
    Path("missing").mkdir()
    assert view.run(["ls", "/mnt"], stdout=PIPE).stdout == b""
    view.close()
    assert descriptors() == before


def check_a_program_is_killed() -> None:
    """At any moment of its life; the view goes on."""
    with View([Vfs("/mnt", ".")]) as view:
        script = "import os\nwhile True: os.chdir('/mnt'); os.chdir('/'); os.stat('/mnt')"
        for number in range(20):
            with view.Popen([PYTHON, "-I", "-S", "-c", script]) as program:
                if number % 2:
                    while not os.path.samefile(f"/proc/{program.pid}/cwd", "."):
                        pass
                program.kill()
                assert program.wait() == -signal.SIGKILL
        assert view.run(["pwd"], cwd="/mnt", stdout=PIPE).stdout == b"/mnt\n"


# ---- the end of the caller ----------------------------------------------------------------------

CALLER = """
import os, subprocess, sys, multiprocessing
from tests.system.library.life import Scratch
from viewos import View
from viewos.modules.vfs import Vfs
view = View([Scratch(), Vfs("/mnt", ".")], layout=sys.argv[1])
words = ["sh", "-c", "echo $$; cat /scratch/file; read x; cat /scratch/file; echo status $?"]
program = view.Popen(
    words, stdin=int(sys.argv[2]), stdout=int(sys.argv[3]), stderr=int(sys.argv[4]))
"""


def end_of_caller(rest: str, layout: str, kill: bool) -> None:
    read, write = os.pipe()
    out, out_end = os.pipe()
    err, err_end = os.pipe()
    given = (read, out_end, err_end)
    os.mkdir("tmp")
    caller = subprocess.Popen(
        [sys.executable, "-c", CALLER + rest, layout, *map(str, given)], pass_fds=given,
        env={**os.environ, "TMPDIR": os.path.abspath("tmp")}, stdin=PIPE,
    )  # fmt: skip
    for fd in given:
        os.close(fd)
    with open(out) as output, open(err) as errors, open(write, "w") as go_on:
        pid = int(output.readline())
        pidfd = os.pidfd_open(pid)
        assert output.readline() == "in scratch\n"
        if kill:
            caller.kill()
        else:
            caller.stdin.close()
        line = errors.readline()  # it comes before anybody has made a call
        assert re.match(r"viewos: the process that served this view has ended", line), line
        go_on.write("\n")
        go_on.flush()
        said = errors.readlines()
        assert output.read() == "status 126\n", said
    assert "Function not implemented" in "".join(said), said
    assert not [line for line in said if line.startswith("viewos")], said
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.poll()
    os.close(pidfd)
    assert not list(Path("tmp").rglob("*")), list(Path("tmp").rglob("*"))
    os.rmdir("tmp")
    caller.communicate()


def check_the_caller_is_killed() -> None:
    """Its programs' calls fail with ENOSYS, one line says why, and no scratch directory stays."""
    for layout in LAYOUTS:
        end_of_caller("sys.stdin.read()", layout, kill=True)


def check_the_caller_ends_without_close() -> None:
    for layout in LAYOUTS:
        end_of_caller("sys.stdin.read(); program.returncode = 0", layout, kill=False)


def check_the_caller_ends_by_an_exception() -> None:
    end_of_caller("sys.stdin.read(); raise ValueError", "direct", False)


def check_a_forked_child_outlives_the_caller() -> None:
    """It must not keep the listener: calls would wait for ever."""
    fork = (
        "if not os.fork():\n"
        "    for fd in map(int, sys.argv[2:]): os.close(fd)\n"
        "    sys.stdin.read()\n"
        "    os._exit(0)\n"
        "sys.stdin.read()\n"
    )
    end_of_caller(fork, "direct", kill=True)


# ---- forks of the caller -----------------------------------------------------------------------


def _use_in_child(view: View, number: int) -> None:
    assert subprocess.run(["true"], check=False).returncode == 0
    result = view.run(
        ["sh", "-c", f"cat /scratch/file; echo {number} > /mnt/{number}"], stdout=PIPE
    )
    assert result.stdout == b"in scratch\n"
    view.close()
    with View([Vfs("/mnt", ".")]) as own:
        assert own.run(["cat", f"/mnt/{number}"], stdout=PIPE).stdout == b"%d\n" % number


def check_forks_of_the_caller() -> None:
    """multiprocessing, in a process whose threads answer calls at this very moment."""
    fork = multiprocessing.get_context("fork")
    busy = "import os\nwhile os.access('/mnt', 0): os.chdir('/mnt'); os.chdir('/')"
    with View([Scratch(), Vfs("/mnt", ".")]) as view:
        with view.Popen([PYTHON, "-I", "-S", "-c", busy]) as program:
            children = [fork.Process(target=_use_in_child, args=(view, n)) for n in range(8)]
            for child in children:
                child.start()
            for child in children:
                child.join()
                assert child.exitcode == 0
            assert program.poll() is None
            program.kill()
        assert view.run(["cat", "/scratch/file"], stdout=PIPE).stdout == b"in scratch\n"
        pid = os.fork()
        if not pid:
            sys.exit(0)  # with all that is done at exit
        assert os.waitpid(pid, 0)[1] == 0
        assert view.run(["cat", "/scratch/file"], stdout=PIPE).stdout == b"in scratch\n"


# ---- nothing is left ---------------------------------------------------------------------------


def descriptors() -> dict[str, str]:
    found = {}
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the one of the listing itself
            found[name] = os.readlink(f"/proc/self/fd/{name}")
    return {name: target for name, target in found.items() if target != f"/proc/{os.getpid()}/fd"}


def tasks() -> int:
    return len(os.listdir("/proc/self/task"))


def check_nothing_is_left_after_many_runs() -> None:
    os.mkdir("tmp")
    os.environ["TMPDIR"] = os.path.abspath("tmp")
    words = [PYTHON, "-I", "-S", "-c", "import os; os.chdir('/mnt'); os.stat('/scratch/file')"]

    def run(times: int) -> None:
        with View([Scratch(), Vfs("/mnt", ".")]) as view:
            for number in range(times):
                if number % 5:
                    result = view.run(words, capture_output=True)
                    assert result.returncode == 0, result
                else:
                    with contextlib.suppress(FileNotFoundError, PermissionError):
                        view.run(["no-such-command"])

    def there_is() -> tuple[dict[str, str], int, int]:
        return descriptors(), tasks(), threading.active_count()

    def wait_for_ended_threads() -> None:
        # A thread is a task for a moment after it was joined, and a view waits for none for long.
        deadline = time.monotonic() + 10
        while tasks() > 1 and time.monotonic() < deadline:
            time.sleep(0.05)

    run(2)
    wait_for_ended_threads()
    before = there_is()
    run(60)
    for _ in range(20):
        run(2)
    wait_for_ended_threads()
    assert there_is() == before, (before, there_is())
    assert not list(Path("tmp").rglob("*")), list(Path("tmp").rglob("*"))


class Slow(VirtualModule):
    """Answers long after the program that asked is gone."""

    name = "slow"

    def start(self, scratch: bytes) -> None:
        self.asked, self.answered = threading.Event(), threading.Event()

    @hook("uname")
    def wait(self, call: Call) -> Verdict:
        self.asked.set()
        time.sleep(2.5)
        self.answered.set()
        return PASS


def check_a_slow_answer_leaves_no_descriptor() -> None:
    """The monitor waits for its threads for a second; the last of them has to tidy up then."""
    module = Slow()
    with View([module]) as view:
        program = view.Popen(["uname"], stdout=subprocess.DEVNULL)
        module.asked.wait()
        program.kill()
        program.wait()
        module.answered.wait()
        deadline = time.monotonic() + 10
        listener = "anon_inode:seccomp notify"
        while listener in descriptors().values() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert listener not in descriptors().values()


def check_a_forked_child_keeps_what_is_its_own() -> None:
    """It closes what it inherited of views, and nothing that got the same number since."""
    done = threading.Event()
    failed = []

    def fork() -> None:
        while not done.is_set():
            ends = [fd for _ in range(8) for fd in os.pipe()]
            pid = os.fork()
            if pid == 0:
                try:
                    for fd in ends:
                        os.fstat(fd)
                except OSError:
                    os._exit(1)
                os._exit(0)
            if os.waitpid(pid, 0)[1]:
                failed.append(pid)
            for fd in ends:
                os.close(fd)

    thread = threading.Thread(target=fork)
    thread.start()
    with View() as view:
        for _ in range(100):
            view.run(["/bin/true"])
    done.set()
    thread.join()
    assert not failed


def check_nothing_is_inherited() -> None:
    """Neither listener nor sockets reach a program that is started by another call."""
    script = "import os; print(sorted(os.listdir('/dev/fd')))"

    def inherited() -> bytes:
        words = [PYTHON, "-I", "-c", script]
        return subprocess.run(words, stdout=PIPE, check=True, close_fds=False).stdout

    before = inherited()
    with View([Vfs("/mnt", ".")]) as view, view.Popen(["cat"], stdin=PIPE) as program:
        assert inherited() == before
        program.communicate()


class Measuring(VirtualModule):
    """Notes the memory of this process at each uname."""

    def __init__(self) -> None:
        self.resident: list[int] = []

    @hook("uname")
    def measure(self, call: Call) -> Verdict:
        text = Path("/proc/self/status").read_text()
        self.resident.append(int(re.findall(r"VmRSS:\s+(\d+) kB", text)[0]))
        return PASS


def check_memory_stays_flat() -> None:
    """100,000 emulated calls and 4,000 fix-ups, in five parts: the last four add next to nothing.

    100 bytes that stay of each call would be 8 MB.
    """
    script = (
        "import os\n"
        "for part in range(5):\n"
        "    for i in range(20000): os.access('/mnt/file', 0)\n"
        "    for i in range(400): os.chdir('/mnt'); os.chdir('/')\n"
        "    os.uname()\n"
    )
    Path("file").touch()
    measuring = Measuring()
    with View([Vfs("/mnt", "."), measuring]) as view:
        view.run([PYTHON, "-I", "-S", "-c", script], check=True)
    first, *_, last = measuring.resident
    assert len(measuring.resident) == 5
    assert last - first < 4096, measuring.resident


class Asked(VirtualModule):
    """Is asked, and lets the layers below answer."""

    name = "asked"

    @hook("open")
    def let(self, call: Call) -> Verdict:
        return PASS


def check_no_descriptor_is_left_to_the_collector() -> None:
    """A call and what answers it from below held each other, and the call its task."""
    gc.disable()
    before: list[str] = []
    for _ in range(2):  # what the first one imports may stay
        before = sorted(os.listdir("/proc/self/fd"))
        with View([Asked()]) as view:
            for _ in range(3):
                view.run(["cat", "/etc/hostname"], stdout=subprocess.DEVNULL, check=True)
    gc.enable()
    assert sorted(os.listdir("/proc/self/fd")) == before
