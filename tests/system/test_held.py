"""Directories of several names in a view, held by a descriptor: what they lead to is what the name
leads to by which they were opened, as under the kernel's own bind mounts."""

from __future__ import annotations

import os

import pytest

from .swapped import tree

pytestmark = pytest.mark.timeout(90)
USERS = [0, 65534] if os.getuid() == 0 else [None]
VIEWS = {
    "a claim in a claim": ("vfs:T/c=T/b,T/c/sub=T/d",),
    "a claim in a backing": ("vfs:T/c=T/b,T/b/sub=T/d",),
    "both": ("vfs:T/c=T/b,T/b/sub=T/d,T/c/sub=T/mntx",),
    "one above": ("vfs:T/c=T/b/sub,T/c/deep=T/b",),
    "two of one backing": ("vfs:T/c=T/b,T/d=T/b,T/c/sub=T/mntx",),
    "layers": ("vfs:T/c=T/b", "vfs:T/c/sub=T/d"),
    "alike below": (
        "vfs:T/c=T/b,T/c/sub=T/d,T/b/sub=T/d,"
        + ",".join(f"T/c/sub{n}=T/mntx/{n}" for n in range(1, 7)),
    ),
    "alone": ("vfs:T/c=T/b",),
}
PLANT = """mkdir -p T/b/sub/deep/er/and/er T/a/deep T/d/1/2/3/4/5/6/7
    touch T/b/sub/deep/er/x T/d/in-d
    for n in 1 2 3 4 5 6; do
        mkdir T/b/sub$n T/mntx/$n; touch T/b/sub$n/own T/mntx/$n/precious
    done"""
SCRIPTS = {
    "rm": "rm -rf T/b T/c 2>/dev/null",
    "rm of a claim": "rm -rf T/c 2>/dev/null",
    "rm of names below": "rm -rf T/b/sub T/c/deep/sub 2>/dev/null",
    "find -delete": "find T/b -mindepth 1 -delete 2>/dev/null; find T/d T/c -delete 2>/dev/null",
    "by procfs": """cd T/b; find /proc/self/cwd/ -mindepth 1 -delete 2>/dev/null
        exec 3<T/c; find /dev/fd/3/ | wc -l; exec 3<T/b; find /dev/fd/3/ -delete 2>/dev/null""",
    "chdir": """cd T/c; cd T/b/sub; pwd -P; ls . ../sub; find ../sub -mindepth 1 -delete
        cd T/b; cd sub; cd ..; ls sub; cd ../c/sub; pwd -P; ls .. ../sub""",
    "chdir by procfs": """exec 3<T/b; cd T/c; cd /proc/self/fd/3; pwd -P; ls sub
        exec 3<T/c; cd T/b; cd /dev/fd/3/; pwd -P; ls sub; cd /proc/$$/cwd; pwd -P
        find sub -mindepth 1 -delete 2>/dev/null""",
    "chdir that fails": """mkdir T/b/priv; chmod 700 T/b/priv; cd T/c
        setpriv --reuid=65534 --regid=65534 --clear-groups python3 -c '
import os
for name in "T/b/priv", "T/b", "T/c/priv", "T/b/sub/..", "T/c/sub/../priv":
    try: os.chdir(name)
    except OSError as error: print(error.strerror)
    print(os.getcwd(), sorted(os.listdir("sub")))' 2>&1""",
    "chdir as another": """chown -R 65534 T 2>/dev/null
        setpriv --reuid=65534 --regid=65534 --clear-groups python3 -c '
import os
os.chdir("T/b"); os.chdir("sub"); print(os.getcwd(), sorted(os.listdir()))
os.chdir(".."); print(os.getcwd(), sorted(os.listdir("sub")))
os.mkdir("sub/new")' 2>&1""",
    "find": "find T | sort; cd T/b && find . | sort; cd T/c/sub && find ../.. | sort",
    "du and chmod": "chmod -R go-w T; du -a --apparent-size T/b T/c | sort -k2; ls -lR T | wc -l",
    "tar": "cd T; tar cf - b c 2>/dev/null | tar tf - | sort",
    "a link to it": "ln -s b T/l; find T/l/ | sort; rm -rf T/l/sub; rm -rf T/l/* 2>/dev/null",
    "python": """python3 - T/b T/c T/d <<'E'
import os, shutil, sys
for top in sys.argv[1:]:
    for root, folders, files, fd in os.fwalk(top):
        print(os.path.relpath(root, top), sorted(folders), sorted(files))
        folders.sort()
for top in sys.argv[1:]:
    shutil.rmtree(top, ignore_errors=True)
E""",
    "python's dir_fd": """python3 - T/b T/c <<'E'
import os, shutil, sys
top = os.open("T", os.O_RDONLY)
for name in ("b/sub", "b/sub/.", "./c//sub/", "b"):
    for root, folders, files, fd in os.fwalk(name, dir_fd=top):
        print(root, sorted(folders), sorted(files))
    shutil.rmtree(name.strip("/."), ignore_errors=True, dir_fd=top)
E""",
    "O_PATH": """python3 - T/b T/c <<'E'
import os, sys
for top in sys.argv[1:]:
    fd = os.open(top, os.O_PATH)
    os.fchdir(fd)
    deep = os.open("sub", os.O_PATH, dir_fd=fd)
    print(os.getcwd(), sorted(os.listdir("sub")), sorted(os.listdir(f"/proc/self/fd/{fd}/sub")))
    print(os.readlink(f"/proc/self/fd/{deep}"), os.stat("..", dir_fd=deep) == os.fstat(fd))
    for name in os.listdir("sub"):
        if not os.path.isdir("sub/" + name):
            os.unlink(name, dir_fd=deep)
E""",
    "descriptors": """python3 - T/b T/c T/d <<'E'
import os, sys
home = os.open("/", os.O_RDONLY)
KNOWN = {"a", "b", "c", "d", "f", "g", "sub", "deep", "of-d", "in-d", "x", "er"}
def try_(call, *args, **more):
    try: return call(*args, **more)
    except OSError as error: return error.strerror
def names(where):
    found = try_(os.listdir, where)
    return found if type(found) is str else sorted(KNOWN & {*found})
for top in sys.argv[1:]:
    fd = os.open(top, os.O_RDONLY)
    for name in (".", "sub", "..", "sub/..", "../c/sub", "sub/deep", "../..", "deep/.."):
        if type(one := try_(os.open, name, os.O_RDONLY, dir_fd=fd)) is int:
            print(top, name, os.readlink(f"/proc/self/fd/{one}"), names(one))
            print(try_(os.stat, "../f", dir_fd=one) == try_(os.stat, "f", dir_fd=fd))
            os.fchdir(one)
            print(os.getcwd(), names("."), names(".."))
            here = os.open(".", os.O_RDONLY)
            os.fchdir(home)
            print(names(here), try_(os.readlink, f"/proc/self/fd/{here}"))
            print(names(f"/proc/self/fd/{here}/.."), names(f"/proc/self/fd/{one}/sub"))
            copy = os.dup(here)
            print(type(try_(os.open, "../sub", os.O_RDONLY, dir_fd=copy)), flush=True)
            if not os.fork():
                print(names(try_(os.open, "../sub", os.O_RDONLY, dir_fd=copy)), flush=True)
                os._exit(0)
            os.wait()
            for used in (copy, here, one):
                os.close(used)
    os.close(fd)
E""",
}
REFUSED = (
    "viewos: chroot: {0}/b is also {0}/c, where other trees stand below it: EACCES, use that name"
    " or another directory\n"
)
AFTER = "echo; find T | sort; cat T/b/sub/g T/d/of-d T/mntx/f T/a/f"


@pytest.mark.parametrize(
    ("view", "script"),
    # Where no claim stands below another, names of what lies below a backing are not told apart.
    [(v, s) for v in VIEWS for s in SCRIPTS if v != "alone" or s not in ("descriptors", "O_PATH")],
)
@pytest.mark.parametrize("user", USERS)
def test_a_directory_is_what_it_was_opened_as(view: str, script: str, user: int) -> None:
    def says(how: str) -> str:
        with tree(user) as ground:
            ground.says("natively", (), ground.name(PLANT))
            told = ground.says(how, VIEWS[view], ground.name(SCRIPTS[script]))
            # What there is, for everybody.
            return told + "\n" + ground.says("natively", (), ground.name(AFTER))

    expected = says("mounts")
    assert says("view") == expected


@pytest.mark.skipif(os.getuid() != 0, reason="chroot(2) takes CAP_SYS_CHROOT")
def test_a_root_directory_has_one_name() -> None:
    """By a name that is not the best one its paths would lead into what is mounted below that."""
    with tree(0) as ground:
        view = VIEWS["a claim in a claim"]
        done = ground.run("view", view, ["sh", "-c", "chroot T/b /none"])
        assert done.stderr.decode().startswith(REFUSED.format(ground.root))
        assert done.returncode == 125
        said = ground.says("view", view, "chroot T/c /none; chroot T/d /none; chroot T/none /x")
        assert said.count("No such file or directory") == 3


def test_there_are_more_trees_than_marks() -> None:
    """One line says so."""
    claims = ",".join(f"T/mnt/{n}=T/b" for n in range(70))
    with tree(0 if os.getuid() == 0 else os.getuid()) as ground:
        for n in range(70):
            (ground.root / "mnt" / str(n)).mkdir()
        script = "for n in T/mnt/*; do exec 3<$n; readlink /proc/self/fd/3; done | sort -u | wc -l"
        view = (f"vfs:{claims},T/mnt/1/sub=T/d",)
        done = ground.run("view", view, ["sh", "-c", script])
        assert done.stdout == b"64\n"
        assert done.stderr.count(b"viewos: more than 64 trees") == 1
