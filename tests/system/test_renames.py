"""rename(2) and its kin at mount points, on read-only mounts and above: each call says in a
view what it says below bind mounts, in the order of the kernel."""

from __future__ import annotations

import os

import pytest

from .swapped import tree
from .view import prefix, run_in_view

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(os.getuid() != 0, reason="the native twin mounts"),
]
NOBODY = 65534
CALLS = """
import ctypes, errno, os, shutil
libc = ctypes.CDLL(None, use_errno=True)
os.chdir("T/mnt")
def fresh():
    for top in (b"T/mnt/sub/x", b"T/mnt/sub", b"T/mnt"):
        for name in os.listdir(top):
            path = os.path.join(top, name)
            if path in (b"T/mnt/sub", b"T/mnt/sub/x"):
                continue
            shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
        os.mkdir(top + b"/d"), open(top + b"/f", "w").close()
def tell(what, *args):
    done = libc.syscall(*args) >= 0
    print(what, "done" if done else errno.errorcode[ctypes.get_errno()])
    return done
"""
PRODUCT = """
NAMES = (b"/ T/mnt T/mnt/sub T/mnt/sub/x T/mnt/f T/mnt/sub/f T/mnt/d sub sub/ sub/x sub/. sub/x/.. "
         b"sub/x/../f sub/x/../../f sub/x/d T/mnt/none T/mnt/sub/none T/mnt/f/ none/ none/x d/in "
         b"/proc/self/cwd T/other").split()
fresh()
for flags in (0, 1, 2, 3, 8):
    for old in NAMES:
        for new in NAMES:
            if tell((flags, old, new), 316, -100, old, -100, new, flags):
                fresh()
"""
READ_ONLY = """
for flags in (0, 1, 2):
    for old in (b"T/mnt", b"sub", b"sub/", b"f", b"sub/g", b"none", b"sub/.."):
        for new in (b"T/mnt", b"sub", b"f", b"rel", b"none", b"none/", b"sub/new", b"T/mnt/sub/.."):
            tell((flags, old, new), 316, -100, old, -100, new, flags)
for name in (b"T/mnt", b"sub", b"sub/", b"f", b"none", b"sub/of-d"):
    tell((name, "unlink"), 263, -100, name, 0), tell((name, "rmdir"), 263, -100, name, 0x200)
for directory in (b"T/mnt", b"sub"):
    fd = os.open(directory, os.O_RDONLY)
    name = b"/proc/self/fd/%d" % fd
    for flags in (os.O_RDWR, os.O_RDONLY | os.O_CREAT, os.O_TMPFILE | os.O_RDWR):
        tell((directory, flags), 2, name, flags, 0o600)
    tell((directory, "truncate"), 76, name, 0), tell((directory, "chmod"), 90, name, 0o755)
"""
NESTED = "vfs:T/mnt=T/n/1,T/mnt/sub=T/n/2,T/mnt/sub/x=T/n/3"
RO = "vfs:T/mnt=T/a,ro,T/mnt/sub=T/d,ro"


FOREIGN = (
    PRODUCT.replace("fresh()", "pass")
    + """
for name in NAMES:
    tell((name, "unlink"), 263, -100, name, 0), tell((name, "rmdir"), 263, -100, name, 0x200)
"""
)


def says(
    how: str,
    module: str,
    program: str,
    user: int = 0,
    *,
    owner: int | None = None,
    mode: int = 0o755,
) -> str:
    with tree(user) as ground:
        ground.root.chmod(0o755)
        for name in ("n/1/sub", "n/2/x", "n/3"):
            (ground.root / name).mkdir(parents=True)
        for name in ("n/1", "n/1/sub", "n/2", "n/2/x", "n/3"):
            place = ground.root / name
            place.chmod(mode)
            (place / "d").mkdir(), (place / "f").touch()
            os.chown(place, *[user if owner is None else owner] * 2)
        return ground.says(how, (module,), f"python3 -c '{CALLS}{program}'")


@pytest.mark.parametrize("user", [0, NOBODY])
@pytest.mark.parametrize(("module", "program"), [(NESTED, PRODUCT), (RO, READ_ONLY)])
def test_the_order_is_the_kernels(module: str, program: str, user: int) -> None:
    expected = says("mounts", module, program, user)
    assert "EBUSY" in expected or "EROFS" in expected, expected
    assert "Traceback" not in expected
    assert says("view", module, program, user) == expected


@pytest.mark.parametrize("mode", [0o755, 0o1777])
def test_permission_comes_before_a_mount_point(mode: int) -> None:
    expected = says("mounts", NESTED, FOREIGN, NOBODY, owner=0, mode=mode)
    assert "EACCES" in expected if mode == 0o755 else "EPERM" in expected, expected
    assert "Traceback" not in expected
    assert says("view", NESTED, FOREIGN, NOBODY, owner=0, mode=mode) == expected


ABOVE = """
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
def tell(what, call, *args):
    try:
        print(what, call(*args))
    except OSError as error:
        print(what, errno.errorcode[error.errno])
def rename2(old, new, flags):
    if libc.renameat2(-100, old.encode(), -100, new.encode(), flags):
        raise OSError(ctypes.get_errno(), "")
os.chdir("T/")
for top in ("", "T/"):
    p, n, f = (top + name for name in ("n", "n/p", "d/of-d"))
    for path in (p, n):
        tell("rmdir", os.rmdir, path), tell("unlink", os.unlink, path)
        tell("replaced", os.rename, top + "c", path), tell("by a file", os.rename, f, path)
        tell("a file", os.rename, path, f), tell("itself", os.rename, path, path)
        tell("not empty", os.rename, path, top + "b"), tell("below", os.rename, path, path + "/x")
        tell("across", os.rename, path, "/dev/shm/x"), tell("nowhere", os.rename, path, "none/x")
        tell("noreplace", rename2, path, top + "c", 1), tell("missing", rename2, path, top + "x", 2)
    tell("other", os.rename, top + "other", top + "another")
    tell("back", os.rename, top + "another", top + "other")
    os.mkdir(top + "n/p/made"), os.rmdir(top + "n/p/made")
print(os.listdir("n/p"), os.listdir("n/p/m"), os.listdir("c"))
"""
MOVES = """
for top in ("", "T/"):
    for path in (top + "n", top + "n/p"):
        tell("moved", os.rename, path, top + "moved"), tell("onto", os.rename, path, top + "c")
        for old, new in ((path, top + "c"), (top + "c", path)):
            tell("exchanged", rename2, old, new, 2)
print(os.listdir("n/p"), os.listdir("n/p/m"), os.listdir("c"))
"""
VIA: dict[str, tuple[bool, dict[str, str]]] = {
    "inproc": (True, {}), "no inproc": (False, {}), "pure": (False, {"VIEWOS_PURE": "1"}),
}  # fmt: skip
"""With the in-process tier, and in which environment."""


def tells(how: str, program: str, user: int) -> tuple[str, str]:
    """What a program says with a claim at n/p/m, which does not exist outside of the view."""
    with tree(user) as ground:
        (ground.root / "n" / "p").mkdir(parents=True)
        for name in (".", "n", "n/p"):
            os.chown(ground.root / name, user, user)
        words, claim = ["python3", "-c", ground.name(program)], "vfs:T/n/p/m=T/a"
        if how == "mounts":
            (ground.root / "n" / "p" / "m").mkdir()
            done = ground.run(how, (claim,), words)
        else:
            inproc, env = VIA[how]
            done = run_in_view(
                None, [*prefix([ground.name(claim)], user=user, inproc=inproc), *words],
                user=user, cwd=str(ground.root), timeout=30, env=env,
            )  # fmt: skip
        out, err = (
            text.decode().replace(str(ground.root), "T") for text in (done.stdout, done.stderr)
        )
        return out, err


@pytest.mark.parametrize("user", [0, NOBODY])
@pytest.mark.parametrize("how", VIA)
def test_a_directory_in_which_a_claim_stands_is_not_empty(how: str, user: int) -> None:
    expected = tells("mounts", ABOVE, user)
    assert "rmdir ENOTEMPTY" in expected[0]
    assert tells(how, ABOVE, user) == expected


@pytest.mark.parametrize("user", [0, NOBODY])
@pytest.mark.parametrize("how", VIA)
def test_a_directory_in_which_a_claim_stands_stays(how: str, user: int) -> None:
    """Natively the mount would move along."""
    told, log = tells(how, ABOVE[: ABOVE.index("os.chdir")] + 'os.chdir("T/")' + MOVES, user)
    *lines, left = told.splitlines()
    assert {line.partition(" ")[2] for line in lines} == {"EBUSY"}, told
    assert left.startswith("['m'] [") and left.endswith(" []") and "'f'" in left
    assert sorted(log.splitlines()) == [
        f"viewos: rename: T/{name} holds a directory or file of the view, which cannot move along:"
        " EBUSY"
        for name in ("n", "n/p")
    ]


OTHER_IDS = """
import os
os.setresgid(65534, 65534, 65534), os.setresuid(65534, 65534, 65534)
os.chdir("T/")
for old in ("private/f", "f/x", "none/x", "f", "private"):
    for new in ("loop/x", "mnt/none/x", "mnt/f/x", "loop/x/y"):
        tell((old, new), os.rename, old, new), tell((new, old), os.rename, new, old)
"""


@pytest.mark.parametrize("how", VIA)
@pytest.mark.parametrize("modules", [("vfs:/=/",), ("vfs:T/mnt=T/a",)])
def test_a_path_that_another_may_not_search_comes_before_an_endless_one(
    modules: tuple[str], how: str
) -> None:
    inproc, env = VIA[how]
    with tree(0) as ground:
        root = ground.root
        root.chmod(0o755), (root / "private").mkdir(mode=0o700), (root / "private/f").touch()
        (root / "f").touch(), (root / "loop").symlink_to("loop")
        words = ["python3", "-c", ground.name(ABOVE[: ABOVE.index("os.chdir")] + OTHER_IDS)]
        mounted = tuple(one for one in modules if one != "vfs:/=/")
        expected = ground.run("mounts", mounted, words).stdout
        assert expected.startswith(
            b"('private/f', 'loop/x') EACCES\n('loop/x', 'private/f') ELOOP\n"
        )
        front = prefix([ground.name(one) for one in modules], inproc=inproc)
        done = run_in_view(None, [*front, *words], cwd=str(root), env=env)
        assert (done.stdout, done.stderr) == (expected, b"")
