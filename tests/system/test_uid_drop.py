"""`drop`: each program natively as a root that becomes another user, and in a view as somebody who
is neither."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.system.test_uid import USER, as_root, scratch
from tests.system.view import prefix, run_in_view, without_note

__all__ = ["scratch"]  # the fixture

BEGIN = """
import ctypes, errno, os, stat, struct, time
libc = ctypes.CDLL(None, use_errno=True)
def told(name, call, *args, **kw):
    try: result = call(*args, **kw)
    except OSError as error: result = errno.errorcode[error.errno]
    print(name, result, flush=True)
def raw(number, *args):
    result = libc.syscall(number, *args)
    return result if result >= 0 else errno.errorcode[ctypes.get_errno()]
def made(name, mode, owner=0, group=0, is_directory=False):
    os.mkdir(name) if is_directory else open(name, "w").close()
    os.chown(name, owner, group)
    os.chmod(name, mode)
def opened(name, flags, **kw): os.close(os.open(name, flags, **kw))
def watched(name):
    if type(raw(254, libc.inotify_init(), name.encode(), 1)) is int: return "watched"
    return errno.errorcode[ctypes.get_errno()]
def openat2(directory, name, flags, resolve):
    how = struct.pack("3Q", flags, 0o600 if flags & os.O_CREAT else 0, resolve)
    fd = raw(437, directory, name.encode(), how, len(how))
    return os.close(fd) if type(fd) is int else fd
def becomes(uid, gid=99, groups=()):
    os.setgroups(groups); os.setresgid(gid, gid, gid); os.setresuid(uid, uid, uid)
os.umask(0o22)
"""

FILES = """
made("roots", 0o600); made("read", 0o644); made("all", 0o666); made("his", 0o600, 6)
made("locked", 0o444, 6); made("group", 0o660, 0, 50); os.mkfifo("fifo"); os.chmod("fifo", 0o600)
made("dir", 0o755, is_directory=True); made("tmp", 0o1777, is_directory=True)
made("hisdir", 0o755, 6, is_directory=True); os.symlink("read", "link")
names = ("roots", "read", "all", "his", "locked", "group", "fifo", "dir", "tmp", "hisdir", "link")
for name in names:
    if name not in ("fifo", "link"): os.setxattr(name, "user.a", b"1")
made("priv", 0o700, is_directory=True); made("priv/f", 0o644)
names += ("priv", ".")
descriptors = [os.open(name, os.O_RDONLY | os.O_NONBLOCK) for name in names]
"""

PROGRAMS = {
    "walking": """
made("pub", 0o755, is_directory=True); made("priv", 0o700, is_directory=True)
made("priv/in", 0o755, is_directory=True); made("priv/in/f", 0o644); made("priv/f", 0o644)
made("pub/f", 0o644); made("pub/in", 0o755, is_directory=True); made("f", 0o644)
made("look", 0o744, is_directory=True); made("look/f", 0o644)
for name, text in (
    ("l", "priv/f"), ("pub/l", "../priv/in"), ("pub/f2", "../priv/../pub/f"), ("pub/f3", "f"),
    ("priv/out", "../pub"), ("abs", os.getcwd() + "/pub/f"), ("loop", "loop"), ("pub/in/up", ".."),
): os.symlink(text, name)
top, inner = os.open(".", os.O_RDONLY), os.open("priv/in", os.O_RDONLY)
paths = (
    "pub/f", "priv/f", "priv", "priv/", "priv/.", "priv/..", "priv/../pub", "priv/../pub/f", "look",
    "look/f", "look/.", "pub/../look/../f", "l", "pub/l", "pub/l/", "pub/l/f", "pub/f2", "pub/f3",
    "priv/out/f", "pub/in/../f", "pub/in/up/f", "pub/in/up/in/up/../f", "abs", "loop", "none",
    "none/..", "none/../f", "f/x", "f/..", "f/../f", "priv/none", "./pub/./f", "pub//f", ".", "..",
    "../.", "../" + os.path.basename(os.getcwd()) + "/f", "./..", "",
)
def looks(where, **kw):
    for path in paths:
        told((where, path), lambda: os.stat(path, **kw).st_mode)
        told((where, path), lambda: os.stat(path, follow_symlinks=False, **kw).st_mode)
        told((where, path), opened, path, os.O_RDONLY, **kw)
        told((where, path), opened, path, os.O_CREAT | os.O_WRONLY, **kw)
        told((where, path), os.mkdir, path, **kw)
        told((where, path), os.unlink, path + "x", **kw)
        told((where, path), os.link, path, "pub/hard", src_dir_fd=kw.get("dir_fd"))
        if not kw: told((where, path), os.listdir, path)
os.chdir("priv/in")
if os.fork() == 0:
    becomes(6)
    looks("inside"); looks("top", dir_fd=top)
    told("cat", os.system, "cat f; cat ../f; cat ../../f; cd ..; cd ../../pub && cat f")
    os._exit(0)
os.wait()
os.chdir("..")
if os.fork() == 0:
    becomes(6)
    looks("shut"); looks("inner", dir_fd=inner)
    os._exit(0)
os.wait()
os.chdir("..")
becomes(6)
looks("here")
os.chdir("pub")
looks("pub")
for path in ("priv/..", "l", "pub/l", "look"): told(path, os.chdir, "../" + path)
""",
    "procfs": """
made("f", 0o644); made("roots", 0o600); os.mkfifo("fifo"); os.chmod("fifo", 0o600)
fifo = os.open("fifo", os.O_RDWR); roots = os.open("roots", os.O_RDONLY)
parent = os.getpid()
if os.fork() == 0:
    becomes(6)
    ends = os.pipe(); os.write(ends[1], b"x\\n")
    kept = os.open("f", os.O_RDONLY)
    for where in ("self", "thread-self", os.getpid()):
        for fd in (*ends, kept, fifo, roots):
            name = f"/proc/{where}/fd/{fd}"
            told(fd, opened, name, os.O_RDONLY | os.O_NONBLOCK)
            told(fd, lambda: [os.access(name, mode) for mode in (os.R_OK, os.W_OK, os.X_OK)])
        told("owner", lambda: os.stat(f"/proc/{where}/fd/{kept}").st_uid)
        told("status", opened, f"/proc/{where}/status", os.O_RDONLY)
    for name in ("fd", "fd/0", "environ", "status", "task"):
        told(name, opened, f"/proc/{parent}/{name}", os.O_RDONLY)
    told("theirs", os.listdir, f"/proc/{parent}/fd")
    told("fds", os.system, "echo x | cat /dev/stdin; echo y | cat /dev/fd/0 /proc/self/fd/0")
    told("a list", os.system, "ls /proc/self/fd > /dev/null; cat /proc/self/environ > /dev/null")
    os._exit(0)
os.wait()
""",
    "processes' files": """
import signal
here = [name for name in os.listdir("/proc/self") if name != "timers"]  # not of all kernels
threads = ["task/TID/" + name for name in os.listdir("/proc/thread-self")]
inside = ["fd/0", "fd/99", "fdinfo/0", "ns/mnt", "ns/none", "cwd/", "cwd/etc", "exe/", "net/tcp",
          "attr/current", "task/TID", "map_files/1-2", "fd/.", "ns/..", "maps/", "fdinfo/..", ""]
def shown(path, **kw):
    found = os.stat(path, **kw)
    return "%o %d:%d" % (found.st_mode, found.st_uid, found.st_gid)
def looks(who, pid):
    libc.prctl(4, 1, 0, 0, 0) if who == "dumpable" else None
    for name in sorted(here + threads + inside):
        path = f"/proc/{pid}/" + name.replace("TID", str(pid))
        name = who, name
        told(name, shown, path); told(name, shown, path, follow_symlinks=False)
        for flags in (0, os.O_RDWR, os.O_PATH, os.O_PATH | os.O_NOFOLLOW, os.O_NOFOLLOW):
            if flags != os.O_RDWR or name[1][-6:] != "ns/mnt":
                told((*name, flags), opened, path, flags | os.O_NONBLOCK)
        for mode in (os.R_OK, os.W_OK, os.X_OK): told(name, os.access, path, mode)
        told(name, lambda: bool(os.readlink(path))); told(name, os.chdir, path); os.chdir("/")
def child(does, *args):
    ready = os.pipe(); pid = os.fork()
    if not pid: does(*args); os.write(ready[1], b"x"); signal.pause()
    os.read(ready[0], 1)
    return pid
def acts(ids, is_dumpable):
    os.setgroups([]); os.setresgid(6, 6, 6); os.setresuid(*ids)
    if is_dumpable is not None: libc.prctl(4, is_dumpable, 0, 0, 0)
os.chdir("/")
for ids, is_dumpable in (
    ((6, 6, 6), None), ((6, 6, 6), 1), ((6, 6, 7), 1), ((7, 6, 7), 1), ((0, 0, 0), None),
    ((0, 0, 0), 0),
):
    pid = child(acts, ids, is_dumpable)
    print(ids, is_dumpable, shown(f"/proc/{pid}"), shown(f"/proc/{pid}/mem"), flush=True)
    for user in (6, 7):
        if os.fork() == 0: becomes(user, 6); looks(user, pid); os._exit(0)
        os.wait()
    os.kill(pid, 9); os.waitpid(pid, 0)
becomes(6); looks("not dumpable", os.getpid()); looks("dumpable", os.getpid())
""",
    "times": FILES
    + """
becomes(6, groups=[50])
NOW, OMIT, SAME = 0x3FFFFFFF, 0x3FFFFFFE, 5
for name, fd in zip(names, descriptors):
    told(name, os.utime, name)
    told(name, os.utime, name, (1, 2))
    told(name, os.utime, name, follow_symlinks=False)
    told(name, os.utime, fd)
    told(name, os.utime, fd, (1, 2))
    path = name.encode()
    for pair in ((NOW, NOW), (OMIT, OMIT), (NOW, OMIT), (SAME, NOW), (OMIT, SAME)):
        spec = struct.pack("4q", 7, pair[0], 7, pair[1])
        told(pair, raw, 280, -100, path, spec, 0)
        told(pair, raw, 280, fd, None, spec, 0)
    told("utime", raw, 132, path, None); told("utime", raw, 132, path, struct.pack("2q", 5, 6))
    told("utimes", raw, 235, path, None); told("utimes", raw, 235, path, bytes(32))
    told("futimesat", raw, 261, -100, path, None); told("futimesat", raw, 261, fd, None, None)
told("no name", raw, 280, -100, None, None, 0)
told("no descriptor", raw, 280, 99, None, None, 0)
told("path only", raw, 280, os.open("read", os.O_PATH), None, None, 0)
for _ in range(2): told("touch", os.system, "touch all read hisdir; touch -d @5 all his read")
""",
    "attributes": FILES
    + """
becomes(6, groups=[50])
for name, fd in zip(names, descriptors):
    for where in (name, fd):
        told(name, os.getxattr, where, "user.a")
        told(name, os.listxattr, where)
        told(name, os.setxattr, where, "user.b", b"1")
        told(name, os.setxattr, where, "trusted.b", b"1")
        told(name, os.setxattr, where, "strange.b", b"1")
        told(name, os.removexattr, where, "user.a")
        told(name, os.removexattr, where, "user.b")
    told(name, os.setxattr, name, "user.b", b"1", follow_symlinks=False)
    told(name, os.getxattr, name, "user.a", follow_symlinks=False)
""",
    "opening": FILES
    + """
becomes(6, groups=[50])
for name in names:
    for flags in (
        os.O_RDONLY, os.O_RDWR, os.O_PATH, os.O_NOATIME, os.O_PATH | os.O_NOATIME,
        os.O_CREAT | os.O_EXCL, os.O_CREAT | os.O_NOATIME | os.O_RDWR, os.O_RDONLY | os.O_TRUNC,
        os.O_TMPFILE | os.O_WRONLY, os.O_TMPFILE | os.O_RDWR | os.O_NOATIME,
    ): told((name, flags), opened, name, flags | os.O_NONBLOCK)
    told(name, os.truncate, name, 3)
    for resolve in (0, 4, 8, 16):
        for flags in (os.O_RDONLY, os.O_RDWR, os.O_PATH, os.O_NOATIME, os.O_CREAT | os.O_EXCL):
            told((name, resolve, flags), openat2, -100, name, flags | os.O_NONBLOCK, resolve)
told("new", opened, "tmp/new", os.O_CREAT | os.O_EXCL | os.O_NOATIME | os.O_RDWR)
for text in ("priv/f", "priv/../read", "/priv/f", "/priv/../tmp", "tmp/none", "hisdir/none", "/"):
    for resolve in (0, 8, 16):
        for flags in (os.O_RDONLY, os.O_CREAT | os.O_WRONLY):
            told((text, resolve, flags), openat2, descriptors[-1], text, flags, resolve)
for size in (0, 8, 23, 24, 40, 5000):
    fd = raw(437, -100, b"read", struct.pack("3Q", 0, 0, 0) + bytes(4976), size)
    print(size, type(fd) is int or fd)
print(raw(437, -100, b"read", None, 24), raw(437, -100, b"read", 1, 24))
for name in names:
    told(name, watched, name)
for fd, name in zip(descriptors, names): told(name, os.fchdir, fd)
""",
    "processes": """
import resource, signal
def sleeper(group, *ids):
    ready = os.pipe()
    pid = os.fork()
    if not pid:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGCONT})
        os.setpgid(0, group)
        if ids: os.setgroups([]); os.setresgid(*ids[3:]); os.setresuid(*ids[:3])
        libc.prctl(4, 1)
        os.write(ready[1], b"x")
        os._exit(signal.sigwait({signal.SIGUSR1}))
    os.read(ready[0], 1)
    return pid
first = sleeper(0)
them = {"root": first, "his": sleeper(first, 6, 6, 6, 99, 99, 99),
    "another group's": sleeper(first, 6, 6, 6, 99, 7, 99),
    "saved": sleeper(first, 5, 5, 6, 99, 99, 99), "third": sleeper(first, 5, 5, 5, 99, 99, 99),
    "effective": sleeper(first, 5, 6, 5, 99, 99, 99)}
alone, again, last = sleeper(0), *(sleeper(0, 6, 6, 6, 99, 99, 99) for _ in "12")
judge = os.fork()
if not judge:
    becomes(6)
    libc.prctl(4, 1)
    memory = ctypes.create_string_buffer(8)
    vector = struct.pack("QQ", ctypes.addressof(memory), 8)
    info = struct.pack("iii", 10, 0, -1) + bytes(116)
    parameter = struct.pack("i", 0)
    limits = ctypes.create_string_buffer(16)
    for name, pid in them.items():
        told((name, "kill 0"), os.kill, pid, 0)
        told((name, "kill 99"), os.kill, pid, 99)
        told((name, "continue"), os.kill, pid, signal.SIGCONT)
        told((name, "tkill"), raw, 200, pid, 0)
        told((name, "tgkill"), raw, 234, pid, pid, 0)
        told((name, "queue"), raw, 129, pid, 0, info)
        told((name, "queue nothing"), raw, 129, pid, 0, None)
        told((name, "queue to thread"), raw, 297, pid, pid, 0, info)
        pidfd = os.pidfd_open(pid)
        told((name, "pidfd"), raw, 424, pidfd, 0, None, 0)
        directory = os.open(f"/proc/{pid}", os.O_DIRECTORY)
        told((name, "directory"), raw, 424, directory, 0, None, 0)
        told((name, "wrong flags"), raw, 424, pidfd, 0, None, 256)
        taken = raw(438, pidfd, 0, 0)
        print((name, "getfd"), "taken" if type(taken) is int else taken)
        told((name, "read memory"), raw, 310, pid, vector, 1, vector, 1, 0)
        told((name, "kcmp"), lambda: str(raw(312, os.getpid(), pid, 2, 0, 0)).lstrip("0123456789"))
        told((name, "set scheduler"), raw, 144, pid, 3, parameter)
        told((name, "set parameter"), raw, 142, pid, parameter)
        told((name, "affinity"), raw, 203, pid, 8, struct.pack("Q", 2**64 - 1))
        told((name, "limit"), raw, 302, pid, resource.RLIMIT_CORE, None, limits)
        attached = raw(101, 0x4206, pid, 0, 0)
        print((name, "attach"), attached, flush=True)
        if attached == 0: raw(101, 0x4207, pid, 0, 0); os.waitpid(pid, 0); raw(101, 17, pid, 0, 0)
        for link in ("cwd", "exe", "root", "fd/0"):
            told((name, link), lambda: bool(os.readlink(f"/proc/{pid}/{link}")))
            told((name, link, "stat"), lambda: bool(os.stat(f"/proc/{pid}/{link}")))
        told((name, "maps"), opened, f"/proc/{pid}/maps", os.O_RDONLY)
        told((name, "root/etc"), opened, f"/proc/{pid}/root/etc", os.O_RDONLY)
        told((name, "cwd of a thread"), opened, f"/proc/{pid}/task/{pid}/cwd/.", os.O_RDONLY)
    told("nobody", os.kill, 4000000, 0)
    told("group of root", os.kill, -alone, signal.SIGUSR1)
    told("no group", os.kill, -4000000, signal.SIGUSR1)
    told("own group", os.kill, -again, signal.SIGUSR1)
    told("mixed group", os.kill, -first, signal.SIGUSR1)
    told("all", os.kill, -1, signal.SIGUSR1)
    os._exit(0)
os.waitpid(judge, 0)
time.sleep(0.2)
for pid in (*them.values(), alone, again, last):
    os.kill(pid, signal.SIGKILL)
    print(os.waitpid(pid, 0)[1])
""",
    "removing": """
made("roots", 0o666); made("empty", 0o777, is_directory=True)
made("full", 0o755, is_directory=True); made("full/x", 0o644, 6)
made("his", 0o755, 6, is_directory=True); made("his/roots", 0o600)
made("his/a", 0o600); made("his/b", 0o600, 6); made("his/d", 0o755, is_directory=True)
made("his/roots.d", 0o755, is_directory=True); made("his/c", 0o600)
made("tmp", 0o1777, is_directory=True); made("tmp/roots", 0o666); made("tmp/his", 0o600, 6)
made("tmp/two", 0o600, 6); made("tmp/d", 0o777, is_directory=True)
made("shut", 0o700, is_directory=True); made("shut/in", 0o666, 6)
os.symlink("roots", "link")
here = os.open(".", os.O_RDONLY)
becomes(6)
for name in ("roots", "empty", "link", "full/x", "tmp/roots", "shut/in", "his/none", "none"):
    told(name, os.unlink, name)
    told(name, os.rmdir, name)
    told(name, os.rename, name, "tmp/new")
    told(name, os.rename, "tmp/his", name)
    told(name, os.unlink, name, dir_fd=here)
    told(name, raw, 263, here, name.encode() + b"/", 0x200)  # a rmdir
    if os.path.lexists("tmp/new"): os.rename("tmp/new", "tmp/his")
told("exchange", raw, 316, -100, b"roots", -100, b"tmp/two", 2)
told("exchange", raw, 316, -100, b"tmp/two", -100, b"tmp/roots", 2)
told("no replace", raw, 316, -100, b"tmp/two", -100, b"tmp/roots", 1)
told("over", os.rename, "tmp/two", "tmp/roots")
told("over", os.rename, "his/a", "his/b")
told("in his own", os.unlink, "his/roots")
told("in his own", os.rmdir, "his/d")
told("rmdir", os.rmdir, "tmp/d")
told("away", os.rename, "tmp/d", "his/e")
told("its parent stays", os.rename, "his/roots.d", "his/again.d")
told("its parent does not", os.rename, "his/again.d", "tmp/again.d")
told("exchange", raw, 316, -100, b"his/c", -100, b"tmp/two", 2)
told("whole", os.rename, "his", "tmp/his")
told("his", os.unlink, "tmp/two")
""",
}


def run_in_a_place(
    modules: list[str] | None,
    user: int,
    place: Path,
    program: str,
    pure: str,
    inner: list[str] | None = None,
) -> str:
    """What a Python program says and what is said of it, in a directory of that user's. `inner`:
    the modules of a view in the view."""
    place /= "here"
    place.mkdir(parents=True)
    os.chown(place, user, user)
    argv = [*prefix(inner, user=user, nested=True), "/usr/bin/python3", "-c", BEGIN + program]
    if modules is None:
        argv = ["setpriv", "--clear-groups", *argv]
    result = run_in_view(
        modules, argv, user=user, cwd=place, stderr=subprocess.STDOUT, env={"VIEWOS_PURE": pure}
    )
    return without_note(result.stdout).decode()


@as_root
@pytest.mark.parametrize("pure", ["", "1"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_as_a_root_that_becomes_another_user(scratch: Path, name: str, pure: str) -> None:
    """By the accelerator and the in-process tier, and by Python alone."""
    natively = run_in_a_place(None, 0, scratch / "native", PROGRAMS[name], pure)
    virtually = run_in_a_place(["uid:0:0,drop"], USER, scratch / "view", PROGRAMS[name], pure)
    assert virtually == natively
    assert "Traceback" not in natively


@pytest.mark.parametrize("saved", ["", ",save=log"])
@pytest.mark.parametrize("inproc", [False, True])
def test_names_stay_where_their_directory_is_anothers(
    scratch: Path, saved: str, inproc: bool
) -> None:
    script = (
        "touch sec; mkdir dd; u='setpriv --reuid=6 --regid=6 --clear-groups'; $u rm -f sec;"
        " $u rmdir dd; $u mv sec x; $u touch n; $u busybox rm -f sec; ls"
    )
    place = scratch / "view"
    place.mkdir(mode=0o755)
    os.chown(place, USER, USER)
    words = prefix([f"uid:0:0,drop{saved}"], user=USER, inproc=inproc)
    done = run_in_view(None, [*words, "sh", "-c", script], user=USER, cwd=place)
    assert done.stdout.split() == [b"dd", *([b"log"] if saved else []), b"sec"]
    assert done.stderr.count(b"ermission denied") == 5
