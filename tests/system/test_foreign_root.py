"""A root directory that has a libc and a loader of its own, beside the kernel's own chroot."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .debugged import GDB
from .view import run_in_view

pytestmark = pytest.mark.timeout(60)

LOADER = "/lib/ld-musl-x86_64.so.1"
THEIRS = "/lib/ld-mine-x86_64.so.1"
"""A name that the machine does not have."""
SOURCE = Path(__file__).parent / "witness" / "foreign.c"
CHROOT = 'mount --rbind /proc "$1/proc" && mount --rbind /dev "$1/dev" && exec chroot "$@"'
SCRIPTS = {
    "a dynamic program": "foreign one two; echo $?",
    "a program that spawns itself": "cd /tmp && foreign again; echo $?",
    "by a relative name": "cd /bin && ./foreign; cd /tmp && ../bin/foreign",
    "below a directory that may not be searched": """
        busybox mkdir -p /tmp/d/e; busybox cp /bin/foreign /tmp/d/e; cd /tmp/d/e
        busybox chmod 0 ..; ./foreign one; echo $?; busybox chmod 700 ..
        busybox rm -r /tmp/d""",
    "from a removed directory": """
        busybox mkdir /tmp/d; ln -s /bin /tmp/bin; cd /tmp/d; busybox rmdir ../d
        ../../bin/foreign x; ../bin/foreign y
        cat ../../etc/release; ls ../..; ../bin/script z; cd ../..; pwd""",
    "by a link": "ln -s ../bin/foreign /tmp/link && /tmp/link; cd /tmp && exec ./link x",
    "a script": "script a 'b c'; cd /bin; ./script",
    "a script of a dynamic program": "scripted a b",
    "env, find and xargs": "find /bin -name 'f*n' | env -i PATH=/bin xargs -n1 sh -c 'exec $0 x'",
    "what is there": "ls / /bin /etc; cat /etc/release; ls -d /usr; echo $?",
    "absolute links stay inside": "ln -s /etc/release /tmp/r; cat /tmp/r; readlink -f /tmp/r",
    "dotdot at the root": "cd /; cd ..; pwd; ls -d ../../bin ../etc; cat /../etc/release",
    "no loader": "foreign-broken; echo $?",
    "its own words": "foreign one two; cd /bin; sh -c 'exec ./foreign \"\" x'; foreign '' ''",
    "its root by procfs": """cat /proc/self/root/etc/release; ls /proc/$$/root/; cd /proc/self/root
        pwd; ls; ln -s /proc/self/root /tmp/root; cat /tmp/root/etc/release; echo x >/tmp/root/tmp/y
        cat /tmp/y; ls -d /proc/self/root/../etc""",
    "itself by procfs": """busybox cp /bin/foreign /tmp/gone; /tmp/gone wait & busybox sleep 0.2
        busybox cmp /proc/$!/exe /bin/foreign; echo $?; busybox rm /tmp/gone
        readlink /proc/$!/exe; wait $!; exec foreign exe""",
    "a traced program": "cd /tmp; foreign traced; ls -A /tmp",
    "a traced program whose words lie together": "cd /tmp; SHARED=x foreign traced",
    "a traced script": """cd /tmp; for s in script scripted ../bin/nested; do
        SCRIPT=$s foreign traced | busybox sed s,execfn.*,,; done; ls -A /tmp""",
    "by a descriptor": """cd /tmp; for p in foreign script nested scripted; do
        for how in open closed memory procfs; do echo $p $how; foreign $how /bin/$p; done; done
        busybox cp /bin/foreign gone; foreign removed gone; foreign procfs-closed /bin/foreign
        for p in foreign scripted; do for how in procfs-memory procfs-closed-memory; do
        foreign $how /bin/$p; done; done""",
    "the auxiliary vector": "foreign auxiliary; cd /tmp && ../bin/foreign auxiliary",
    "comm": "cat /proc/$$/comm; sh -c 'cat /proc/$$/comm; readlink /proc/$$/exe'",
}


@pytest.fixture(scope="module", params=["argv0", "none"])
def root(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A small system of musl's loader and busybox. "none": the loader knows no `--argv0`, like
    glibc's before 2.33."""
    top = Path(tempfile.mkdtemp(prefix="viewos-foreign-"))
    for name in ("bin", "etc", "lib", "proc", "dev", "tmp"):
        (top / name).mkdir()
    (top / "etc" / "release").write_text("a foreign system\n")
    loader = Path(LOADER).read_bytes()
    assert b"\0argv0\0" in loader
    (top / THEIRS[1:]).write_bytes(loader.replace(b"argv0", request.param.encode().ljust(5, b"0")))
    shutil.copy(shutil.which("busybox") or "", top / "bin" / "busybox")
    for name in ("sh", "ls", "cat", "ln", "readlink", "env", "find", "xargs", "pwd"):
        (top / "bin" / name).symlink_to("busybox")
    program = top / "bin" / "foreign"
    subprocess.run(["musl-gcc", "-O1", "-o", program, SOURCE], check=True, timeout=60)
    program.write_bytes(program.read_bytes().replace(LOADER.encode(), THEIRS.encode()))
    broken = program.read_bytes().replace(b"/lib/ld-mine", b"/lib/ld-none")
    (top / "bin" / "foreign-broken").write_bytes(broken)
    (top / "bin" / "script").write_text('#!/bin/sh\necho "$0 $# $*"\n')
    (top / "bin" / "nested").write_text("#!/bin/script of-its-own\n")
    (top / "bin" / "scripted").write_text("#!/bin/foreign -x y\n")
    for path in (top, *top.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755)
    (top / "tmp").chmod(0o1777)
    try:
        yield top
    finally:
        shutil.rmtree(top)


def says(root: Path, how: str, user: int, script: str) -> str:
    """What a script of the foreign shell prints."""
    for left in (root / "tmp").iterdir():
        left.unlink()
    argv = ["/bin/sh", "-c", f"PATH=/bin; exec 2>&1; {script}"]
    if how == "chroot":
        before = ("unshare", "-m", "--propagation", "private", "sh", "-c", CHROOT, "sh", str(root))
        done = run_in_view(None, argv, before=before, timeout=30)
    else:
        modules = [f"vfs:/={root},/proc=/proc,/dev=/dev"]
        done = run_in_view(modules, argv, user=user, timeout=30, cwd="/")
    return done.stdout.decode() + done.stderr.decode()


@pytest.mark.skipif(os.getuid() != 0, reason="chroot(2) takes CAP_SYS_CHROOT")
@pytest.mark.parametrize("user", [0, 65534])
@pytest.mark.parametrize("name", SCRIPTS)
def test_it_is_as_in_a_chroot(name: str, user: int, root: Path) -> None:
    expected = says(root, "chroot", 0, SCRIPTS[name])
    assert expected
    assert says(root, "view", user, SCRIPTS[name]) == expected


SECURE = r"""
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    if (argc == 1) {
        if (setenv("TMPDIR", "/x", 1) || setenv("LD_LIBRARY_PATH", "/x", 1)) return 1;
        if (setgid(1000) || setuid(1000)) return 1;
        execl("/bin/secure", "secure", "x", NULL);
        return 2;
    }
    printf("%s: %d %d, %s\n", argv[0], getuid(), geteuid(), getenv("TMPDIR"));
}
"""


@pytest.mark.parametrize("user", [None, 65534])
def test_a_program_with_the_set_user_id_bit(user: int | None) -> None:
    """glibc's loader takes variables from it, which it does not survive when it was told of the
    program."""
    with tempfile.TemporaryDirectory(prefix="viewos-foreign-") as name:
        top = Path(name)
        for below in ("bin", "lib64", "lib/x86_64-linux-gnu"):
            (top / below).mkdir(parents=True)
        argv = ["gcc", "-x", "c", "-", "-o", top / "bin/secure"]
        subprocess.run(argv, input=SECURE, text=True, check=True, timeout=60)
        for below in ("lib64/ld-linux-x86-64.so.2", "lib/x86_64-linux-gnu/libc.so.6"):
            shutil.copy(f"/{below}", top / below)
        (top / "bin/secure").chmod(0o4755)
        top.chmod(0o755)
        modules = [f"vfs:/={top}", "uid:0"]
        done = run_in_view(modules, ["/bin/secure"], user=user, cwd="/", timeout=30)
    assert done.stdout == b"secure: 1000 0, (null)\n"


def test_a_directory_that_is_not_in_the_view(root: Path) -> None:
    done = run_in_view([f"vfs:/={root}"], ["/bin/pwd"], cwd="/usr", timeout=30)
    assert done.stdout == b"/\n"
    assert done.stderr == b"viewos: /usr is no directory of the view: starting in /\n"


ATTACH = """
python3 -c 'import time; time.sleep(60)' & pid=$!
until grep -q '^230 ' /proc/$pid/syscall; do :; done
{gdb} -p $pid -ex bt 2>&1; kill $pid
"""


@pytest.mark.parametrize("user", [None, 65534])
def test_gdb_attaches(user: int | None) -> None:
    """It finds the program and its libraries by /proc/PID/auxv."""
    with tempfile.TemporaryDirectory(prefix="viewos-foreign-") as name:
        top = Path(name)
        (top / "lib64").mkdir()
        shutil.copy("/lib64/ld-linux-x86-64.so.2", top / "lib64")
        (top / "bin").symlink_to("usr/bin")
        (top / "lib").symlink_to("usr/lib")
        top.chmod(0o755)
        passed = ",".join(f"/{name}=/{name}" for name in ("usr", "etc", "proc", "dev", "tmp"))
        script = ATTACH.format(gdb=" ".join(map(shlex.quote, GDB)))
        done = run_in_view(
            [f"vfs:/={top},{passed}"], ["/bin/sh", "-c", script], user=user, cwd="/", timeout=50
        )
    assert b"clock_nanosleep" in done.stdout, done.stdout.decode()
    assert b"in Py_BytesMain ()" in done.stdout, done.stdout.decode()


ROOT = """
import errno, os
os.mkdir("/tmp/of-root")
for what, call in {
    "rmdir": lambda: os.rmdir("/"), "unlink": lambda: os.unlink("/"),
    "mkdir": lambda: os.mkdir("/"),
    "rename": lambda: os.rename("/", "/x"), "onto": lambda: os.rename("/tmp/of-root", "/"),
    "excl": lambda: os.open("/", os.O_CREAT | os.O_EXCL),
    "creat": lambda: os.open("//", os.O_CREAT),
    "link": lambda: os.link("/tmp/of-root", "/"), "symlink": lambda: os.symlink("x", "/"),
}.items():
    try:
        call()
    except OSError as error:
        print(what, errno.errorcode[error.errno])
os.rmdir("/tmp/of-root")
"""


def test_the_root_of_the_view_is_a_root(tmp_path: Path) -> None:
    """Natively it is the machine's own; none of these calls changes it."""
    (tmp_path / "tmp").mkdir()
    argv = ["/usr/bin/python3", "-IS", "-c", ROOT]
    passed = ",".join(f"/{name}=/{name}" for name in ("usr", "lib", "lib64", "etc"))
    native = run_in_view(None, argv, cwd="/").stdout
    assert native.count(b"\n") == 9
    assert run_in_view([f"vfs:/={tmp_path},{passed}"], argv, cwd="/").stdout == native
