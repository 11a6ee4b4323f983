"""The control plane: views that are seen, entered and ended from outside and from within."""

from __future__ import annotations

import json
import os
import pty
import select
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.system.control import NAME, PATIENCE, SLEEP, Ground, converse, ground, until
from tests.system.users import NOBODY, as_user, python
from tests.system.view import environment, run_in_view, started

__all__ = ["ground"]  # the fixture
pytestmark = pytest.mark.timeout(120)
as_root = pytest.mark.skipif(os.getuid() != 0, reason="directories of another user")


# ---- seeing ----


def test_a_view_is_listed(ground: Ground) -> None:
    with ground.view([f"vfs:/mnt={ground.path}/a"], SLEEP) as process:
        (one,) = ground.json("ps")
        assert one["id"] == str(process.pid) and one["number"] == 0 and one["outer"] is None
        assert one["name"] == NAME and one["command"] == SLEEP and one["processes"] == 1
        assert one["modules"] == [f"vfs:/mnt={ground.path}/a"]
        assert one["calls"] > 5 and 0 <= one["uptime"] < 60
        head, row = ground.says("ps").splitlines()
        assert head.split() == ["VIEW", "NAME", "PROCS", "CALLS", "UP", "MODULES", "COMMAND"]
        assert row.split()[:3] == [str(process.pid), NAME, "1"] and row.endswith("sleep 100")
        about = ground.json("info", NAME)
        assert about["claims"] == [
            {"path": "/mnt", "backing": f"{ground.path}/a", "read_only": False}
        ]
        assert [one["command"] for one in about["programs"]] == [SLEEP]
        assert f"/mnt  {ground.path}/a" in ground.says("info", str(process.pid))
        mode = stat.S_IMODE(ground.socket.stat().st_mode)
        assert mode == 0o600 and ground.socket.parent.stat().st_mode & 0o777 == 0o700
    until(lambda: ground.json("ps") == [])
    assert not list((ground.path / "run").iterdir())


@pytest.mark.parametrize("layout", ["direct", "ancestor"])
def test_the_id_is_the_process_that_was_started(ground: Ground, layout: str) -> None:
    with ground.view([f"vfs:/mnt={ground.path}/a"], SLEEP, "--layout", layout) as process:
        about = ground.json("info", str(process.pid))
        assert about["id"] == str(process.pid) and about["name"] == NAME
        assert [one["command"] for one in about["programs"]] == [SLEEP]
        assert (about["programs"][0]["pid"] == process.pid) is (layout == "direct")
        assert ground.says("exec", str(process.pid), "cat", "/mnt/a") == "in a\n"


def test_control_characters_stay_from_the_terminal(ground: Ground) -> None:
    odd = ground.path / "a\x1b[31m\u202eb"
    odd.mkdir()
    with ground.view([f"vfs:/mnt\x07={odd}"], SLEEP) as process:
        text = ground.says("ps") + ground.says("info", str(process.pid))
        text += ground.says("module", "-V", str(process.pid), "ls")
    assert text.replace("\n", "").isprintable(), text
    assert text.count("a?[31m?b") == 4


def test_a_name_is_given_and_taken(ground: Ground) -> None:
    with ground.view([], SLEEP) as process, ground.view([], SLEEP, name="other"):
        assert ground.says("name", NAME, "new name") == ""
        assert ground.says("name", "other", "new name") == ""
        text = ground.says("info", "new name")
        assert text.startswith("viewos: several views have the name new name: say which by its id")
        assert ground.says("name", str(process.pid), "") == ""
        assert ground.json("info", "new name")["name"] == "new name"
        assert ground.says("name", "new name", "a\tb") == (
            "viewos: a name is at most 64 characters that can be printed\nstatus 125\n"
        )
        assert f"there is no view {NAME} (`viewos ps` lists: " in ground.says("info", NAME)


def test_there_is_no_view(ground: Ground) -> None:
    assert ground.json("ps") == []
    assert ground.says("info", "x") == (
        "viewos: there is no view x, and no other one either\nstatus 125\n"
    )
    assert ground.says("info") == (
        "viewos: this process is in no view: name one (`viewos ps` lists them)\nstatus 125\n"
    )


def test_the_empty_name_is_no_views(ground: Ground) -> None:
    with ground.view([], SLEEP) as process:
        assert ground.says("name", NAME, "") == ""
        text = f"viewos: there is no view '' (`viewos ps` lists: {process.pid})\nstatus 125\n"
        for words in (["stop", ""], ["exec", "", "true"], ["info", ""], ["wait", ""]):
            assert ground.says(*words) == text
        assert ground.json("ps")[0]["processes"] == 1


def test_from_within(ground: Ground) -> None:
    """Without any environment, and with the sockets out of sight."""
    script = (
        "env -i PATH=$PATH PYTHONPATH=$PYTHONPATH {v} ps --json;"
        "{v} run --name inner -m hostname:h -- {v} ps --json; {v} name renamed; {v} info --json"
    ).format(v=f"{python(ground.user)} -m viewos")
    done = run_in_view(
        ["vfs:/run=/usr,/mnt=/tmp"], ["sh", "-c", script], user=ground.user, env=ground.env
    )
    first, second, last = map(json.loads, done.stdout.decode().splitlines())
    assert done.stderr == b""
    ours = [one for one in first if one["modules"] == ["vfs:/run=/usr,/mnt=/tmp"]]
    assert len(ours) == 1
    inner = next(one for one in second if one["name"] == "inner")
    assert inner["outer"] == ours[0]["id"] and inner["id"] == f"{ours[0]['id']}.1"
    assert inner["modules"] == ["hostname:h"] and inner["command"][-2:] == ["ps", "--json"]
    assert last["id"] == ours[0]["id"] and last["name"] == "renamed"


@as_root
def test_from_within_as_a_root_who_may_not_look(ground: Ground) -> None:
    """The directory of another root's sockets looks like our own, and cannot be read."""
    run = ground.path / "run"
    os.chown(run, 0, 0)
    words = f"{python(ground.user)} -m viewos"
    script = "; ".join(
        f"{words} {rest}"
        for rest in ("ps", f"stats {NAME}", f"exec {NAME} -- id -u", f"stop {NAME}; echo on")
    )
    options = ("run", "--name", NAME, "-m", "uid:0", "--", "sh", "-c", script)
    done = ground.ask(*options)
    head, row, *rest = done.stdout.decode().splitlines()
    assert done.stderr == b""
    assert head.split()[0] == "VIEW" and row.split()[1] == NAME
    assert rest[-1] == "0"  # what exec says: then the view has ended itself


def test_counts(ground: Ground) -> None:
    script = "while :; do id -G; cat /mnt/a; cat /mnt/zz; sleep 0.1; done > /dev/null 2>&1"
    with ground.view(["uid:0", f"vfs:/mnt={ground.path}/a"], ["sh", "-c", script]):
        calls = until(lambda: _with_answers(ground.json("stats", NAME)[0]))
        assert calls["getgroups"]["answered"] > 0 and calls["getgroups"]["slowest"] > 0
        assert sum(calls["openat"].values()) > 0
        head, *_ = ground.says("stats").splitlines()[1:]
        assert head.split()[:5] == ["CALL", "ACCELERATOR", "ANSWERED", "FAILED", "CONTINUED"]
        text = ground.says("stats", "--prometheus")
        assert 'call="getgroups",outcome="answered"} ' in text
        assert text.count("# TYPE ") == text.count("# HELP ") == 5
        assert 'module="uid"} ' in text


def _with_answers(figures: dict[str, Any]) -> Any:
    modules = figures["views"][0]["modules"]
    return figures["calls"] if modules.get("uid", 0) > 2 else None


# ---- entering ----


LAYOUTS = ["direct", "ancestor"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_exec_is_in_the_view(ground: Ground, layout: str) -> None:
    mine = ground.path / "a"
    with ground.view([f"vfs:/mnt={mine}", "hostname:inside"], SLEEP):
        run = ("exec", "--layout", layout)
        script = "cat /mnt/a; uname -n; echo new > /mnt/new; cd /mnt; pwd; ls; cat; echo $X; exit 7"
        done = ground.ask(*run, NAME, "sh", "-c", script, input=b"stdin\n", env={"X": "kept"})
        assert done.stdout.decode() == "in a\ninside\n/mnt\na\nnew\nstdin\nkept\n"
        assert (done.returncode, done.stderr) == (7, b"")
        assert (mine / "new").read_text() == "new\n"
        assert ground.says(*run, NAME, "--", "/no-such-program") == (
            "viewos: /no-such-program: No such file or directory\nstatus 127\n"
        )
        assert ground.says(*run, NAME, "--", "/etc/passwd").endswith("status 126\n")
        assert ground.says(*run, "-C", "/mnt", NAME, "cat", "a") == "in a\n"
        assert ground.says(*run, "-C", "/zz", NAME, "cat", "a") == (
            "viewos: /zz: No such file or directory\nstatus 125\n"
        )


def test_exec_begins_where_it_is_called(ground: Ground) -> None:
    hidden = ground.path / "b"
    with ground.view([f"vfs:{hidden}={ground.path}/a,/mnt={hidden}"], SLEEP):
        assert ground.says("exec", NAME, "ls", cwd=hidden) == "a\n"
        assert ground.says("exec", NAME, "pwd", cwd=hidden) == f"{hidden}\n"
    (hidden / "deep").mkdir(mode=0o755)
    with ground.view([f"vfs:{hidden}={ground.path}/a"], SLEEP, name="two"):
        assert ground.says("exec", "two", "pwd", cwd=hidden / "deep") == (
            f"/\nviewos: {hidden}/deep is no directory of the view: starting in /\n"
        )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_was_brought_in_keeps_the_view(ground: Ground, layout: str) -> None:
    """The monitor serves as long as anything runs, whoever started it; what exec brought in nests
    views, and is traced, as all others."""
    with ground.view([f"vfs:/mnt={ground.path}/a"], ["cat"]) as process:
        script = f"cat; cat /mnt/a; {python(ground.user)} -m viewos run -m vfs:/media=/mnt -- "
        words = [python(ground.user), "-m", "viewos", "exec", "--layout", layout, NAME, "sh", "-c"]
        with started(
            None, [*words, script + "cat /media/a"], user=ground.user, env=ground.env,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        ) as brought:  # fmt: skip
            until(lambda: ground.json("ps")[0]["processes"] > 1)
            process.communicate(b"")
            assert process.returncode == 0
            until(lambda: ground.json("ps")[0]["processes"] == 2)
            assert brought.communicate(b"")[0] == b"in a\nin a\n"
    until(lambda: ground.json("ps") == [])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_exec_has_the_terminal(ground: Ground, layout: str) -> None:
    with ground.view([f"vfs:/mnt={ground.path}/a"], SLEEP):
        pid, terminal = pty.fork()
        if pid == 0:
            words = [python(ground.user), "-m", "viewos", "shell", "--layout", layout, NAME]
            env = {**environment(), **ground.env, "SHELL": "/bin/bash", "PS1": "$ "}
            words = as_user(ground.user, words)
            try:
                os.execvpe(words[0], words, env)
            finally:
                os._exit(1)
        try:
            os.write(terminal, b"tty; cat /mnt/a; sleep 50 &\njobs; kill %1; exit 3\n")
            shown = _all(terminal)
            assert b"/dev/pts/" in shown and b"in a\r\n" in shown, shown
            assert b"Running" in shown and b"no job control" not in shown, shown
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
        finally:
            with suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, signal.SIGKILL)
            os.close(terminal)


def _all(terminal: int) -> bytes:
    shown = b""
    while select.select([terminal], [], [], PATIENCE)[0]:
        try:
            more = os.read(terminal, 4096)
        except OSError:
            break
        if not more:
            break
        shown += more
    return shown


def test_only_the_like_may_enter() -> None:
    """A monitor may not act for a program that has other credentials."""
    path = Path(tempfile.mkdtemp(prefix="viewos-ctl-"))
    try:
        (path / "run").mkdir()
        for each in (path, path / "run"):
            os.chown(each, NOBODY, NOBODY)
        theirs = Ground(NOBODY, path)
        with theirs.view([], SLEEP):
            mine = Ground(0, path)
            text = mine.says("exec", str(_first(theirs)["id"]), "true")
            assert text == "viewos: there is no view " + _first(theirs)["id"] + (
                ", and no other one either\nstatus 125\n"
            )
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(theirs.socket))
                answer = converse(client, "enter", view=0, directory="/")
            assert answer["error"]["message"].startswith("only a process with the user, groups")
    finally:
        shutil.rmtree(path)


def _first(ground: Ground) -> dict[str, Any]:
    first: dict[str, Any] = ground.json("ps")[0]
    return first


# ---- the end ----


def test_stop_and_wait(ground: Ground) -> None:
    deaf = "trap '' TERM; while :; do sleep 1; done"
    with ground.view([], ["sh", "-c", f'sh -c "{deaf}" & exec sleep 100']) as process:
        until(lambda: ground.json("ps")[0]["processes"] >= 3)
        waiting = [python(ground.user), "-m", "viewos", "wait", NAME]
        with started(None, waiting, user=ground.user, env=ground.env) as waiter:
            time.sleep(0.5)
            assert waiter.poll() is None
            before = time.monotonic()
            assert ground.says("stop", "-t", "1", NAME) == ""
            assert time.monotonic() - before >= 1  # the deaf one had its time
            assert process.wait(PATIENCE) == -signal.SIGTERM
            assert waiter.wait(PATIENCE) == 0
    until(lambda: ground.json("ps") == [])
    assert ground.says("stop", "-s", "BOGUS", NAME).startswith("viewos: viewos stop: there is no")


def test_only_the_nested_view_is_stopped(ground: Ground) -> None:
    inner = f"{python(ground.user)} -m viewos run --name inner -m hostname:h -- sleep 100"
    with ground.view([f"vfs:/mnt={ground.path}/a"], ["sh", "-c", f"{inner}; echo over; cat"]) as p:
        until(lambda: any(one["name"] == "inner" for one in ground.json("ps")))
        assert ground.says("stop", "-s", "INT", "inner") == ""
        assert p.stdout is not None and p.stdout.readline() == b"over\n"
        assert [one["name"] for one in ground.json("ps")] == [NAME]
        assert p.communicate(b"")[0] == b"" and p.returncode == 0
