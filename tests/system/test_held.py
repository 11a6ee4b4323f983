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
    "read-only": ("vfs:T/c=T/b,ro",),
    "alone": ("vfs:T/c=T/b",),
}
PLANT = "mkdir -p T/b/sub/deep/er/and/er T/a/deep; touch T/b/sub/deep/er/x T/d/in-d;"
SCRIPTS = {
    "rm": "rm -rf T/b T/c 2>/dev/null",
    "rm of a claim": "rm -rf T/c 2>/dev/null",
    "rm of names below": "rm -rf T/b/sub T/c/deep/sub 2>/dev/null",
    "find -delete": "find T/b -mindepth 1 -delete 2>/dev/null; find T/d T/c -delete 2>/dev/null",
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
AFTER = "echo; find T | sort; cat T/b/sub/g T/d/of-d T/mntx/f T/a/f"


@pytest.mark.parametrize(
    ("view", "script"),
    # Where no claim stands below another, names of what lies below a backing are not told apart.
    [(v, s) for v in VIEWS for s in SCRIPTS if (v, s) != ("alone", "descriptors")],
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
