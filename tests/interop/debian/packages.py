"""Source packages that need a root to be packed: by root, under fakeroot, and in a view."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from tests.system.users import as_user, python
from tests.system.view import environment

DEFAULT = ("bash", "man-db", "procmail", "screen", "uucp")
"""Each has Rules-Requires-Root absent or binary-targets, and odd owners or set-user-ID files."""
HEAD = (
    "package",
    "files",
    "with an owner or a bit of its own",
    "fakeroot",
    "viewos fakeroot",
    "the .deb files",
)
NOBODY = 65534
PATIENCE = 1800


def compare(directory: Path, names: Sequence[str]) -> list[tuple[str, ...]]:
    """A row for each package. Raises CalledProcessError where a build fails."""
    wrapper = directory / "viewos-fakeroot"
    wrapper.write_text(f'#!/bin/sh\nexec {python(NOBODY)} -m viewos fakeroot -- "$@"\n')
    wrapper.chmod(0o755)
    subprocess.run(
        ["apt-get", "-qq", "-y", "--no-install-recommends", "build-dep", *names],
        stdout=subprocess.DEVNULL, check=True,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
    )  # fmt: skip
    return [_package(directory / name, name, wrapper) for name in names]


def _package(directory: Path, name: str, wrapper: Path) -> tuple[str, ...]:
    directory.mkdir()
    os.chown(directory, NOBODY, NOBODY)
    _run(NOBODY, directory, "apt-get", "-qq", "source", "--download-only", name)
    (description,) = directory.glob("*.dsc")
    _run(NOBODY, directory, "dpkg-source", "--no-check", "-x", description.name, "built")
    tree, kept = directory / "built", directory / "kept"
    _run(NOBODY, tree, "dpkg-buildpackage", "-d", "-us", "-uc", "-T", "build")
    tree.rename(kept)
    found: dict[str, dict[str, str]] = {}
    took: dict[str, float] = {}
    for who, user, command in (
        ("root", 0, "env"),
        ("fakeroot", NOBODY, "fakeroot"),
        ("viewos", NOBODY, str(wrapper)),
    ):
        subprocess.run(["cp", "-a", str(kept), str(tree)], check=True)
        for place in (tree, directory):
            _run(
                0, directory, "chown", "-R" if place == tree else "-h", f"{user}:{user}", str(place)
            )
        begun = time.monotonic()
        _run(user, tree, "dpkg-buildpackage", "-d", "-us", "-uc", f"-r{command}", "-T", "binary")
        took[who] = time.monotonic() - begun
        made = sorted(directory.glob("*deb"))
        found[who] = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in made}
        if who == "root":
            listed = [line for path in made for line in _listed(path)]
        for path in made:
            path.unlink()
        shutil.rmtree(tree)
    odd = sum(1 for line in listed if _is_odd(line))
    same = bool(found["root"]) and found["root"] == found["fakeroot"] == found["viewos"]
    said = f"the same {len(found['root'])}, byte by byte" if same else f"differ: {found}"
    row = (
        name,
        str(len(listed)),
        str(odd),
        f"{took['fakeroot']:.1f} s",
        f"{took['viewos']:.1f} s",
        said,
    )
    print(row, flush=True)
    return row


def _listed(package: Path) -> list[str]:
    words = ["dpkg-deb", "-c", str(package)]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()


def _is_odd(line: str) -> bool:
    mode, owner = line.split()[:2]
    return owner != "root/root" or "s" in mode.lower() or "t" in mode.lower()


def _run(user: int, cwd: Path, *words: str) -> None:
    env = environment({"DEB_BUILD_OPTIONS": "nocheck parallel=2", "HOME": str(cwd)})
    log = cwd.parent / "log"
    with open(log, "ab") as file:
        subprocess.run(
            as_user(user, list(words)), cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=file,
            stderr=file, timeout=PATIENCE, check=True,
        )  # fmt: skip
