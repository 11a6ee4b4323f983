"""The in-process tier: programs make calls themselves, and nobody can tell but by the time."""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from tests.system.control import NAME, Ground, ground
from tests.system.users import NOBODY, python
from tests.system.view import Place, run_in_view
from tests.system.view import place as new_place
from tests.system.witness import build

__all__ = ["ground"]  # the fixture
pytestmark = pytest.mark.timeout(120)


@pytest.fixture(params=(0, NOBODY), ids=("root", "nobody"))
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    with new_place("mnt", request.param) as found:
        yield found


LIBC = "/lib/x86_64-linux-gnu/libc.so.6"


def run(modules: list[str], words: list[str], user: int, **kw: object) -> str:
    """What a program says in a view with the in-process tier."""
    options = [word for module in modules for word in ("-m", module)]
    words = [python(user), "-m", "viewos", "run", *options, "--", *words]
    done = run_in_view(None, words, user=user, **kw)  # type: ignore[arg-type]
    return (done.stdout + done.stderr).decode()


def notifications(place: Place, module: str, *program: str) -> int:
    """How many calls of a program reach the monitor."""
    log = place.real / "log"
    log.unlink(missing_ok=True)
    options = ["-v", "--log", str(log), "-m", module.replace("DIR", str(place.real))]
    words = [python(place.user), "-m", "viewos", "run", *options, *program]
    done = run_in_view(None, words, user=place.user, check=True)
    assert not done.stderr, done.stderr
    found = re.search(r"accelerator: (\d+) calls settled, (\d+) left", log.read_text())
    assert found is not None
    return int(found[1]) + int(found[2])


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


@pytest.mark.parametrize(("how", "expected"), [
    ("looks", "signals came, interrupted 0, wrong 0, lost 0\n"),
    ("threads", "failed 0\n"),
    ("cancel", "cancelled\n"),
    ("seccomp", "looked\n"),
    ("prctl", "looked\n"),
    ("stacks", "child 0\n"),
])  # fmt: skip
def test_a_program_cannot_tell(place: Place, how: str, expected: str) -> None:
    program = build("inproc")
    natively = run_in_view(None, [program, str(place.real), how], user=place.user).stdout.decode()
    assert natively == expected
    for modules, where in (([f"vfs:/mnt={place.real}"], "/mnt"), (["vfs:/=/"], str(place.real))):
        assert run(modules, [program, where, how], place.user) == expected


def test_it_sees_the_library_that_is_there(place: Place) -> None:
    """By /proc/PID/maps, by its contents, by the loader; there are no two of it."""
    script = f"""
set -e
grep -c memfd /proc/self/maps /proc/self/smaps /proc/self/numa_maps || :
grep libc.so.6 /proc/self/maps | awk '{{print $4, $5, $6}}' | uniq
sha256sum < {LIBC}; ldd /bin/true | sed 's/ (.*//'
/usr/bin/python3 -ISc '
import ctypes
libc = ctypes.CDLL("{LIBC}")
class Info(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), *((n, ctypes.c_void_p) for n in "abc")]
info = Info(); libc.dladdr(libc.open, ctypes.byref(info)); print(info.name)
code = [line for line in open("/proc/self/maps") if "libc.so.6" in line and "r-xp" in line]
print(len(code) < 3)
'
"""
    expected = run_in_view(["vfs:/mnt=/usr"], ["sh", "-c", script], user=place.user).stdout.decode()
    assert run(["vfs:/mnt=/usr"], ["sh", "-c", script], place.user) == expected
    assert expected.splitlines()[-1] == "True"


def test_the_debuggers_program_has_the_libc_alone(place: Place) -> None:
    calls = "openat,openat2,rt_sigprocmask"
    script = f"strace -e trace={calls} cat /etc/hostname 2>&1 >/dev/null | cut -d'(' -f1 | sort -u"
    expected = run_in_view(None, ["sh", "-c", script], user=place.user).stdout.decode()
    assert run(["vfs:/mnt=/usr"], ["sh", "-c", script], place.user) == expected


CHROOT = """
import os, sys
os.stat("/file" if os.path.exists("/file") else "/"); os.chroot(sys.argv[1]); os.chdir("/")
print(os.listdir("/"), os.path.exists("/file"), os.path.exists("/etc/passwd"))
print(open("/file").read(), os.path.realpath("/link"))
"""


@pytest.mark.parametrize(
    ("module", "place"),
    [("uid:0", 0), ("uid:0", NOBODY), ("hostname:x", 0)],
    indirect=["place"],
)
def test_chroot(place: Place, module: str) -> None:
    """A virtual root's, and a real one's: its paths are no longer what the program has known."""
    (place.real / "file").write_text("here")
    (place.real / "link").symlink_to("/file")
    words = ["/usr/bin/python3", "-ISc", CHROOT, str(place.real)]
    text = run(["vfs:/=/", module], words, place.user)
    assert text == "['file', 'link'] True False\nhere /file\n" or text == (
        "['link', 'file'] True False\nhere /file\n"
    )


@pytest.mark.parametrize("place", [NOBODY], indirect=True)  # a real root's is the kernel's
def test_chroot_to_where_the_same_libc_is(place: Place) -> None:
    """Programs that start there know nothing of the root: their calls are the monitor's."""
    root = place.real / "root"
    (root / "usr").mkdir(parents=True)
    for name in ("bin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    os.chown(root, place.user, place.user)
    script = f"test -r /etc/passwd && chroot {root} /bin/sh -c 'test -r /etc/passwd || ls /'"
    text = run(["vfs:/=/", f"vfs:{root}/usr=/usr", "uid:0"], ["sh", "-c", script], place.user)
    assert text == "bin\nlib\nlib64\nusr\n"


@pytest.mark.parametrize("place", [0], indirect=True)
def test_a_real_chroot(place: Place) -> None:
    """What starts behind it knows no claims: the kernel's root is none of the view's."""
    inner = place.real / "inner"
    for tree in (place.real, inner):
        for file in ("/bin/cat", "/usr/sbin/chroot", LIBC, "/lib64/ld-linux-x86-64.so.2"):
            (tree / file[1:]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, tree / file[1:])
        (tree / "name").write_text(f"{tree}\n")
    words = ["/usr/sbin/chroot", "inner", "/bin/cat", "/name"]
    assert run([f"vfs:/={place.real}"], words, place.user).startswith(f"{inner}\n")


def test_a_nested_view(place: Place) -> None:
    (place.real / "file").write_text("inner")
    inner = f"{python(place.user)} -m viewos run -m vfs:/opt={place.real} -- "
    script = (
        f"cat /opt/file 2>&1; {inner} cat /opt/file;"
        f" {inner} sh -c 'cd /opt; cat file; stat -c %s /opt/file'; cat /opt/file 2>&1 || :"
    )
    text = run(["vfs:/mnt=/usr"], ["sh", "-c", script], place.user)
    missing = "cat: /opt/file: No such file or directory\n"
    assert text == f"{missing}innerinner5\n{missing}"


def test_a_view_nested_in_one_without(place: Place) -> None:
    (place.real / "file").write_text("inner")
    inner = [python(place.user), "-m", "viewos", "run", "-m", f"vfs:/opt={place.real}", "--"]
    outer = [python(place.user), "-m", "viewos", "run", "--no-inproc", "-m", "vfs:/mnt=/usr", "--"]
    done = run_in_view(None, [*outer, *inner, "cat", "/opt/file"], user=place.user)
    assert done.stdout == b"inner", done.stderr


OWNERS = """
import ctypes, os, struct, subprocess
libc = ctypes.CDLL(None)
def owner(name):
    data = bytearray(256)
    buffer = (ctypes.c_char * 256).from_buffer(data)
    assert libc.statx(-100, name.encode(), 0, 0x7ff, buffer) == 0
    assert struct.unpack_from("=II", data, 20) == (os.stat(name).st_uid, os.lstat(name).st_gid)
    return os.stat(name).st_uid, os.stat(name).st_gid
for name in "/usr", "/etc/shadow", "/tmp", ".":
    print(name, owner(name))
os.close(os.open("new", os.O_CREAT | os.O_WRONLY, 0o640))
print(owner("new"), oct(os.stat("new").st_mode))
if os.getuid() == 0:
    os.chown("new", 5, 1)
os.rename("new", "newer")
print(owner("newer"), os.fstat(os.open("newer", os.O_RDONLY)).st_gid)
ends = os.pipe(), os.pipe()
child = os.fork()
for turn in range(300):
    if child:
        os.chmod("newer", 0o4600 | turn % 8)
        os.write(ends[0][1], b"x"); os.read(ends[1][0], 1)
    else:
        os.read(ends[0][0], 1)
        shown = os.stat("newer").st_mode
        assert shown == 0o104600 | turn % 8, (turn, oct(shown))
        os.write(ends[1][1], b"x")
if not child:
    os._exit(0)
print(os.wait()[1], oct(os.stat("newer").st_mode))
print(subprocess.run(["stat", "-c", "%u %g %a", "newer", "/usr", "/bin/sh"], capture_output=True))
for turn in range(3000):
    os.stat("/etc/passwd")
"""


@pytest.mark.parametrize("spec", ["uid:0", "uid:7:8", "uid:0,unknown=real", "uid:7,map=0=42"])
def test_owners(place: Place, spec: str) -> None:
    """As the monitor shows them, and seldom by asking it."""
    said = []
    for number, options in enumerate((["--no-inproc"], [])):
        here = place.real / str(number)
        here.mkdir()
        os.chown(here, place.user, place.user)
        log = here / "log"
        words = ["run", "-v", "--log", str(log), *options, "-m", spec, "-m", f"vfs:/mnt={here}"]
        words = [python(place.user), "-m", "viewos", *words, "-C", "/mnt"]
        done = run_in_view(None, [*words, "--", "python3", "-c", OWNERS], user=place.user)
        assert done.returncode == 0, done.stderr.decode()
        said.append(done.stdout)
        text = log.read_text()
    assert said[0] == said[1]
    assert int(re.search(r"accelerator: (\d+) calls", text)[1]) < 3000  # type: ignore[index]


def test_owners_are_shown_from_when_a_module_is_added(ground: Ground) -> None:
    loop = "import os, time\nwhile True: print(os.stat('/usr').st_uid, flush=True); time.sleep(.01)"
    program = ["/usr/bin/python3", "-ISc", loop]
    with ground.view(["vfs:/mnt=/usr"], program, "--nestable") as view:
        assert view.stdout is not None
        assert next(view.stdout) == b"0\n"
        for uid in (42, 43):
            added = ground.says("module", "add", "-V", NAME, f"uid:0,map=0={uid}")
            assert not added, added
            assert any(line == b"%d\n" % uid for line in view.stdout)
            assert ground.says("module", "rm", "-V", NAME, "uid") == ""
            assert any(line == b"0\n" for line in view.stdout)


LOOP = """
import os, time
while True:
    try: print(open("b/in-a").read(), flush=True)
    except FileNotFoundError: print("not there", flush=True)
    time.sleep(0.01)
"""


def test_the_view_changes_and_is_traced_while_it_runs(ground: Ground) -> None:
    (ground.path / "a/in-a").write_text("seen")
    path = f"{ground.path}/b/in-a"
    loop = LOOP.replace('"b/in-a"', repr(path))
    program = ["/usr/bin/python3", "-ISc", loop]
    with ground.view(["vfs:/mnt=/usr"], program) as view:
        assert view.stdout is not None
        lines = view.stdout

        def until(line: bytes) -> None:
            for found in lines:
                if found == line + b"\n":
                    return

        until(b"not there")
        assert ground.says("mount", "-V", NAME, f"{ground.path}/a", f"{ground.path}/b") == ""
        until(b"seen")
        words = ["trace", "-V", NAME, "-e", f"path={path}"]
        traced = ground.says(*words, before=["timeout", "-s", "INT", "2"])
        assert "in-a" in traced
        assert ground.says("umount", "-V", NAME, f"{ground.path}/b") == ""
        until(b"not there")
