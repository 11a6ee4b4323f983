"""Which calls programs make themselves, and that those do what the monitor would."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess

import pytest

from tests.system.inproc import notifications, place
from tests.system.users import python
from tests.system.view import Place, run_in_view

__all__ = ["place"]  # the fixture
pytestmark = pytest.mark.timeout(120)


STATS = """
import os, sys
name = sys.argv[1]
for _ in range(2000): os.stat(name), os.access(name, 4), os.close(os.open(name, 0))
"""


LOADS = """
import ctypes, sys
for n in range(int(sys.argv[2])): ctypes.CDLL("%s/lib%d.so" % (sys.argv[1], n))
"""


@pytest.mark.parametrize("module", ["vfs:/opt=/usr", "vfs:/=/", "uid:0"])
def test_the_loader_asks_once_for_a_library(place: Place, module: str) -> None:
    """Its open is trapped, and the fstat(2) that follows is not."""
    for number in range(40):
        shutil.copy("/lib/x86_64-linux-gnu/libz.so.1", place.real / f"lib{number}.so")
    program = ["--", "/usr/bin/python3", "-ISc", LOADS, str(place.real)]
    none, all_of_them = (notifications(place, module, *program, count) for count in ("0", "40"))
    assert 40 <= all_of_them - none < 60


@pytest.mark.parametrize("name", ["/mnt/file", "/etc/passwd", "file"])
def test_its_calls_do_not_reach_the_monitor(place: Place, name: str) -> None:
    (place.real / "file").touch()
    program = ["-C", "/mnt", "--", "/usr/bin/python3", "-ISc", STATS, name]
    assert notifications(place, "vfs:/mnt=DIR", *program) < 1000


@pytest.mark.parametrize("module", ["vfs:/mnt=DIR", "uid:0"])
def test_a_program_begins_with_two_calls(place: Place, module: str) -> None:
    """Its execve, and the open of its libc: what else its loader asks for lies outside."""
    many = ["--", "/bin/bash", "-c", "for n in {1..100}; do /bin/true; done"]
    assert 200 <= notifications(place, module, *many) < 250


PRELOADED = """
#include <unistd.h>
__attribute__((constructor)) static void begin(void) { write(2, "preloaded\\n", 10); }
"""


def test_what_a_view_preloads(place: Place) -> None:
    """A file that the loader asks for is the view's, where the view shows another one."""
    source, library, etc = (place.real / name for name in ("p.c", "p.so", "etc"))
    source.write_text(PRELOADED)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source], check=True)
    etc.mkdir()
    (etc / "ld.so.preload").write_text(f"{library}\n")
    done = run_in_view([f"vfs:/etc={etc}"], ["/bin/true"], user=place.user)
    assert (done.returncode, done.stderr) == (0, b"preloaded\n")
    outer = ["-m", f"vfs:/mnt={place.real}"]
    inner = [python(place.user), "-m", "viewos", "run", "-m", f"vfs:/etc={etc}", "--", "/bin/true"]
    words = [python(place.user), "-m", "viewos", "run"]
    done = run_in_view(None, [*words, *outer, "--", *inner], user=place.user)
    assert done.returncode == 125 and done.stderr.count(b"\n") == 1
    assert b"(/etc/ld.so.preload): start that one with `viewos run --nestable`" in done.stderr
    done = run_in_view(None, [*words, "--nestable", *outer, "--", *inner], user=place.user)
    assert (done.returncode, done.stderr) == (0, b"preloaded\n")


NAMES = """
import os, sys
os.chdir(sys.argv[1])
for _ in range(300):
    os.mkdir("d"); os.mkfifo("d/p"); os.symlink("none", "d/l"); os.utime("d/p")
    os.rename("d/p", "d/q"); os.link("d/q", "d/r"); os.utime("d/l", follow_symlinks=False)
    for name in ("l", "q", "r"): os.unlink("d/" + name)
    os.rmdir("d")
there = os.path.join(sys.argv[1], "there")
for _ in range(300): os.mkdir(there); os.utime(there); os.rmdir(there)
"""


@pytest.mark.parametrize("name", ["/mnt", "DIR"])
def test_names_are_made_and_removed_without_the_monitor(place: Place, name: str) -> None:
    where = name.replace("DIR", str(place.real))
    program = ["--", "/usr/bin/python3", "-ISc", NAMES, where]
    assert notifications(place, "vfs:/mnt=DIR", *program) < 200


MAKES = """
import os, sys
os.chdir(sys.argv[1])
for n in range(300): os.mkdir("d"); assert os.stat("d").st_uid == 0; os.rmdir("d")
os.mkdir("set-gid"); os.chown("set-gid", 0, 5); os.chmod("set-gid", 0o2755); os.mkdir("set-gid/in")
found = os.stat("set-gid/in"); print(found.st_gid, oct(found.st_mode))
os.mkdir("none", 0); os.umask(0o777); os.mkdir("masked"); os.mkdir("masked/in")
print(*(oct(os.stat(name).st_mode) for name in ("none", "masked", "masked/in")))
os.setresgid(6, 6, 6); os.setresuid(7, 7, 7); os.umask(0)
try: os.mkdir("mine")
except OSError as e: print(e.strerror)
"""


def test_directories_of_a_root_are_made_without_the_monitor(place: Place) -> None:
    program = ["/usr/bin/python3", "-ISc", MAKES, str(place.real)]
    said = run_in_view(["uid:0,drop"], program, user=place.user)
    assert (said.stderr, said.stdout.decode().splitlines()) == (b"", [
        "5 0o42755", "0o40000 0o40000 0o40000", os.strerror(errno.EACCES),
    ])  # fmt: skip
    for name in ("masked/in", "masked", "none", "set-gid/in", "set-gid"):
        (place.real / name).rmdir()
    assert notifications(place, "uid:0", "--", *program) < 250


ASKS = """
import os, sys
os.chdir(sys.argv[1])
open("f", "w").write("x"); os.chmod("f", 0o600); fd = os.open("f", os.O_RDONLY)
def none(name, **how):
    try: os.getxattr(name, "user.x", **how); raise SystemExit("found")
    except OSError as e: assert e.errno in (61, 95), e
for _ in range(200):
    none("f"); none("f", follow_symlinks=False); none(fd)
    assert os.listxattr("f") == os.listxattr(fd) == os.listxattr("f", follow_symlinks=False) == []
acl = b"\\2\\0\\0\\0" + b"".join(
    bytes((tag, 0, perm, 0)) + b"\\xff" * 4 for tag, perm in ((1, 6), (4, 4), (32, 4)))
if os.getuid() == 0:
    for mode in (0o600, 0o644, 0o660) * 30:
        os.fchmod(fd, mode); os.setxattr(fd, "system.posix_acl_access", acl)
        assert os.stat("f").st_mode == 0o100644
os.unlink("f")
"""


@pytest.mark.parametrize("module", ["vfs:/mnt=DIR", "uid:0"])
def test_extended_attributes_are_asked_for_without_the_monitor(place: Place, module: str) -> None:
    program = ["/usr/bin/python3", "-ISc", ASKS, str(place.real)]
    assert notifications(place, module, "--", *program) < 250


IDS = """
import os
for _ in range(300): os.getuid(), os.geteuid(), os.getgid(), os.getegid()
assert os.getuid() == os.stat("/proc/self").st_uid
"""


def test_who_it_is_a_program_asks_the_kernel(place: Place) -> None:
    program = ["/usr/bin/python3", "-ISc", IDS]
    assert notifications(place, "vfs:/mnt=DIR", "--", *program) < 200


BOUNDS = """
import os, sys
def says(what, *args):
    try: what(*args); print("done")
    except OSError as e: print(e.strerror)
os.chdir("/mnt")
says(os.rename, "/mnt/f", "/media/f"); says(os.link, "/media/g", "/mnt/g")
says(os.rmdir, "/media/in"); says(os.rename, "/media/in", "/media/out")
says(os.mkdir, "/media/in"); says(os.rename, "f", "/media/f")
os.chdir("/media"); says(os.rmdir, "in"); says(os.rename, "in", "out"); says(os.mkdir, "ro/d")
says(os.unlink, "/media/ro/f"); says(os.utime, "/media/ro/f"); says(os.unlink, "ro/f")
says(os.rename, "ro/f", "f"); says(os.rename, "g", "h"); says(os.link, "/media/h", "/media/i")
fd = os.open("ro/f", os.O_RDONLY); says(os.utime, fd)
print(sorted(os.listdir("/media")), sorted(os.listdir("/mnt")), os.listdir("ro"))
"""


def test_a_claim_keeps_its_bounds(place: Place) -> None:
    """As mounts do: EXDEV between two of them, EBUSY for their directories, EROFS in one."""
    for name in ("a", "b", "b/in", "b/ro", "c", "e"):
        (place.real / name).mkdir()
        os.chown(place.real / name, place.user, place.user)
    for name in ("a/f", "b/g", "c/f"):
        (place.real / name).touch()
        os.chown(place.real / name, place.user, place.user)
    top = place.real
    claims = f"/mnt={top}/a,/media={top}/b,/media/in={top}/e"
    modules = [f"vfs:{claims}", f"vfs:/media/ro={top}/c,ro"]
    said = run_in_view(modules, ["/usr/bin/python3", "-ISc", BOUNDS], user=place.user)
    busy, other, read_only = (
        os.strerror(number) for number in (errno.EBUSY, errno.EXDEV, errno.EROFS)
    )
    assert said.stderr == b""
    assert said.stdout.decode().splitlines() == [
        other, other, busy, busy, os.strerror(errno.EEXIST), other, busy, busy, read_only,
        read_only, read_only, read_only, other, "done", "done", read_only,
        "['h', 'i', 'in', 'ro'] ['f'] ['f']",
    ]  # fmt: skip


MISSES = """
import os, sys
for _ in range(2000):
    try: os.execv(sys.argv[1], ["x"])
    except FileNotFoundError: continue
    raise SystemExit("executed")
"""


@pytest.mark.parametrize("module", ["vfs:/mnt=DIR", "uid:0"])
@pytest.mark.parametrize("name", ["/mnt/none", "/usr/local/bin/none", "none"])
def test_a_search_of_path_does_not_reach_the_monitor(place: Place, name: str, module: str) -> None:
    assert notifications(place, module, "--", "/usr/bin/python3", "-ISc", MISSES, name) < 200


ROOT_IN_A_CLAIM = """
import os, sys
os.chdir("/mnt")
def show(name): s = os.lstat(name); print(name, oct(s.st_mode), s.st_uid, s.st_gid)
for n in range(300):
    os.close(os.open("/mnt/f", os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o644))
    os.close(os.open("f", os.O_RDWR | os.O_CREAT)); os.close(os.open("/mnt/f", os.O_RDONLY))
    os.mkdir("/mnt/d"); os.mkfifo("d/p"); os.symlink("f", "/mnt/d/l"); os.rename("/mnt/f", "/mnt/g")
    os.link("/mnt/g", "/mnt/d/f"); os.rename("/mnt/d/f", "/mnt/f"); os.utime("/mnt/g")
    for name in ("f", "g", "d/p", "d/l"): os.unlink(name)
    os.rmdir("/mnt/d")
os.close(os.open("/mnt/none", os.O_CREAT | os.O_WRONLY, 0)); show("none")
os.mknod("/mnt/zero", 0o20666, os.makedev(1, 5)); show("zero")
for flags in (0, os.O_CREAT): print(os.read(os.open("/mnt/zero", flags), 3))
try: os.open("zero", os.O_CREAT | os.O_EXCL)
except OSError as e: print(e.strerror)
os.mkdir("gid"); os.chown("gid", 0, 5); os.chmod("gid", 0o2755)
os.close(os.open("/mnt/gid/f", os.O_CREAT | os.O_WRONLY)); os.mkdir("/mnt/gid/d")
os.symlink("f", "/mnt/gid/l"); os.mkfifo("gid/p")
for name in "fdlp": show("gid/" + name)
os.mkdir("mine"); os.chown("mine", 7, 6)
if len(sys.argv) == 1: raise SystemExit
os.setresgid(6, 6, 6); os.setresuid(7, 7, 7)
os.close(os.open("/mnt/mine/f", os.O_CREAT | os.O_WRONLY, 0o644)); os.mkdir("/mnt/mine/d")
for name in "fd": show("mine/" + name)
"""


@pytest.mark.parametrize("module", ["uid:0", "uid:0,save=LOG"])
def test_a_root_in_a_claim_does_without_the_monitor(place: Place, module: str) -> None:
    """It opens, makes and removes what shows as the kernel has it; the rest is the module's."""
    program = ["/usr/bin/python3", "-ISc", ROOT_IN_A_CLAIM]
    module = module.replace("LOG", str(place.real / "owners"))
    modules = [f"vfs:/mnt={place.real}", module]
    said = run_in_view(modules, [*program, "is given up"], user=place.user)
    assert said.stdout.decode().splitlines() == [
        "none 0o100000 0 0", "zero 0o20644 0 0", "b'\\x00\\x00\\x00'", "b'\\x00\\x00\\x00'",
        os.strerror(errno.EEXIST), "gid/f 0o100755 0 5", "gid/d 0o42755 0 5", "gid/l 0o120777 0 5",
        "gid/p 0o10644 0 5", "mine/f 0o100644 7 6", "mine/d 0o40755 7 6",
    ]  # fmt: skip
    for name in ("gid", "mine"):
        shutil.rmtree(place.real / name)
    for name in ("none", "zero", "owners"):
        (place.real / name).unlink(missing_ok=True)
    made = notifications(place, "vfs:/mnt=DIR", "-m", module, "--", *program)
    assert made < 300
