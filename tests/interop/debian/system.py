"""A system made by debootstrap and used: by root with chroot, and by an ordinary user in a view."""

from __future__ import annotations

import difflib
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.system.view import run_in_view

HEAD = ("what is done", "root", "virtual root", "both show")
NOBODY = 65534
PATIENCE = 900
SUITE = "bookworm"
_LISTED = (
    "find . -xdev -path ./proc -prune -o -path ./dev -prune -o -path ./sys -prune -o"
    r" ! -path './var/cache/*' ! -path './var/log/*' -printf '%p %y %m %U:%G %n %l\n'"
    " | LC_ALL=C sort; cd dev && find . -exec stat -c '%n %A %t:%T %u:%g' {} + | LC_ALL=C sort"
)
_APT = "DEBIAN_FRONTEND=noninteractive apt-get -qq"
STEPS = (
    ("dpkg --verify", "dpkg --verify; echo $?; dpkg -l | wc -l"),
    (
        "apt-get install gcc make man-db sudo",
        f"{_APT} update && {_APT} install -y --no-install-recommends gcc libc6-dev make man-db sudo"
        " >/dev/null && dpkg --verify; echo $?; dpkg -l | wc -l; stat -c '%A %U:%G' /usr/bin/sudo",
    ),
    (
        "useradd, chpasswd, usermod, passwd -S",
        "useradd -m -s /bin/bash joe && echo joe:secret | chpasswd && usermod -aG games joe\n"
        "grep joe /etc/passwd /etc/group; id joe; passwd -S joe; ls -ln /etc/shadow\n"
        "stat -c '%n %A %u:%g' /home /home/joe /home/joe/.*",
    ),
    (
        "su, with a login shell, and back refused",
        "su joe -c id; su - joe -c 'id; pwd; touch file; ls -l file'\n"
        "su joe -c 'python3 -c 0 || chown root /home/joe/file; id -u; cat /proc/self/loginuid'",
    ),
    (
        "sudo -u, sudo without a password, sudo refused",
        "sudo -u joe id; sudo -u joe sudo -n id; echo $?\n"
        "echo 'joe ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/joe; chmod 440 /etc/sudoers.d/joe\n"
        "sudo -u joe sudo -n id; sudo -u joe sudo -n -u games id; rm /etc/sudoers.d/joe",
    ),
    (
        "login -f, in a terminal",
        "echo 'id; umask; exit' | script -qec 'login -f joe' /dev/null | grep uid=",
    ),
    (
        "a program compiled, installed with owners and modes, and packed",
        "cd /root; echo 'int main(void) { return 0; }' > a.c && gcc -o a a.c\n"
        "install -o joe -g games -m 4750 a /usr/local/bin/a; stat -c '%A %U:%G' /usr/local/bin/a\n"
        "tar -C /usr/local --mtime=@0 --sort=name -cf - lib share | sha256sum\n"
        "su joe -c a; echo $?",
    ),
    ("userdel -r", "userdel -r joe; echo $?; ls /home; grep joe /etc/passwd; rm -f /root/a*"),
)
Run = Callable[[str], str]


def compare(directory: Path) -> list[tuple[str, ...]]:
    """A row for each step."""
    place = directory / "user"
    place.mkdir()
    os.chown(place, NOBODY, NOBODY)
    native, tree = directory / "root", place / "tree"
    kept = f"uid:0,save={place / 'log'}"

    def in_view(modules: list[str], argv: list[str], cwd: Path) -> str:
        modules = [*modules, kept]
        done = run_in_view(modules, argv, user=NOBODY, cwd=cwd, timeout=PATIENCE, env=_env(place))
        return done.stdout.decode(errors="replace")

    def natively(argv: list[str], cwd: Path) -> str:
        done = subprocess.run(
            argv, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE,
            env={**os.environ, **_env(directory)}, check=False,
        )  # fmt: skip
        return done.stdout.decode(errors="replace")

    own = f"vfs:/={tree},/proc=/proc,/dev=/dev,/sys=/sys"
    mounts = "; ".join(f"mount --rbind /{name} {native}/{name}" for name in ("proc", "dev", "sys"))

    def make(target: Path) -> list[str]:
        return ["debootstrap", "--variant=minbase", SUITE, str(target)]

    def listed(step: str) -> tuple[str, Run, Run]:
        return (
            step,
            lambda _: natively(["sh", "-c", _LISTED], native),
            lambda _: in_view(["vfs:/=/"], ["sh", "-c", f"cd {tree}; {_LISTED}"], place),
        )

    rows = [
        _step("debootstrap --variant=minbase", "", lambda _: natively(make(native), directory),
              lambda _: in_view(["vfs:/=/", "mount"], make(tree), place)),
        _step(*_with_script(listed("owners, modes, links and devices of all files"))),
    ]  # fmt: skip
    for name, script in STEPS:
        rows.append(
            _step(
                name,
                script,
                lambda script: natively(
                    [
                        "unshare",
                        "-m",
                        "sh",
                        "-c",
                        f'{mounts}; exec chroot {native} sh -c "$0"',
                        script,
                    ],
                    Path("/"),
                ),
                lambda script: in_view([own], ["sh", "-c", script], Path("/")),
            )
        )
    rows.append(_step(*_with_script(listed("owners, modes, links and devices after all this"))))
    return rows


def _env(home: Path) -> dict[str, str]:
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return {"HOME": str(home), "PATH": path, "LC_ALL": "C.UTF-8", "TERM": "dumb"}


def _with_script(step: tuple[str, Run, Run]) -> tuple[str, str, Run, Run]:
    return step[0], "", step[1], step[2]


def _step(name: str, script: str, natively: Run, in_view: Run) -> tuple[str, ...]:
    shown, took = [], []
    for run in (natively, in_view):
        begun = time.monotonic()
        shown.append(run(script))
        took.append(f"{time.monotonic() - begun:.1f} s")
    lines = len(shown[0].splitlines())
    same = lines > 0 and shown[0] == shown[1]
    said = f"the same {lines} lines" if same else "DIFFERENT"
    print(f"{name}: {took[0]}, {took[1]}: {said}", flush=True)
    if not same:
        root, virtual = (text.splitlines() for text in shown)
        print(*difflib.unified_diff(root, virtual, lineterm=""), sep="\n")
    return name, *took, said
