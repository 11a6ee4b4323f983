"""Debian's Lua builds in a view that has its source at another path as it does natively there.

The native twin sees the tree at the same path by a bind mount in a mount namespace of its own, so
both builds must give the same files, byte for byte: debugging information, which names the
directory, archives, linked programs, and what libtool writes down.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.system.view import run_in_view

pytestmark = pytest.mark.timeout(600)

WHERE = "/mnt/lua"
PATIENCE = 240.0
"""Seconds for one build, or for one download."""
USERS = [0, 65534]

BIND = (
    f'mount -t tmpfs none /mnt && mkdir /mnt/lua && mount --bind "$1" {WHERE} && shift && exec "$@"'
)
"""A shell's words: see the tree $1 at WHERE and run the rest of the words."""

MULTIARCH_HEADER = """\
#ifndef _LUA_DEB_MULTIARCH_
#define _LUA_DEB_MULTIARCH_
#define DEB_HOST_MULTIARCH "{}"
#endif
"""


def command(argv: list[str], cwd: Path) -> str:
    """What a command of the set-up prints. Fails the test with its messages when it fails."""
    result = subprocess.run(
        argv,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    if result.returncode:
        pytest.fail(
            f"{' '.join(argv)}: status {result.returncode}\n"
            f"{result.stdout[-2000:]}{result.stderr[-2000:]}",
            pytrace=False,
        )
    return result.stdout


def source_lists(target: Path) -> None:
    """The machine's own package sources as sources of source packages, in `target`."""
    for old in Path("/etc/apt").glob("sources.list"):
        (target / "machine.list").write_text(_as_source(old.read_text()))
    for pattern in ("*.list", "*.sources"):
        for old in Path("/etc/apt/sources.list.d").glob(pattern):
            (target / old.name).write_text(_as_source(old.read_text()))


def _as_source(text: str) -> str:
    text = re.sub(r"^Types:.*$", "Types: deb-src", text, flags=re.MULTILINE)
    return re.sub(r"^deb(?=\s)", "deb-src", text, flags=re.MULTILINE)


@pytest.fixture(scope="module")
def source() -> Iterator[Path]:
    """The unpacked and configured source package, fetched once for all tests of a run."""
    with tempfile.TemporaryDirectory(prefix="viewos-lua-") as name:
        work = Path(name)
        for directory in ("sources", "lists/partial", "cache/archives/partial"):
            (work / directory).mkdir(parents=True)
        source_lists(work / "sources")
        options = {
            "Dir::Etc::sourcelist": "/dev/null",
            "Dir::Etc::sourceparts": work / "sources",
            "Dir::State::lists": work / "lists",
            "Dir::Cache": work / "cache",
            "APT::Sandbox::User": "root",
            "Acquire::Retries": 3,
        }
        apt = ["apt-get", "-q", *(f"-o{key}={value}" for key, value in options.items())]
        # A source without source packages among them does no harm: the next command decides.
        subprocess.run(
            [*apt, "update"],
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PATIENCE,
        )
        command([*apt, "source", "lua5.4"], work)
        (tree,) = work.glob("lua5.4-*/")
        # What debian/rules writes before it calls make.
        multiarch = command(["dpkg-architecture", "-qDEB_HOST_MULTIARCH"], work).strip()
        header = tree / "src" / "lua5.4-deb-multiarch.h"
        header.write_text(MULTIARCH_HEADER.format(multiarch))
        yield tree


@contextmanager
def copy(source: Path, user: int) -> Iterator[Path]:
    """A copy of the tree that belongs to `user`, in a directory whose name says nothing."""
    top = Path(tempfile.mkdtemp(prefix="viewos-build-"))
    try:
        top.chmod(0o755)
        tree = top / "tree"
        shutil.copytree(source, tree, symlinks=True)
        subprocess.run(["chown", "-R", f"{user}:{user}", tree], check=True, timeout=30)
        yield tree
    finally:
        shutil.rmtree(top, ignore_errors=True)


def make() -> list[str]:
    """The build of debian/rules without optimization.

    LUA_A: a rule of that makefile has two targets, and make -j runs its recipe once for each, at
    the same time, into the same files.
    """
    settings = {
        "LIBTOOL": "/usr/bin/libtool",
        "MYCFLAGS": "-g -O0",
        "MYLDFLAGS": "",
        "LUA_A": "liblua5.4.la",
    }
    words = [f"{name}={value}" for name, value in settings.items()]
    return ["make", "-C", WHERE, "-j2", "linux", *words]


def contents(tree: Path) -> Mapping[str, tuple[int, int, int, bytes]]:
    """name -> mode, owner, group and content of everything below `tree`."""
    found = {}
    for path in sorted(tree.rglob("*")):
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            content = os.fsencode(os.readlink(path))
        else:
            content = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
        name = str(path.relative_to(tree))
        found[name] = status.st_mode, status.st_uid, status.st_gid, content
    return found


@pytest.fixture(scope="module")
def native(source: Path) -> Mapping[int, Mapping[str, tuple[int, int, int, bytes]]]:
    """user -> what the native twin built."""
    built = {}
    for user in USERS:
        with copy(source, user) as tree:
            before = ["unshare", "--mount", "--propagation", "private", "--"]
            before += ["sh", "-c", BIND, "sh", str(tree)]
            run_in_view(
                None, make(), user=user, before=before, cwd="/", timeout=PATIENCE, check=True
            )
            built[user] = contents(tree)
    return built


@pytest.mark.parametrize("user", USERS)
def test_lua_builds_as_natively(
    source: Path, native: Mapping[int, Mapping[str, tuple[int, int, int, bytes]]], user: int
) -> None:
    with copy(source, user) as tree:
        modules = [f"vfs:{WHERE}={tree}"]
        run_in_view(modules, make(), user=user, cwd="/", timeout=PATIENCE, check=True)
        built = contents(tree)
        program = f"{WHERE}/src/lua5.4"
        greeting = run_in_view(
            modules, [program, "-e", "print(arg[0], _VERSION)"], user=user, check=True
        )

    assert greeting.stdout == f"{program}\tLua 5.4\n".encode()
    # The comparison is about something: objects are there, and say where they were built.
    objects = [name for name in built if name.endswith(".o")]
    assert len(objects) > 100
    assert f"{WHERE}/src".encode() in built["src/lapi.o"][3]
    assert not [name for name in built if bytes(tree) in built[name][3]]

    twin = native[user]
    assert built.keys() == twin.keys()
    assert not [name for name in built if built[name] != twin[name]]
