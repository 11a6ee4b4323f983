"""What the kernel decides by one capability alone, and which of two errors it tells: each program
natively as root, and in views of somebody who is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.test_uid import USER, as_root, scratch
from tests.system.test_uid_drop import run_in_a_place

__all__ = ["scratch"]  # the fixture

HELPERS = """
import shutil, socket, subprocess
CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER, FSETID = 1, 2, 4, 8, 16
def shown(name):
    st = os.lstat(name)
    return "%o %d:%d" % (st.st_mode, st.st_uid, st.st_gid)
def as_one_with(capabilities, does, uid=6):
    if os.fork() == 0:
        libc.prctl(8, 1, 0, 0, 0); becomes(uid)
        header, sets = struct.pack("Ii", 0x20080522, 0), [capabilities, capabilities, 0, 0, 0, 0]
        assert raw(126, header, struct.pack("6I", *sets)) == 0
        does()
        os._exit(0)
    os.wait()
def acl(uid):
    entries = (1, 7, -1), (2, 7, uid), (4, 5, -1), (16, 7, -1), (32, 5, -1)
    return struct.pack("I", 2) + b"".join(struct.pack("HHi", *entry) for entry in entries)
os.chmod(".", 0o755)
"""
DROP, BOTH = ("uid:0:0,drop",), ("uid:0:0", "uid:0:0,drop")

PROGRAMS: dict[str, tuple[tuple[str, ...], str]] = {
    "chown takes set-ids": (
        BOTH,
        """
def does():
    for name, ids in (
        ("s", (-1, -1)), ("g", (-1, 33)), ("u", (7, 7)), ("f", (7, 7)), ("f", (-1, -1)),
        ("lock", (-1, 33)), ("mine", (-1, -1)), ("mine lock", (-1, 33)), ("lock", (-1, -1)),
    ):
        told((name, ids), os.chown, name, *ids); print(shown(name))
        told((name, ids), os.chown, opened[name], *ids); print(shown(name))
for capabilities in (0, 1, 2, 8, 9, 16, 25):
    for uid in (0, 6):
        made("s", 0o6755); made("g", 0o2745, 5, 5); made("u", 0o4600, 5); made("f", 0o644)
        made("lock", 0o6644, 5, 99); made("mine", 0o6644, 6, 5); made("mine lock", 0o6604, 6, 99)
        opened = {n: os.open(n, 0) for n in ("s", "g", "u", "f", "lock", "mine", "mine lock")}
        print(capabilities, uid, flush=True); as_one_with(capabilities, does, uid)
""",
    ),
    "one capability": (
        DROP,
        """
def does():
    for when in ((1, 2), None): told(when, os.utime, "f", when)
    for name in ("s", "f", "u"): told(name, os.link, name, "st/link to " + name)
    told("no atime", opened, "f", os.O_NOATIME)
    for name, flags in (("x", os.O_WRONLY), ("y", 0), ("p", os.O_RDWR | os.O_NONBLOCK)):
        told(name, opened, "st/" + name, flags | os.O_CREAT)
    for name in ("l", "lf"): told(name, opened, "st/" + name, 0)
    told("unlink", os.unlink, "st/x"); told("rename", os.rename, "st/y", "st/z")
    told("over", os.rename, "st/lf", "st/p"); told("rmdir", os.rmdir, "st/d")
    for name in ("sd", "f"):
        for attribute in ("user.a", "trusted.a"): told(name, os.setxattr, name, attribute, b"1")
    told("list", os.listdir, "priv"); told("read", opened, "priv/f", 0)
    told("write", opened, "priv/f", 1); told("make", opened, "priv/n", os.O_CREAT | os.O_WRONLY)
    told("chmod", os.chmod, "f", 0o2777); print(shown("f")); told("chdir", os.chdir, "priv")
for capabilities in (0, 1, 2, 4, 8, 9, 10, 18, 26):
    for uid in (0, 6):
        made("st", 0o1777, 33, 33, True); made("st/x", 0o666, 5, 5); made("st/y", 0o644)
        os.mkdir("st/d"); os.mkfifo("st/p"); os.chmod("st/p", 0o666); os.chown("st/p", 5, 5)
        os.symlink("x", "st/l"); os.lchown("st/l", 5, 5); os.symlink("../f", "st/lf")
        made("f", 0o644); made("s", 0o6755); made("u", 0o4600, 5); made("sd", 0o1755, 5, 5, True)
        made("priv", 0o700, is_directory=True); made("priv/f", 0o644)
        print(capabilities, uid, flush=True); as_one_with(capabilities, does, uid)
        os.system("rm -r *")
""",
    ),
    "umask": (
        ("uid:0:0", "uid:0:0 -m uid:0:0", "uid:0:0 -- uid:0:0"),
        """
for mask in (0, 0o22, 0o277, 0o777, 0o177, 0o400):
    os.umask(mask)
    for mode in (0o777, 0o300, 0o200, 0o77, 0o4755, 0):
        os.mkdir("d", mode); os.close(os.open("f", os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))
        os.mknod("r", mode | stat.S_IFREG); os.mkfifo("p", mode); socket.socket(1).bind("s")
        for name in "dfrps":
            print(mask, mode, shown(name))
            for again in (0o67, 0o277, 0o5100): os.chmod(name, again); print(shown(name))
            os.rmdir(name) if name == "d" else os.unlink(name)
""",
    ),
    "access lists": (
        BOTH,
        """
names = "roots", "his", "dir", "hisdir", "link", "pipe"
lists = "system.posix_acl_access", "system.posix_acl_default"
good, header = acl(6), struct.pack("I", 2)
values = (
    good, b"", header, header[:3], struct.pack("I", 1), header + b"x", struct.pack("I", 1) + b"x",
    good[:-8], header + struct.pack("HHi", 3, 7, -1),
    good[:4] + good[12:20] + good[4:12] + good[20:],
    header + struct.pack("HHi", 1, 8, -1) + good[20:28] + good[36:],
)
def tries(flags):
    for name in names:
        for which in lists:
            for number, value in enumerate(values):
                told((name, which, number, flags), os.setxattr, name, which, value, flags,
                     follow_symlinks=False)
                if name != "link": print(shown(name), os.listxattr(name))
            for _ in "12":
                told((name, which), os.removexattr, name, which, follow_symlinks=False)
made("roots", 0o2644, 0, 5); made("his", 0o2644, 6, 5); made("dir", 0o755, is_directory=True)
made("hisdir", 0o755, 6, is_directory=True); os.symlink("his", "link"); os.mkfifo("pipe")
for flags in (0, 1, 2, 3, 4):
    tries(flags)
    for capabilities in (0, 8, 16, 24): as_one_with(capabilities, lambda: tries(flags))
""",
    ),
    "groups of access lists": (
        DROP,
        """
def wants():
    for mode in range(8): told(mode, os.access, "mixed", mode)
made("mixed", 0o700)
entries = (1, 7, -1), (4, 0, -1), (8, 4, 5), (8, 3, 7), (16, 7, -1), (32, 7, -1)
entries = struct.pack("I", 2) + b"".join(struct.pack("HHi", *entry) for entry in entries)
os.setxattr("mixed", "system.posix_acl_access", entries)
for groups in ((), (5,), (7,), (5, 7)):
    if os.fork() == 0: becomes(6, groups=groups); wants(); os._exit(0)
    os.wait()
""",
    ),
    "devices": (
        BOTH,
        """
made("f", 0o644); made("d", 0o777, is_directory=True); made("shut", 0o755, is_directory=True)
os.symlink("none", "l"); os.symlink("loop", "loop")
becomes(6)
for name in (
    "f", "d", "d/x", "d/x/", "none/x", "f/x", "l", "loop", "loop/x", "/usr/x", "d/" + "x" * 256,
    ".", "d/..", "", *(["shut/x"] if drops else []),
):
    for mode in (stat.S_IFCHR, stat.S_IFBLK): told((name, mode), os.mknod, name, mode | 0o666, 5)
print(os.listdir("d"))
told("whiteout", os.mknod, "d/w", stat.S_IFCHR | 0o666, 0)
""",
    ),
    "executing": (
        (*BOTH, "vfs:/=/ -m uid:0:0"),
        """
def tries():
    for name in ("f", "o", "n", "blk", "acl"):
        print(shown(name))
        for mode in range(8):
            told((name, mode), os.access, name, mode)
            told((name, mode), os.access, name, mode, effective_ids=True)
        if name != "blk": told(name, subprocess.call, ["./" + name, name])
for mode in (0o11, 0, 0o611, 0o601, 0o711, 0o100, 0o644, 0o4610, 0o2401):
    made("f", mode); made("acl", 0o600)
    entries = (1, 6, -1), (2, 1, 6), (4, 0, -1), (16, 1, -1), (32, 0, -1)
    os.setxattr("acl", "system.posix_acl_access",
                struct.pack("I", 2) + b"".join(struct.pack("HHi", *entry) for entry in entries))
    os.mknod("blk", mode | stat.S_IFBLK, 5); os.mknod("n", mode | stat.S_IFREG)
    os.close(os.open("o", os.O_CREAT | os.O_RDWR, mode))
    for name in ("f", "o", "n", "acl"):
        with open(name, "w") as file: file.write("#!/bin/sh\\necho $1\\n")
    os.chmod("f", mode)
    tries()
    if drops: as_one_with(0, tries); as_one_with(2, tries)
    os.mkdir("d"); os.rename("f", "d/f"); os.rename("d/f", "f"); os.rmdir("d")
    for name in ("f", "o", "n", "acl", "blk"): os.unlink(name)
""",
    ),
    "which error": (
        DROP,
        """
os.makedirs("e/s"); made("f", 0o644); made("e/f", 0o644); os.symlink("loop", "loop")
made("pub", 0o1777, is_directory=True); made("pub/x", 0o644); os.mkdir("pub/dir")
made("locked", 0o700, is_directory=True); os.symlink("l2", "locked/l2"); os.mkfifo("fifo")
made("p", 0o600); os.symlink("p", "lp"); os.link("e/f", "e/g"); os.link("f", "pub/f")
os.symlink("../locked/../loop", "e/far"); os.symlink("../loop", "e/near"); os.mkdir("e/s/t")
made("locked/f", 0o644); os.symlink("nowhere", "dang"); os.symlink("nowhere", "pub/dang")
os.symlink("e", "ld"); os.symlink("dir", "pub/ld")
strange = struct.pack("4q", 5, -1, 5, 10**9)
becomes(6)
for old in ("e", "e/", "e/s", "e/f", "f", "f/", ".", "..", "no", "no/x", "loop/x", "pub/x", "/",
            "e/far/", "e/far/x", "", "dang/", "dang/x", "ld", "ld/", "pub/dang", "pub/ld/"):
    for new in ("e", "e/s/x", "e/s/t", "f", "e/g", "e/new/", "f/x", "no/x", "locked/x", ".", "x",
                "f/", "pub/dang/", "ld/", "pub/ld", "pub/f", "pub/dir", "e/new",
                "locked/l2/x", "loop/x"):
        told(("rename", old, new), os.rename, old, new)
        for flags in (1, 2, 4, 3, 8):
            told((old, new, flags), raw, 316, -100, old.encode(), -100, new.encode(), flags)
        told(("link", old, new), os.link, old, new)
long = "e/" + "x" * 256
for name in (".", "..", "e", "e/", "e/.", "e/s/..", "f", "f/", "pub/dir", "pub/x", "pub/x/",
             "/", "", "new/", "new", "e/new/",
             "dang", "dang/", "pub/dang", "pub/dang/", "locked/f",
             "loop", "ld", "ld/", "pub/ld/", "loop/x", "f/x", long, "fifo",
             "locked/x", "locked/l2", "locked/l2/x", "e/far", "e/far/", "e/far/x", "e/near"):
    told((name, "rmdir"), os.rmdir, name)
    for call, *more in (
        (os.unlink,), (os.mkdir,), (os.mknod,), (os.mknod, 0o10000),
        (os.mknod, 0o40000), (os.mknod, 0o130000), (os.truncate, 0), (os.truncate, -1), (os.utime,),
        (os.utime, (1, 2)), (os.stat,), (os.readlink,), (os.listdir,), (os.access, 1),
        (os.getxattr, "user.a"), (os.removexattr, "user.a"), (os.chmod, 0o600), (os.chown, 6, 6),
        (os.mknod, 0o20000), (os.setxattr, "user.a", b"1", 77), (os.setxattr, "trusted.a", b"", 7),
        *((call, name) for call in (os.getxattr, os.removexattr) for name in (
            "trusted.a", "security.a", "system.a", "strange", "", "user." + "x" * 256)),
        *((os.setxattr, name, b"1") for name in ("system.a", "strange", "", "x" * 256)),
        (os.setxattr, "user.a", b"1" * 65537),
    ): told((name, call.__name__, more), lambda: bool(call(name, *more)))
    told((name, "times"), raw, 280, -100, name.encode(), strange, 0)
    told((name, "times"), raw, 280, -100, name.encode(), bytes(32), 64)
    told((name, "times"), raw, 235, name.encode(), strange)
    for text in ("q", "", "x" * 5000): told(("symlink", name), os.symlink, text, name)
    for flags in (
        0, os.O_CREAT, os.O_CREAT | os.O_EXCL, os.O_WRONLY, os.O_TMPFILE | os.O_RDWR, os.O_NOFOLLOW,
        os.O_NOATIME, os.O_TRUNC, 3, os.O_DIRECTORY | os.O_RDWR, os.O_PATH | os.O_DIRECTORY,
        os.O_TMPFILE, os.O_TMPFILE | os.O_CREAT, os.O_DIRECTORY | os.O_CREAT,
        os.O_TMPFILE & ~os.O_DIRECTORY | os.O_RDWR, os.O_PATH | os.O_TMPFILE,
    ): told((name, flags), opened, name, flags | os.O_NONBLOCK)
for name in ("p", "lp", "p/"):
    for flags in (os.O_DIRECTORY, os.O_DIRECTORY | os.O_NOFOLLOW, os.O_DIRECTORY | os.O_PATH):
        told((name, flags), opened, name, flags)
""",
    ),
    "dumpable": (
        BOTH,
        """
def tells(*what): print(*what, libc.prctl(3, 0, 0, 0, 0), flush=True)
shutil.copy("/usr/bin/python3", "py"); shutil.copy("py", "caps")
code = "import ctypes; print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), flush=True)"
def executes(program="py"): subprocess.call(["./" + program, "-S", "-c", code])
def child(*calls):
    if os.fork() == 0:
        for call, *ids in calls:
            call(*ids); tells(call.__name__, ids)
            if os.fork() == 0: tells("child"); os._exit(0)
            os.wait(); executes(); libc.prctl(4, 1, 0, 0, 0); tells("again")
        os._exit(0)
    os.wait()
tells(); executes()
child((os.seteuid, 5), (os.seteuid, 5), (os.seteuid, 0), (os.setegid, 5), (os.setegid, 5))
child((os.setgroups, [5]), (os.setresgid, 7, 7, 7), (os.setresuid, 7, 7, 7))
child((os.setresuid, 7, 0, 0), (os.setresuid, 0, 7, 7))
child((libc.setfsuid, 5), (libc.setfsuid, 5), (libc.setfsgid, 5), (os.setreuid, 5, -1))
for value in (0, 1, 2, 3): told(value, raw, 157, 4, value, 0, 0, 0); tells(); executes()
os.setegid(6); libc.prctl(4, 0, 0, 0, 0); tells(); executes(); os.setegid(0); tells()
for mode in (0o4755, 0o2755, 0o6755, 0o755):
    for owner in (0, 6):
        os.chown("py", owner, owner); os.chmod("py", mode)
        for user in (0, 6, 7):
            print(mode, owner, user, flush=True)
            if os.fork() == 0: becomes(user); executes(); os._exit(0)
            os.wait()
""",
    ),
    "auxiliary vector": (
        (*DROP, "vfs:/=/ -m uid:0:0", "vfs:/=/ -m uid:3:4 -m uid:0:0"),
        """
shutil.copy("/usr/bin/python3", "py"); os.chown("py", 5, 8)
code = '''
import ctypes, os, struct
libc = ctypes.CDLL(None); libc.getauxval.restype = ctypes.c_ulong
def tells(pid="self"):
    libc.prctl(4, 1, 0, 0, 0)
    with open(f"/proc/{pid}/auxv", "rb") as file: text = file.read()
    words = dict(struct.iter_unpack("QQ", text))
    print([words.get(key) for key in (11, 12, 13, 14, 23)], flush=True)
    assert not [key for key in (3, 5, 9, 11, 12, 13, 14, 23) if words[key] != libc.getauxval(key)]
tells()
if os.geteuid() == 0: os.setegid(9); tells(); os.seteuid(9); tells()
if os.fork() == 0:
    tells()
    if len({*os.getresuid()}) == len({*os.getresgid()}) == 1: tells(os.getppid())
    os._exit(0)
os.wait()
'''
for mode in (0o755, 0o4755, 0o2755):
    os.chmod("py", mode)
    for user in (0, 6):
        if os.fork() == 0: becomes(user); os._exit(subprocess.call(["./py", "-S", "-c", code]))
        print(os.wait()[1], flush=True)
""",
    ),
    "cutting": (
        (*BOTH, "vfs:/=/ -m uid:0:0,drop"),
        """
def cuts():
    for owner in (0, 6):
        for group in (0, 5):
            for mode in (0o6777, 0o4776, 0o2767, 0o2777, *((0o6755,) if drops else ())):
                yield owner, group, mode, lambda: os.truncate("f", 1)
                for how in (
                    lambda: opened("f", os.O_WRONLY | os.O_TRUNC),
                    lambda: opened("f", os.O_RDONLY | os.O_TRUNC | os.O_CREAT),
                    lambda: openat2(-100, "f", os.O_RDWR | os.O_TRUNC, 0),
                    lambda: opened("f", os.O_WRONLY | os.O_CREAT),
                ) if drops else (): yield owner, group, mode, how
for owner, group, mode, how in cuts():
    made("f", mode, owner, group); open("f", "w").write("some"); os.chmod("f", mode)
    for capabilities in (None, 0, 10, 16):
        print(owner, group, oct(mode), capabilities, flush=True)
        if capabilities is None: told("root", how); print(shown("f"), os.stat("f").st_size)
        elif capabilities: as_one_with(capabilities, lambda: told("able", how))
        elif os.fork() == 0: becomes(6, groups=[5]); told("not", how); os._exit(0)
        else: os.wait()
        print(shown("f"), os.stat("f").st_size, flush=True)
""",
    ),
}


@as_root
@pytest.mark.parametrize("pure", ["", "1"])
@pytest.mark.parametrize(
    ("name", "view"), [(name, view) for name, (views, _) in PROGRAMS.items() for view in views]
)
def test_as_the_kernel_decides(scratch: Path, name: str, view: str, pure: str) -> None:
    program = f"{HELPERS}drops = {'drop' in view}\n" + PROGRAMS[name][1]
    natively = run_in_a_place(None, 0, scratch / "native", program, pure)
    outer, _, inner = view.partition(" -- ")
    virtually = run_in_a_place(
        outer.split(" -m "), USER, scratch / "view", program, pure, [inner] if inner else None
    )
    assert virtually.splitlines() == natively.splitlines()
    assert "Traceback" not in natively
