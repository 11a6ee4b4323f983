"""What is run: each work prepares a directory, and gives the command for one round."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent


class Work(NamedTuple):
    """One work. Commands get the directory as they see it."""

    name: str
    what: str
    prepare: Callable[[Path], None]
    command: Callable[[str], list[str]]
    reset: Callable[[Path], None] = lambda directory: None
    """Before each round, outside of what is measured."""
    calls: int = 0
    """Where the work is one call in a loop: how often."""
    nothing: Callable[[str], list[str]] | None = None
    """The same without a call: what it takes is taken off."""


class Unavailable(Exception):
    """The work cannot be done here; says what is missing."""


def nothing(directory: Path) -> None:
    pass


def shell(script: str) -> Callable[[str], list[str]]:
    return lambda directory: ["sh", "-ec", f"cd {directory}\n{script}"]


# ---- compiling ----

LUA = "https://www.lua.org/ftp/lua-5.4.4.tar.gz"
_MAKEFILE = """\
SRC := $(filter-out lua.c luac.c onelua.c ltests.c,$(wildcard *.c))
all: $(SRC:.c=.o)
%.o: %.c
\tgcc $(OPT) -DLUA_USE_LINUX -c -o $@ $<
"""


def prepare_lua(directory: Path) -> None:
    archive = Path(os.environ.get("VIEWOS_BENCH_LUA", HERE / "lua.tar.gz"))
    if not archive.exists():
        raise Unavailable(f"put {LUA} at {archive}, or name it in VIEWOS_BENCH_LUA")
    subprocess.run(["tar", "-C", str(directory), "-xf", str(archive)], check=True)
    (source,) = directory.glob("*/src")
    source.rename(directory / "lua")
    (directory / "lua" / "Makefile").write_text(_MAKEFILE)


def _no_objects(directory: Path) -> None:
    for path in (directory / "lua").glob("*.o"):
        path.unlink()


def _make(jobs: int, optimise: str) -> Work:
    return Work(
        f"lua {optimise} -j{jobs}",
        f"make -j{jobs} of Lua with {optimise}",
        prepare_lua,
        shell(f"make -s -C lua -j{jobs} OPT={optimise}"),
        _no_objects,
    )


_CONFIGURE = r"""
for i in $(seq 40); do
    printf 'int main(void) { return %d; }\n' $i >conftest.c
    gcc -o conftest conftest.c && ./conftest || :
    test -f conftest && rm -f conftest conftest.c
    for tool in grep sed awk ld nm ar; do command -v $tool >/dev/null; done
    expr $i + 1 >/dev/null; uname -m >/dev/null
done
"""

# ---- many files ----


def files(count: int, size: int = 100) -> Callable[[Path], None]:
    def prepare(directory: Path) -> None:
        for number in range(count):
            folder = directory / "tree" / f"{number // 100:03}"
            if not number % 100:
                folder.mkdir(parents=True)
            (folder / f"file-{number}.txt").write_bytes(b"x" * size)

    return prepare


def _repository(directory: Path) -> None:
    files(10_000)(directory)
    for words in (
        ["init", "-q"], ["add", "."],
        ["-c", "user.name=b", "-c", "user.email=b@example.org", "commit", "-qm", "all"],
    ):  # fmt: skip
        subprocess.run(["git", "-C", str(directory / "tree"), *words], check=True, timeout=120)


def archive(directory: Path) -> None:
    files(20_000)(directory)
    subprocess.run(
        ["tar", "-C", str(directory), "-cf", str(directory / "a.tar"), "tree"], check=True
    )


def no_copy(directory: Path) -> None:
    shutil.rmtree(directory / "copy", ignore_errors=True)
    (directory / "copy").mkdir()


_IMPORT = (
    "import pkgutil, importlib, os, sys\n"
    "names = sorted(m.name for m in pkgutil.iter_modules([os.path.dirname(os.__file__)]))\n"
    "shown = ('antigravity', 'this', 'idlelib', 'turtle')\n"
    "for name in [n for n in names if n not in shown][:200]:\n"
    "    try: importlib.import_module(name)\n"
    "    except Exception: pass\n"
)

# ---- single calls ----


def _calls(directory: Path) -> None:
    source = HERE / "calls.c"
    subprocess.run(
        ["cc", "-O2", "-pthread", "-o", str(directory / "calls"), str(source)], check=True
    )
    (directory / "file").write_bytes(b"text")
    (directory / "dir").mkdir()


def _call(name: str, path: str, count: int = 20_000, what: str = "", threads: int = 1) -> Work:
    by = f", {threads} threads" if threads > 1 else ""

    def words(directory: str, count: int = count) -> list[str]:
        seen = path.replace("DIR", directory)
        return [f"{directory}/calls", name, str(count), seen, str(threads)]

    return Work(
        f"{name} call: {what or path}{by}",
        f"{name} of {what or path}, in a loop{by}",
        _calls,
        words,
        calls=count,
        nothing=lambda directory: words(directory, 0),
    )


def _busybox(directory: Path) -> None:
    if shutil.which("busybox") is None:
        raise Unavailable("busybox is not installed")


_GO = """\
package main

import ("fmt"; "net/http"; "encoding/json"; "os")

func main() {
	fmt.Println(http.StatusText(200)); json.NewEncoder(os.Stdout).Encode(os.Args)
}
"""


def _go(directory: Path) -> None:
    if shutil.which("go") is None:
        raise Unavailable("go is not installed")
    (directory / "go.mod").write_text("module bench\n\ngo 1.19\n")
    (directory / "main.go").write_text(_GO)
    _no_cache(directory)


def _no_cache(directory: Path) -> None:
    shutil.rmtree(directory / "cache", ignore_errors=True)
    (directory / "cache").mkdir()


WORKS = [
    _make(1, "-O0"),
    _make(2, "-O0"),
    _make(1, "-O2"),
    _make(2, "-O2"),
    Work("configure", "what a configure script does, forty times", nothing, shell(_CONFIGURE)),
    Work("git status", "git status in 10,000 files", _repository, shell("git -C tree status -s")),
    Work("tar c", "tar of 20,000 small files", files(20_000), shell("tar -cf - tree | cat >out")),
    Work("tar x", "the same unpacked", archive, shell("tar -C copy -xf a.tar"), no_copy),
    Work("cp -a", "5,000 files copied", files(5_000), shell("cp -a tree copy/"), no_copy),
    Work("find /usr", "find /usr -size +1M", nothing, shell("find /usr -size +1M >/dev/null")),
    Work("find, static", "find /usr of a static busybox", _busybox, shell(
        "busybox find /usr -size +2048 >/dev/null")),
    Work("go build", "a program with net/http and all it needs", _go, shell(
        "GOCACHE=$PWD/cache GOFLAGS=-p=2 go build -o out ."), _no_cache),
    Work("imports", "Python imports 200 modules", nothing, lambda d: ["python3", "-c", _IMPORT]),
    Work("true x 2000", "two thousand times fork and exec", nothing, shell(
        "i=0; while [ $i -lt 2000 ]; do /bin/true; i=$((i+1)); done")),
    Work("dd", "1 GB through a pipe and a file", nothing, shell(
        "dd if=/dev/zero bs=1M count=1000 status=none | dd of=out bs=1M status=none; rm out")),
    Work("start", "true", nothing, lambda d: ["true"]),
    _call("stat", "/etc/passwd"),
    _call("stat", "DIR/file", what="in the directory"),
    _call("open", "/etc/passwd"),
    _call("open", "DIR/file", what="in the directory"),
    _call("access", "/lib/x86_64-linux-gnu/libc.so.6", what="through a link"),
    *(
        _call("stat", "/etc/passwd", 51_200, threads=threads) for threads in (8, 64, 512)
    ),
    _call("chdir", "DIR/dir", 2_000, what="in the directory"),
    _call("exec", "/bin/true", 500),
    _call("exec", "DIR/calls", 500, what="in the directory"),
]  # fmt: skip
