"""AF_UNIX names in struct msghdr: sendmsg and recvmsg find and tell the names of the view.

Each case passes with the kernel's own bind mounts first.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .swapped import Tree, tree

pytestmark = pytest.mark.timeout(60)
VIEW = ("vfs:T/mnt=T/b",)

PROGRAM = """
import array, os, socket, struct

def made(name=None):
    new = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    if name:
        new.bind(name)
    return new

def tried(function, *args):
    try:
        return function(*args)
    except OSError as error:
        return type(error).__name__

for case in CASES:
    os.chdir("T/")
    exec(case, globals())
    for name in "b/there", "b/here", "c/there":
        if os.path.lexists("T/" + name):
            os.unlink("T/" + name)
"""
CASES = {
    "a name leads to the backing": (
        'there, here = made("T/mnt/there"), made("T/mnt/here")\n'
        'print(here.sendmsg([b"x"], [], 0, "T/mnt/there"), there.recvmsg(9)[3])\n'
        'print(here.sendmsg([b"y"], [], 0, "mnt/there"), there.recvfrom(9))',
        "1 T/mnt/here\n1 (b'y', 'T/mnt/here')\n",
    ),
    "a name outside": (
        'there, here = made("T/c/there"), made("T/mnt/here")\n'
        'print(here.sendmsg([b"x"], [], 0, "T/c/there"), there.recvmsg(9)[3])',
        "1 T/mnt/here\n",
    ),
    "the exact string": (
        'os.chdir("mnt/sub")\n'
        'there, here = made("../there"), made("../../mnt/here")\n'
        'print(here.sendmsg([b"x"], [], 0, "../there"), there.recvmsg(9)[3])',
        "1 ../../mnt/here\n",
    ),
    "no such name": (
        'here = made()\nprint(tried(here.sendmsg, [b"x"], [], 0, "T/mnt/nothing"))',
        "FileNotFoundError\n",
    ),
    "a descriptor goes along": (
        'there, here = made("T/mnt/there"), made()\n'
        "rights = socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [os.open('T/mnt/f', 0)])\n"
        "here.sendmsg([b'x'], [rights], 0, 'T/mnt/there')\n"
        "data, fds, flags, address = socket.recv_fds(there, 9, 1)\n"
        "print(data, os.read(fds[0], 9), address)",
        "b'x' b'in b\\n' None\n",
    ),
    "a time limit": (
        'there = made("T/mnt/there")\n'
        "there.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack('ll', 0, 60000))\n"
        "print(tried(there.recvmsg, 9), tried(there.recvfrom, 9))",
        "BlockingIOError BlockingIOError\n",
    ),
    "connected pairs have no names": (
        "a, b = socket.socketpair()\n"
        'print(a.sendmsg([b"x", b"y"]), b.recvmsg(9)[0]); a.close(); print(b.recvmsg(9)[0])',
        "2 b'xy'\nb''\n",
    ),
    "other families": (
        "a, b = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in '12')\n"
        "a.bind(('127.0.0.1', 0))\n"
        "b.sendmsg([b'x'], [], 0, a.getsockname()); print(a.recvmsg(9)[0])",
        "b'x'\n",
    ),
}


@pytest.fixture(params=[0, 65534])
def ground(request: pytest.FixtureRequest) -> Iterator[Tree]:
    with tree(request.param) as made:
        (made.root / "mnt").mkdir(exist_ok=True)
        yield made


@pytest.mark.parametrize("how", ["mounts", "view"])
def test_names_in_messages(how: str, ground: Tree) -> None:
    bodies = [body for body, _ in CASES.values()]
    program = ground.name(PROGRAM.replace("CASES", repr(bodies)))
    done = ground.run(how, VIEW, ["/usr/bin/python3", "-I", "-c", program])
    text = (done.stdout + done.stderr).decode(errors="backslashreplace")
    assert text.replace(str(ground.root), "T") == "".join(said for _, said in CASES.values())
