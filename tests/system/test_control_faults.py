"""Clients that misbehave, sockets that are left, views that end: none of it disturbs a view."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from tests.system.control import NAME, SLEEP, Ground, converse, ground, reply, until
from tests.system.users import python
from tests.system.view import SLOWER, run_in_view
from viewos.control.client import Monitor, Silent

__all__ = ["ground"]  # the fixture
pytestmark = pytest.mark.timeout(120)
BRIEF = 6.0 * SLOWER
"""Seconds in which a command ends that waits for a silent monitor, two of them here."""


# ---- clients that misbehave ----


GARBAGE: Mapping[bytes, int] = {
    b"\n": -32700,
    b"\xff\xfe\0\n": -32700,
    b"[" * 100_000 + b"\n": -32700,
    b"3\n": -32600,
    b"{}\n": -32600,
    b'{"jsonrpc": "2.0", "id": 1, "method": 7}\n': -32600,
    b'{"jsonrpc": "2.0", "id": [], "method": "views"}\n': -32600,
    b'{"jsonrpc": "2.0", "id": 1, "method": "views", "params": [1]}\n': -32602,
    b'{"jsonrpc": "2.0", "id": 1, "method": "zzz"}\n': -32601,
    b'{"jsonrpc": "2.0", "id": 1, "method": "views", "params": {"protocol": 99}}\n': -32602,
    b'{"jsonrpc": "2.0", "id": 1, "method": "views", "params": {"zz": 1}}\n': -32602,
    b'{"jsonrpc": "2.0", "id": 1, "method": "info", "params": {"view": "x"}}\n': -32602,
    b'{"jsonrpc": "2.0", "id": 1, "method": "info", "params": {"view": true}}\n': -32602,
    b'{"jsonrpc": "2.0", "id": 1, "method": "info", "params": {"view": 99999}}\n': 1,
    b'{"jsonrpc": "2.0", "id": 1, "method": "info", "params": {"view": -1}}\n': 1,
    b'{"jsonrpc": "2.0", "id": 1, "method": "info"}\n': 1,
    b'{"jsonrpc": "2.0", "id": 1, "method": "attach", "params": {"view": 0}}\n': 1,
    b'{"jsonrpc": "2.0", "id": 1, "method": "name", "params": {"view": 0}}\n': -32602,
    b'{"jsonrpc": "2.0", "id": 1, "method": "add", "params": {"view": 0, "modules": [1]}}\n':
        -32602,
    b'{"jsonrpc": "2.0", "id": 1, "method": "enter", "params": {"view": 0, "directory": "x"}}\n':
        -32602,
    b'{"jsonrpc": "2.0", "id": 1, "method": "why",'
    b' "params": {"view": 0, "path": "x", "directory": "/\\ud800"}}\n': -32602,
    b'{"jsonrpc": "2.0", "id": 1, "method": "add",'
    b' "params": {"view": 0, "modules": ["\\ud800"]}}\n': -32602,
}  # fmt: skip


def test_garbage_and_worse() -> None:
    """None of it disturbs the programs of the view, or other clients."""
    path = Path(tempfile.mkdtemp(prefix="viewos-ctl-"))
    (path / "run").mkdir()
    ground = Ground(0, path)
    script = "i=0; while read x; do cat /etc/hostname > /dev/null || exit 1; echo $x; done"
    try:
        with ground.view(["vfs:/mnt=/usr"], ["sh", "-c", script]) as process:
            assert process.stdin is not None and process.stdout is not None
            for text, code in GARBAGE.items():
                with socket.socket(socket.AF_UNIX) as client:
                    client.connect(str(ground.socket))
                    client.sendall(text)
                    assert reply(client)["error"]["code"] == code, text
                    assert converse(client, "hello")["result"]["protocol"] == 1  # it goes on
                process.stdin.write(b"alive\n")
                process.stdin.flush()
                assert process.stdout.readline() == b"alive\n"
            _bring_megabytes(ground)
            _bring_descriptors(ground)
            _vanish(ground)
            process.stdin.write(b"alive\n")
            process.stdin.flush()
            assert process.stdout.readline() == b"alive\n"
            assert [one["name"] for one in ground.json("ps")] == [NAME]
    finally:
        shutil.rmtree(path)


def _bring_megabytes(ground: Ground) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(ground.socket))
        with suppress(ConnectionError):
            for _ in range(64):
                client.sendall(b"x" * (1 << 20))
        with suppress(ConnectionError):
            while more := client.recv(1 << 16):
                assert b"it is too long" in more


def _bring_descriptors(ground: Ground) -> None:
    monitor = ground.json("info", NAME)["monitor"]
    before = len(os.listdir(f"/proc/{monitor}/fd"))
    for _ in range(20):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(ground.socket))
            request = b'{"jsonrpc": "2.0", "id": 1, "method": "attach", "params": {"view": 0}}\n'
            socket.send_fds(client, [request], [0, 1, 2])
            assert reply(client)["error"]["code"] == 1
            socket.send_fds(client, [b"half a line"], [0])
    until(lambda: len(os.listdir(f"/proc/{monitor}/fd")) <= before + 1)


def _vanish(ground: Ground) -> None:
    for _ in range(50):
        client = socket.socket(socket.AF_UNIX)
        client.connect(str(ground.socket))
        request = {"jsonrpc": "2.0", "id": 1, "method": "wait", "params": {"view": 0}}
        client.sendall(json.dumps(request).encode() + b"\n")
        client.close()
    silent = [socket.socket(socket.AF_UNIX) for _ in range(50)]
    for client in silent:
        client.connect(str(ground.socket))
    assert [one["name"] for one in ground.json("ps")] == [NAME]
    for client in silent:
        client.close()


def test_the_socket_of_a_monitor_that_was_killed(ground: Ground) -> None:
    with ground.view([], SLEEP):
        os.kill(ground.json("info", NAME)["monitor"], signal.SIGKILL)
        left = ground.socket
        assert ground.json("ps") == []
        assert not left.exists()


def test_a_directory_of_somebody_elses_is_not_used(ground: Ground) -> None:
    """/tmp/viewos-UID may be anybody's: then there is no control, and the view runs."""
    run = ground.path / "run"
    run.chmod(0o777)
    env = {"XDG_RUNTIME_DIR": str(run), "VIEWOS_RUNTIME_DIR": ""}
    modules = ["hostname:h"]
    done = run_in_view(modules, ["uname", "-n"], user=ground.user, env=env)
    assert (done.stdout, done.stderr) == (b"h\n", b"")
    assert not list(run.iterdir())
    run.chmod(0o700)
    (run / "viewos").mkdir(mode=0o777)
    os.chown(run / "viewos", 1, 1)
    done = run_in_view(modules, ["uname", "-n"], user=ground.user, env=env)
    assert (done.stdout, done.stderr) == (b"h\n", b"")
    words = [python(ground.user), "-m", "viewos", "run", "-v", "--", "sleep", "1"]
    done = run_in_view(None, words, user=ground.user, env=env)
    assert f"no control socket: {run}/viewos is not this user's alone\n" in done.stderr.decode()
    os.chown(run / "viewos", ground.user, ground.user)


def test_the_view_ends_while_it_is_entered(ground: Ground) -> None:
    with ground.view([], ["cat"]) as process, socket.socket(socket.AF_UNIX) as client:
        client.connect(str(ground.socket))
        if ground.user == 0:  # a client of the same user, from its point of view
            assert "filter" in converse(client, "enter", view=0, directory="/")["result"]
        process.communicate(b"")
        assert reply(client) is None


# ---- monitors that do not answer ----


def test_a_stopped_monitor_holds_up_no_other(ground: Ground) -> None:
    """It took 30 seconds each, and nobody was told why."""
    with ground.view([], SLEEP, name="stopped"), ground.view([], SLEEP) as process:
        about = ground.json("info", "stopped")
        said = f"viewos: the monitor of view {about['id']} does not answer (is it stopped?)\n"
        os.kill(about["monitor"], signal.SIGSTOP)
        try:
            start = time.monotonic()
            assert ground.says("exec", str(process.pid), "--", "echo", "in") == "in\n"
            assert time.monotonic() - start < BRIEF / 2  # nobody else is asked
            assert ground.says("exec", NAME, "--", "echo", "in") == f"in\n{said}"
            done = ground.ask("ps", "--json")
            assert [one["name"] for one in json.loads(done.stdout)] == [NAME]
            assert done.stderr.decode() == said
            assert ground.says("info", "stopped") == (
                f"{said}viewos: there is no view stopped (`viewos ps` lists: {process.pid})\n"
                "status 125\n"
            )
            assert ground.says("completion", "words", "stop", "") == f"none\n{NAME}\n"
            assert time.monotonic() - start < 5 * BRIEF
        finally:
            os.kill(about["monitor"], signal.SIGCONT)
        assert ground.says("exec", "stopped", "--", "echo", "in") == "in\n"


def test_sockets_that_say_nothing(ground: Ground) -> None:
    """Whoever makes many of them holds up nobody for longer than one would."""
    silent = [socket.socket(socket.AF_UNIX) for _ in range(20)]
    with ground.view([], SLEEP):
        for number, one in enumerate(silent):
            path = f"{ground.path}/run/{10**8 + number}.sock"
            one.bind(path)
            os.chown(path, ground.user, ground.user)
            one.listen(0)
        full = socket.socket(socket.AF_UNIX)
        full.connect(path)
        start = time.monotonic()
        done = ground.ask("ps", "--json")
        assert time.monotonic() - start < BRIEF
        assert [one["name"] for one in json.loads(done.stdout)] == [NAME]
        assert len(done.stderr.splitlines()) == 8  # a few are enough
        for one in (*silent, full):
            one.close()


def test_a_socket_that_brings_a_byte_now_and_then() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        stop = threading.Event()

        def drip() -> None:
            while not stop.wait(0.05):
                theirs.send(b" ")

        dripping = threading.Thread(target=drip)
        dripping.start()
        start = time.monotonic()
        with pytest.raises(Silent, match="the monitor of view 7 does not answer"):
            Monitor(ours, "/run/7.sock").receive(0.3)
        stop.set()
        dripping.join()
        assert time.monotonic() - start < BRIEF
