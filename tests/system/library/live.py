"""Modules are live objects of the calling process."""

from __future__ import annotations

import errno
import itertools
import logging
import os
import shutil
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from subprocess import PIPE
from typing import Any

import anyio

from viewos import PASS, Call, Utsname, Verdict, View, VirtualModule, hook
from viewos.modules.uid import Uid
from viewos.modules.vfs import Vfs

PYTHON = "/usr/bin/python3"


def named(name: bytes) -> Utsname:
    return Utsname.of_host().replace(nodename=name)


def host_name(view: View) -> str:
    name: str = view.run(["uname", "-n"], stdout=PIPE, text=True, check=True).stdout
    return name.strip()


class Counter(VirtualModule):
    """Counts opens."""

    def __init__(self) -> None:
        self.opened: list[bytes] = []

    @hook("open")
    def count(self, call: Call) -> Verdict:
        self.opened.append(call.args.path)
        return PASS


class Named(VirtualModule):
    """Answers uname with what it is given to call."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def uname(self, call: Call) -> Verdict:
        return self.answer(call)


class Patient(VirtualModule):
    """Waits before it answers."""

    async def uname(self, call: Call) -> Verdict:
        await anyio.sleep(0.001)
        return named(b"patient")


class Logged(logging.Handler):
    """What is logged while it is there."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))

    def __enter__(self) -> Logged:
        logging.getLogger("viewos").addHandler(self)
        return self

    def __exit__(self, *exception: object) -> None:
        logging.getLogger("viewos").removeHandler(self)


def check_a_counter_changes_while_the_program_runs() -> None:
    Path("file").write_text("text\n")
    counter = Counter()
    words = ["sh", "-c", "while read name; do read line < $name; echo $line; done"]
    with View([counter]) as view, view.Popen(words, stdin=PIPE, stdout=PIPE) as process:
        for number in range(1, 20):
            process.stdin.write(b"file\n")
            process.stdin.flush()
            assert process.stdout.readline() == b"text\n"
            assert counter.opened.count(b"file") == number
        process.stdin.close()
        assert process.wait() == 0


def check_programs_see_whom_others_gave_a_file_to() -> None:
    Path("file").touch()
    words = ["sh", "-c", "while read name; do stat -c %u $name; done"]
    with View([Uid(0)]) as view, view.Popen(words, stdin=PIPE, stdout=PIPE) as process:
        for number in range(5):
            assert view.run(["chown", str(number), "file"]).returncode == 0
            process.stdin.write(b"file\n")
            process.stdin.flush()
            assert process.stdout.readline() == b"%d\n" % number
        process.stdin.close()
        assert process.wait() == 0


def check_an_answer_can_change() -> None:
    names = iter([b"one", b"two", b"three"])
    with View([Named(lambda call: named(next(names)))]) as view:
        assert [host_name(view) for _ in range(3)] == ["one", "two", "three"]


def check_an_exception_in_a_handler() -> None:
    answers: list[Any] = [ZeroDivisionError("by me"), OSError(errno.EXDEV, "mine"), None]

    def fail(call: Call) -> Verdict:
        answer = answers.pop(0)
        if answer is None:
            return named(b"recovered")
        raise answer

    with View([Named(fail)]) as view, Logged() as logged:
        for failure in (errno.EIO, errno.EXDEV):
            result = view.run(["uname", "-n"], capture_output=True, text=True)
            assert result.returncode == 1
            assert os.strerror(failure) in result.stderr, result
        assert host_name(view) == "recovered"
    (line,) = logged.lines
    assert "ZeroDivisionError: by me" in line
    assert "Traceback" in line


def check_an_async_handler() -> None:
    with View([Patient()]) as view:
        assert [host_name(view) for _ in range(10)] == ["patient"] * 10

        async def main() -> list[str]:
            names: list[str] = []
            async with anyio.create_task_group() as tasks:
                for _ in range(5):
                    tasks.start_soon(one, names)
            return names

        async def one(names: list[str]) -> None:
            result = await view.run_process(["uname", "-n"])
            names.append(result.stdout.decode().strip())

        assert anyio.run(main) == ["patient"] * 5


def check_a_handler_runs_a_program_of_another_view() -> None:
    with View([Named(lambda call: named(b"inner"))]) as inner:

        def ask(call: Call) -> Verdict:
            return named(b"outer-of-" + host_name(inner).encode())

        with View([Named(ask), Vfs("/", "/")]) as outer:
            assert [host_name(outer) for _ in range(5)] == ["outer-of-inner"] * 5


def check_a_handler_has_the_callers_umask() -> None:
    """Whatever the program's was, for whom directories have just been made."""
    os.umask(0o022)
    Path("dir").mkdir()

    def make(call: Call) -> Verdict:
        number = len(os.listdir("dir"))
        with open(f"dir/made-{number}", "w") as file:
            os.fchmod(file.fileno(), os.fstat(file.fileno()).st_mode)
        subprocess.run(["touch", f"dir/touched-{number}"], check=True)
        return named(b"x")

    script = (
        "import os\nos.umask(0o077)\n"
        "for i in range(5): os.mkdir(f'/mnt/{i}'); assert os.uname().nodename == 'x'"
    )
    with View([Vfs("/mnt", os.getcwd()), Named(make)]) as view:
        view.run([PYTHON, "-I", "-S", "-c", script], check=True)
    modes = {entry.name: entry.stat().st_mode & 0o777 for entry in os.scandir("dir")}
    assert set(modes.values()) == {0o644}, modes
    assert {os.stat(str(i)).st_mode & 0o777 for i in range(5)} == {0o700}


def check_a_slow_handler_holds_up_nobody() -> None:
    """Neither in its own view, nor in another one."""
    asked, go_on = threading.Event(), threading.Event()
    numbers = itertools.count()

    def wait_first(call: Call) -> Verdict:
        if next(numbers) == 0:
            asked.set()
            go_on.wait()
            return named(b"slow")
        return named(b"fast")

    other = View([Named(lambda call: named(b"other"))])
    with View([Named(wait_first)]) as view, view.Popen(["uname", "-n"], stdout=PIPE) as slow:
        asked.wait()
        with view.Popen(["sh", "-c", "for i in 1 2 3; do uname -n; done"], stdout=PIPE) as fast:
            assert fast.communicate()[0] == b"fast\n" * 3
        with other:
            assert host_name(other) == "other"
        assert slow.poll() is None
        go_on.set()
        assert slow.communicate()[0] == b"slow\n"


def check_modules_are_started_and_stopped_once() -> None:
    seen: list[str] = []

    class Lifecycle(VirtualModule):
        """Notes what is asked of it."""

        def start(self, scratch: bytes) -> None:
            assert os.listdir(scratch) == []
            Path(os.fsdecode(scratch), "file").touch()
            self.scratch = scratch
            seen.append("start")

        def stop(self) -> None:
            assert os.listdir(self.scratch) == [b"file"]
            seen.append("stop")

    module = Lifecycle()
    with View([module]) as view:
        for _ in range(3):
            view.run(["true"])
        assert seen == ["start"]
    assert seen == ["start", "stop"]
    assert not os.path.exists(module.scratch)
    with View([Lifecycle()]):
        pass
    assert seen == ["start", "stop"] * 2
    View([Lifecycle()]).close()
    assert seen == ["start", "stop"] * 2


def check_many_views_at_once() -> None:
    views = [
        View([Named(lambda call, i=i: named(b"host-%d" % i)), Vfs("/mnt", f"d{i}")])
        for i in range(50)
    ]
    for number, view in enumerate(views):
        Path(f"d{number}").mkdir()
        Path(f"d{number}/file").write_text(f"file {number}\n")
        view.open()
    words = ["sh", "-c", "uname -n; cat /mnt/file; read x; cd /mnt; cat file"]
    programs = [view.Popen(words, stdin=PIPE, stdout=PIPE) for view in views]
    for number, program in enumerate(programs):
        text = b"file %d\n" % number
        assert program.communicate(b"\n")[0] == b"host-%d\n" % number + 2 * text
        assert program.returncode == 0
    for view in views:
        view.close()


def _in_threads(count: int, body: Any, arguments: Sequence[Any]) -> None:
    failures: list[BaseException] = []

    def run(number: int) -> None:
        try:
            body(number, *arguments)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for failure in failures:
        raise failure


def check_views_in_threads() -> None:
    """Views of a thread's own, and one that all share."""
    Path("shared").mkdir()
    script = "import os, sys\nfor i in range(20): os.chdir('/mnt'); os.chdir('/')\nsys.exit(7)"

    def body(number: int, shared: View) -> None:
        os.makedirs(f"t{number}")
        Path(f"t{number}/file").write_text(str(number))
        for _ in range(4):
            with View([Vfs("/mnt", f"t{number}")]) as view:
                assert view.run(["cat", "/mnt/file"], stdout=PIPE).stdout == b"%d" % number
            assert shared.run(["touch", f"/mnt/{number}"]).returncode == 0
            assert shared.run([PYTHON, "-I", "-S", "-c", script]).returncode == 7

    with View([Vfs("/mnt", "shared")]) as shared:
        _in_threads(8, body, [shared])
    assert sorted(os.listdir("shared")) == sorted(map(str, range(8)))


def check_a_program_in_a_claim() -> None:
    """It is told its own name, in either layout, and nobody complains."""
    shutil.copy(PYTHON, "copied")
    told = (
        "import ctypes; f = ctypes.CDLL(None).getauxval; f.restype = ctypes.c_char_p; print(f(31))"
    )
    for layout in ("direct", "ancestor"):
        with Logged() as logged, View([Vfs("/mnt", ".")], layout=layout) as view:
            done = view.run(["/mnt/copied", "-ISc", told], stdout=PIPE, check=True)
            assert done.stdout == b"b'/mnt/copied'\n", done
        assert not logged.lines, logged.lines
