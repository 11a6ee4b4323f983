"""Directories of a view, of which a program makes an overlay."""

from __future__ import annotations

import os

import pytest

from .swapped import SWAP, tree

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.skipif(os.getuid() != 0, reason="mounting takes CAP_SYS_ADMIN"),
]
GIVEN = "mkdir T/up T/o 'T/a/x:y,z'; mount -t tmpfs none T/up; mkdir T/up/u T/up/w"
UPPER = "upperdir=T/up/u,workdir=T/up/w"
LOOK = "ls T/o; cat T/o/f; echo new >T/o/f; rm T/o/rel; ls T/up/u; cat T/up/u/f; cat T/a/f T/b/f"
END = "; umount T/o; umount T/up"
SCRIPTS = {
    "absolute": f"mount -t overlay -o lowerdir=T/a:T/d,{UPPER} none T/o",
    "relative": """
        cd T/b; mount -t overlay -o lowerdir=.:../d,upperdir=../up/u,workdir=T/up/w o T/o""",
    "with links": f"ln -s T/a l; mount -t overlay -o lowerdir=l,{UPPER} o T/o",
    "special letters": rf"""
        mount -t overlay -o 'lowerdir=T/a/x\:y\,z:T/a,{UPPER}' o T/o
        ls T/a""",
    "missing": f"mount -t overlay -o lowerdir=T/a:T/none,{UPPER} o T/o",
    "fsconfig": r"""python3 - T/a T/up/u T/up/w T/o <<'E'
import ctypes, sys
libc = ctypes.CDLL(None, use_errno=True)
def call(*args):
    given = [a if isinstance(a, int) else ctypes.c_char_p(a and a.encode()) for a in args]
    result = libc.syscall(*given)
    if result < 0: print(args[0], ctypes.get_errno())
    return result
low, up, work, place = sys.argv[1:]
fs = call(430, "overlay", 0)
for key, value in ("source", "o"), ("lowerdir", low), ("upperdir", up), ("workdir", work):
    call(431, fs, 1, key, value, 0)
call(431, fs, 6, None, None, 0)
call(429, call(432, fs, 0, 0), "", -100, place, 4)
E""",
}
TOLD = "grep -o ' overlay .*T/.*' /proc/mounts /proc/self/mountinfo"


@pytest.mark.parametrize("name", SCRIPTS)
def test_its_directories_are_those_of_the_view(name: str) -> None:
    def says(how: str) -> str:
        with tree(0) as ground:
            told = TOLD if name != "with links" else "true"  # the kernel is told where they lead
            script = f"{GIVEN}; {SCRIPTS[name]}\n{LOOK}; {told}{END}"
            return ground.says(how, SWAP, ground.name(script))

    expected = says("mounts")
    assert "in a" in expected
    assert says("view") == expected


@pytest.mark.parametrize("part", ["upperdir", "workdir", "lowerdir"])
def test_it_does_not_write_into_what_is_read_only(part: str) -> None:
    given = {"lowerdir": "T/a", "upperdir": "T/b/u", "workdir": "T/b/w"}
    given[part] = {"lowerdir": "T/ro", "upperdir": "T/ro/u", "workdir": "T/ro/w"}[part]
    words = ",".join(f"{key}={path}" for key, path in given.items())

    def says(how: str) -> str:
        with tree(0) as ground:
            script = f"{GIVEN}; mount -t overlay -o {words} o T/o; echo $?; ls T/o T/b/u{END}"
            (ground.root / "ro").mkdir()
            (ground.root / "b/u").mkdir()
            (ground.root / "b/w").mkdir()
            return ground.says(how, ("vfs:T/ro=T/b,ro",), ground.name(script))

    assert says("view") == says("mounts")
