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
from tests.system.view import run_in_view

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
