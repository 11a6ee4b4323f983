"""A view looked at closely: traces, how paths resolve; other names in it."""

from __future__ import annotations

import fcntl
import operator
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.system.control import NAME, PATIENCE, SLEEP, Ground, ground, until
from tests.system.users import python
from tests.system.view import run_in_view, started

__all__ = ["ground"]  # the fixture
pytestmark = pytest.mark.timeout(120)


# ---- looking closer ----


def test_a_view_is_traced_while_it_runs(ground: Ground) -> None:
    """Two may look at once; when they have gone, the accelerator answers again."""
    script = "while :; do cat /mnt/a; sleep 0.05; done > /dev/null"
    with ground.view([f"vfs:/mnt={ground.path}/a"], ["sh", "-c", script]):
        words = [python(ground.user), "-m", "viewos", "trace", "-V", NAME, "-e"]
        lines = []
        with started(
            None, [*words, "open"], user=ground.user, env=ground.env, stderr=subprocess.PIPE
        ) as one, started(
            None, [*words, "path=/mnt"], user=ground.user, env=ground.env, stderr=subprocess.PIPE
        ) as other:  # fmt: skip
            for process in (one, other):
                assert process.stderr is not None
                lines.append(next(line for line in process.stderr if b'"/mnt/a"' in line))
                process.send_signal(signal.SIGINT)
                process.stderr.read()
                assert process.wait(PATIENCE) == 0
        for line in lines:
            assert f"emulated at {ground.path}/a/a>".encode() in line
        before = ground.json("stats", NAME)[0]["calls"]["openat"]["accelerator"]
        until(lambda: ground.json("stats", NAME)[0]["calls"]["openat"]["accelerator"] > before + 5)
        assert ground.says("trace", "-V", NAME, "-e", "opne").startswith("viewos: -e opne: 'opne'")
        assert ground.says("trace", "-V", NAME, "ls").startswith("viewos: viewos trace -V: only")
        assert ground.says("trace", "-V", NAME, "-o", "/dev/full") == (
            "viewos: lines of the trace are lost: No space left on device\nstatus 125\n"
        )


def test_what_prints_nothing_needs_no_standard_output(ground: Ground) -> None:
    """A daemon could stop no view. What becomes a program leaves it closed, as `viewos run`."""
    viewos = f"{python(ground.user)} -m viewos"
    script = f"""
        {viewos} exec {NAME} sh -c '[ -e /proc/$$/fd/1 ] || exit 7'; echo $? >&2
        for words in 'hostname -V {NAME} h' 'module -V {NAME} add vfs:/srv={ground.path}/b' \\
            'umount -V {NAME} /srv' 'name {NAME} other' 'stop other' 'wait other'
        do {viewos} $words; echo $? >&2; done
    """
    with ground.view([f"vfs:/mnt={ground.path}/a"], SLEEP):
        done = run_in_view(None, ["sh", "-c", f"exec >&-; {script}"], **_as(ground))
    said = b"viewos: there is no view other, and no other one either\n"
    assert done.stderr == b"7\n" + 5 * b"0\n" + said + b"125\n"


def _as(ground: Ground) -> dict[str, Any]:
    return {"user": ground.user, "env": ground.env, "timeout": 60}


def test_a_trace_without_a_standard_error(ground: Ground) -> None:
    """The client's own socket had its number, and was sent: a write to it held the view for good,
    and what was said of the view's directory went to the monitor as a request."""
    script = "while :; do cat /mnt/a; sleep 0.05; done"
    viewos = f"exec {python(ground.user)} -m viewos"
    with ground.view([f"vfs:/mnt={ground.path}/a"], ["sh", "-c", script]):
        closed = ["sh", "-c", f"{viewos} trace -V {NAME} 2>&-"]
        assert run_in_view(None, closed, **_as(ground)).returncode == 125
        done = run_in_view(None, ["sh", "-c", f"{viewos} exec {NAME} cat /mnt/a"], **_as(ground))
        assert done.stdout == b"in a\n"
    hidden = ground.path / "a" / "deep"
    hidden.mkdir()
    with ground.view([f"vfs:{ground.path}/a={ground.path}/b"], SLEEP):
        closed = ["sh", "-c", f"{viewos} exec {NAME} pwd 2>&-"]
        assert run_in_view(None, closed, **_as(ground), cwd=hidden).stdout == b"/\n"


@pytest.fixture
def unread() -> Iterator[tuple[int, int]]:
    """A small pipe that nobody reads."""
    ours, theirs = os.pipe()
    fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, 4096)
    yield ours, theirs
    os.close(ours)
    os.close(theirs)


def _held(beat: Path) -> bool:
    before = beat.stat().st_size
    time.sleep(0.7)
    return beat.stat().st_size == before


@pytest.mark.parametrize("way", ["killed", "read"])
def test_a_trace_that_is_not_read(ground: Ground, unread: tuple[int, int], way: str) -> None:
    """It makes the view wait, as strace's does, but nothing else; and only as long as it runs."""
    beat = ground.path / "a" / "beat"
    script = "while :; do cat /mnt/a; echo x >> /mnt/beat; sleep 0.02; done > /dev/null"
    with ground.view([f"vfs:/mnt={ground.path}/a"], ["sh", "-c", script]):
        words = [python(ground.user), "-m", "viewos", "trace", "-V", NAME, "-e", "path=/mnt"]
        with started(None, words, user=ground.user, env=ground.env, stderr=unread[1]) as tracer:
            until(lambda: beat.exists() and _held(beat))
            assert ground.json("ps")[0]["name"] == NAME
            assert ground.says("module", "-V", NAME, "add", "hostname:h") == ""
            assert os.get_blocking(unread[1])
            if way == "read":
                os.set_blocking(unread[0], False)
                told = b""
                end = time.monotonic() + 2
                while time.monotonic() < end:
                    with suppress(BlockingIOError):
                        told += os.read(unread[0], 1 << 16)
                    time.sleep(0.01)
                tracer.send_signal(signal.SIGINT)
                names = re.findall(rb'openat[^"\n]*"/mnt/(a|beat)".*>\n', told)
                assert len(names) > 40 and not any(map(operator.eq, names, names[1:]))
            else:
                tracer.kill()
            tracer.wait(PATIENCE)
            until(lambda: not _held(beat))
        assert ground.says("stop", NAME) == ""


def test_a_trace_whose_reader_has_gone_ends(ground: Ground) -> None:
    script = "while :; do cat /mnt/a; sleep 0.02; done > /dev/null"
    with ground.view([f"vfs:/mnt={ground.path}/a"], ["sh", "-c", script]):
        words = [python(ground.user), "-m", "viewos", "trace", "-V", NAME]
        ours, theirs = os.pipe()
        try:
            with started(None, words, user=ground.user, env=ground.env, stderr=theirs) as tracer:
                assert os.read(ours, 1)
                os.close(ours)
                tracer.wait(PATIENCE)
        finally:
            os.close(theirs)
        assert ground.says("stop", NAME) == ""


def test_a_traced_program_is_killed_whose_trace_is_not_read(
    ground: Ground, unread: tuple[int, int]
) -> None:
    """What it has left behind waits a while for the reader, and goes on."""
    beat = ground.path / "a" / "beat"
    loop = "while :; do cat /mnt/a; echo x >> /mnt/beat; sleep 0.02; done"
    script = f"trap '' HUP; {{ {loop}; }} > /dev/null 2>&1 & exec sleep 100"
    words = [python(ground.user), "-m", "viewos", "trace", "-m", f"vfs:/mnt={ground.path}/a"]
    words += ["-e", "path=/mnt", "--", "sh", "-c", script]
    os.fchown(unread[1], ground.user, ground.user)
    with started(
        None, words, user=ground.user, env=ground.env, stderr=unread[1], strict=False
    ) as traced:
        until(lambda: beat.exists() and _held(beat))
        traced.kill()
        traced.wait(PATIENCE)
        until(lambda: not _held(beat))


def test_the_end_of_a_view_ends_its_trace(ground: Ground) -> None:
    with ground.view([f"vfs:/mnt={ground.path}/a"], ["sh", "-c", "read x; cat /mnt/a"]) as process:
        words = [python(ground.user), "-m", "viewos", "trace", "-V", NAME, "-o", "out"]
        with started(
            None, words, user=ground.user, env=ground.env, cwd=ground.path / "a"
        ) as tracer:
            until((ground.path / "a" / "out").exists)
            time.sleep(0.5)
            process.communicate(b"\n")
            assert tracer.wait(PATIENCE) == 0
        assert '"/mnt/a"' in (ground.path / "a" / "out").read_text()


def test_a_view_traces_itself(ground: Ground) -> None:
    """Through the connection that its own processes have."""
    viewos = f"{python(ground.user)} -m viewos"
    script = (
        f"{viewos} trace -V $({viewos} info --json | python3 -c "
        "'import json, sys; print(json.load(sys.stdin)[\"id\"])') -e path=/mnt -o /mnt/out & "
        "while ! grep -q '/mnt/a' /mnt/out 2>/dev/null; do cat /mnt/a >/dev/null; sleep 0.1; done; "
        "kill $!; wait $! 2>/dev/null; grep -c 'openat.*/mnt/a.*emulated' /mnt/out"
    )
    done = run_in_view([f"vfs:/mnt={ground.path}/a"], ["sh", "-c", script], user=ground.user)
    assert int(done.stdout) >= 1 and done.stderr == b""


def test_how_a_path_resolves(ground: Ground) -> None:
    a = ground.path / "a"
    (a / "link").symlink_to("../media/a")
    text = ground.says(
        "run", "-m", f"vfs:/mnt={a}", "-m", "vfs:/media=/mnt,ro", "--why", "/mnt/link",
        "--why", "/no/such", "--", "echo", "ran",
    )  # fmt: skip
    head = f"vfs:/mnt={a}"
    assert text == (
        "ran\n/mnt/link\n"
        f"  /mnt      a claim of layer 0, {head}, at {a}\n"
        f"  /mnt/link  a symbolic link to ../media/a, at {a}/link\n".replace("/mnt  ", "/mnt   ")
        + "  /          by ..\n"
        f"  /media     a claim of layer 1, vfs:/media=/mnt,ro, read-only, at {a}\n"
        f"  /media/a   a file, at {a}/a\n"
        "  = /media/a\n"
        "  layer 1, vfs:/media=/mnt,ro: /mnt/a of the view below\n"
        f"  layer 0, {head}: {a}/a of the view below\n"
        f"  is {a}/a (read-only)\n"
        "/no/such\n  /no  no such file or directory\n"
        "  layer 1, vfs:/media=/mnt,ro: does not claim it\n"
        f"  layer 0, {head}: does not claim it\n"
        "  is /no/such (outside of every claim: the kernel runs calls on it as they are)\n"
    ).replace("  /mnt      a claim", "  /mnt       a claim")


def test_why_in_a_nested_view(ground: Ground) -> None:
    inner = f"{python(ground.user)} -m viewos run -m vfs:/media=/mnt --why a -C /media -- cat a"
    done = run_in_view(
        [f"vfs:/mnt={ground.path}/a"], ["sh", "-c", f"cd /mnt; {inner}"], user=ground.user
    )
    assert done.stdout == b"in a\n"
    assert done.stderr.decode().splitlines()[-1] == f"  is {ground.path}/a/a"
    assert "layer 1, vfs:/media=/mnt: does not claim it" in done.stderr.decode()


@pytest.mark.parametrize("way", [[], ["run", "--nestable", "--"]], ids=["outermost", "nested"])
def test_why_alone_runs_nothing(ground: Ground, way: list[str]) -> None:
    """In this view there is no program at all."""
    viewos = [python(ground.user), "-m", "viewos"]
    words = [*viewos, *way, *viewos * bool(way), "run", "-m", f"vfs:/={ground.path}/a", "-C", "/"]
    done = run_in_view(None, [*words, "--why", "/a"], user=ground.user, env=ground.env)
    assert (done.returncode, done.stdout) == (0, b"")
    assert done.stderr.decode().splitlines()[-1] == f"  is {ground.path}/a/a"


# ---- other names ----


def test_hostname_and_su(ground: Ground) -> None:
    viewos = f"{python(ground.user)} -m viewos"
    with ground.view(["vfs:/=/", "uid:0"], SLEEP):
        assert ground.says("hostname", "-V", NAME, "a,b:c") == ""  # puts a module there
        assert ground.says("exec", NAME, "uname", "-n") == "a,b:c\n"
        assert ground.says("hostname", "-V", NAME, "second") == ""
        assert ground.says("exec", NAME, "uname", "-n") == "second\n"
        assert len(ground.json("module", "-V", NAME, "ls")) == 3
        said = ground.says("hostname", "-V", NAME, "x" * 65)
        assert (
            said == "viewos: hostname: a name has at most 64 bytes, and is one line\nstatus 125\n"
        )
        script = (
            f"{viewos} su games -- sh -c 'id -un; echo $HOME $USER; {viewos} su -- id -u';"
            f"{viewos} su 1234 -- id -u; {viewos} su zzz; {viewos} su -l games -- pwd;"
            f"{viewos} su games ls"
        )
        assert ground.says("exec", NAME, "sh", "-c", f"exec 2>&1; {script}") == (
            "games\n/usr/games games\n0\n1234\n"
            "viewos: the view has no user zzz (see its /etc/passwd)\n/usr/games\n"
            "viewos: viewos su: a COMMAND stands behind -- (see `viewos su --help`)\nstatus 2\n"
        )
    assert ground.says("su").startswith("viewos: this process is in no view: ")
