"""Programs that execute by themselves what they are handed over: handover.py, handing.c."""

from __future__ import annotations

import os
import shutil
import subprocess
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


def says(tree: Path, user: int | None, how: str = "./self all") -> str:
    """What the program says: of a view of user's, None: in a chroot."""
    for left in (tree / "mnt").iterdir():
        if left.name != "self":
            shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
    words = ["/bin/sh", "-c", "cd /mnt && exec 2>&1 && exec " + how]
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


@pytest.mark.skipif(os.getuid() != 0, reason="chroot(2) takes CAP_SYS_CHROOT")
@pytest.mark.parametrize("pure", ["", "1"])
def test_what_others_may_execute(tree: Path, pure: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(build("permits", folder=PROGRAMS), tree / "mnt" / "self")
    expected = says(tree, None, "./self readable")
    assert "done\n" in expected
    monkeypatch.setenv("VIEWOS_PURE", pure)
    assert says(tree, 0, "./self readable") == expected


REPLACED = """
import os, shutil, subprocess, sys, threading
def put(source):
    shutil.copy(source, "new"); os.utime("new", (1, 1)); os.rename("new", "p")
def says():
    return subprocess.run(["/mnt/p", "one"], stdout=subprocess.PIPE).stdout
put("/bin/true"); over = False
def storm():
    while not over: says()
threads = [threading.Thread(target=storm) for _ in range(2)]
for thread in threads: thread.start()
wrong = 0
for number in range(60):
    put("/bin/true"); put("/bin/echo")
    wrong += [says() for _ in range(3)] != 3 * [b"one\\n"]
over = True
for thread in threads: thread.join()
print(wrong, "wrong")
"""


@pytest.mark.parametrize(
    "module", ["vfs:/=TREE,/proc=/proc,/dev=/dev,/usr=/usr", "vfs:/mnt=TREE/mnt"]
)
def test_a_program_that_is_replaced_all_the_time(tree: Path, module: str) -> None:
    words = ["sh", "-c", 'cd /mnt; exec python3 -IS -c "$0"', REPLACED]
    assert run([module.replace("TREE", str(tree))], words, 0, cwd="/") == "0 wrong\n"


MOVED = """
cd /mnt; mkdir -p one/bin; cp self one/bin/p; ln one/bin/p two
for i in 1 2 3; do sh -c 'one/bin/p; ./two; :'; done | grep ^exe
mv one three; for i in 1 2; do sh -c 'three/bin/p; :'; done | grep ^exe
"""


def test_names_of_a_program_change(tree: Path) -> None:
    """Those of the directories above it too; and it has several."""
    modules = [f"vfs:/={tree},/proc=/proc,/dev=/dev,/usr=/usr"]
    one = "exe /mnt/one/bin/p\nexe /mnt/two\n"
    expected = 3 * one + 2 * "exe /mnt/three/bin/p\n"
    assert run(modules, ["/bin/sh", "-c", MOVED], 0, cwd="/") == expected


REPLACES_ITSELF = r"""
cd /mnt; cp /bin/dash mysh; exec ./mysh -c 'cp /bin/cat x; mv x mysh; readlink /proc/$$/exe
exec /proc/self/exe -c "readlink /proc/\$\$/exe; exec /proc/self/exe -c \"echo ok\""'
"""


def test_a_program_whose_name_has_gone(tree: Path) -> None:
    modules = [f"vfs:/={tree},/proc=/proc,/dev=/dev,/usr=/usr"]
    said = run(modules, ["/bin/sh", "-c", REPLACES_ITSELF], 0, cwd="/")
    assert said == 2 * "/mnt/mysh (deleted)\n" + "ok\n"


def test_somebody_cleans_tmpdir(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tree / "tmp"))
    modules = [f"vfs:/={tree},/proc=/proc,/dev=/dev,/usr=/usr"]
    script = "sh -c '/bin/echo a; :'; rm -r /tmp/*; sh -c '/bin/echo b; /bin/echo c; :'; echo $?"
    assert run(modules, ["/bin/sh", "-c", script], 0, cwd="/") == "a\nb\nc\n0\n"


BARE = r"""
static long call(long n, long a, const void *b, long c)
{
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(n), "D"(a), "S"(b), "d"(c)
                     : "rcx", "r11", "memory");
    return result;
}
void begin(long *stack)
{
    long *at = stack + 1;
    while (*at++) {}
    while (*at++) {}
    for (; at[0] != 31; at += 2) {}
    const char *name = (const char *)at[1];
    long size = 0;
    while (name[size]) size++;
    call(1, 1, name, size);
    call(60, 0, 0, 0);
}
__asm__(".globl _start\n_start: mov %rsp, %rdi; call begin");
"""


def test_a_program_without_libraries(place: Place) -> None:
    """Its loader makes no call by which it would be known that it has begun."""
    gcc = ["gcc", "-x", "c", "-", "-nostdlib", "-pie", "-O1", "-o", place.real / "bare"]
    subprocess.run(gcc, input=BARE, text=True, check=True, timeout=60)
    words = ["sh", "-c", "/mnt/bare; /mnt/bare; :"]
    assert run([f"vfs:/mnt={place.real}"], words, place.user) == 2 * "/mnt/bare"


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
