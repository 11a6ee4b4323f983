"""SO_PEERCRED between programs of a view, and with one outside."""

from __future__ import annotations

import os
import socket
import struct
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.system.users import NOBODY
from tests.system.view import run_in_view, scratch_directory, without_note

pytestmark = pytest.mark.timeout(60)
CRED = struct.Struct("=iII")

WITHIN = """
import os, socket, struct, sys
one, other = socket.socketpair()
def peer(s, size=12):
    return s.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
pid, uid, gid = struct.unpack("=iII", peer(one))
print(pid == os.getpid(), uid, gid, len(peer(one, 6)), len(peer(one, 40)))
listening = socket.socket(socket.AF_UNIX); listening.bind("\\0viewos-peercred-%d" % os.getpid())
listening.listen()
ready, go = os.pipe(), os.pipe()
child = os.fork()
if child == 0:
    if sys.argv[1:]:
        os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[1]))
    s = socket.socket(socket.AF_UNIX); s.connect(listening.getsockname())
    os.write(ready[1], b"x"); os.read(go[0], 1); os._exit(0)
served, _ = listening.accept(); os.read(ready[0], 1)
pid, uid, gid = struct.unpack("=iII", peer(served))
print(pid == child, uid, gid)
os.write(go[1], b"x"); os.wait()
inet = socket.socket()
print(struct.unpack("=iII", peer(inet))[0], inet.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE))
"""
OUTSIDE = """
import socket, struct, sys
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])
print(struct.unpack("=iII", s.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)))
"""


@pytest.mark.parametrize("pure", ["0", "1"])
@pytest.mark.parametrize("spec", ["uid:0", "uid:0,drop"])
def test_peers_of_the_view(spec: str, pure: str) -> None:
    env = {"VIEWOS_PURE": pure}
    done = run_in_view([spec], ["python3", "-c", WITHIN], user=NOBODY, env=env)
    assert done.stdout.decode() == "True 0 0 6 12\nTrue 0 0\n0 1\n", done.stderr
    done = run_in_view([spec], ["python3", "-c", WITHIN, "7", "8"], user=NOBODY, env=env)
    assert done.stdout.decode().splitlines()[1] == "True 7 8", done.stderr


@contextmanager
def server() -> Iterator[str]:
    """A server outside of every view that keeps its connections."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "s")
        Path(folder).chmod(0o755)
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(path)
            os.chmod(path, 0o777)
            listening.listen()
            held: list[socket.socket] = []

            def accept() -> None:
                held.append(listening.accept()[0])

            threading.Thread(target=accept, daemon=True).start()
            yield path
            for one in held:
                one.close()


def test_a_peer_outside_is_who_it_is() -> None:
    with server() as path:
        done = run_in_view(["uid:5:6"], ["python3", "-c", OUTSIDE, path], user=NOBODY)
    assert done.stdout.decode() == f"({os.getpid()}, {os.getuid()}, {os.getgid()})\n"


# ---- SCM_CREDENTIALS: the same natively for root and in the view --------------------------------

MESSAGES = """
import array, ctypes, errno, os, socket, struct, time
CRED = struct.Struct("=iII")
def pair(kind):
    one, other = socket.socketpair(socket.AF_UNIX, kind)
    other.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    return one, other
def send(s, *triple, rights=()):
    control = [(socket.SOL_SOCKET, 2, CRED.pack(*triple))] if triple else []
    if rights:
        control.append((socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", rights)))
    try:
        return s.sendmsg([b"x"], control)
    except OSError as error:
        return errno.errorcode[error.errno]
def received(s, room=256, flags=0):
    data, control, flags, _ = s.recvmsg(200, room, flags)
    found = []
    for level, kind, value in control:
        if kind == 2 and len(value) == CRED.size:
            pid, uid, gid = CRED.unpack(value)
            found.append((names.get(pid, "?"), uid, gid))
        else:
            found.append((kind, len(value)))
            for fd in array.array("i", value if kind == socket.SCM_RIGHTS else b""):
                os.close(fd)
    return data, found, flags
me = os.getpid()
names = {me: "me"}
for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
    one, other = pair(kind)
    print(send(one), received(other), other.send(b"y"), one.recv(5))
    print(send(one, me, 0, 0), received(other))
    print(send(one, me, 5, 6), received(other, flags=socket.MSG_PEEK), received(other))
    print(send(one, me, 0, 0, rights=[0]), received(other))
    print(send(one, me, 0, 0), received(other, room=20))
    print(send(one, 2**22, 0, 0), send(one, -5, 0, 0), send(one, me, 2**32 - 1, 0))
    one.send(b"z"); print(received(other))
    if kind == socket.SOCK_STREAM: # what is sent by the same is received as one
        continue
    child = os.fork()
    if child == 0:
        os.setgroups([7, 8]); os.setresgid(51, 52, 53); os.setresuid(41, 42, 43)
        mine = os.getpid()
        for uid, gid in (41, 51), (42, 53), (0, 51), (41, 0):
            said = send(one, mine, uid, gid)
            one.send(repr(said).encode()); one.recv(1)
        said = send(one, me, 41, 51), send(one, mine, 41, 51)
        one.send(repr(said).encode()); time.sleep(60)
    names[child] = "child"
    for _ in range(8):
        data, found, flags = received(other)
        print(data, found if data == b"x" else "", flags)
        if data != b"x":
            other.send(b"y")
    os.kill(child, 9); os.wait()
one, other = pair(socket.SOCK_DGRAM)
child = os.fork()
if child == 0:
    send(one, os.getpid(), 0, 0); os._exit(0)
os.wait(); names[child] = "gone"; print(received(other))
# a socket that does not ask, and a name
listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); listening.bind("sock")
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
print(s.sendmsg([b"a"], [(1, 2, CRED.pack(me, 0, 0))], 0, "sock"), received(listening))
listening.setsockopt(1, 16, 1)
print(s.sendmsg([b"a"], [(1, 2, CRED.pack(me, 9, 0))], 0, "sock"), received(listening))
# several at once
class iovec(ctypes.Structure): _fields_ = [("base", ctypes.c_void_p), ("size", ctypes.c_size_t)]
class head(ctypes.Structure):
    _fields_ = [("name", ctypes.c_void_p), ("namelen", ctypes.c_uint), ("iov", ctypes.c_void_p),
                ("count", ctypes.c_size_t), ("control", ctypes.c_void_p),
                ("controllen", ctypes.c_size_t), ("flags", ctypes.c_int), ("pad", ctypes.c_uint),
                ("length", ctypes.c_uint)]
def heads(controls):
    made = (head * len(controls))()
    for at, control in zip(made, controls):
        at.held = ctypes.create_string_buffer(8), control
        vector = at.vector = iovec(ctypes.addressof(at.held[0]), 8)
        keep.append((at.held, vector))
        at.iov, at.count = ctypes.addressof(vector), 1
        at.control, at.controllen = ctypes.addressof(control), len(control)
    return made
keep = []
libc = ctypes.CDLL(None, use_errno=True)
def cred(*triple):
    return ctypes.create_string_buffer(struct.pack("=Qii", 28, 1, 2) + CRED.pack(*triple), 32)
one, other = pair(socket.SOCK_DGRAM)
out = heads([cred(me, 3, 4), cred(me, 3, 4)])
print(libc.sendmmsg(one.fileno(), out, 2, 0), [m.length for m in out])
into = heads([ctypes.create_string_buffer(64), ctypes.create_string_buffer(64)])
print(libc.recvmmsg(other.fileno(), into, 2, 0, None))
for m in into:
    print(m.length, m.controllen, CRED.unpack(ctypes.string_at(m.control, 28)[16:])[1:])
# the groups of a peer
one, other = socket.socketpair()
os.setgroups([4, 3, 99])
late = socket.socketpair()[0]
def groups(s, size):
    room, data = ctypes.c_int(size), ctypes.create_string_buffer(64)
    result = libc.getsockopt(s.fileno(), 1, 59, data, ctypes.byref(room))
    told = struct.unpack("=%dI" % (room.value // 4), data.raw[:room.value])
    return result, room.value, told if not result else ctypes.get_errno()
print(groups(late, 64), groups(late, 12), groups(late, 4))
"""


@pytest.mark.skipif(os.getuid() != 0, reason="the native twin needs root")
@pytest.mark.parametrize("pure", ["0", "1"])
@pytest.mark.parametrize("modules", [["uid:0:0"], ["vfs:/srv=.", "uid:0:0"], ["uid:0:0,drop"]])
def test_credentials_in_messages(modules: list[str], pure: str) -> None:
    with scratch_directory("viewos-scm-") as scratch:
        scratch.chmod(0o777)
        code = ["python3", "-c", MESSAGES]
        native = run_in_view(None, code, cwd=scratch, check=True).stdout
        (scratch / "sock").unlink()
        done = run_in_view(modules, code, user=NOBODY, cwd=scratch, env={"VIEWOS_PURE": pure})
    assert without_note(done.stdout).decode() == native.decode(), done.stderr
    assert b"'gone', 0, 0" in native


def test_who_receives_outside_is_told_the_real_ids() -> None:
    with scratch_directory("viewos-scm-") as scratch:
        scratch.chmod(0o777)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as outside:
            outside.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            outside.bind(str(scratch / "sock"))
            os.chmod(scratch / "sock", 0o777)
            outside.settimeout(20)
            code = """
import os, socket, struct, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
for ids in (0, 0), (5, 6):
    s.sendmsg([b"a"], [(1, 2, struct.pack("=iII", os.getpid(), *ids))], 0, sys.argv[1])
"""
            argv = ["python3", "-c", code, str(scratch / "sock")]
            run_in_view(["uid:0"], argv, user=NOBODY, check=True)
            for _ in range(2):
                _, ((_, _, data),), _, _ = outside.recvmsg(9, 100)
                assert CRED.unpack(data)[1:] == (NOBODY, NOBODY)
