"""What `subprocess` does, a view does: the same calls on both, and the results compared."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import DEVNULL, PIPE, STDOUT
from typing import Any

import viewos
from viewos.modules.vfs import Vfs

IDENTITY = [Vfs("/", "/")]
WORDS = "printf 'out\\nline\\n'; printf 'err\\n' >&2; exit 3"


def outcome(function: Callable[[Any], Any], api: Any) -> Any:
    """What came of it; of an exception, all that `except` clauses look at."""
    try:
        return function(api)
    except Exception as error:
        known = ("errno", "filename", "returncode", "cmd", "output", "stderr", "timeout")
        seen = {name: getattr(error, name, None) for name in known}
        if isinstance(error, KeyError | subprocess.SubprocessError | OSError | viewos.ViewosError):
            seen["text"] = str(error)
        return type(error), seen


def same(*functions: Callable[[Any], Any], layouts: bool = True) -> None:
    """Each has the same outcome natively, in a view of nothing, and in the identity view; with
    `layouts` also where the process that the caller knows is not the program itself."""
    views = [viewos.View(), viewos.View(IDENTITY)]
    if layouts:
        views.append(viewos.View(IDENTITY, layout="ancestor"))
    with contextlib.ExitStack() as stack:
        for view in views:
            stack.enter_context(view)
        for function in functions:
            native = outcome(function, subprocess)
            for view in views:
                found = outcome(function, view)
                assert found == native, f"{view.layout}: {found}\nnatively\n{native}"


def plain(result: subprocess.CompletedProcess[Any]) -> tuple[Any, ...]:
    return result.args, result.returncode, result.stdout, result.stderr


def check_run() -> None:
    sh = ["sh", "-c", WORDS]
    same(
        lambda api: plain(api.run(sh, capture_output=True)),
        lambda api: plain(api.run(sh, stdout=PIPE, stderr=STDOUT)),
        lambda api: plain(api.run(sh, stdout=PIPE, stderr=DEVNULL)),
        lambda api: plain(api.run(sh, capture_output=True, check=True)),
        lambda api: plain(api.run(["true"], check=True)),
        lambda api: plain(api.run(sh, capture_output=True, stdout=PIPE)),
        lambda api: plain(api.run(["cat"], stdin=PIPE, input=b"x")),
        lambda api: plain(api.run(["cat"], input=b"x" * 300_000, capture_output=True)),
        lambda api: plain(api.run(["true"], input=b"x" * 300_000)),
        lambda api: plain(api.run(["sh", "-c", "kill -9 $$"])),
        lambda api: plain(api.run("echo a; echo $0; exit 4", shell=True, capture_output=True)),
        lambda api: plain(api.run(["echo $0 $1", "a", "b"], shell=True, capture_output=True)),
        lambda api: plain(
            api.run("echo $0", shell=True, executable="/bin/bash", capture_output=True)
        ),
        lambda api: plain(
            api.run(["other", "-c", "echo $0"], executable="sh", capture_output=True)
        ),
        lambda api: plain(api.run("true", capture_output=True)),
        lambda api: plain(api.run(b"true", capture_output=True)),
        lambda api: plain(api.run(Path("/bin/true"), capture_output=True)),
        lambda api: plain(api.run(["echo", b"\xff\xfe", Path("a")], capture_output=True)),
    )


def check_text() -> None:
    sh = ["printf", "a\\r\\nb\\rc\\n\\303\\244"]
    same(
        lambda api: plain(api.run(sh, capture_output=True, text=True)),
        lambda api: plain(api.run(sh, capture_output=True, universal_newlines=True)),
        lambda api: plain(api.run(sh, capture_output=True, encoding="latin-1")),
        lambda api: plain(api.run(sh, capture_output=True, encoding="ascii", errors="replace")),
        lambda api: plain(api.run(["cat"], input="ä\n", text=True, stdout=PIPE)),
        lambda api: plain(api.run(["cat"], input="ä\n", encoding="utf-16", stdout=PIPE)),
        lambda api: plain(api.run(["cat"], input="x", capture_output=True)),
    )


def check_errors() -> None:
    Path("plain").write_text("no program\n")
    Path("empty").write_text("")
    Path("script").write_text("echo no interpreter is named\n")
    Path("lost").write_text("#!/no/such/interpreter\n")
    for name in ("empty", "script", "lost"):
        Path(name).chmod(0o755)
    same(
        lambda api: api.run(["no-such-command"]),
        lambda api: api.run("no-such-command"),
        lambda api: api.run([b"no-such-command"]),
        lambda api: api.run([Path("no-such: command"), "x"]),
        lambda api: api.run(["/no/such/command"]),
        lambda api: api.run(["a"], executable="no-such-command"),
        lambda api: api.run(["./plain"]),
        lambda api: api.run(["./plain/x"]),
        lambda api: api.run(["./empty"]),
        lambda api: api.run(["./script"]),
        lambda api: api.run(["./lost"]),
        lambda api: api.run(["."]),
        lambda api: api.run(["true"], cwd="/no/such: directory"),
        lambda api: api.run(["true"], cwd=b"plain"),
        lambda api: api.run(["true"], cwd=""),
        lambda api: api.run(["no-such-command"], cwd="/"),
        lambda api: api.run("no-such-command", shell=True, capture_output=True).returncode,
        lambda api: api.run("x", shell=True, executable="/no/shell"),
        lambda api: api.run([""]),
        lambda api: api.run([]),
        lambda api: api.run(["a\0b"]),
        lambda api: api.run(["true"], env={"A=B": "c"}),
        lambda api: api.run(["true"], env={"A": "c\0"}),
        lambda api: api.run(["true"], env={"A": 1}),
        lambda api: api.run([1]),
        lambda api: api.run(3),
        lambda api: api.run(Path("/bin/true"), shell=True),
        lambda api: api.run(["x" * 300_000]),
        lambda api: api.run(["true"], no_such_option=1),
        lambda api: api.run(["true"], user="no-such-user"),
        lambda api: api.run(["true"], group="no-such-group"),
        lambda api: api.run(["true"], extra_groups=["no-such-group"]),
        lambda api: api.run(["true"], extra_groups="root"),
        lambda api: api.run(["true"], user=-1),
        lambda api: api.run(["true"], group=1.5),
    )


def check_timeout() -> None:
    def late(api: Any) -> Any:
        return plain(api.run(["sh", "-c", "echo a; exec sleep 60"], timeout=2, stdout=PIPE))

    def kills(api: Any) -> Any:
        process = api.Popen(["sleep", "60"])
        try:
            process.wait(timeout=0.05)
        except subprocess.TimeoutExpired as error:
            process.kill()
            return error.cmd, error.timeout, process.wait()

    same(late, kills, lambda api: plain(api.run(["echo", "x"], timeout=60, stdout=PIPE)))


def check_environment() -> None:
    os.environb[b"ODD"] = b"\xff\xfe=\n"
    Path("bin").mkdir()
    Path("bin/mine").write_text("#!/bin/sh\necho mine $0\n")
    Path("bin/mine").chmod(0o755)
    here = os.getcwd()
    Path("sub").mkdir()
    same(
        lambda api: plain(api.run(["env", "-0"], stdout=PIPE)),
        lambda api: plain(api.run(["/usr/bin/env", "-0"], env={}, stdout=PIPE)),
        lambda api: plain(
            api.run(["env", "-0"], env={"PATH": "/usr/bin", b"B": b"\xff"}, stdout=-1)
        ),
        lambda api: plain(api.run(["mine"], env={"PATH": f"/no:{here}/bin:/usr/bin"}, stdout=PIPE)),
        lambda api: plain(api.run(["mine"], env={"PATH": "bin:/usr/bin"}, stdout=PIPE)),
        lambda api: plain(api.run(["mine"], env={"PATH": "/usr/bin"}, stdout=PIPE)),
        lambda api: plain(api.run(["pwd"], stdout=PIPE)),
        lambda api: plain(api.run(["pwd"], cwd="/usr", stdout=PIPE)),
        lambda api: plain(api.run(["pwd"], cwd=Path("sub"), stdout=PIPE)),
        lambda api: plain(api.run(["pwd"], cwd=b"sub/..", stdout=PIPE)),
        lambda api: plain(api.run(["../bin/mine"], cwd="sub", stdout=PIPE)),
        lambda api: plain(api.run(["mine"], cwd="bin", env={"PATH": "."}, stdout=PIPE)),
    )
    os.rmdir("sub")
    os.mkdir("gone")
    os.chdir("gone")
    os.rmdir(os.path.join(here, "gone"))
    same(
        lambda api: plain(api.run(["ls", "-a"], capture_output=True)),
        lambda api: plain(api.run(["pwd"], cwd=here, stdout=PIPE)),
    )
    os.chdir(here)


STATE = (
    "import os, signal, resource, sys;"
    "print(os.getsid(0) == os.getpid(), os.getpgrp() == os.getpid(), os.getppid(),"
    " oct(os.umask(0)), os.getresuid(), os.getresgid(), sorted(os.getgroups()),"
    " sorted(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, []))), os.nice(0),"
    " resource.getrlimit(resource.RLIMIT_NOFILE),"
    " [l for l in open('/proc/self/status') if l.startswith('SigIgn')], sys.argv[1:])"
)


def check_process_state() -> None:
    """What a program inherits, and what the options change of it."""
    state = ["/usr/bin/python3", "-I", "-c", STATE]

    def ask(**options: Any) -> Callable[[Any], Any]:
        return lambda api: plain(api.run([*state, "a b", ""], capture_output=True, **options))

    options: list[dict[str, Any]] = [
        {},
        {"start_new_session": True},
        {"process_group": 0},
        {"umask": 0o027},
        {"umask": 0},
        {"restore_signals": False},
        {"preexec_fn": lambda: os.nice(3)},
        {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (77, 88))},
        {"user": 1},
        {"group": 1},
        {"extra_groups": [4, 5]},
        {"user": "daemon", "group": "daemon", "extra_groups": ["adm"], "umask": 0o077},
        {"user": os.getuid(), "group": os.getgid()},
    ]
    same(
        *[ask(**o) for o in options if sys.version_info >= (3, 11) or "process_group" not in o],
        layouts=False,  # getppid
    )
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.umask(0o031)
    same(ask(), layouts=False)


def check_a_failing_preexec_fn() -> None:
    same(lambda api: api.run(["true"], preexec_fn=lambda: 1 / 0))


def check_an_end_in_preexec_fn() -> None:
    for end in (lambda: os._exit(7), lambda: os.kill(os.getpid(), signal.SIGKILL)):
        same(lambda api, end=end: plain(api.run(["true"], preexec_fn=end, stdout=-1, stderr=-1)))


def check_descriptors() -> None:
    """Which descriptors a program gets."""
    listing = ["/usr/bin/python3", "-I", "-c", "import os; print(sorted(os.listdir('/dev/fd')))"]
    read, write = os.pipe()
    os.set_inheritable(write, True)
    os.write(write, b"passed")

    def passed(api: Any) -> Any:
        words = ["sh", "-c", f"ls /proc/self/fd; exec echo pass >&{write}"]
        result = plain(api.run(words, pass_fds=(write,), capture_output=True))
        return result, os.read(read, 100)

    os.read(read, 100)
    same(
        lambda api: plain(api.run(listing, stdout=PIPE)),
        lambda api: plain(api.run(listing, stdout=PIPE, close_fds=False)),
        lambda api: plain(api.run(listing, stdout=PIPE, pass_fds=(read, write))),
        passed,
    )


def check_closed_standard_descriptors() -> None:
    """A caller without stdin and stdout starts programs all the same."""
    words = ["sh", "-c", "ls /proc/$$/fd; cat <&0 || :"]
    out = os.open("out", os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC)
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    os.close(0)
    os.close(1)

    def run(api: Any) -> Any:
        os.ftruncate(out, 0)
        return plain(api.run(words, stdout=out, stderr=null)), os.pread(out, 999, 0)

    try:
        same(run)
    finally:
        os.dup2(null, 0)
        os.dup2(null, 1)


def check_popen() -> None:
    def talk(api: Any) -> Any:
        with api.Popen(["cat"], stdin=PIPE, stdout=PIPE, text=True, bufsize=1) as process:
            running = process.poll()
            process.stdin.write("hello\n")
            line = process.stdout.readline()
            rest = process.communicate("more\n", timeout=30)
        return running, line, rest, process.returncode, process.poll(), process.args

    def signalled(number: int | None) -> Callable[[Any], Any]:
        def run(api: Any) -> Any:
            with api.Popen(["sleep", "60"]) as process:
                before = process.poll()
                process.terminate() if number is None else process.send_signal(number)
                status = process.wait(timeout=30)
            process.kill()  # it has ended: nothing happens
            return before, status

        return run

    def trapped(api: Any) -> Any:
        script = "sleep 60 >&2 & trap 'kill $!; echo got; exit 5' TERM; echo ready; wait"
        with api.Popen(["sh", "-c", script], stdout=PIPE) as process:
            ready = process.stdout.readline()
            process.terminate()
            return ready, process.stdout.read(), process.wait()

    def pipeline(api: Any) -> Any:
        first = api.Popen(["seq", "100000"], stdout=PIPE)
        second = api.Popen(["head", "-3"], stdin=first.stdout, stdout=PIPE)
        first.stdout.close()
        return second.communicate()[0], second.returncode, first.wait()

    same(
        talk, trapped, pipeline, signalled(None), signalled(signal.SIGKILL),
        signalled(signal.SIGINT), signalled(signal.SIGUSR1),
        lambda api: api.Popen(["true"], -1).wait(),
        lambda api: repr(api.Popen(["true"]).wait()),
    )  # fmt: skip


def check_two_views_in_a_pipeline() -> None:
    """Each end sees its own files."""
    for name in ("one", "two"):
        Path(name).mkdir()
        Path(name, "file").write_text(f"{name}\n")
    with viewos.View([Vfs("/mnt", "one")]) as one, viewos.View([Vfs("/mnt", "two")]) as two:
        first = one.Popen(["sh", "-c", "cat /mnt/file; pwd"], stdout=PIPE, cwd="/mnt")
        second = two.Popen(["cat", "-", "/mnt/file"], stdin=first.stdout, stdout=PIPE)
        assert first.stdout is not None
        first.stdout.close()
        assert second.communicate()[0] == b"one\n/mnt\ntwo\n"
        assert (first.wait(), second.wait()) == (0, 0)


def check_the_working_directory_lies_in_a_claim() -> None:
    """Where the caller stands is a name that means something else in the view."""
    for name in ("shown", "behind"):
        Path(name, "sub").mkdir(parents=True)
        Path(name, "sub", "file").write_text(name)
    here = os.getcwd()
    os.chdir("shown")
    with viewos.View([Vfs(f"{here}/shown", f"{here}/behind")]) as view:
        for cwd, file in ((None, "sub/file"), ("sub", "file"), ("../shown/sub", "file")):
            result = view.run(["sh", "-c", f"pwd; cat {file}"], cwd=cwd, stdout=PIPE, text=True)
            where = f"{here}/shown" + ("" if cwd is None else "/sub")
            assert result.stdout == f"{where}\nbehind", (cwd, result)
    os.chdir(here)
