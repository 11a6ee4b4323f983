"""The real root's chroot(2) into a directory below which a tree of the view stands."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.system.control import Ground, ground
from tests.system.mounts import APART, TIERS
from tests.system.view import run_in_view

__all__ = ["ground"]  # the fixture
pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.skipif(os.getuid() != 0, reason="chroot(2) takes CAP_SYS_CHROOT"),
    pytest.mark.parametrize("ground", [0], indirect=True),
    pytest.mark.parametrize("tier", TIERS),
]
PROGRAMS = """
chroot rt /usr/bin/true; echo $?
test -e rt/proc/self || mount --bind /proc rt/proc
chroot rt sh -c 'read pid other < /proc/self/stat; test $pid = $$ && cat /proc/self/comm; pwd'
chroot rt sh -c 'cd /proc/self && cat ./task/$$/comm < fd/0; readlink /proc/self/exe' < rt/s/script
chroot rt sh -c 'cd /usr/bin && ./true && ls -d true /'
chroot rt /s/script a 'b c'
chroot rt python3 -c 'import os, sys; print(sys.argv, sys.executable, os.getcwd())' a
"""
EXPECTED = """\
0
cat
/
sh
/usr/bin/readlink
/
true
/s/script a b c
['-c', 'a'] /usr/bin/python3 /
"""


def make_root(top: Path) -> None:
    """A directory whose usr is for the view to show."""
    top.chmod(0o755)
    (top / "rt" / "usr").mkdir(parents=True)
    (top / "rt" / "s").mkdir()
    (top / "rt" / "proc").mkdir()
    for name in ("bin", "lib", "lib64"):
        (top / "rt" / name).symlink_to(f"usr/{name}")
    script = top / "rt" / "s" / "script"
    script.write_text("#!/bin/sh\necho $0 $*\n")
    script.chmod(0o755)


def says(ground: Ground, script: str, modules: list[str] | None) -> tuple[str, str]:
    done = run_in_view(
        modules, ["sh", "-c", script], user=0, cwd=ground.path, before=APART, timeout=30
    )
    return done.stdout.decode(), done.stderr.decode()


@pytest.mark.parametrize("how", ["natively", "mount", "vfs"])
def test_programs_of_the_tree(
    ground: Ground, how: str, tier: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their loader is the view's: the directory below that of the tree has none."""
    for name, value in TIERS[tier].items():
        monkeypatch.setenv(name, value)
    modules = {
        "natively": None,
        "mount": ["mount"],
        "vfs": [f"vfs:{ground.path}/rt/usr=/usr", "mount"],
    }[how]
    make_root(ground.path)
    mounted = "" if how == "vfs" else "mount --bind /usr rt/usr; "
    assert says(ground, mounted + PROGRAMS, modules) == (EXPECTED, "")


def test_of_another_user(ground: Ground, tier: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has other credentials than the monitor is not lent a descriptor, and one line says so."""
    for name, value in TIERS[tier].items():
        monkeypatch.setenv(name, value)
    make_root(ground.path)
    script = "chroot rt setpriv --reuid 65534 --clear-groups /usr/bin/true; echo $?"
    said, errors = says(ground, script, [f"vfs:{ground.path}/rt/usr=/usr"])
    assert said == "126\n"
    assert errors.count("lies outside the root directory of process") == 1
