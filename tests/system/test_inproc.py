"""The in-process tier: programs make calls themselves, and nobody can tell but by the time."""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import subprocess

import pytest

from tests.system.control import NAME, Ground, ground
from tests.system.inproc import place, run
from tests.system.launching import mark_of, marked
from tests.system.users import NOBODY, python
from tests.system.view import Place, run_in_view, started
from tests.system.witness import build
from viewos.abi.syscalls import TABLE

__all__ = ["ground", "place"]  # the fixtures
pytestmark = pytest.mark.timeout(120)


LIBC = "/lib/x86_64-linux-gnu/libc.so.6"


@pytest.mark.parametrize(("how", "expected"), [
    ("looks", "signals came, interrupted 0, wrong 0, lost 0\n"),
    ("steps", "steps taken, lost 0\n"),
    ("watched", "steps taken, lost 0\n"),
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


@pytest.mark.parametrize("call", ["chdir", "newfstatat", "openat", "mkdir", "execve"])
def test_a_filter_of_the_programs_own_answers_eintr(place: Place, call: str) -> None:
    """It is not made again, for ever: the program sees what its filter says."""
    (place.real / "file").touch()
    words = [str(build("own_filter")), str(TABLE[call].number), str(errno.EINTR)]
    told = run([f"vfs:/mnt={place.real}"], words, place.user, timeout=30)
    name = {"newfstatat": "stat", "openat": "open", "execve": "exec"}.get(call, call)
    lines = [line for line in told.splitlines() if "Interrupted" in line]
    assert len(lines) == 1 and lines[0].startswith(name), told


def test_a_monitor_that_is_stopped_again_and_again(place: Place) -> None:
    """As job control and debuggers stop it: no program that begins meanwhile notices."""
    loop = "i=0; while [ $i -lt 300 ]; do /bin/true || echo $?; i=$((i+1)); done; echo done"
    with started(
        [f"vfs:/mnt={place.real}"], ["sh", "-c", f"echo begun; {loop} 2>&1"], user=place.user,
        stdout=subprocess.PIPE,
    ) as running:  # fmt: skip
        assert running.stdout and running.stdout.readline() == b"begun\n"
        monitor = marked(mark_of(running))["viewos-monitor"]
        os.set_blocking(running.stdout.fileno(), False)
        said = b""
        while not said.endswith(b"done\n"):
            for number in (signal.SIGSTOP, signal.SIGCONT):
                os.kill(monitor, number)
            said += running.stdout.read() or b""
    assert said == b"done\n"


@pytest.mark.parametrize("how", ["tsync", "seized"])
def test_what_happens_to_a_program_between_its_execve_and_its_libc(place: Place, how: str) -> None:
    """It is found out when the libc is opened: a filter that another thread gave it (it would kill
    the program at the first openat2(2) of ours), or a tracer, which counts the program's calls."""
    words = [str(build("between")), how]
    natively = run_in_view(None, words, user=place.user, timeout=60).stdout.decode()
    assert natively == {"tsync": "failed 0\n", "seized": "openat2 0\n"}[how]
    assert run([f"vfs:/mnt={place.real}"], words, place.user, timeout=60) == natively
