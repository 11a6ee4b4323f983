"""Answers that the accelerator has as data, ids and uname: what Python says, and not by Python."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.system.users import NOBODY, python
from tests.system.view import place, run_in_view

pytestmark = pytest.mark.timeout(120)

IDS = """
import os
def ids():
    return os.getuid(), os.geteuid(), os.getgid(), os.getegid()
def in_child(*calls):
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)
    for call, *args in calls:
        try:
            getattr(os, call)(*args)
        except OSError as error:
            print(call, error.strerror)
        print(call, args, ids(), os.getresuid(), os.getresgid())
    os._exit(0)
print(ids())
in_child(("seteuid", 5), ("setegid", 6), ("seteuid", 0), ("setegid", 7), ("setuid", 8))
in_child(("setresgid", 1, 2, 3), ("setresuid", 4, 5, 6), ("seteuid", 6), ("setgid", 9))
in_child(("setreuid", 11, 12), ("setregid", 11, 12))
print(ids(), flush=True)
os.setresuid(31, 32, 33)
os.execlp("sh", "sh", "-c", "id -u; id -ru; id -g; sh -c 'id -u'")
"""

UNAME = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
def names():
    with open("/proc/sys/kernel/hostname") as file:
        shown = file.read().strip()
    print(os.uname().nodename, os.uname().sysname, shown, flush=True)
names()
libc.sethostname(b"second", 6); names()
with open("/proc/sys/kernel/hostname", "w") as file:
    file.write("third")
names(); names()
os.close(os.open("/proc/sys/kernel/hostname", os.O_WRONLY | os.O_TRUNC)); names()
libc.sethostname(b"a\\nb", 3); print(repr(os.uname().nodename))
libc.sethostname(b"x" * 64, 64); print(os.uname().nodename)
libc.sethostname(b"", 0); print(repr(os.uname().nodename))
libc.sethostname(b"last", 4)
for _ in range(20):
    os.uname()
names()
print(libc.uname(8), flush=True)
"""


def said(modules: list[str], program: str, user: int, *, pure: bool) -> tuple[str, str]:
    """(what a program says, the line of the accelerator)."""
    with place("native", user) as here:
        words = [python(user), "-m", "viewos", "run", "-v", "--log", f"{here.real}/log"]
        for module in modules:
            words += ["-m", module]
        env = {"VIEWOS_PURE": "1" if pure else "0"}
        argv = [*words, "--", "python3", "-c", program]
        done = run_in_view(None, argv, user=user, env=env, cwd=here.real)
        log = (Path(here.real) / "log").read_text()
    text = done.stdout.decode() + done.stderr.decode() + f"status {done.returncode}"
    line = re.search(r"accelerator: .*", log)
    return text, line[0] if line else ""


@pytest.mark.parametrize("user", [0, NOBODY])
@pytest.mark.parametrize("spec", ["uid:0", "uid:1000:1001", "uid:0,drop"])
def test_ids(spec: str, user: int) -> None:
    expected, none = said([spec], IDS, user, pure=True)
    got, line = said([spec], IDS, user, pure=False)
    assert got == expected and not none
    assert line and not re.search(r"\bget(e)?[ug]id\b", line), line
    first = "(0, 0, 0, 0)" if spec.startswith("uid:0") else "(1000, 1000, 1001, 1001)"
    assert got.startswith(first)


STATS = """
import os
open("file", "w").close()
os.chown("file", 5, 6)
for _ in range(500):
    os.stat("/etc/passwd")
    found = os.stat("file")
print(found.st_uid, found.st_gid, os.stat("/etc/passwd").st_uid)
"""


@pytest.mark.parametrize("save", ["", ",save=owners"])
def test_owners(save: str) -> None:
    """Also where other views may share what is remembered."""
    expected, _ = said([f"uid:0{save}"], STATS, NOBODY, pure=True)
    got, line = said([f"uid:0{save}"], STATS, NOBODY, pure=False)
    assert got == expected == "5 6 0\nstatus 0"
    left = re.search(r"\bnewfstatat (\d+)", line)
    assert left is None or int(left[1]) < 20, line


EXECUTED = """
import os, subprocess, sys
auxiliary = "import ctypes, os; f = ctypes.CDLL(None).getauxval;"
auxiliary += "print(*map(f, (11, 12, 13, 14, 23)), os.getuid())"
program = [sys.executable, "-ISc", auxiliary]
subprocess.run(["sh", "-c", "for i in $(seq 50); do /bin/true; done"])
print(subprocess.run(program, capture_output=True))
print(subprocess.run(["sh", "-c", '"$@"; exec "$@"', "sh", *program], capture_output=True))
with open("script", "w") as file:
    file.write("#! /bin/sh -e\\nid -u; id -g\\n")
os.chmod("script", 0o755)
print(subprocess.run(["./script"], capture_output=True), flush=True)
for name in ("missing", "script/x", ".", "/etc/passwd"):
    try:
        os.execv(name, [name])
    except OSError as error:
        print(name, error.strerror)
os.execve(sys.executable, program, {f"NAME{n}": "x" * 100 for n in range(3000)})
"""


@pytest.mark.parametrize("spec", ["uid:0", "uid:7:8", "uid:0,save=owners"])
def test_programs_begin_as_who_they_are(spec: str) -> None:
    """And few of them need Python."""
    expected, _ = said([spec], EXECUTED, NOBODY, pure=True)
    got, line = said([spec], EXECUTED, NOBODY, pure=False)
    assert got == expected
    assert "0 0 0 0 0 0" in got or "7 7 8 8 0 7" in got
    left = re.search(r"\bexecve (\d+)", line)
    assert left is not None and int(left[1]) < 20, line


def test_ids_in_nested_views() -> None:
    """Each view has its own; the state of a process says in which it is."""
    inner = f"{python(0)} -m viewos run -m uid:7:8 --"
    script = f"id -u; {inner} sh -c 'id -u; id -g; {inner.replace('7:8', '0')} id -u'; id -u"
    done = run_in_view(["uid:5:6"], ["sh", "-c", script], user=NOBODY)
    assert done.stdout.split() == [b"5", b"7", b"8", b"0", b"5"]


@pytest.mark.parametrize("modules", [
    ["hostname:first"], ["hostname:first,release=1.2.3"], ["uid:0", "hostname:first"],
])  # fmt: skip
def test_uname(modules: list[str]) -> None:
    expected, _ = said(modules, UNAME, NOBODY, pure=True)
    got, line = said(modules, UNAME, NOBODY, pure=False)
    assert got == expected
    left = re.search(r"\buname (\d+)", line)
    assert left is not None and int(left[1]) < 8, line  # after the file was written to


def test_uname_of_two_modules_is_pythons() -> None:
    program = "import os; print(os.uname().nodename)"
    got, line = said(["hostname:under", "hostname:over"], program, 0, pure=False)
    assert got.startswith("over\n") and "uname 1" in line


SOCKETS = """
import socket
def try_it(family, kind, protocol):
    try:
        with socket.socket(family, kind, protocol) as s:
            return s.type
    except OSError as error:
        return error.strerror
AF, SOCK = socket.AF_INET, socket.SOCK_STREAM
for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, socket.AF_NETLINK):
    for kind in (SOCK, SOCK | socket.SOCK_NONBLOCK, socket.SOCK_DGRAM, socket.SOCK_RAW, 5, 6):
        for protocol in (0, 6, 17, 132, 262):
            print(family, kind, protocol, try_it(family, kind, protocol))
for _ in range(50):
    socket.socket().close()
"""


@pytest.mark.parametrize("user", [0, NOBODY])
def test_sockets_of_tcp_need_no_python(user: int) -> None:
    """And no other passes with them."""
    modules = ["net:allow=127.0.0.0/8,deny=any"]
    expected, _ = said(modules, SOCKETS, user, pure=True)
    got, line = said(modules, SOCKETS, user, pure=False)
    assert got == expected
    assert got.count("Operation not permitted") > 10
    left, settled = re.search(r"\bsocket (\d+)", line), re.search(r"(\d+) calls settled", line)
    assert left is not None and int(left[1]) < 60, line
    assert settled is not None and int(settled[1]) >= 50 + 6, line
