"""What the identity view cannot show: names that differ from their backings.

Every case passes with the kernel's own bind mounts first (`mounts`), then in a view; only a mount
point that does not exist has no such twin.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from .swapped import SWAP, Tree, tree

NOBODY = 65534
pytestmark = pytest.mark.timeout(60)


@pytest.fixture(params=[0, NOBODY])
def ground(request: pytest.FixtureRequest) -> Iterator[Tree]:
    with tree(request.param) as made:
        yield made


@dataclass(frozen=True)
class Case:
    """A view, a shell script, and what it must print."""

    modules: tuple[str, ...]
    script: str
    expected: str


ERRNO = (
    'python3 -c "import os,sys,errno\ntry: {}; print(0)\n'
    'except OSError as e: print(errno.errorcode[e.errno])"'
)
"""A call of Python's os module, printed as its errno."""


def errno_of(call: str) -> str:
    return ERRNO.replace("python3", "/usr/bin/python3 -I").replace("{}", call)


RENAME_OUT, LINK_OUT = errno_of("os.rename('f', 'T/x')"), errno_of("os.link('f', 'T/x')")
LINK_FD = errno_of("os.link('/proc/self/fd/0', 'T/x')")
OVER = ("vfs:T/a=T/b,T/mnt=T/b/sub",)
NESTED = ("vfs:T/a=T/b,T/a/sub=T/d",)
FILE = ("vfs:T/a/f=T/other",)

CASES = {
    # The names are exchanged, nothing else is.
    "cat": Case(SWAP, "cat T/a/f T/b/f T/a/sub/g", "in b\nin a\ndeep in b\n"),
    "relative to the cwd": Case(SWAP, "cat a/f ./b/f a/../b/f", "in b\nin a\nin a\n"),
    "cd and pwd": Case(SWAP, "cd T/a; pwd; pwd -P; /bin/pwd; cat f", "T/a\nT/a\nT/a\nin b\n"),
    "cd deeper": Case(SWAP, "cd T/a; cd sub; /bin/pwd; cat g ../f", "T/a/sub\ndeep in b\nin b\n"),
    "cd by procfs": Case(
        OVER,
        "cd T/a; python3 -c 'import os; os.chdir(\"/proc/self/cwd/sub\"); print(os.getcwd())'",
        "T/a/sub\n",
    ),
    # A directory of two names keeps the one by which it was entered, also if the next entry fails.
    "cd that fails": Case(
        OVER,
        "exec 2>/dev/null; cd T/a/sub; cd T/mnt/g; cd T/mnt/no; /bin/pwd;"
        " cd T/mnt; cd T/a/sub/g; cd T/b/f; /bin/pwd",
        "T/a/sub\nT/mnt\n",
    ),
    # `..` at the root of a claim leads to the parent of its name.
    "dotdot": Case(
        SWAP, "cd T/a/sub; cat ../../b/f; cd -P ..; pwd; cd -P ..; pwd; cat a/f",
        "in a\nT/a\nT\nin b\n",
    ),
    "dotdot by descriptor": Case(
        SWAP,
        errno_of("print(os.readlink('../b/out', dir_fd=os.open('T/a', 0)));"
                 "print(os.read(os.open('../b/f', 0, dir_fd=os.open('T/a', 0)), 9))"),
        "../b/f\nb'in a\\n'\n0\n",
    ),
    "ls": Case(SWAP, "ls T/a/sub; ls -d T/a T/b/up/a; ls T/c", "g\nT/a\nT/b/up/a\n"),
    # The text of a link is read in the view: T/a/out is b's, and says ../a/f.
    "links": Case(SWAP, "cat T/a/rel T/a/out T/a/abs T/b/out", "in b\nin b\nin b\nin a\n"),
    "text of links": Case(
        SWAP, "readlink T/a/out T/a/abs; realpath T/a/out T/a/up/a/abs",
        "../a/f\nT/a/f\nT/a/f\nT/a/f\n",
    ),
    "cd through links": Case(
        SWAP, "cd -P T/a/subabs; pwd; cat g; cd -P T/a/up; pwd", "T/b/sub\ndeep in a\nT\n"
    ),
    # What the kernel reports is mapped back.
    "proc cwd": Case(
        SWAP, "cd T/a/sub; readlink /proc/self/cwd /proc/self/cwd/../f; cat /proc/self/cwd/g",
        "T/a/sub\ndeep in b\n",
    ),
    "proc fd": Case(
        SWAP, "exec 3<T/a/f 4<T/b; readlink /proc/self/fd/3 /proc/self/fd/4; cat /proc/self/fd/4/f",
        "T/a/f\nT/b\nin a\n",
    ),
    "proc exe": Case(SWAP, "T/a/readlink /proc/self/exe; cd T/b; ./readlink /proc/self/exe",
                     "T/a/readlink\nT/b/readlink\n"),
    "proc maps": Case(
        SWAP, "T/a/cat /proc/self/maps | grep -o 'T/[ab]/cat' | sort -u", "T/a/cat\n"
    ),
    "deleted": Case(
        SWAP, "echo x >T/a/x; exec 3<T/a/x; rm T/a/x; readlink /proc/self/fd/3", "T/a/x (deleted)\n"
    ),
    # Programs and scripts keep the name by which they were called.
    "script": Case(SWAP, "T/a/script 1 2; cd T/a/sub; ../script",
                   "T/a/script 1 2\nT\n../script \nT/a/sub\n"),
    "interpreter": Case(SWAP, "T/a/interpreted 1", "b says -x T/a/interpreted 1\n"),
    "PATH": Case(SWAP, "PATH=T/a:$PATH; say hello; script", "b says hello\nT/a/script \nT\n"),
    "find": Case(SWAP, "find a b -name g -o -name f | sort", "a/f\na/sub/g\nb/f\nb/sub/g\n"),
    "stat, fstat and ls agree": Case(
        SWAP, "stat -c %i a/f >c/1; stat -c %i - <a/f >c/2; ls -i a/f | cut -d' ' -f1 >c/3;"
        " cmp c/1 c/2 && cmp c/2 c/3 && [ $(cat c/1) != $(stat -c %i b/f) ] && echo same", "same\n",
    ),
    "changes": Case(
        SWAP,
        "echo new >a/new; mkdir a/dir; mv a/new a/dir/n; ln a/dir/n a/n; ln -s n a/s; rm -r a/dir;"
        " cat a/n a/s; ls b/n; cp -a a/sub c; cat c/sub/g",
        "new\nnew\nls: cannot access 'b/n': No such file or directory\ndeep in b\n",
    ),
    "cwd deleted": Case(
        SWAP,
        f"mkdir a/x; cd a/x; rmdir ../x; {errno_of('os.getcwd()')}; readlink /proc/self/cwd; ls",
        "ENOENT\nT/a/x (deleted)\n",
    ),
    "cwd renamed": Case(SWAP, "mkdir a/x; cd a/x; mv ../x ../y; /bin/pwd; ls -d ../y",
                        "T/a/y\n../y\n"),
    # Two mounts are two devices to rename and link, even of one file system.
    "rename to another claim": Case(SWAP, errno_of("os.rename('T/a/f', 'T/b/x')"), "EXDEV\n"),
    "rename out of a claim": Case(SWAP, errno_of("os.rename('T/a/f', 'T/x')"), "EXDEV\n"),
    "rename out, by a relative name": Case(
        SWAP, f"cd a; {RENAME_OUT}; ls f", "EXDEV\nf\n",
    ),
    "link out, by a relative name": Case(
        SWAP, f"cd a; {LINK_OUT}; ls ../x 2>&-", "EXDEV\n",
    ),
    "link out, through a descriptor": Case(
        SWAP, f"{LINK_FD} <a/f; ls x 2>&-", "EXDEV\n",
    ),
    "link into a claim": Case(SWAP, errno_of("os.link('T/other', 'T/a/x')"), "EXDEV\n"),
    "mv to another claim": Case(SWAP, "mv a/f b/x; cat b/x; ls a/f 2>/dev/null", "in b\n"),
    # A mount point is busy.
    "rmdir of a claim": Case(("vfs:T/c=T/d",), errno_of("os.rmdir('T/c')"), "EBUSY\n"),
    "unlinkat of a claim, AT_REMOVEDIR": Case(
        ("vfs:T/c=T/d",), errno_of("os.rmdir('c', dir_fd=os.open('T/.', 0))"), "EBUSY\n"
    ),
    "unlinkat of a claim": Case(
        ("vfs:T/c=T/d",), errno_of("os.unlink('c', dir_fd=os.open('T/.', 0))"), "EISDIR\n"
    ),
    "unlinkat of a root, AT_REMOVEDIR": Case(
        ("vfs:/=/",), errno_of("os.rmdir('/', dir_fd=os.open('T/.', 0))"), "EBUSY\n"
    ),
    "rmdir of a file that is a claim": Case(FILE, errno_of("os.rmdir('T/a/f')"), "ENOTDIR\n"),
    "rename of a claim": Case(SWAP, errno_of("os.rename('T/a', 'T/z')"), "EBUSY\n"),
    "mkdir of a claim": Case(SWAP, errno_of("os.mkdir('T/a')"), "EEXIST\n"),
    # /mnt is not /mntx.
    "prefix": Case(("vfs:T/mnt=T/b",), "cat mnt/f mntx/f mnt.f T/mnt/../mntx/f",
                   "in b\nin mntx\nbeside mnt\nin mntx\n"),
    "cwd beside a claim": Case(("vfs:T/mnt=T/b",), "cd mntx; /bin/pwd; cd ../mnt; /bin/pwd",
                               "T/mntx\nT/mnt\n"),
    # The backing of T/a lies in what T/b hides.
    "hidden": Case(
        ("vfs:T/a=T/b/sub,T/b=T/d",),
        "cat a/g; ls b; cd -P a; pwd; cat g; cd -P ..; pwd; cat b/of-d; exec 3<a/g;"
        " readlink /proc/self/fd/3",
        "deep in b\nof-d\nT/a\ndeep in b\nT\nof d\nT/a/g\n",
    ),
    # One directory under three names: the cwd has the one by which it was entered.
    "overlapping cwd": Case(
        OVER, "for d in a/sub mnt b/sub; do (cd -P $d; /bin/pwd; cat g; cd -P ..; /bin/pwd); done",
        "T/a/sub\ndeep in b\nT/a\nT/mnt\ndeep in b\nT\nT/b/sub\ndeep in b\nT/b\n",
    ),
    "overlapping descriptors": Case(  # any of its names will do
        OVER,
        "exec 3<a/sub/g 4<mnt/g 5<b/sub/g;"
        " for n in 3 4 5; do cat $(readlink /proc/self/fd/$n); done",
        "deep in b\n" * 3,
    ),
    "claim in a claim": Case(
        NESTED,
        "ls a/sub; cat a/f a/sub/of-d; cd -P a/sub; pwd; cat of-d; cd -P ..; pwd; cat f;"
        " ls sub b/sub",
        "of-d\nin b\nof d\nT/a/sub\nof d\nT/a\nin b\n"
        "ls: cannot access 'b/sub': No such file or directory\nsub:\nof-d\n",
    ),
    "claim in a claim, other order": Case(
        ("vfs:T/a/sub=T/d,T/a=T/b",), "ls a/sub b/sub; cat a/f", "a/sub:\nof-d\n\nb/sub:\ng\nin b\n"
    ),
    # A file at the place of a file.
    "file": Case(
        FILE,
        "cat a/f; cd a; cat f ./f ../a/rel; ls -l f | cut -c1-10; stat -c %s f; echo more >>f;"
        " cat ../other",
        "other\nother\nother\nother\n-rw-r--r--\n6\nother\nmore\n",
    ),
    "file is no directory": Case(FILE, "cat a/f/; cat a/f/x",
                                 "cat: a/f/: Not a directory\ncat: a/f/x: Not a directory\n"),
    "file is busy": Case(FILE, errno_of("os.unlink('T/a/f')"), "EBUSY\n"),
    "file is busy, rename": Case(FILE, errno_of("os.rename('T/a/say', 'T/a/f')"), "EBUSY\n"),
    "file that is a program": Case(("vfs:T/a/script=T/b/say",), "a/script x; cat b/f",
                                   "b says x\nin b\n"),
    # Stacked modules: a backing is a path of what lies below.
    "stacked": Case(("vfs:T/a=T/b", "vfs:T/c=T/a"), "cat c/f a/f; cd c; /bin/pwd",
                    "in b\nin b\nT/c\n"),
    "stacked, other order": Case(("vfs:T/c=T/a", "vfs:T/a=T/b"), "cat c/f a/f; cd c; /bin/pwd",
                                 "in a\nin b\nT/c\n"),
    "within one module": Case(("vfs:T/a=T/b,T/c=T/a",), "cat c/f a/f; cd c; /bin/pwd",
                              "in a\nin b\nT/c\n"),
    "stacked over each other": Case(("vfs:T/a=T/b", "vfs:T/a=T/d"), "ls a; cat b/f",
                                    "of-d\nin b\n"),
    "claim below comes along": Case(("vfs:T/a/sub=T/d", "vfs:T/c=T/a"), "ls c/sub a/sub; cat c/f",
                                    "a/sub:\nof-d\n\nc/sub:\nof-d\nin a\n"),
    "claim below is hidden": Case(("vfs:T/a/sub=T/d", "vfs:T/a=T/b"), "ls a/sub; cat a/f",
                                  "g\nin b\n"),
    "swapped twice": Case(SWAP * 2, "cat a/f b/f; cd a; /bin/pwd; cat ../b/out",
                          "in a\nin b\nT/a\nin a\n"),
    "read-only from below": Case(
        ("vfs:T/a=T/b,ro", "vfs:T/c=T/a"), errno_of("os.mkdir('T/c/x')"), "EROFS\n"
    ),
    "read-only above": Case(
        ("vfs:T/a=T/b", "vfs:T/c=T/a,ro"),
        errno_of("os.mkdir('T/a/x')") + ";" + errno_of("os.mkdir('T/c/y')"), "0\nEROFS\n",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("how", ["mounts", "view"])
def test_claims_are_bind_mounts(how: str, name: str, ground: Tree) -> None:
    case = CASES[name]
    assert ground.says(how, case.modules, case.script) == case.expected


OPENAT2 = """
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
def ask(directory, path, resolve):
    at = os.open(directory, os.O_PATH)
    how = (ctypes.c_uint64 * 3)(0, 0, resolve)
    fd = libc.syscall(437, at, path.encode(), how, 24)
    print(path, os.read(fd, 99) if fd >= 0 else errno.errorcode[ctypes.get_errno()])
NO_XDEV, NO_MAGICLINKS, NO_SYMLINKS, BENEATH, IN_ROOT = 1, 2, 4, 8, 16
"""
RESOLVE = {
    # The descriptor's directory is the root: `..` stays in it, and absolute links start there.
    "ask('T/a', '/f', IN_ROOT)": "/f b'in b\\n'",
    "ask('T/a', 'abs', IN_ROOT)": "abs ENOENT",
    "ask('T/a', 'up/sub/g', IN_ROOT)": "up/sub/g b'deep in b\\n'",
    "ask('T/a', '../../../f', IN_ROOT)": "../../../f b'in b\\n'",
    "ask('T', '/a/out', IN_ROOT)": "/a/out b'in b\\n'",
    "ask('T/a', 'out', BENEATH)": "out EXDEV",
    "ask('T/a', 'abs', BENEATH)": "abs EXDEV",
    "ask('T/a', 'sub/../rel', BENEATH)": "sub/../rel b'in b\\n'",
    "ask('T', 'a/out', BENEATH)": "a/out b'in b\\n'",
    # A claim is another mount.
    "ask('T', 'a/f', NO_XDEV)": "a/f EXDEV",
    "ask('T', 'other', NO_XDEV)": "other b'other\\n'",
    "ask('T/a', 'sub/g', NO_XDEV)": "sub/g b'deep in b\\n'",
    "ask('T/a', '../other', NO_XDEV)": "../other EXDEV",
    "ask('T/a', 'rel', NO_SYMLINKS)": "rel ELOOP",
    "ask('T/a', 'f', NO_SYMLINKS)": "f b'in b\\n'",
    "ask('T/a', '/proc/self/cwd/a/f', NO_MAGICLINKS)": "/proc/self/cwd/a/f ELOOP",
}


@pytest.mark.parametrize("how", ["mounts", "view"])
def test_openat2_resolves_in_the_view(how: str, ground: Tree) -> None:
    program = ground.name(OPENAT2 + "\n".join(RESOLVE)).replace("'T'", f"'{ground.root}'")
    done = ground.run(how, SWAP, ["/usr/bin/python3", "-I", "-c", program])
    assert done.stdout.decode().splitlines() == list(RESOLVE.values()), done.stderr.decode()


LONG = "/".join("n" * 199 for _ in range(5))


@pytest.mark.parametrize("how", ["mounts", "view"])
@pytest.mark.parametrize(("prefix", "backing"), [("c", f"d/{LONG}"), (f"d/{LONG}", "c")])
def test_a_name_of_a_thousand_bytes(how: str, prefix: str, backing: str, ground: Tree) -> None:
    """The string that the kernel gets is longer, or shorter, than the program's."""
    for end in (prefix, backing):
        (ground.root / end).mkdir(parents=True, exist_ok=True)
    behind = ground.root / backing
    (behind / "sub").mkdir()
    (behind / "sub" / "f").write_text("found\n")
    (behind / "run").write_text("#!/bin/sh\necho run as $0\n")
    (behind / "run").chmod(0o755)
    for path in (behind, behind / "sub", behind / "sub" / "f", behind / "run"):
        os.chown(path, ground.user, ground.user)
    at = f"T/{prefix}"
    script = (
        f"cat {at}/sub/f; cd {at}/sub; /bin/pwd; cat f; ../run; {at}/run; readlink /proc/self/cwd;"
        f" exec 3<f; readlink /proc/self/fd/3; echo x >{at}/new; mv {at}/new {at}/newer;"
        " cat ../newer;"
        " /usr/bin/python3 -I -c 'import socket as s, os;"
        ' os.chdir(".."); a = s.socket(s.AF_UNIX); a.bind("socket"); a.listen();'
        ' print(a.getsockname()); s.socket(s.AF_UNIX).connect("socket")\''
    )
    assert ground.says(how, [f"vfs:T/{prefix}=T/{backing}"], script) == (
        f"found\n{at}/sub\nfound\nrun as ../run\nrun as {at}/run\n{at}/sub\n{at}/sub/f\nx\nsocket\n"
    )


@pytest.mark.parametrize("how", ["mounts", "view"])
def test_a_backing_too_long_to_be_named(how: str, ground: Tree) -> None:
    """PATH_MAX counts for the name in the view alone."""
    behind = ground.root / "d" / LONG
    behind.mkdir(parents=True)
    here = os.open(behind, os.O_RDONLY)
    for part in LONG.split("/") * 3:
        os.mkdir(part, 0o755, dir_fd=here)
        below = os.open(part, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    with open(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=here), "w") as file:
        file.write("found\n")
    os.close(here)
    deep = "/".join([LONG] * 3)
    script = (
        f"cat c/{deep}/f; cd c/{LONG}; cat {LONG}/{LONG}/f; cd {LONG}/{LONG}; cat f;"
        " /bin/pwd | wc -c"
    )
    length = len(f"{ground.root}/c/{deep}\n")
    expected = "found\n" * 3 + f"{length}\n"
    assert ground.says(how, [f"vfs:T/c=T/d/{LONG}"], script) == expected


MISSING = {
    "listed": ("T/new", "ls T | grep -x new; ls -d T/new; ls -a T | sort | uniq -d",
               "new\nT/new\n"),
    "a directory": ("T/new", "stat -c %F T/new; [ -d T/new ] && find T -name new -type d",
                    "directory\nT/new\n"),
    "entered": ("T/new", "cat new/f; cd new; /bin/pwd; cat f ../b/f; cd -P ..; pwd",
                "in b\nT/new\nin b\nin b\nT\n"),
    "found": ("T/new", "find T/new -name g; find T -path '*new/f'", "T/new/sub/g\nT/new/f\n"),
    "made": ("T/new", errno_of("os.mkdir('T/new')"), "EEXIST\n"),
    "several": ("T/n1/n2/n3", "ls n1 n1/n2; ls T | grep n1; ls n1/n2/n3/sub; stat -c %F n1 n1/n2",
                "n1:\nn2\n\nn1/n2:\nn3\nn1\ng\ndirectory\ndirectory\n"),
    "several, walked": ("T/n1/n2/n3",
                        "cd n1; /bin/pwd; cd n2; /bin/pwd; cd n3; /bin/pwd; cat f; cd -P ../..;"
                        " pwd; cd -P ../n1/n2/n3/sub; pwd; cat ../../../../b/f",
                        "T/n1\nT/n1/n2\nT/n1/n2/n3\nin b\nT/n1\nT/n1/n2/n3/sub\nin b\n"),
    "several, found": ("T/n1/n2/n3", "find T -name 'n[123]' | sort", "T/n1\nT/n1/n2\nT/n1/n2/n3\n"),
    "a missing neighbour": ("T/n1/n2/n3", "cat n1/x", "cat: n1/x: No such file or directory\n"),
    "below a claim": ("T/c/x/y", "ls c/x; cat c/x/y/f; cd c/x/y; /bin/pwd", "y\nin b\nT/c/x/y\n"),
    "inside another tree's directory": ("T/a/sub/new", "ls a/sub; cat a/sub/g a/sub/new/f",
                                        "g\nnew\ndeep in a\nin b\n"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISSING)
def test_a_mount_point_that_does_not_exist(name: str, ground: Tree) -> None:
    """Its parent lists it, it is a directory, and nothing is made in the real tree."""
    prefix, script, expected = MISSING[name]
    before = sorted(ground.root.rglob("*"))
    assert ground.says("view", [f"vfs:{prefix}=T/b"], script) == expected
    assert sorted(ground.root.rglob("*")) == before


def test_the_cwd_at_launch_is_entered_again(ground: Tree) -> None:
    """The program starts where the name of its directory leads in the view."""
    assert ground.says("view", SWAP, "/bin/pwd; cat f", cwd="T/a") == "T/a\nin b\n"
    assert ground.says("view", SWAP, "/bin/pwd; cat g", cwd="T/b/sub") == "T/b/sub\ndeep in a\n"


LOOKS = """
cd T/a/sub; exec 5<T/a/sub/g; sleep 100 & other=$!
setpriv --reuid 65533 --regid 65533 --clear-groups sleep 100 & alike=$!
sleep 0.5
setpriv --reuid 65533 --regid 65533 --clear-groups sh -c '
    cd T/a; for pid in self '"$other $alike"'; do
        T/a/readlink /proc/$pid/cwd /proc/$pid/exe /proc/$pid/fd/5 || echo not of $pid
    done' | sed "s/$other/other/; s/$alike/alike/"
kill $other $alike
"""


@pytest.mark.skipif(os.getuid() != 0, reason="the native twin mounts")
def test_who_is_another_looks_at_itself_and_others() -> None:
    with tree(0) as ground:
        expected = ground.says("mounts", SWAP, LOOKS)
        assert "T/a/sub\n" in expected
        assert ground.says("view", SWAP, LOOKS) == expected
