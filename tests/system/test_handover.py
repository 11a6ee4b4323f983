"""Programs that execute by themselves what they are handed over: handover.py, handing.c."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.inproc import place, run
from tests.system.users import python
from tests.system.view import Place, run_in_view
from tests.system.witness import build

__all__ = ["place"]  # the fixture
pytestmark = pytest.mark.timeout(120)

PROGRAMS = Path(__file__).parent / "differential" / "programs"
LIBRARIES = ("lib64/ld-linux-x86-64.so.2", "lib/x86_64-linux-gnu/libc.so.6")
CHROOT = 'for n in proc dev usr; do mount --rbind /$n "$1/$n"; done; exec chroot "$@"'


@pytest.fixture
def tree() -> Iterator[Path]:
    """A root directory with a libc and a loader of its own, and a program below /mnt."""
    top = Path(tempfile.mkdtemp(prefix="viewos-handover-"))
    for name in ("lib64", "lib/x86_64-linux-gnu", "proc", "dev", "usr", "mnt", "tmp"):
        (top / name).mkdir(parents=True)
    for name in LIBRARIES:
        shutil.copy(f"/{name}", top / name)
    (top / "bin").symlink_to("usr/bin")
    shutil.copy(build("execs", folder=PROGRAMS), top / "mnt" / "self")
    for path in (top, top / "mnt", top / "tmp"):
        path.chmod(0o777)
    try:
        yield top
    finally:
        shutil.rmtree(top)


def says(tree: Path, user: int | None) -> str:
    """What the program says: of a view of user's, None: in a chroot."""
    for left in (tree / "mnt").iterdir():
        if left.name != "self":
            shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
    words = ["/bin/sh", "-c", "cd /mnt && exec 2>&1 && exec ./self all"]
    if user is not None:
        os.chown(tree / "mnt" / "self", user, user)
        modules = [f"vfs:/={tree},/proc=/proc,/dev=/dev,/usr=/usr", *(["uid:0"] if user else [])]
        return run(modules, words, user, cwd="/")
    before = ("unshare", "-m", "--propagation", "private", "sh", "-c", CHROOT, "sh", str(tree))
    done = run_in_view(None, words, before=before, cwd="/")
    return (done.stdout + done.stderr).decode()


@pytest.mark.skipif(os.getuid() != 0, reason="chroot(2) takes CAP_SYS_CHROOT")
@pytest.mark.parametrize("pure", ["", "1"])
@pytest.mark.parametrize("user", [0, 65534])
def test_a_foreign_root(tree: Path, user: int, pure: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = says(tree, None)
    assert "done\n" in expected
    monkeypatch.setenv("VIEWOS_PURE", pure)
    assert says(tree, user) == expected


@pytest.mark.skipif(os.getuid() != 0, reason="mount(2) takes CAP_SYS_ADMIN")
def test_no_copy_where_none_could_be_executed(tree: Path) -> None:
    """TMPDIR lies in a file system without execution, as a hardened system's /tmp does."""
    modules = f"vfs:/={tree},/proc=/proc,/dev=/dev,/usr=/usr"
    script = f"""
        mount -t tmpfs -o noexec none {tree}/tmp && export TMPDIR={tree}/tmp
        {python(0)} -m viewos run -m {modules} -- /bin/sh -c '/mnt/self told; echo $?'"""
    words = ["unshare", "-m", "--propagation", "private", "sh", "-c", script]
    done = run_in_view(None, words, cwd="/")
    assert done.stderr == b"" and b"exe /mnt/self\n" in done.stdout
    assert done.stdout.endswith(b"\n3\n")


def test_an_interrupted_call_is_made_again(place: Place) -> None:
    """A handler without SA_RESTART, before the monitor has received the call."""
    shutil.copy(build("execs", folder=PROGRAMS), place.real / "self")
    script = "/mnt/self interrupted; echo $?"
    assert run([f"vfs:/mnt={place.real}"], ["sh", "-c", script], place.user) == "6\n"
