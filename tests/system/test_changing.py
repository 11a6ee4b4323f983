"""Modules that come and go in a view that runs."""

from __future__ import annotations

import ast
import os
import signal
import subprocess

import pytest

from tests.system.control import NAME, PATIENCE, SLEEP, Ground, ground, until
from tests.system.users import as_user, python
from tests.system.view import environment, started

__all__ = ["ground"]  # the fixture
pytestmark = pytest.mark.timeout(120)


# ---- modules ----


def test_modules_come_and_go(ground: Ground) -> None:
    a, b = ground.path / "a", ground.path / "b"
    with ground.view([f"vfs:/mnt={a}"], SLEEP):
        run = ("exec", NAME, "sh", "-c")
        assert ground.says("module", "-V", NAME, "add", "hostname:new", f"vfs:/mnt={b}") == ""
        assert ground.says(*run, "ls /mnt; uname -n") == "b\nnew\n"
        listed = ground.json("module", "-V", NAME, "ls")
        assert [(one["layer"], one["spec"]) for one in listed] == [
            (2, f"vfs:/mnt={b}"), (1, "hostname:new"), (0, f"vfs:/mnt={a}"),
        ]  # fmt: skip
        assert ground.says("module", "-V", NAME, "move", "2", "bottom") == ""
        assert ground.says(*run, "ls /mnt; uname -n") == "a\nnew\n"
        assert ground.says("module", "-V", NAME, "rm", "0") == ""
        assert ground.says(*run, "ls /mnt; uname -n") == "b\nnew\n"
        assert ground.says("module", "-V", NAME, "rm", "hostname") == ""
        assert ground.says(*run, "ls /mnt; uname -n") == f"b\n{os.uname().nodename}\n"
        assert ground.says("module", "-V", NAME, "rm", "vfs") == ""
        left = ground.says(*run, "ls /mnt").split()
        assert left == sorted(os.listdir("/mnt"))


WRONG_CHANGES = {
    ("add", "vfs:/mnt=/no/such"): "vfs: /no/such: no such file or directory",
    ("add", "vfs:mnt=/"): "module vfs: 'mnt=/': PATH must begin with a slash",
    ("add", "uid:0"): "this needs system calls that the outermost view does not trap (",
    ("add", "zzz"): "there is no module 'zzz'",
    ("rm", "7"): "there is no layer 7 (`viewos module ls` lists them)",
    ("rm", "uid"): "there is no layer uid (`viewos module ls` lists them)",
    ("move", "0", "sideways"): "viewos module move: expected LAYER and one of",
    ("zz",): "viewos module: expected ls, add, rm or move",
}


def test_wrong_changes_change_nothing(ground: Ground) -> None:
    with ground.view([f"vfs:/mnt={ground.path}/a"], SLEEP):
        before = ground.json("module", "-V", NAME, "ls")
        for words, text in WRONG_CHANGES.items():
            said = ground.says("module", "-V", NAME, *words)
            assert said.startswith(f"viewos: {text}") and said.count("\n") == 2, said
        assert ground.json("module", "-V", NAME, "ls") == before
        assert ground.says("exec", NAME, "cat", "/mnt/a") == "in a\n"


def test_layers_of_one_name(ground: Ground) -> None:
    with ground.view(["hostname:a", "hostname:b"], SLEEP):
        assert ground.says("module", "-V", NAME, "rm", "hostname") == (
            "viewos: there are several layers hostname: say which by its number (1, 0)\nstatus 2\n"
        )


def test_what_is_in_use_stays(ground: Ground) -> None:
    script = "cd /mnt; exec 5< a; echo there; read x; cat <&5; cat a; pwd; ls /mnt"
    with ground.view([f"vfs:/mnt={ground.path}/a"], ["sh", "-c", script]) as process:
        assert process.stdout is not None and process.stdout.readline() == b"there\n"
        said = ground.says("module", "-V", NAME, "rm", "vfs")
        assert said == (
            "viewos: the module is in use (--lazy removes it all the same): sh"
            f" ({process.pid}): working directory /mnt and 1 more\nstatus 125\n"
        )
        assert ground.says("module", "-V", NAME, "rm", "--lazy", "vfs") == ""
        out, err = process.communicate(b"\n")
        lines = out.decode().split("\n")
        assert lines[:2] == ["in a", "in a"] and lines[3:-1] == sorted(os.listdir("/mnt"))
        assert (process.returncode, err) == (0, b"")


def test_a_nested_view_sees_the_change_of_the_outer_one(ground: Ground) -> None:
    """Its modules stay on top; it keeps its backing, which is a path of the outer view."""
    a, b = ground.path / "a", ground.path / "b"
    viewos = f"{python(ground.user)} -m viewos"
    script = f"{viewos} run --name inner -m vfs:/media=/mnt -- cat; echo; cat /mnt/*"
    with ground.view([f"vfs:/mnt={a}"], ["sh", "-c", script]) as process:
        until(lambda: any(one["name"] == "inner" for one in ground.json("ps")))
        run = ("exec", "inner", "sh", "-c", "ls /media /mnt; uname -n")
        real = os.uname().nodename
        assert ground.says(*run) == f"/media:\na\n\n/mnt:\na\n{real}\n"
        assert ground.says("module", "-V", NAME, "add", f"vfs:/mnt={b}", "hostname:outer") == ""
        assert ground.says(*run) == "/media:\nb\n\n/mnt:\nb\nouter\n"
        assert ground.says("module", "-V", "inner", "add", "hostname:inner") == ""
        assert ground.says(*run) == "/media:\nb\n\n/mnt:\nb\ninner\n"
        assert ground.says("exec", NAME, "uname", "-n") == "outer\n"
        said = ground.says("module", "-V", "inner", "rm", "0")
        assert said == "viewos: layer 0 is the outer view's: change it there\nstatus 125\n"
        out, err = process.communicate(b"")
        assert (out.decode(), err) == ("\nin b\n", b"")


def test_a_module_that_fails_to_stop_is_gone(ground: Ground) -> None:
    (ground.path / "bad.py").write_text(
        "from viewos import VirtualModule\n"
        "class Bad(VirtualModule):\n"
        "    def uname(self, call):\n        raise OSError(5, 'x')\n"
        "    def stop(self):\n        raise ValueError('will not')\n"
    )
    with ground.view([f"vfs:/mnt={ground.path}/a"], SLEEP, "--log", f"{ground.path}/a/log"):
        assert ground.says("module", "-V", NAME, "add", f"{ground.path}/bad.py") == ""
        assert "Input/output error" in ground.says("exec", NAME, "uname")
        assert ground.says("module", "-V", NAME, "rm", "bad") == ""
        assert ground.says("exec", NAME, "uname") == "Linux\n"
        log = (ground.path / "a/log").read_text()
        assert "module bad: stop(): line 6: ValueError: will not" in log


WAITS = """
import os, time
from viewos import VirtualModule
class Waits(VirtualModule):
    @classmethod
    def from_mount(cls, source, target, options):
        return cls()
    def start(self, scratch):
        open("{0}/starting", "w").close()
        while not os.path.exists("{0}/go"):
            time.sleep(0.01)
    def stop(self):
        open("{0}/stopped", "w").close()
    def uname(self, call):
        raise OSError(5, "x")
"""


@pytest.mark.parametrize("how", ["add", "mount", "run"])
def test_a_module_that_waits_as_it_starts(ground: Ground, how: str) -> None:
    """It held up all who wanted something of this monitor, and was put there for nobody."""
    place = ground.path / "a"
    (ground.path / "waits.py").write_text(WAITS.format(place))
    spec = f"{ground.path}/waits.py"
    words = {
        "add": ["module", "-V", NAME, "add", spec],
        "mount": ["mount", "-V", NAME, "-t", spec, "none", "/mnt"],
        "run": ["exec", NAME, python(ground.user), "-m", "viewos", "run", "-m", spec, "--", "true"],
    }[how]
    with ground.view(["hostname:h"], SLEEP, "--nestable"):
        before = ground.json("module", "-V", NAME, "ls")
        with started(
            None, [python(ground.user), "-m", "viewos", *words],
            user=ground.user, env=ground.env, strict=False,
        ) as asks:  # fmt: skip
            until((place / "starting").exists)
            assert ground.says("exec", NAME, "uname", "-n") == "h\n"
            assert ground.says("module", "-V", NAME, "add", "hostname:other") == ""
            assert ground.says("module", "-V", NAME, "rm", "0") == ""
            os.kill(asks.pid, signal.SIGKILL)
            asks.wait()
        (place / "go").touch()
        until((place / "stopped").exists)
        assert ground.says("exec", NAME, "uname", "-n") == "other\n"
        after = ground.json("module", "-V", NAME, "ls")
        assert len(after) == len(before) and after[0]["spec"] == "hostname:other"


def test_two_change_the_same_view_at_once(ground: Ground) -> None:
    a = ground.path / "a"
    with ground.view([f"vfs:/mnt={a}"], ["sh", "-c", "while cat /mnt/a; do :; done >/dev/null"]):
        points = [ground.path / "b" / f"m{n}" for n in range(6)]
        for point in points:
            point.mkdir(mode=0o755)
        words = [python(ground.user), "-m", "viewos", "module", "-V", NAME, "add"]
        clients = [
            subprocess.Popen(
                as_user(ground.user, [*words, f"vfs:{point}={a}"]),
                env={**environment(), **ground.env}, stderr=subprocess.PIPE,
            )
            for point in points
        ]  # fmt: skip
        said = [client.communicate()[1] for client in clients]
        assert [client.returncode for client in clients] == [0] * 6, said
        assert len(ground.json("module", "-V", NAME, "ls")) == 7
        assert ground.says("exec", NAME, "cat", *(f"{point}/a" for point in points)) == "in a\n" * 6
        assert ground.json("ps")[0]["processes"] >= 1


READER = """
import os, sys
seen, threads = set(), []
import threading
def look(stop):
    os.chdir("/mnt") if sys.argv[1] == "cwd" else None
    while not stop.is_set():
        for path in ("/mnt/f", "/mnt/../mnt/f", "/mnt/link"):
            with open(path) as file:
                seen.add(file.read())
        assert os.stat("/mnt/f").st_size == 2
        seen.add(os.uname().nodename)
stop = threading.Event()
threads = [threading.Thread(target=look, args=(stop,)) for _ in range(3)]
for one in threads: one.start()
sys.stdin.readline(); stop.set()
for one in threads: one.join()
print(sorted(seen), flush=True)
"""


@pytest.mark.parametrize("pure", ["0", "1"])
@pytest.mark.parametrize("where", ["root", "cwd"])
def test_no_call_sees_half_a_change(ground: Ground, where: str, pure: str) -> None:
    """Threads look while modules come, move and go: each look is of one view or the other."""
    for name, text in (("a", "A\n"), ("b", "B\n")):
        (ground.path / name / "f").write_text(text)
        (ground.path / name / "link").symlink_to("f")
    ground.env["VIEWOS_PURE"] = pure
    modules = [f"vfs:/mnt={ground.path}/a", "hostname:one"]
    with ground.view(modules, ["python3", "-c", READER, where]) as process:
        change = ("module", "-V", NAME)
        for _ in range(4):
            assert ground.says(*change, "add", f"vfs:/mnt={ground.path}/b", "hostname:two") == ""
            top = ground.json(*change, "ls")[0]["layer"]
            assert ground.says(*change, "move", str(top), "bottom") == ""
            assert ground.says(*change, "rm", "--lazy", str(top - 1)) == ""
            assert ground.says(*change, "rm", "--lazy", str(top)) == ""
        out, err = process.communicate(b"\n", timeout=PATIENCE)
    assert err == b""
    seen = set(ast.literal_eval(out.decode()))
    assert {"A\n", "one"} <= seen <= {"A\n", "B\n", "one", "two"}
    assert "B\n" in seen and "two" in seen
