"""Owners that programs change by themselves, and note: nobody sees an old one, whoever dies."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.system.control import NAME, Ground, ground
from tests.system.test_uid import USER, scratch
from tests.system.test_uid_changes import _place as place_in
from tests.system.users import python
from tests.system.view import run_in_view

__all__ = ["ground", "scratch"]  # the fixtures
pytestmark = pytest.mark.timeout(120)


def says(scratch: Path, code: str, *words: str, modules: tuple[str, ...] = ("uid:0",)) -> str:
    """What a program of Python says in a view, in a directory of its own."""
    place = place_in(scratch)
    (place / "program.py").write_text(code)
    done = run_in_view(
        list(modules), ["python3", "program.py", *words], user=USER, cwd=place,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


SEEN = """
import os, random, sys
files = 9000
for n in range(files):
    os.close(os.open("f%d" % n, os.O_CREAT, 0o644))
told, tell = os.pipe()
child = os.fork()
if not child:
    for n in range(files):
        os.chown("f%d" % n, n + 1, 7)
        if n % 50 == 0:
            os.chmod("f%d" % n, 0o4711)
            os.rename("f%d" % n, "r%d" % n)
        os.write(tell, b"%6d\\n" % n)
    os._exit(0)
os.close(tell)
for line in os.fdopen(told):
    n = int(line)
    name, mode = ("r%d" % n, 0o4711) if n % 50 == 0 else ("f%d" % n, 0o644)
    found = os.stat(name)
    assert (found.st_uid, found.st_gid, found.st_mode & 0o7777) == (n + 1, 7, mode), (n, found)
    if n % 7 == 0: # now that one knows it
        os.chown(name, -1, 8)
        assert os.stat(name).st_uid == n + 1 and os.stat(name).st_gid == 8
print(os.wait()[1], len(os.listdir("/proc/self/fd")))
print([line for line in open("/proc/self/maps") if "viewos" in line or "memfd" in line])
print("viewos-notes" in open("/proc/self/smaps").read() + open("/proc/self/numa_maps").read())
"""


def test_what_one_program_changes_another_sees_at_once(scratch: Path) -> None:
    assert says(scratch, SEEN).splitlines() == ["0 4", "[]", "False"]


def test_most_of_them_are_made_without_the_monitor(scratch: Path) -> None:
    place, log = place_in(scratch), scratch / "log"
    script = "seq 5000 | xargs touch; chmod -R 755 .; chown -R 0:0 .; chown -R 5:6 ."
    options = ["-v", "--log", str(log), "-m", "uid:0"]
    words = [python(USER), "-m", "viewos", "run", *options, "--", "sh", "-c", script]
    run_in_view(None, words, user=USER, cwd=place, check=True)
    found = re.search(r"accelerator: (\d+) calls", log.read_text())
    assert found is not None
    assert int(found[1]) < 1000


KILLED = """
import os, random, signal, time
chance = random.Random(1)
done = 0
for turn in range(60):
    told, tell = os.pipe()
    child = os.fork()
    if not child:
        for n in range(100000):
            name = "t%d-%d" % (turn, n)
            os.close(os.open(name, os.O_CREAT))
            os.chown(name, n + 1, turn + 1)
            os.write(tell, b"%d\\n" % n)
    os.close(tell)
    time.sleep(chance.random() / 50)
    os.kill(child, signal.SIGKILL)
    os.wait()
    for line in os.fdopen(told):
        if not line.endswith("\\n"):
            break
        found = os.stat("t%d-%d" % (turn, int(line)))
        assert (found.st_uid, found.st_gid) == (int(line) + 1, turn + 1), (turn, line, found)
        done += 1
print(done > 0)
"""


def test_programs_that_are_killed(scratch: Path) -> None:
    assert says(scratch, KILLED) == "True\n"


LOST = """
import os
def change(name, uid):
    try:
        os.chown(name, uid, -1)
        return os.stat(name).st_uid
    except PermissionError:
        return "refused"
names = ["f%d" % n for n in range(40)]
for name in names:
    os.close(os.open(name, os.O_CREAT | os.O_RDWR, 0o666))
for name in names[:20]:
    os.chown(name, 5, 5)
if not (child := os.fork()):
    os.setresuid(1000, 1000, 1000)
    print("child", change(names[30], 1), change(names[0], 1), flush=True)
    os.execlp("python3", "python3", "-c", "import os\\ntry: os.chown('f30', 1, 1)\\n"
              "except OSError as error: print('then', error.errno)")
os.wait()
print("parent", change(names[31], 1))
os.seteuid(1000)
print("effective", change(names[32], 1), change(names[0], 1))
os.seteuid(0)
print("again", change(names[32], 1), change(names[0], 1))
"""


def test_who_gives_up_the_root_may_not_change_owners_any_more(scratch: Path) -> None:
    assert says(scratch, LOST).splitlines() == [
        "child refused refused", "then 1", "parent 1", "effective refused refused", "again 1 1",
    ]  # fmt: skip


THREADS = """
import os, threading
count, each = 8, 700
def work(number):
    for n in range(each):
        name = "f%d-%d" % (number, n)
        fd = os.open(name, os.O_CREAT | os.O_RDWR)
        os.fchown(fd, n + 1, number + 1)
        os.close(fd)
        assert os.stat(name).st_uid == n + 1
def all_at_once():
    threads = [threading.Thread(target=work, args=(n,)) for n in range(count)]
    [one.start() for one in threads]
    [one.join() for one in threads]
for n in range(20): # alone, so that there are notes
    os.close(os.open("a%d" % n, os.O_CREAT))
    os.chown("a%d" % n, 9, 9)
all_at_once()
for number in range(count):
    for n in range(each):
        found = os.lstat("f%d-%d" % (number, n))
        assert (found.st_uid, found.st_gid) == (n + 1, number + 1)
print("right")
"""


def test_threads(scratch: Path) -> None:
    assert says(scratch, THREADS) == "right\n"


HOSTILE = """
import ctypes, mmap, os, random
libc = ctypes.CDLL(None, use_errno=True)
fd = libc.prctl(0x56494557, 3, 0, 0, 0)
assert fd >= 0, ctypes.get_errno()
size = os.fstat(fd).st_size
try:
    os.ftruncate(fd, 0)
except PermissionError:
    print("it keeps its size")
memory = mmap.mmap(fd, size)
chance = random.Random(3)
words = memoryview(memory).cast("Q")
for name in range(50):
    os.close(os.open("f%d" % name, os.O_CREAT))
for turn in range(300):
    for _ in range(chance.choice([1, 10, 1000])):
        words[chance.randrange(len(words))] = chance.choice([*range(8), 1 << 63, 2**64 - 1])
    words[0], words[1], words[2] = chance.randrange(1 << 64), chance.randrange(1 << 64), turn
    for _ in range(20):
        name = "f%d" % chance.randrange(50)
        chance.choice([lambda: os.chown(name, turn, turn), lambda: os.stat(name),
                       lambda: os.chmod(name, 0o4755)])()
os.stat("/etc/passwd")
print("it lives")
"""


def test_a_program_that_writes_what_it_likes(scratch: Path) -> None:
    assert says(scratch, HOSTILE).splitlines() == ["it keeps its size", "it lives"]


def test_names_are_looked_at_as_ever(scratch: Path) -> None:
    """Links are followed or not, a claim's other name is the same file."""
    script = """set -e; mkdir d; touch $(seq 30) d/x; chown -R 3:4 .; ln -s 1 link; ln -s nowhere to
        chown -h 8:8 link; chown 9:9 link; stat -c %u:%g link 1; chown 5 to || echo none
        touch new; chown 6:6 /srv/new; stat -c %u:%g new /srv/new d/../new; chown 7:7 d/../new
        stat -c %u:%g new; chmod 4755 new; chown 1:1 new; stat -c %u:%g:%a new /srv/new"""
    place = place_in(scratch)
    done = run_in_view(
        ["uid:0", f"vfs:/srv={place}"], ["sh", "-c", script], user=USER, cwd=place,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    assert done.stdout.split() == (b"8:8 9:9 none 6:6 6:6 6:6 7:7 1:1:755 1:1:755".split()), (
        done.stderr
    )
    assert done.returncode == 0


LISTS = """
import errno, os, struct
def minimal(*permissions):
    tags = zip((1, 4, 32), permissions)
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *one, 2**32 - 1) for one in tags)
def said(fd, *value):
    try:
        os.setxattr(fd, "system.posix_acl_access", *value)
    except OSError as error:
        return errno.errorcode[error.errno]
    return oct(os.fstat(fd).st_mode)
fd = os.open("file", os.O_CREAT | os.O_RDWR, 0o640)
print(said(fd, minimal(6, 4, 0)), os.listxattr(fd), said(fd, minimal(6, 4, 0), os.XATTR_CREATE))
print(said(fd, minimal(6, 4, 4)), said(fd, minimal(7, 7, 7)))
print(said(fd, b""), said(fd, minimal(6, 4)), said(fd, minimal(9, 4, 4)), said(fd, b"x" * 28))
print(said(99, minimal(6, 4, 4)), said(os.open("file", os.O_PATH), minimal(7, 7, 7)))
named = minimal(6, 4, 4)[:12] + struct.pack("<HHI", 2, 7, 9) + minimal(6, 4, 4)[12:20]
named += struct.pack("<HHI", 16, 7, 2**32 - 1) + minimal(6, 4, 4)[20:]
print(said(fd, named), os.listxattr(fd))
os.chmod(fd, 0o4755)
print(said(fd, minimal(7, 5, 5)))
"""


SWAPPED = """
import ctypes, os, shutil, sys, tempfile
libc = ctypes.CDLL(None, use_errno=True)
def swap():
    assert not libc.renameat2(-100, b"x", -100, b"y", 2) # RENAME_EXCHANGE
def shown(what):
    return sorted((getattr(os.stat(name), what) for name in "xy"), reverse=True)
top = tempfile.mkdtemp(dir=os.path.abspath(sys.argv[1]))
os.chdir(top)
for n in range(20):
    os.close(os.open("a%d" % n, os.O_CREAT))
    os.chown("a%d" % n, 9, 9)
begin, told = os.pipe(), os.pipe()
if not os.fork():
    os.close(begin[1])
    while os.read(begin[0], 1) == b"b":
        for _ in range(40): swap()
        os.write(told[1], b"t")
    os._exit(0)
os.close(begin[0])
for turn in range(1, 400):
    for name in "xy":
        os.close(os.open(name, os.O_CREAT | os.O_EXCL, 0o644))
    if turn % 2:
        os.chmod("y", 0o4777)  # of which something is remembered
    os.write(begin[1], b"b")
    for step in range(3):
        os.chown("x", 3 * turn + step, -1)
    modes = [os.chmod("x", mode) or mode for mode in (0o600, 0o640, 0o604)]
    os.read(told[0], 1)
    first, second = shown("st_uid")
    assert first == 3 * turn + 2, (turn, first, second)
    assert second in (0, 3 * turn, 3 * turn + 1), (turn, first, second)
    seen = [mode & 0o7777 for mode in shown("st_mode")]
    assert modes[2] in seen, (turn, seen)
    os.unlink("x"); os.unlink("y")
os.write(begin[1], b"e"); os.wait()
os.chdir("/"); shutil.rmtree(top)
print("right")
"""


@pytest.mark.parametrize("where", [".", "/dev/shm"])
def test_a_name_that_leads_to_another_file_meanwhile(scratch: Path, where: str) -> None:
    assert says(scratch, SWAPPED, where) == "right\n"


def test_access_control_lists_that_say_what_the_mode_says(scratch: Path) -> None:
    natively = place_in(scratch, "native", 0)
    done = run_in_view(None, ["python3", "-c", LISTS], user=0, cwd=natively, check=True)
    assert says(scratch, LISTS) == done.stdout.decode()


MADE = """
import os, stat
def made(name, mode=0o644, flags=os.O_CREAT | os.O_RDWR):
    os.close(os.open(name, flags, mode))
    found = os.stat(name)
    return "%d:%d:%o" % (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode))
print([made("plain%d" % n) for n in range(3)], made("none", 0), made("empty", 0o4644), flush=True)
told, tell = os.pipe()
if not (child := os.fork()): # its calls are its own, and it is told
    os.read(told, 1)
    print(made("d/child"), made("child"), flush=True)
    os._exit(0)
os.mkdir("d")
os.chown("d", -1, 50)
os.chmod("d", 0o2775)
print(made("d/after"), made("after"), flush=True)
os.write(tell, b"x")
os.wait()
os.seteuid(5)
print(made("d/five"), made("five"), flush=True)
os.seteuid(0)
print(made("d/zero"), made("zero"))
os.umask(0o777)
print(made("masked"))
"""


def test_what_is_made_belongs_to_who_made_it(scratch: Path) -> None:
    said = says(scratch, MADE).splitlines()
    shown = "0:0:644"
    assert said[0] == f"{[shown] * 3} 0:0:0 0:0:4644"
    assert said[1:] == [
        f"0:50:644 {shown}", f"0:50:644 {shown}", "5:50:644 5:0:644", f"0:50:644 {shown}", "0:0:0",
    ]  # fmt: skip


def test_a_device_is_opened_as_one_by_those_who_opened_files_before(scratch: Path) -> None:
    code = """
import os
for n in range(3): os.close(os.open("f%d" % n, os.O_CREAT | os.O_WRONLY, 0o600))
os.mknod("zero", 0o20666, os.makedev(1, 5))
print(os.read(os.open("zero", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600), 3))
"""
    assert says(scratch, code) == "b'\\x00\\x00\\x00'\n"


CHANGING = """
import os, sys
print("ready", flush=True)
names = iter(range(10**9))
for line in sys.stdin:
    for _ in range(100):
        name = "f%d" % next(names)
        os.close(os.open(name, os.O_CREAT))
        os.chown(name, 5, 6)
        found = os.stat(name)
        assert (found.st_uid, found.st_gid) == (5, 6), (name, found)
    print("right", flush=True)
"""


def test_a_view_that_is_changed_meanwhile(ground: Ground) -> None:
    (ground.path / "a").mkdir(exist_ok=True)
    program = ["/usr/bin/python3", "-ISc", f"import os; os.chdir({str(ground.path)!r})\n{CHANGING}"]
    with ground.view(["uid:0", f"vfs:{ground.path}/b=/usr"], program) as view:
        assert view.stdin is not None
        assert view.stdout is not None
        for turn in range(4):
            view.stdin.write(b"go\n")
            view.stdin.flush()
            while (line := view.stdout.readline()) == b"ready\n":
                pass
            assert line == b"right\n"
            if turn < 3:
                ground.says("mount", "-V", NAME, f"{ground.path}/a", f"{ground.path}/b{turn}")
        view.stdin.close()
        assert view.wait() == 0
