"""What the documents show is what happens: every `console` example is run.

In a block fenced as ```console a line that begins with `$ ` is a command, `> ` continues it, and
the rest is what it prints, on stdout and stderr. `...` stands for anything, a whole line of it for
any number of lines. The files of a document (```python blocks that begin with `# NAME.py`) lie
in the fresh directory where a block runs.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# (\w+\.py)\n")
MARK = "--- next command ---"


@dataclass(frozen=True)
class Example:
    """A console block of a document."""

    document: str
    line: int
    commands: tuple[tuple[str, str], ...]
    """(command, what it prints)."""
    files: tuple[tuple[str, str], ...]


def read_commands(block: str) -> tuple[tuple[str, str], ...]:
    """The commands of a console block, each with the output below it."""
    commands: list[list[str]] = []
    for line in block.splitlines(keepends=True):
        if line.startswith("$ "):
            commands.append([line[2:], ""])
        elif not commands:
            raise ValueError(f"a console block begins with {line!r}, which is no command")
        elif line.startswith("> ") and not commands[-1][1]:
            commands[-1][0] += line[2:]
        else:
            commands[-1][1] += line
    return tuple((command, output) for command, output in commands)


def examples(document: Path) -> list[Example]:
    """All examples of a document."""
    text = document.read_text()
    blocks = list(FENCE.finditer(text))
    files = tuple(
        (name[1], block[2])
        for block in blocks
        if block[1] == "python" and (name := FILE.match(block[2]))
    )
    return [
        Example(
            document.name, text.count("\n", 0, block.start()) + 1, read_commands(block[2]), files
        )
        for block in blocks
        if block[1] == "console"
    ]


def matches(expected: str, actual: str) -> bool:
    """Is the output what the document shows?"""
    pattern = ""
    for line in expected.splitlines():
        if line.strip() == "...":
            pattern += r"(?:.*\n)*?"
        else:
            pattern += ".*".join(map(re.escape, line.split("..."))) + "\n"
    return re.fullmatch(pattern, actual) is not None


DOCUMENTS = [
    path for path in (REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md")))
    if path.exists()
]  # fmt: skip
EXAMPLES = [example for document in DOCUMENTS for example in examples(document)]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: f"{e.document}:{e.line}")
def test_an_example(
    example: Example, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    for name, text in example.files:
        (tmp_path / name).write_text(text)
    script = "".join(f"{command}echo '{MARK}'\n" for command, _ in example.commands)
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "LC_ALL": "C.UTF-8",
        # Several run at once: each lists and names views of its own.
        "VIEWOS_RUNTIME_DIR": str(tmp_path_factory.mktemp("run")),
    }
    result = subprocess.run(
        ["bash", "-c", f"exec 2>&1\n{script}"],
        cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        check=False, timeout=50,
    )  # fmt: skip
    outputs = result.stdout.split(MARK + "\n")[: len(example.commands)]
    for (command, expected), output in zip(example.commands, outputs, strict=True):
        assert matches(expected, output), f"$ {command}{output}--- but should be ---\n{expected}"


# ---- the runner itself ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expected", "actual", "same"),
    [
        ("a\n", "a\n", True),
        ("a\n", "b\n", False),
        ("a\n", "a\nb\n", False),
        ("", "b\n", False),
        ("a\n...\nz\n", "a\nz\n", True),
        ("a\n...\nz\n", "a\nb\nc\nz\n", True),
        ("a\n...\nz\n", "a\nb\nc\n", False),
        ("took ... s\n", "took 5 s\n", True),
        ("a.c\n", "abc\n", False),
    ],
)
def test_matching(expected: str, actual: str, same: bool) -> None:
    assert matches(expected, actual) is same


def test_commands_are_found() -> None:
    assert read_commands("$ one\nout\n> no command\n$ two <<E\n> in\n> E\n") == (
        ("one\n", "out\n> no command\n"),
        ("two <<E\nin\nE\n", ""),
    )
    with pytest.raises(ValueError, match="is no command"):
        read_commands("output first\n")


def test_there_are_examples() -> None:
    assert {"modules.md", "vfs.md", "hostname.md", "uid.md"} <= {e.document for e in EXAMPLES}
    assert len({name for e in EXAMPLES if e.document == "modules.md" for name, _ in e.files}) == 3


def test_the_guides_modules_are_short() -> None:
    (example, *_) = [e for e in EXAMPLES if e.document == "modules.md"]
    for name, text in example.files:
        assert len(text.splitlines()) <= 25, name
