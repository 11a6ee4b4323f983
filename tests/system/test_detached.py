"""A working directory whose mount somebody outside has taken away (umount -l)."""

from __future__ import annotations

import os

import pytest

from tests.system.view import prefix, run_in_view, scratch_directory

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: umount(8)"),
]
PROGRAM = """
import ctypes, os
room = ctypes.create_string_buffer(100)
def here():
    length = ctypes.CDLL(None).syscall(79, room, 100)
    print(room.value, length, sorted(os.listdir("."))[:1], os.path.exists("usr"))
here()
open("../go", "w").close()
open(DONE).close()
here()
"""
SCRIPT = """
mkdir m && mkfifo go done && mount -t tmpfs none m && mkdir m/inner || exit 77
{ read line <go; umount -l m; : >done; } &
cd m && exec "$@"
"""


@pytest.mark.parametrize("pure", ["0", "1"], ids=["C", "Python"])
def test_getcwd_says_unreachable(pure: str) -> None:
    told = []
    for modules in (None, ["vfs:/mnt=/usr"]):
        with scratch_directory("viewos-detached-") as path:
            program = PROGRAM.replace("DONE", repr(f"{path}/done"))
            words = ["unshare", "--mount", "sh", "-c", SCRIPT, "sh", *prefix(modules)]
            env = {"VIEWOS_PURE": pure} if pure == "1" else {}
            done = run_in_view(None, [*words, "python3", "-IS", "-c", program], cwd=path, env=env)
        if done.returncode == 77:
            pytest.skip(done.stderr.decode())
        told.append((done.stdout + done.stderr).replace(os.fsencode(path), b"DIR"))
    assert b"(unreachable)/" in told[0]
    assert told[1] == told[0]
