"""What it costs to be root: python -m benchmarks.fakeroot [WORK...] [OPTION]..., run by root.

Root itself is what the others are compared with. The options are those of `python -m benchmarks`.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from benchmarks.__main__ import main
from benchmarks.contenders import VIEWOS, Contender
from benchmarks.works import WORKS, Unavailable, Work, archive, files, no_copy, nothing, shell

_CONTROL = """\
Package: bench
Version: 1
Architecture: all
Maintainer: bench <bench@example.org>
Description: many files
"""


def _package(directory: Path) -> None:
    if shutil.which("dpkg-deb") is None:
        raise Unavailable("dpkg-deb is not installed")
    files(10_000)(directory)
    (directory / "tree" / "DEBIAN").mkdir()
    (directory / "tree" / "DEBIAN" / "control").write_text(_CONTROL)


WORKS_OF_ROOT = [
    Work("find", "find /usr by owner", nothing, shell("find /usr -user bin")),
    Work("tar c", "tar of 20,000 small files", files(20_000), shell("tar -cf - tree | cat >out")),
    Work("tar x", "the same unpacked", archive, shell("tar -C copy -xpf a.tar"), no_copy),
    Work("chown -R", "20,000 files get another owner", files(20_000), shell("chown -R 5:6 tree")),
    Work("chown -R, tar c", "and are packed then", files(20_000), shell(
        "chown -R 5:6 tree; tar -cf - tree | cat >out")),
    Work("dpkg-deb -b", "a package of 10,000 files", _package, shell(
        "chown -R 0:0 tree; dpkg-deb -Znone -b tree out.deb >/dev/null")),
    Work("make install", "3,000 files, forty at a time, as automake does", files(3_000), shell(
        "for d in tree/*; do mkdir -p copy/$d; ls $d | sed s,^,$d/, |"
        " xargs -n 40 install -c -m 644 -t copy/$d; done; chown -R 0:0 copy"), no_copy),
    Work("install", "install(1) of 500 files, one by one", files(500), shell(
        "for f in tree/*/*; do install -m 644 $f copy/; done"), no_copy),
    next(work for work in WORKS if work.name == "lua -O0 -j2"),
]  # fmt: skip

CONTENDERS = [
    Contender("native", lambda d: [], maps=False),
    Contender("viewos uid:0", lambda d: [*VIEWOS, "-m", "uid:0", "--"], maps=False),
    Contender(
        "viewos uid:0, trapped", lambda d: [*VIEWOS, "--no-inproc", "-m", "uid:0", "--"], maps=False
    ),
    Contender("fakeroot", lambda d: ["fakeroot-sysv", "--"], maps=False, program="fakeroot-sysv"),
    Contender("fakeroot-tcp", lambda d: ["fakeroot-tcp", "--"], maps=False, program="fakeroot-tcp"),
    Contender(
        "pseudo",
        lambda d: [os.environ["VIEWOS_BENCH_PSEUDO"], "-P", _prefix(), "--"],
        maps=False, given="VIEWOS_BENCH_PSEUDO",
    ),
    Contender("PRoot -0", lambda d: ["proot", "-0"], maps=False, program="proot"),
]  # fmt: skip


def _prefix() -> str:
    return str(Path(os.environ["VIEWOS_BENCH_PSEUDO"]).parents[1])


if __name__ == "__main__":
    main(WORKS_OF_ROOT, CONTENDERS, __doc__)
