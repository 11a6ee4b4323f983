"""Sockets of a virtual root: whose file a bind makes, and the kernel's audit."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.system.test_uid import USER, as_root, scratch
from tests.system.test_uid_changes import _lines, _place
from tests.system.users import python
from tests.system.view import run_in_view
from viewos.filter import ArgumentRule
from viewos.modules.uid import Uid
from viewos.monitor.plan import plan
from viewos.view import View

__all__ = ["scratch"]  # the fixture
pytestmark = pytest.mark.timeout(60)

BIND = """
import errno, os, socket
def bind(name):
    s = socket.socket(socket.AF_UNIX)
    try:
        s.bind(name)
    except OSError as error:
        return print(name, errno.errorcode[error.errno])
    st = os.lstat(name)
    print(name, '%o' % st.st_mode, st.st_uid, st.st_gid, s.getsockname())
os.umask(0o22)
bind('a'); bind('a'); os.symlink('nowhere', 'link'); bind('link')
os.mkdir('d'); os.chown('d', 0, 50); os.chmod('d', 0o2777); bind('d/s')
os.chmod('.', 0o777)
os.setgroups([]); os.setgid(6); os.setuid(5)
bind('b'); bind('d/t'); bind('b'); bind('a'); bind('none/x')
os.umask(0o77); bind('w'); os.chmod('b', 0o700); bind('x' * 107)
try:
    os.chmod('a', 0o700)
except OSError as error:
    print(errno.errorcode[error.errno])
s = socket.socket(socket.AF_UNIX); s.bind('c'); s.listen()
socket.socket(socket.AF_UNIX).connect('c'); os.unlink('c'); bind('c')
"""


@as_root
@pytest.mark.parametrize("pure", ["0", "1"])
@pytest.mark.parametrize(
    "modules",
    [["uid:0:0"], ["vfs:/=/", "uid:0:0"], ["uid:0:0,drop"], ["uid:0:0", "net:unix=/no=/none"]],
)
def test_a_socket_is_whose_process_binds_it(scratch: Path, modules: list[str], pure: str) -> None:
    native = _lines(None, 0, _place(scratch, "native", 0), BIND, "")
    assert _lines(modules, USER, _place(scratch), BIND, pure) == native
    assert b"b 140755 5 6 b" in native and b"d/t 140755 5 50 d/t" in native


@as_root
def test_another_view_knows_whose_it_is(scratch: Path) -> None:
    place = _place(scratch)
    modules = [f"uid:0:0,save={place}/../view/log"]
    _lines(modules, USER, place, BIND, "0")
    script = "stat -c '%n %u:%g' b d/t a"
    done = run_in_view(modules, ["sh", "-c", script], user=USER, cwd=place, check=True)
    assert done.stdout.split(b"\n") == [b"b 5:6", b"d/t 5:50", b"a 0:0", b""]


@as_root
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_a_debugger_sees_the_programs_own_call(scratch: Path) -> None:
    place, code = _place(scratch), "import os; os.setuid(5)" + BIND.partition("os.mkdir")[0]
    argv = ["strace", "-f", "-o", "trace", "python3", "-c", code]
    done = run_in_view(["uid:0:0"], argv, user=USER, cwd=place, check=True)
    assert done.stdout == b"a 140755 5 0 a\na EADDRINUSE\nlink EADDRINUSE\n"
    assert b'sun_path="a"' in (place / "trace").read_bytes()


def test_what_shows_by_itself_costs_nothing(scratch: Path) -> None:
    """Python is not asked for what a virtual root binds, nor for ports."""
    code = """
import socket
for number in range(300):
    s = socket.socket(socket.AF_UNIX); s.bind('s%d' % number)
    t = socket.socket(); t.bind(('127.0.0.1', 0))
"""
    log = scratch / "log"
    place = _place(scratch)
    options = ["-v", "--log", str(log), "--no-inproc", "-m", "uid:0:0"]
    argv = [python(USER), "-m", "viewos", "run", *options, "--", "python3", "-c", code]
    run_in_view(None, argv, user=USER, cwd=place, check=True)
    passed = re.search(r"\bbind (\d+)", log.read_text())
    assert passed is None or int(passed[1]) < 100, log.read_text()


AUDIT = """
import errno, os, socket
def make(family, kind, protocol):
    try:
        socket.socket(family, kind, protocol)
        said = 'made'
    except OSError as error:
        said = errno.errorcode[error.errno]
    print(family, kind & 7, protocol, said)
for kind in (socket.SOCK_RAW, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, socket.SOCK_STREAM):
    make(socket.AF_NETLINK, kind, 9)
make(socket.AF_NETLINK, socket.SOCK_RAW, 0)
make(socket.AF_UNIX, socket.SOCK_STREAM, 9)
os.setresuid(5, 5, 5)
make(socket.AF_NETLINK, socket.SOCK_RAW, 9)
"""


@pytest.mark.parametrize("pure", ["0", "1"])
@pytest.mark.parametrize(
    "modules", [["uid:0"], ["uid:0,drop", "vfs:/mnt=/usr"], ["net:deny=1.2.3.4", "uid:0"]]
)
def test_a_virtual_root_finds_no_audit(scratch: Path, modules: list[str], pure: str) -> None:
    """Who is no root is forgiven that its messages are refused, and has the kernel's answers."""
    assert _lines(modules, USER, _place(scratch), AUDIT, pure) == [
        b"16 3 9 EPROTONOSUPPORT", b"16 2 9 EPROTONOSUPPORT", b"16 1 9 ESOCKTNOSUPPORT",
        b"16 3 0 made", b"1 1 9 EPROTONOSUPPORT", b"16 3 9 made",
    ]  # fmt: skip


@as_root
def test_a_real_root_has_the_kernels_audit(scratch: Path) -> None:
    place = _place(scratch, user=0)
    assert _lines(["uid:0"], 0, place, AUDIT, "0") == _lines(None, 0, place, AUDIT, "0")


def test_other_sockets_are_not_trapped() -> None:
    whole = plan(View([Uid(0)]), 1)
    expected = "socket" in Uid(0).calls()
    assert "socket" not in whole.trap
    assert (ArgumentRule("socket", 2, "==", 9) in whole.argument_rules) == expected
