"""The code of docs/modules.md: its modules keep to the contract, its snippets work."""

from __future__ import annotations

import errno
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import viewos
from viewos import FileModule, Utsname, VirtualModule
from viewos.modules.uid import Uid
from viewos.testing import FakeCall, FileModuleConformance, started

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "modules.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
FILES = {match[1]: block for block in BLOCKS if (match := re.match(r"# (\w+)\.py\n", block))}
SNIPPETS = [block for block in BLOCKS if not block.startswith("# ")]


def load(name: str) -> dict[str, Any]:
    """The names that a module file of the guide defines."""
    names: dict[str, Any] = {"__name__": name}
    exec(compile(FILES[name], f"{name}.py", "exec"), names)
    return names


def make_notes() -> FileModule:
    module: FileModule = load("notes")["Notes"]()
    return module


class TestNotes(FileModuleConformance):
    module = staticmethod(make_notes)


def test_notes_holds_what_it_says() -> None:
    module = make_notes()
    with started(module):
        for path, text in load("notes")["FILES"].items():
            with open(module.locate(path, "read"), "rb") as file:
                assert file.read() == text


def test_every_tenth_open_fails() -> None:
    module: VirtualModule = load("diskfull")["DiskFull"]()
    failed = []
    for number in range(1, 31):
        name = ("open", "openat", "creat", "openat2")[number % 4]
        try:
            assert FakeCall(module, name, path=b"/x").answer() is viewos.PASS
        except OSError as error:
            failed.append((number, error.errno))
    assert failed == [(n, errno.ENOSPC) for n in (10, 20, 30)]


def test_the_snippet_on_testing() -> None:
    (snippet,) = [block for block in SNIPPETS if "FakeProcess" in block]
    names = {**load("oldkernel"), **load("notes"), "Uid": Uid, "Utsname": Utsname}
    exec(snippet, names)
    names["test_release"]()
    names["test_children_inherit"]()
    assert isinstance(names["TestNotes"].module(), FileModule)


def test_the_snippet_on_words() -> None:
    from viewos.spec import Items, SpecError

    (snippet,) = [block for block in SNIPPETS if "from_items" in block]
    names: dict[str, Any] = {"Items": Items, "Self": object}
    body = snippet.replace("\n", "\n    ")
    exec(
        "class Mine:\n    name = 'mine'\n    example = 'mine:every=3'\n"
        f"    def __init__(self, every): self.every = every\n    {body}",
        names,
    )
    assert callable(names["Mine"].from_items)
    assert issubclass(SpecError, Exception)


@pytest.mark.timeout(120)
def test_the_modules_have_right_types(tmp_path: Path) -> None:
    for name, text in FILES.items():
        (tmp_path / f"{name}.py").write_text(text)
    result = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "--cache-dir",
         str(tmp_path / "cache"), *[f"{name}.py" for name in FILES]],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=100,
        env={"MYPYPATH": str(GUIDE.parents[1]), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
