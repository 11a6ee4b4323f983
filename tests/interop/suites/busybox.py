"""busybox's own tests."""

from __future__ import annotations

import re
import shutil

from .sources import need, unpack
from .suite import Run, Statuses, Suite, ending, unused

_STATUS = re.compile(r"^(PASS|FAIL|SKIPPED|UNTESTED): (.*)$", re.MULTILINE)
_OFF = ("CONFIG_TC", "CONFIG_SHA1_HWACCEL", "CONFIG_SHA256_HWACCEL")
"""What does not build, or not everywhere."""
PART = 12


def _parts() -> dict[str, list[str]]:
    """Applets that have tests, some together, by the first of them."""
    folder = unpack("busybox").path / "testsuite"
    files = {path.name.removesuffix(".tests") for path in folder.glob("*.tests")}
    names = sorted(files | {path.name for path in folder.iterdir() if path.is_dir()})
    return {names[at]: names[at : at + PART] for at in range(0, len(names), PART)}


class Busybox(Suite):
    """A group is some applets: their runner starts with a link for each that there is."""

    name = "busybox"
    subset = False

    def build(self, subset: bool) -> None:
        """Raises NotRun."""
        need("make", "gcc")
        tree = unpack("busybox")

        def build() -> None:
            tree.make("make", "defconfig")
            config = tree.path / ".config"
            text = config.read_text()
            for name in _OFF:
                text = text.replace(f"{name}=y", f"# {name} is not set")
            config.write_text(text)
            tree.make("sh", "-c", "yes '' | make oldconfig")
            tree.make("make", "-j2")

        tree.once("all", build)

    def groups(self, user: int, subset: bool) -> list[str]:
        """The first applet of each part."""
        return list(_parts())

    def run(self, run: Run, group: str) -> Statuses:
        """Some applets, in a copy: the tests write beside themselves, and beside the program."""
        tree = unpack("busybox").path
        with run.directory(group) as (work, real):
            shutil.copytree(tree / "testsuite", real / "testsuite", symlinks=True)
            (real / "scripts").mkdir()
            for name in ("busybox", ".config", "scripts/echo.c"):
                shutil.copy(tree / name, real / name)
            for path in [real, *real.rglob("*")]:
                shutil.chown(
                    path, run.place.user, run.place.user
                ) if not path.is_symlink() else None
            argv = ["sh", "./runtest", *_parts()[group]]
            env = {"SKIP_KNOWN_BUGS": "1", "HOME": str(work)}
            outcome = run(argv, cwd=work / "testsuite", log=group, limit=2400, env=env)
        words = {"SKIPPED": "skip", "UNTESTED": "skip", "PASS": "pass", "FAIL": "fail"}
        found: Statuses = {}
        for word, test in _STATUS.findall(outcome.output):
            found[unused(test.replace(str(work), "WORK"), found)] = words[word]
        return {**found, "end": ending(outcome)}
