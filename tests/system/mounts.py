"""mount(2) and umount2(2) for the Python programs of tests, which run natively and in views."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence

from tests.system.control import Ground
from tests.system.view import INPROC, run_in_view

CALLS = """
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
def mount(source, target, kind=None, flags=0, data=None):
    if libc.mount(source, target, kind, ctypes.c_ulong(flags), data):
        return errno.errorcode[ctypes.get_errno()]
    return "done"
def umount(target, flags=0):
    return errno.errorcode[ctypes.get_errno()] if libc.umount2(target, flags) else "done"
"""
"""Each gives "done", or the name of the errno."""
MODULES = ("uid:0", "mount")
TIERS = {"inproc": {}, "C": {INPROC: "0"}, "Python": {INPROC: "0", "VIEWOS_PURE": "1"}}
APART = ("unshare", "-m", "--propagation", "private")
PRELUDE = f"""{CALLS}
RDONLY, REMOUNT, BIND, MOVE, REC, SILENT = 1, 0x20, 0x1000, 0x2000, 0x4000, 0x8000
UNBINDABLE, PRIVATE, SLAVE, SHARED = 1 << 17, 1 << 18, 1 << 19, 1 << 20
DETACH = 2
TOP = os.getcwd()
def bind(source, target):
    return mount(source.encode(), target.encode(), None, BIND)
def here():
    try:
        return os.getcwd().replace(TOP, "")
    except OSError as error:
        return errno.errorcode[error.errno]
"""


def check(ground: Ground, case: tuple[str, str], modules: Sequence[str] | None = None) -> None:
    """A program (of `case`) prints what stands behind it, natively or in a view."""
    program, expected = case
    assert printed(ground, program, modules) == textwrap.dedent(expected).strip()


def printed(ground: Ground, program: str, modules: Sequence[str] | None) -> str:
    """What a program prints, in a mount name space of its own if it may have one."""
    done = run_in_view(
        modules, ["python3", "-c", PRELUDE + textwrap.dedent(program)],
        user=ground.user, cwd=ground.path, before=APART if os.getuid() == 0 else (), timeout=30,
    )  # fmt: skip
    return (done.stdout + done.stderr).decode().strip()
