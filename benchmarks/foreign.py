"""What a root directory of one's own costs, without root: python -m benchmarks.foreign [OPTION]...

Run by root, whose chroot(8) is what the others are compared with: they are user 65534's. The tree
is debootstrap's; VIEWOS_BENCH_TREE names one that is there, with gcc and make, and packages that
apt-get has downloaded. The options are those of `python -m benchmarks`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from benchmarks.__main__ import main
from benchmarks.contenders import VIEWOS, Contender
from benchmarks.works import Unavailable, Work, prepare_lua

_PACKAGES = "man-db sudo vim-tiny python3 file less"
_APT = "apt-get -qy --no-install-recommends install"
_USER = 65534
_NOBODY = f"setpriv --reuid={_USER} --regid={_USER} --clear-groups --inh-caps=-all --".split()
_SYSTEM = {
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/", "LC_ALL": "C",
    "DEBIAN_FRONTEND": "noninteractive",
}  # fmt: skip


def _tree(directory: Path) -> Path:
    given = os.environ.get("VIEWOS_BENCH_TREE")
    if given:
        return Path(given)
    if shutil.which("debootstrap") is None:
        raise Unavailable("debootstrap is not installed")
    tree = directory / "base"
    include = "--include=gcc,libc6-dev,make"
    subprocess.run(["debootstrap", "--variant=minbase", include, "bookworm", tree], check=True)
    shutil.copy("/etc/resolv.conf", tree / "etc/resolv.conf")
    download = ["chroot", tree, "sh", "-c", f"apt-get update -q && {_APT} -d {_PACKAGES}"]
    subprocess.run(download, check=True, env={**os.environ, **_SYSTEM})
    return tree


def _copies(directory: Path) -> None:
    """One tree of root's, and one of the user's."""
    directory.chmod(0o755)
    base = Path(os.readlink(directory / "tree"))
    for name in ("root", "user"):
        shutil.rmtree(directory / name, ignore_errors=True)
        (directory / name).mkdir()
        subprocess.run(["cp", "-a", base, directory / name / "tree"], check=True)
    subprocess.run(["chown", "-R", f"{_USER}:{_USER}", directory / "user"], check=True)


def _prepare(directory: Path) -> None:
    (directory / "tree").symlink_to(_tree(directory))
    _copies(directory)


def _prepare_sources(directory: Path) -> None:
    _prepare(directory)
    for owner in ("root", "user"):
        prepare_lua(directory / owner)
        (directory / owner / "lua").rename(directory / owner / "tree/lua")
    subprocess.run(["chown", "-R", f"{_USER}:{_USER}", directory / "user"], check=True)


def _within(script: str) -> Callable[[str], list[str]]:
    return lambda directory: ["sh", "-ec", script]


_MAKE = "make -s -B -C /lua -j2 OPT=-O0"
WORKS_IN_A_TREE = [
    Work("apt-get", "six packages installed", _prepare, _within(f"{_APT} {_PACKAGES}"), _copies),
    Work("make", "make -j2 of Lua with -O0", _prepare_sources, _within(_MAKE)),
    Work("find", "find by owner", _prepare, _within("find / -xdev -user bin")),
    Work("true", "500 times", _prepare, _within(
        "i=0; while [ $i != 500 ]; do /bin/true; i=$((i+1)); done")),
]  # fmt: skip


def _viewos(*modules: str) -> Callable[[str], list[str]]:
    def prefix(directory: str) -> list[str]:
        tree = f"vfs:/={directory}/user/tree,/proc=/proc,/dev=/dev,/sys=/sys"
        options = [word for one in (tree, *modules) for word in ("-m", one)]
        log = f"save={directory}/user/log"
        return [*_NOBODY, *VIEWOS, *(word.replace("save=", log) for word in options), "--"]

    return prefix


def _proot(directory: str) -> list[str]:
    binds = [word for name in ("/proc", "/dev", "/sys") for word in ("-b", name)]
    return [*_NOBODY, "proot", "-0", "-r", f"{directory}/user/tree", *binds]


def _fakechroot(directory: str) -> list[str]:
    return [*_NOBODY, "fakechroot", "fakeroot", "chroot", f"{directory}/user/tree"]


CONTENDERS = [
    Contender("native", lambda d: ["chroot", f"{d}/root/tree"], maps=False, env=_SYSTEM),
    Contender("viewos uid:0", _viewos("uid:0"), maps=False, env=_SYSTEM),
    Contender("viewos uid:0,save=", _viewos("uid:0,save="), maps=False, env=_SYSTEM),
    Contender("PRoot -0", _proot, maps=False, program="proot", env=_SYSTEM),
    Contender("fakechroot, fakeroot", _fakechroot, maps=False, program="fakechroot", env=_SYSTEM),
]


if __name__ == "__main__":
    main(WORKS_IN_A_TREE, CONTENDERS, __doc__)
