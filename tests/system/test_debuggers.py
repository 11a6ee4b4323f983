"""Debuggers: inside a view, from outside on a program in one, and two at once in one view."""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from .debugged import GDB
from .view import Place, place, prefix, run_in_view
from .witness import build

pytestmark = pytest.mark.timeout(90)
NOBODY = 65534
HERE = Path(__file__).parent
PYTHON = "/usr/bin/python3"


@pytest.fixture(params=["native", "identity", "mnt"])
def where(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[0, NOBODY])
def ground(where: str, request: pytest.FixtureRequest) -> Iterator[Place]:
    """A place with the worker and the driver in it, seen under the place's name."""
    with place(where, request.param) as here:
        shutil.copy(build("worker"), here.real / "worker")
        shutil.copy(HERE / "debugged.py", here.real / "debugged.py")
        yield here


def lines(count: int) -> str:
    """What the worker says of its steps."""
    return "".join(f"step {n} size 5 in /down, child 7\n" for n in range(1, count + 1))


def check_log(log: str) -> None:
    """Path calls are there as the program made them, with the answers that it got."""
    for call in (
        r'openat\(AT_FDCWD, "marker\d", O_WRONLY\|O_CREAT\|O_TRUNC, 0644\) = \d+$',
        r'(stat|newfstatat)\((AT_FDCWD, )?"marker\d", .*\) = 0$',
        r'mkdir(at)?\((AT_FDCWD, )?"down", 0755\) += 0$',
        r'chdir\("down"\) += 0$',
        r'getcwd\(".*/down", \d+\) += \d+$',
        r'bind\(\d+, \{sa_family=AF_UNIX, sun_path="socket"\}, 110\) += 0$',
        r'execve\("/bin/sh", \["sh", "-c", "exit 7"\], .*(\) += 0|<unfinished \.\.\.>)$',
    ):
        assert re.search(call, log, re.MULTILINE), f"{call}\n{log}"


def test_strace_runs_a_program(ground: Place) -> None:
    log = f"{ground.directory}/log"
    argv = ["strace", "-f", "-o", log, f"{ground.directory}/worker", ground.directory]
    result = ground.run(argv, input=b"ggg")
    assert re.sub(r"^pid \d+\n", "", result.stdout.decode()) == lines(3) + "end after 3\n"
    assert (result.returncode, result.stderr) == (5, b"")
    check_log((ground.real / "log").read_text())


@pytest.mark.parametrize("option", ["-f", "-e trace=chdir"])
def test_a_traced_program_keeps_its_strings(ground: Place, option: str) -> None:
    """A name in a claim is patched where it stands, as strace has the thread; with both CPUs busy
    the program would run on before it was put back."""
    at = ground.directory
    busy = '{ while :; do :; done; } & pids="$pids $!"\n' * 3
    script = f"{busy} strace {option} -o /dev/null {build('names')} {at}; kill $pids"
    result = ground.run(["sh", "-c", script], timeout=60)
    assert result.stdout == b"150 rounds, 0 changed, 0 wrong\n", result.stderr.decode()


@pytest.mark.parametrize("option", ["-O1", "-static"])
@pytest.mark.parametrize("pure", ["", "1"])
def test_a_traced_program_has_the_name_that_was_executed(
    ground: Place, option: str, pure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AT_EXECFN: not the path that stood in for it."""
    monkeypatch.setenv("VIEWOS_PURE", pure)
    at = ground.directory
    shutil.copy(build("execfn", option), ground.real / "p")
    (ground.real / "link").symlink_to("p")
    names = [f"{at}/p", f"{at}/link", "./p", f"/{at}//////////////../{os.path.basename(at)}/p"]
    each = " ".join(names)
    script = f"""cd {at}; for p in {each}; do strace -f -o /dev/null $p; done
        gdb -nx -batch -ex run {at}/p 2>&1 | grep ^executed; sh -c 'exec {at}/p'"""
    result = ground.run(["sh", "-c", script], timeout=60)
    expected = [*names, f"{at}/p", f"{at}/p"]
    assert result.stdout.decode() == "".join(f"executed {name}\n" for name in expected)


def test_gdb_runs_a_program(ground: Place) -> None:
    worker = f"{ground.directory}/worker"
    commands = ("break step", "run", "bt 1", "print counter", "delete", "continue")
    script = [word for command in commands for word in ("-ex", command)]
    argv = [*GDB, *script, "--args", worker, ground.directory]
    result = ground.run(argv, input=b"ggg", env={"HOME": ground.directory, "LINES": "0"})
    text = result.stdout.decode()
    assert [line for line in text.splitlines() if line.startswith(("step", "end"))] == (
        lines(3) + "end after 3"
    ).splitlines(), text + result.stderr.decode()
    assert re.search(r"^Breakpoint 1(\.1)?, step \(\)", text, re.MULTILINE)
    assert "#0  step () at " in text
    assert "\n$1 = 0\n" in text
    assert re.search(r"\[Inferior 1 \(process \d+\) exited with code 05\]", text)


def _attached(result: object, tool: str) -> None:
    done = result
    text = done.stdout.decode()  # type: ignore[attr-defined]
    during = 2 if tool == "strace" else 1
    steps = lines(3 + during).splitlines(keepends=True)
    saw = "debugger saw the step: True\n"
    expected = "".join([*steps[: 1 + during], saw, *steps[1 + during :]])
    assert text == f"{expected}end after {3 + during}\n", text + done.stderr.decode()  # type: ignore[attr-defined]
    assert done.returncode == 5  # type: ignore[attr-defined]


@pytest.mark.parametrize("tool", ["strace", "gdb"])
def test_attaching_inside(tool: str, ground: Place) -> None:
    at = ground.directory
    argv = [PYTHON, "-I", f"{at}/debugged.py", tool, f"{at}/log", f"{at}/worker", at]
    _attached(ground.run(argv, env={"HOME": at}), tool)
    if tool == "strace":
        check_log((ground.real / "log").read_text())


@pytest.mark.parametrize("tool", ["strace", "gdb"])
def test_attaching_from_outside(tool: str, ground: Place) -> None:
    """strace, without the in-process tier: the calls are seen as they are made (docs/inproc.md)."""
    at, real = ground.directory, ground.real
    launch = prefix(ground.modules, user=ground.user, inproc=False if tool == "strace" else None)
    command = [*launch, f"{at}/worker", at]
    argv = [PYTHON, "-I", f"{real}/debugged.py", tool, f"{real}/log", *command]
    _attached(run_in_view(None, argv, user=ground.user, env={"HOME": str(real)}), tool)
    if tool == "strace":
        check_log((real / "log").read_text())


def test_two_debuggers_at_once(ground: Place) -> None:
    """strace on one program and gdb on another: the wish that this project began with."""
    at = ground.directory
    for name in ("one", "two"):
        (ground.real / name).mkdir()
        os.chown(ground.real / name, ground.user, ground.user)
    script = (
        f"mkfifo {at}/ready; (echo gg; read x <{at}/ready; echo gg) |"
        f" strace -f -o {at}/log {at}/worker {at}/one >{at}/out & "
        f"printf ggg | {' '.join(repr(w) for w in GDB)} -ex 'break step' -ex run"
        f" -ex 'shell echo >{at}/ready' -ex 'print counter' -ex delete -ex continue"
        f" --args {at}/worker {at}/two; wait"
    )
    result = ground.run(["sh", "-c", script], env={"HOME": at})
    text = result.stdout.decode()
    assert "\n$1 = 0\n" in text, text + result.stderr.decode()
    assert text.count("size 5 in /down, child 7") == 3
    assert "exited with code 05]" in text
    first = (ground.real / "out").read_text()
    assert first.count("size 5 in /down, child 7") == 6  # echo's newlines are steps too
    check_log((ground.real / "log").read_text())


@pytest.mark.parametrize("tool", ["strace", "gdb"])
def test_attaching_to_a_blocked_open(tool: str, ground: Place) -> None:
    """An open that waits for the other side of a FIFO goes on waiting under a debugger."""
    at = ground.directory
    attach = {
        "strace": f"strace -o {at}/log -p $pid 2>ready",
        "gdb": " ".join(map(repr, GDB)) + " -p $pid -ex 'shell echo attached' -ex cont >ready 2>&1",
    }[tool]
    script = f"""
        cd {at}; mkfifo fifo ready; cat fifo >out & pid=$!
        until grep -Eq '^(257|437) ' /proc/$pid/syscall; do :; done
        {attach} & exec 4<ready
        until read line <&4; case $line in *attached*) ;; *) false; esac; do :; done
        cat <&4 >said & echo hello >fifo; wait $pid; echo cat ended with $?; wait; cat out
    """
    result = ground.run(["sh", "-c", script], env={"HOME": at}, timeout=30)
    assert result.stdout == b"cat ended with 0\nhello\n", result.stderr.decode()


@pytest.mark.parametrize(("call", "threads"), [("stat", 0), ("open", 0), ("stat", 2)])
def test_a_backtrace_of_who_is_in_a_path_call(ground: Place, call: str, threads: int) -> None:
    """Debuggers unwind by the libc's file, which knows nothing of code that is not in it."""
    script = f"""
        for turn in 1 2 3 4 5; do
            {build("loops")} {ground.directory}/worker {call} {threads} & pid=$!
            sleep .2
            {" ".join(map(repr, GDB))} -p $pid -ex 'thread apply all bt -1'; kill $pid
        done
    """
    done = ground.run(["sh", "-c", script], env={"HOME": ground.directory})
    text = done.stdout.decode()
    outermost = re.findall(r"(?m)^#\d+ .* in (\w+|\?\?) \(.*", text)
    expected = Counter(main=5, clone3=5 * threads)
    # Of threads that fight for CPUs one may find none for so long that the debugger does not wait.
    assert (expected - Counter(outermost)).total() <= (1 if threads else 0), text


@pytest.mark.parametrize("call", ["stat", "open"])
def test_strace_shows_where_a_path_call_is_made(ground: Place, call: str) -> None:
    script = f"""
        {build("loops")} {ground.directory}/worker {call} 0 & pid=$!; sleep .2
        timeout -s INT 1 strace -k -e trace=stat,newfstatat,openat -p $pid -o {ground.directory}/log
        kill $pid
    """
    ground.run(["sh", "-c", script], timeout=60)
    first, *calls = re.split(r"(?m)^(?=\w+\()", (ground.real / "log").read_text())
    assert not first and len(calls) > 2
    assert all("/loops(main+" in text for text in calls[:-1]), calls[0]


PERF = re.compile(r"cat/\d+ +(?:(\w+)\(.*\)|\.\.\. \[continued\]: (\w+)\(\)\)) += (-?\d+)")


def _perf_trace(modules: list[str] | None, inproc: bool, file: str) -> list[tuple[str, str]]:
    """(system call, result) of a program, as perf's trace points have them, sorted: perf prints
    what happened on one CPU before what happened on another."""
    calls = "openat,openat2,newfstatat,read,close"
    room = ["-m", "2048"]  # pages: it drops what it cannot keep
    argv = [*prefix(modules, inproc=inproc), "perf", "trace", *room, "-e", calls, "cat", file]
    done = run_in_view(None, argv, check=True)
    # A program that finds a link on the way leaves it to the call that it would have made.
    lines = [line for line in done.stderr.decode().splitlines() if "= -1 ELOOP" not in line]
    found = [PERF.search(line) for line in lines]
    return sorted(
        ((match[1] or match[2]).replace("openat2", "openat"), match[3]) for match in found if match
    )


@pytest.mark.skipif(
    os.getuid() != 0 or not os.path.exists("/sys/kernel/tracing/events/raw_syscalls"),
    reason="perf trace needs root and the kernel's raw_syscalls trace points",
)
@pytest.mark.parametrize("inproc", [False, True])
def test_perf_trace(tmp_path: Path, inproc: bool) -> None:
    """The trace points see the same calls end with the same results, whoever answers them."""
    (tmp_path / "file").write_text("text")
    natively = [_perf_trace(None, False, str(tmp_path / "file")) for _ in range(3)]
    native = max(natively, key=len)
    assert ("read", "4") in native
    for modules, file in (
        (["vfs:/=/"], f"{tmp_path}/file"),
        ([f"vfs:/mnt={tmp_path}"], "/mnt/file"),
    ):
        # perf loses some on a busy machine: natively in one of sixty runs.
        for _ in range(4):
            found = _perf_trace(modules, inproc, file)
            assert Counter(found) <= Counter(native)
            if found == native:
                break
        assert found == native
