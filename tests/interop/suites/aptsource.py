"""Source packages of Debian: fetched with apt-get, without a change to the machine's own lists."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from .sources import Tree, build_directory, need, run_build

MACHINE = Path("/etc/apt")


def _as_source(text: str) -> str:
    text = re.sub(r"^Types:.*$", "Types: deb-src", text, flags=re.MULTILINE)
    return re.sub(r"^deb(?=\s)", "deb-src", text, flags=re.MULTILINE)


def _apt(work: Path, *, sources: bool) -> list[str]:
    """The words of an apt-get with lists of its own below `work`, of `sources` or of packages."""
    for directory in ("sources", "lists/partial", "cache/archives/partial"):
        (work / directory).mkdir(parents=True, exist_ok=True)
    parts = (MACHINE / "sources.list.d").glob("*")
    for old in [MACHINE / "sources.list", *parts]:
        if old.exists() and old.suffix in (".list", ".sources"):
            text = old.read_text()
            (work / "sources" / old.name).write_text(_as_source(text) if sources else text)
    options = {
        "Dir::Etc::sourcelist": "/dev/null",
        "Dir::Etc::sourceparts": work / "sources",
        "Dir::State::lists": work / "lists",
        "Dir::Cache": work / "cache",
        "APT::Sandbox::User": "root",
        "Acquire::Retries": 3,
    }
    return ["apt-get", "-q", *(f"-o{key}={value}" for key, value in options.items())]


def _get(target: Path, *words: str, sources: bool) -> None:
    apt = _apt(build_directory() / ("apt-source" if sources else "apt-binary"), sources=sources)
    # A source that cannot be reached does no harm: the next command decides.
    run_build([*apt, "update"], target, check=False)
    run_build([*apt, *words], target)


def download(package: str, target: Path) -> None:
    """Put the .deb of a package into the directory `target`. Raises NotRun."""
    _get(target, "download", package, sources=False)


def source(package: str) -> Tree:
    """The tree of a Debian source package, fetched on first use. Raises NotRun."""
    need("apt-get", "dpkg-source", "patch")
    target = build_directory() / f"debian-{package}"
    if not target.exists():
        part = target.with_name(target.name + ".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        part.parent.chmod(0o755)
        _get(part, "source", package, sources=True)
        part.rename(target)
    (inner,) = (path for path in target.iterdir() if path.is_dir())
    return Tree(inner)
