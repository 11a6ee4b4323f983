"""The launcher: what the program gets is what it would get natively, and nothing is left behind."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from viewos.monitor import start

from . import users
from .launching import LAYOUTS, WAYS, Way, mark_of, marked
from .view import environment

pytestmark = pytest.mark.timeout(60)
PYTHON = "/usr/bin/python3"
every_way = pytest.mark.parametrize("way", WAYS, ids=str)


@pytest.fixture
def ground() -> Iterator[Path]:
    """A directory that every user may write to."""
    with tempfile.TemporaryDirectory(prefix="viewos-launch-") as name:
        os.chmod(name, 0o777)
        yield Path(name)


# ---- status ---------------------------------------------------------------------------------


@every_way
@pytest.mark.parametrize("status", [0, 1, 125, 127, 255])
def test_exit_status(way: Way, status: int) -> None:
    result = way.run("sh", "-c", f"exit {status}")
    assert (result.returncode, result.stdout, result.stderr) == (status, b"", b"")


@every_way
@pytest.mark.parametrize("name", ["INT", "HUP", "TERM", "KILL", "SEGV", "ABRT", "PIPE", "RTMIN"])
def test_death_by_the_same_signal(way: Way, name: str, ground: Path) -> None:
    result = way.run("bash", "-c", f"kill -{name} $$", cwd=ground)
    assert result.returncode == -getattr(signal, f"SIG{name}")
    assert not list(ground.glob("core*"))


@every_way
@pytest.mark.parametrize(
    ("word", "status", "line"),
    [
        ("no-such-program", 127, "no-such-program: command not found"),
        ("/no/such/program", 127, "/no/such/program: No such file or directory"),
        ("/etc/passwd", 126, "/etc/passwd: Permission denied"),
        ("/etc", 126, "/etc: Permission denied"),
        ("/etc/passwd/x", 126, "/etc/passwd/x: Not a directory"),
        ("", 127, ": command not found"),
        ("n" * 300, 126, "n" * 300 + ": File name too long"),
    ],
)
def test_what_cannot_be_executed(way: Way, word: str, status: int, line: str) -> None:
    result = way.run(word, env={"PATH": "/usr/bin:/bin"})
    assert (result.returncode, result.stderr.decode()) == (status, f"viewos: {line}\n")


@every_way
def test_env_agrees_about_what_cannot_be_executed(way: Way) -> None:
    for word in ("no-such-program", "/etc/passwd", "/etc", "/etc/passwd/x", "n" * 300):
        native = way.native.run("env", word)
        assert way.run(word).returncode == native.returncode, word


@every_way
def test_a_missing_interpreter_is_named(way: Way, ground: Path) -> None:
    script = ground / "script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    result = way.run(str(script))
    assert result.returncode == 127
    assert b"interpreter or loader" in result.stderr and result.stderr.count(b"\n") == 1


@every_way
def test_path_search_is_execvp(way: Way, ground: Path) -> None:
    for directory in ("first", "second", "third"):
        (ground / directory).mkdir()
        script = ground / directory / "tool"
        script.write_text(f'echo "{directory} $0 $*"\n')
        script.chmod(0o644 if directory == "first" else 0o755)
    (ground / "tool").write_text("#!/bin/sh\necho here\n")
    (ground / "tool").chmod(0o755)
    paths = {  # setpriv has to be found too
        f"{ground}/no:{ground}/first:{ground}/second:{ground}/third": "second",
        f"{ground}/tool:{ground}/third": "third",
        f":{ground}/third": "here",
        f"{ground}/no:": "here",
    }
    for path, who in paths.items():
        result = way.run("tool", "a  b", env={"PATH": f"{path}:/usr/bin"}, cwd=ground)
        assert result.stdout.decode().split()[:1] == [who], (path, result.stderr)
    result = way.run("tool", env={"PATH": f"{ground}/first:/usr/bin"}, cwd=ground)
    assert (result.returncode, result.stderr) == (126, b"viewos: tool: Permission denied\n")


@every_way
def test_changing_the_directory_first(way: Way, ground: Path) -> None:
    (ground / "tool").write_text("#!/bin/sh\npwd\n")
    (ground / "tool").chmod(0o755)
    assert way.run("./tool", options=("-C", str(ground))).stdout.decode() == f"{ground}\n"
    result = way.run("true", options=("-C", "/no/where"))
    assert result.returncode == 125
    assert result.stderr == b"viewos: /no/where: No such file or directory\n"


# ---- what the program is --------------------------------------------------------------------

STATE = r"""
import os, re, signal, sys
print("argv", sys.orig_argv)
print("environ", open("/proc/self/environ", "rb").read().split(b"\0"))
print("cwd", os.getcwd(), "umask", os.umask(0), "nice", os.nice(0))
print("affinity", os.sched_getaffinity(0), "scheduler", os.sched_getscheduler(0))
print("session", os.getsid(0) == os.getpgrp())
for fd in range(300):
    try:
        print(fd, os.readlink(f"/proc/self/fd/{fd}"), os.get_inheritable(fd))
    except OSError:
        pass
keep = (
    "Umask Uid Gid Groups SigPnd ShdPnd SigBlk SigIgn SigCgt CapInh CapPrm CapEff CapBnd CapAmb "
    "NoNewPrivs Speculation_Store_Bypass SpeculationIndirectBranch Cpus_allowed"
).split()
if os.getuid():
    keep.remove("NoNewPrivs")
for line in open("/proc/self/status"):
    if line.partition(":")[0] in keep:
        print(line, end="")
print(open("/proc/self/limits").read())
for name in ("oom_score_adj", "personality", "coredump_filter", "timerslack_ns", "cgroup", "comm"):
    try:
        print(name, open(f"/proc/self/{name}").read())
    except OSError as error:
        print(name, error)
print(open("/proc/self/stat").read().rpartition(")")[2].split()[4:6])
try:
    print("wait", os.wait())
except ChildProcessError:
    print("no children")
"""
SHELL_STATE = (
    "umask 027; ulimit -n 200; ulimit -s 4096; ulimit -c 7; renice -n 5 $$ >/dev/null;"
    "trap '' USR2 QUIT; exec 7</etc/passwd 9>/dev/null 99</etc/group; exec \"$@\""
)


@every_way
@pytest.mark.parametrize("locale", ["C", "C.UTF-8", None])
def test_the_program_finds_the_state_of_its_native_twin(way: Way, locale: str | None) -> None:
    def ask(how: Way) -> list[str]:
        unset = ["-u", "LC_ALL", "-u", "LANG"] if locale is None else [f"LC_ALL={locale}"]
        env = ["env", *unset, "ODD=\udcff\udcfe", "=strange"]
        argv = [*env, *how.prefix(), PYTHON, "-c", STATE, "an argument", "\udcff"]
        words = ["bash", "-c", SHELL_STATE, "bash", *argv]
        result = how.native.run(*words, preexec_fn=_block_signals, cwd="/usr")
        assert result.returncode == 0, result.stderr.decode()
        text = result.stdout.decode(errors="surrogateescape")
        text = re.sub(r"(pipe|socket):\[\d+\]", r"\1", text)
        return re.sub(r"VIEWOS_TEST_RUN=\w+", "", text).splitlines()

    assert ask(way) == ask(way.native)


def _block_signals() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGALRM})


@pytest.mark.parametrize("uid", users.USERS)
def test_the_direct_layout_keeps_the_parent(uid: int) -> None:
    with Way("direct", uid).start("sh", "-c", "echo $$ $PPID", stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.read() == f"{process.pid} {os.getpid()}\n".encode()
        assert process.wait(10) == 0


@pytest.mark.parametrize("layout", LAYOUTS)
def test_no_new_privs_only_without_cap_sys_admin(layout: str) -> None:
    ask = ("sh", "-c", "grep NoNewPrivs /proc/self/status")
    assert Way(layout, 0).run(*ask).stdout.split()[1] == b"0"
    assert Way(layout, users.NOBODY).run(*ask).stdout.split()[1] == b"1"


@every_way
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"])
def test_closed_standard_descriptors_stay_closed(way: Way, closed: str, ground: Path) -> None:
    def ask(how: Way) -> list[str]:
        out = ground / "fds"
        out.unlink(missing_ok=True)
        inner = f"ls -l /proc/$$/fd >{out}"
        how.native.run("sh", "-c", f'exec "$@" {closed}', "sh", *how.prefix(), "sh", "-c", inner)
        return re.findall(r" (\d+) -> (?!pipe)", out.read_text())

    assert ask(way) == ask(way.native)


@every_way
def test_sixteen_descriptors_are_enough(way: Way) -> None:
    result = way.native.run("sh", "-c", 'ulimit -n 16; exec "$@"', "sh", *way.prefix(), "echo", "x")
    assert (result.stdout, result.stderr) == (b"x\n", b"")


@every_way
def test_wait_killable_recv_can_be_switched_off(way: Way) -> None:
    result = way.run("uname", env={"VIEWOS_WAIT_KILLABLE_RECV": "0"})
    assert (result.stdout, result.stderr) == (b"Linux\n", b"")


# ---- pipes and background processes ---------------------------------------------------------


@every_way
def test_a_background_child_holds_nothing_up(way: Way, ground: Path) -> None:
    """The command ends at once; what it left behind goes on, trapped calls and all."""
    script = (
        f"(sleep 1; uname >{ground}/later; cat {ground}/later >{ground}/done) >/dev/null & echo x"
    )
    before = time.monotonic()
    result = way.native.run(
        "sh", "-c", '"$@" 2>&1 | cat', "sh", *way.prefix(), "sh", "-c", script
    )  # leaving this call means that the background child and the monitor have left too
    assert result.stdout == b"x\n"
    assert time.monotonic() - before > 0.9
    assert (ground / "done").read_text() == "Linux\n"


@every_way
def test_the_end_of_a_pipe_comes_when_the_program_closes_it(way: Way, ground: Path) -> None:
    os.mkfifo(ground / "go")
    script = f"echo x; exec >&- 2>&-; read word <{ground}/go; exit 3"
    with way.start("sh", "-c", script, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.read() == b"x\n"  # to its end
        assert process.poll() is None
        (ground / "go").write_text("go\n")
        assert process.wait(10) == 3


@every_way
def test_a_closed_reader_kills_by_sigpipe(way: Way) -> None:
    result = way.native.run(
        "bash", "-c", '"$@" | head -n 1; echo ${PIPESTATUS[0]}', "bash", *way.prefix(), "yes"
    )
    assert result.stdout == b"y\n141\n"


@every_way
def test_stdin_is_the_programs_alone(way: Way) -> None:
    result = way.native.run(
        "sh", "-c", '"$@"; cat', "sh", *way.prefix(), "head", "-c", "2", input=b"a\nb\nc\n"
    )
    assert result.stdout == b"a\nb\nc\n"


# ---- signals --------------------------------------------------------------------------------

REPORTER = """
import signal, sys
wanted = [int(n) for n in sys.argv[1].split(",")]
signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
print("ready", flush=True)
while (number := signal.sigwaitinfo(wanted).si_signo) != signal.SIGRTMAX - 1:
    print(number, flush=True)
"""
SENT = (
    signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGQUIT,
    signal.SIGWINCH, signal.SIGALRM, signal.SIGTSTP, signal.SIGCONT, signal.SIGRTMIN + 3,
)  # fmt: skip
SIGRTLAST = signal.SIGRTMAX - 2


@every_way
@pytest.mark.parametrize("targets", ["process", "group", "process group", "group process"])
def test_each_signal_comes_once(way: Way, targets: str) -> None:
    """Sent to the process that was started, or to its group: the program gets it, exactly once.

    A signal of the highest number, sent last, cannot overtake a second copy.
    """
    wanted = ",".join(str(int(n)) for n in (*SENT, SIGRTLAST, SIGRTLAST + 1))
    send = {"process": os.kill, "group": os.killpg}
    with way.start(PYTHON, "-c", REPORTER, wanted, stdout=subprocess.PIPE) as process:
        assert process.stdout
        lines = iter(process.stdout.readline, b"")
        assert next(lines) == b"ready\n"
        for number in SENT:
            for target in targets.split():
                send[target](process.pid, number)
                assert int(next(lines)) == number, target
                os.kill(process.pid, SIGRTLAST)
                assert int(next(lines)) == SIGRTLAST, (target, number)
        os.kill(process.pid, SIGRTLAST + 1)
        assert process.wait(10) == 0


@every_way
@pytest.mark.parametrize("name", ["TERM", "INT", "HUP", "USR1"])
def test_a_signal_ends_it(way: Way, name: str) -> None:
    with way.start("sh", "-c", "echo x; exec sleep 30", stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"x\n"
        process.send_signal(getattr(signal, f"SIG{name}"))
        assert process.wait(10) == -getattr(signal, f"SIG{name}")


@every_way
def test_stop_and_continue_are_seen_by_the_parent(way: Way) -> None:
    """The group is an orphaned one, so only SIGSTOP stops; test_terminal has the others."""
    script = "kill -TSTP $$; echo x; kill -STOP $$; echo y; read z"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with way.start("sh", "-c", script, **pipes) as process:
        assert process.stdin and process.stdout
        what = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WSTOPPED)
        assert what is not None
        assert (what.si_code, what.si_status) == (os.CLD_STOPPED, signal.SIGSTOP)
        assert process.stdout.readline() == b"x\n"
        os.kill(process.pid, signal.SIGCONT)
        assert process.stdout.readline() == b"y\n"
        what = os.waitid(os.P_PID, process.pid, os.WCONTINUED)
        assert what is not None
        assert what.si_code == os.CLD_CONTINUED
        process.stdin.write(b"\n")
        process.stdin.close()
        assert process.wait(10) == 0


# ---- what goes wrong ------------------------------------------------------------------------


@every_way
def test_an_outer_listener(way: Way) -> None:
    result = way.run(*way.prefix(), "true")
    assert result.returncode == 125
    assert result.stderr.startswith(b"viewos: cannot install the seccomp filter: ")
    assert b"listener" in result.stderr and result.stderr.count(b"\n") == 1


@every_way
@pytest.mark.parametrize(
    ("serve", "line"),
    [
        ("raise_before", b"viewos: serve refuses\n"),
        ("die_before", b"viewos: the monitor died before the program could start\n"),
    ],
)
def test_a_monitor_that_does_not_come_up(way: Way, serve: str, line: bytes) -> None:
    result = way.run("echo", "never", options=("--serve", serve))
    assert (result.returncode, result.stdout) == (125, b"")
    assert result.stderr.splitlines(keepends=True)[0] == line


@every_way
def test_serve_has_a_bug(way: Way, ground: Path) -> None:
    """The traceback and one line reach the user, the clean-up runs, the call fails with ENOSYS."""
    scratch = ground / "scratch"
    scratch.touch()
    program = "import os\ntry: os.uname()\nexcept OSError as e: print(e.errno)\ninput()"
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    options = ("--serve", "raise_at_uname", "--scratch", str(scratch))
    with way.start(PYTHON, "-uc", program, options=options, **pipes) as process:
        assert process.stdout and process.stderr
        assert process.stdout.readline() == f"{errno.ENOSYS}\n".encode()
        text = [process.stderr.readline().decode()]
        while "ENOSYS" not in text[-1]:
            text.append(process.stderr.readline().decode())
        assert text[0] == "viewos: Traceback (most recent call last):\n"
        assert text[-2] == "RuntimeError: serve has a bug\n"
        assert re.match(r"viewos: the monitor (died|ended with an error): ", text[-1])
        process.communicate(b"\n", timeout=10)
        assert process.returncode == 0
    assert not scratch.exists()


@every_way
def test_a_monitor_that_is_killed(way: Way, ground: Path) -> None:
    """One line says so, the clean-up runs, and trapped calls fail with ENOSYS."""
    scratch = ground / "scratch"
    scratch.touch()
    program = (
        "import os; print('ready', flush=True); input(); "
        "import errno\ntry: os.uname()\nexcept OSError as e: print(errno.errorcode[e.errno])\n"
    )
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    options = ("--scratch", str(scratch))
    with way.start(PYTHON, "-c", program, options=options, **pipes) as process:
        assert process.stdin and process.stdout and process.stderr
        assert process.stdout.readline() == b"ready\n"
        os.kill(marked(mark_of(process))["viewos-monitor"], signal.SIGKILL)
        line = process.stderr.readline().decode()
        assert re.fullmatch(
            r"viewos: the monitor (died|was killed by signal 9 .*): .*ENOSYS.*\n", line
        )
        out, err = process.communicate(b"\n", timeout=10)
        assert (out, err) == (b"ENOSYS\n", b"")
    assert not scratch.exists()


@every_way
@pytest.mark.parametrize(
    "victim", ["program", "started", "viewos-monitor", "viewos-guard", "viewos-shepherd"]
)
def test_whoever_is_killed_nothing_is_left(way: Way, victim: str, ground: Path) -> None:
    """The harness fails for whatever of the run is alive five seconds later."""
    if victim == {"direct": "viewos-shepherd", "ancestor": "viewos-guard"}[str(way.layout)]:
        victim = "started"  # this layout has no such process
    script = "echo $$; while :; do sleep 0.1; [ -e $1 ] || exit 7; done"
    flag = ground / "flag"
    flag.touch()
    with way.start("sh", "-c", script, "sh", str(flag), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        program = int(process.stdout.readline())
        relatives = marked(mark_of(process))
        pid = {"program": program, "started": process.pid}.get(victim) or relatives[victim]
        os.kill(pid, signal.SIGKILL)
        if victim in ("program", "started"):
            assert process.wait(10) == -signal.SIGKILL
        elif victim == "viewos-shepherd":
            assert process.wait(10) == 125
        else:
            assert process.poll() is None
        if victim == "viewos-monitor":
            os.kill(program, signal.SIGKILL)
        flag.unlink()
        process.wait(10)


@every_way
@pytest.mark.parametrize(
    "victim", ["nobody", "program", "started", "viewos-monitor", "viewos-guard", "viewos-shepherd"]
)
def test_no_file_is_left(way: Way, victim: str, ground: Path) -> None:
    """The view has a scratch directory, for a mount point that does not exist."""
    script = "ls /no/where; echo $$; read word || :"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    words = [*way.view_prefix(f"vfs:/no/where={ground}"), "sh", "-c", script]
    temporary = ground / "tmp"
    temporary.mkdir()
    temporary.chmod(0o1777)
    env = {"TMPDIR": str(temporary)}
    with way.native.start(*words, env=env, **pipes) as process:
        assert process.stdin and process.stdout
        assert process.stdout.readline() == b"tmp\n"
        program = int(process.stdout.readline())
        assert list(temporary.iterdir())
        relatives = {"program": program, "started": process.pid, **marked(mark_of(process))}
        if victim in relatives:
            os.kill(relatives[victim], signal.SIGKILL)
        process.stdin.close()
        process.wait(10)
    assert not list(temporary.iterdir())


SLOW = """
import os
from viewos import VirtualModule

class Slow(VirtualModule):
    name = "slow"

    def start(self, directory):
        self.file = os.open(os.path.join(directory, b"file"), os.O_CREAT | os.O_WRONLY, 0o644)

    def syscalls(self):
        os.write(1, b"asked\\n")
        os.read(0, 1)
        return frozenset()
"""


@every_way
def test_killed_before_there_is_a_filter(way: Way, ground: Path) -> None:
    """The module is asked while the filter is made: the monitor is there, and waits."""
    (ground / "slow.py").write_text(SLOW)
    (ground / "tmp").mkdir()
    (ground / "tmp").chmod(0o1777)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    words = [*way.view_prefix(f"{ground}/slow.py:Slow"), "true"]
    with way.native.start(*words, env={"TMPDIR": str(ground / "tmp")}, **pipes) as process:
        assert process.stdin and process.stdout
        assert process.stdout.readline() == b"asked\n"
        assert list((ground / "tmp").iterdir())
        process.kill()
        process.wait(10)
    assert not list((ground / "tmp").iterdir())


@every_way
def test_killed_while_it_starts(way: Way) -> None:
    """SIGKILL at any moment of the launch: nothing stays."""
    for delay in range(0, 60, 4):
        with way.start("sleep", "0.2") as process:
            time.sleep(delay / 1000)
            process.kill()
            process.wait(10)


# ---- cost -----------------------------------------------------------------------------------

COSTLY = {
    "argparse", "asyncio", "capstone", "dataclasses", "inspect", "logging", "shutil", "socket",
    "subprocess", "tempfile", "viewos.monitor.inproc.image",
}  # fmt: skip


def imported(code: str) -> set[str]:
    """The modules that there are after that."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; import sys; print(*sys.modules)"],
        env=environment(), capture_output=True, timeout=20, check=True,
    )  # fmt: skip
    return set(done.stdout.decode().split())


def test_what_is_costly_is_not_imported() -> None:
    """Each of these costs milliseconds of every start."""
    modules = imported(
        "from viewos import filter; from viewos.launcher import direct, waiter;"
        "filter.build(filter.FilterPlan(trap=frozenset({'open'})))"
    )
    assert "pyseccomp" in modules
    assert not COSTLY & modules


def test_the_monitor_imports_nothing_costly() -> None:
    """A program waits until its monitor serves."""
    names = ", ".join([start.SERVING, *start.INPROC])
    modules = imported(f"import viewos.monitor.start, viewos.monitor.control.server, {names}")
    assert start.SERVING in modules
    assert not COSTLY & modules


@pytest.mark.parametrize("options", [(), ("-m", "hostname:x"), ("-m", "vfs:/=/")])
def test_a_program_does_not_wait_for_what_only_the_monitor_needs(options: tuple[str, ...]) -> None:
    """What the monitor imports is not in the listing: its descriptor 2 is not ours by then."""
    words = [sys.executable, "-X", "importtime", "-m", "viewos", "run", *options, "--", "true"]
    done = subprocess.run(words, env=environment(), capture_output=True, timeout=20, check=True)
    modules = {line.rpartition("|")[2].strip() for line in done.stderr.decode().splitlines()}
    assert "viewos.launcher.direct" in modules or "viewos.launcher.waiter" in modules
    costly = {"viewos.monitor.router", "viewos.monitor.execve", "viewos.monitor.sockets"}
    costly |= {"subprocess", "socket", "asyncio", "anyio", "argparse", "secrets", "traceback"}
    if "hostname:x" not in options:  # whose answer is a dataclass
        costly |= {"inspect", "dataclasses"}
    assert not costly.intersection(modules)
