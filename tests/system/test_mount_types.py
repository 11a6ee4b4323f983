"""A mount's type may be a module in a file, named as `viewos module add` has it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.control import NAME, SLEEP, Ground, ground
from tests.system.view import run_in_view

__all__ = ["ground"]  # the fixture
pytestmark = pytest.mark.timeout(120)
MODULES = """
from viewos import Entry, TreeModule
from viewos.spec import absolute

class Words(TreeModule):
    @classmethod
    def from_mount(cls, source, target, options):
        module = cls()
        module.mount_point, module.word = target, source + b" " + absolute(b"here")
        return module

    def entries(self, path):
        return [Entry.file(b"word")]

    def read(self, path):
        return self.word + b"\\n"
"""
OTHER = "class Other(TreeModule):\n    pass\n"


@pytest.fixture
def top(ground: Ground) -> Path:
    (ground.path / "only.py").write_text(MODULES)
    (ground.path / "two.py").write_text(MODULES + OTHER)
    return ground.path


def test_viewos_mount(ground: Ground, top: Path) -> None:
    """Relative to the caller's directory, and by names of the view."""
    modules = [f"vfs:/mnt={top}/a,/media={top}", "mount"]
    with ground.view(modules, SLEEP):
        for kind in (
            "./only.py", "only.py:Words", "./two.py:Words", f"{top}/two.py:Words",
            "/media/two.py:Words",
        ):  # fmt: skip
            assert ground.says("mount", "-V", NAME, "-t", kind, "/hello", "/mnt", cwd=top) == ""
            text = ground.says("exec", NAME, "cat", "/mnt/word")
            assert text == f"/hello {top}/here\n", kind
            assert ground.says("umount", "-V", NAME, "/mnt") == ""


def test_wrong_types(ground: Ground, top: Path) -> None:
    wrong = {
        "./none.py:X": f"module {top}/none.py: no such file",
        "./two.py": f"{top}/two.py: name the class, {top}/two.py:CLASS (it has Other, Words)",
        "./two.py:X": f"{top}/two.py has no module class X (it has Other, Words)",
        "./two.py:Other": "other is no module that can be mounted",
        "./two.py:Words:x": "-t ./two.py:Words:x: the options of a mount stand behind -o",
        "tmpfs:/x": "-t tmpfs:/x: the options of a mount stand behind -o",
    }
    with ground.view([f"vfs:/mnt={top}/a"], SLEEP):
        for kind, text in wrong.items():
            said = ground.says("mount", "-V", NAME, "-t", kind, "x", "/mnt", cwd=top)
            assert said.startswith(f"viewos: {text}") and said.count("\n") == 2, said


def in_view(ground: Ground, argv: list[str]) -> str:
    """What a program says in a view in which /media is the directory with the modules."""
    done = run_in_view(
        ["uid:0", f"vfs:/media={ground.path}", "mount"], argv,
        user=ground.user, cwd=ground.path, env=ground.env,
    )  # fmt: skip
    return (done.stdout + done.stderr).decode()


@pytest.mark.parametrize("kind", ["/media/two.py:Words", "TOP/two.py:Words", "/media/only.py"])
def test_mount_8(ground: Ground, top: Path, kind: str) -> None:
    kind = kind.replace("TOP", str(top))
    script = f"mount -t {kind} /hello b && cut -d' ' -f1 b/word && umount b && ls b"
    assert in_view(ground, ["sh", "-c", script]) == "/hello\nb\n"


CONFINED = """
import ctypes, errno, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.prctl(38, 1, 0, 0, 0)
attributes = (ctypes.c_uint64 * 1)(4)
rules = libc.syscall(444, attributes, 8, 0)
if rules < 0 or libc.syscall(446, rules, 0):
    print("no Landlock")
elif libc.mount(b"x", b"b", sys.argv[1].encode(), 0, None):
    print(errno.errorcode[ctypes.get_errno()])
"""


def test_who_may_have_code_run(ground: Ground, top: Path) -> None:
    """A module of a view runs with the monitor's power: not for a program that has given up some
    of its own."""
    words = ["python3", "-c", CONFINED, f"{top}/only.py"]
    if (said := in_view(ground, words)) == "no Landlock\n":
        pytest.skip("the kernel has no Landlock")
    assert said == "EPERM\n"
