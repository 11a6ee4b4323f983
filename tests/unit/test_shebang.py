"""parse_shebang against the kernel: what it makes of a script's first line is what execve does."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from viewos.monitor.binfmt import BINPRM_BUF_SIZE, parse_shebang

ECHO = r"""
#include <string.h>
#include <unistd.h>
int main(int argc, char **argv) {
    for (int i = 0; i < argc; i++)
        if (write(1, argv[i], strlen(argv[i]) + 1) < 0)
            return 1;
    return 0;
}
"""


@dataclass(frozen=True)
class Place:
    """A directory with an interpreter that prints its argv, and one that is a directory."""

    directory: Path

    @property
    def interpreter(self) -> bytes:
        return os.fsencode(self.directory / "i")

    def run(self, line: bytes) -> list[bytes] | int:
        """argv as the interpreter gets it, or the errno of the execve."""
        script = self.directory / "script"
        script.write_bytes(line)
        script.chmod(0o755)
        try:
            result = subprocess.run(
                [script, "own"], executable=script, cwd=self.directory, capture_output=True,
                check=True, timeout=20,
            )  # fmt: skip
        except OSError as error:
            return error.errno or 0
        return result.stdout.split(b"\0")[:-1]

    def expected(self, line: bytes) -> list[bytes] | int:
        """The same, by what `parse_shebang` says of the line."""
        found = parse_shebang(line[:BINPRM_BUF_SIZE]) if line[:2] == b"#!" else None
        if found is None:
            return errno.ENOEXEC
        interpreter, argument = found
        script = os.fsencode(self.directory / "script")
        try:
            named = os.path.join(os.fsencode(self.directory), interpreter)
            is_ours = os.path.samefile(named, self.interpreter)
        except OSError as error:
            return error.errno or 0
        if is_ours:  # by whatever name: a second slash in front leads there too
            words = [interpreter, *([] if argument is None else [argument])]
            return [*words, script, b"own"]
        return errno.EACCES  # a directory; an empty name is the working directory


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    compiler = shutil.which("gcc") or shutil.which("cc")
    assert compiler, "a C compiler is needed"
    with tempfile.TemporaryDirectory(prefix="v", dir="/tmp") as directory:
        source = Path(directory, "i.c")
        source.write_text(ECHO)
        subprocess.run([compiler, "-static", "-O1", "-o", Path(directory, "i"), source], check=True)
        yield Place(Path(directory))


INTERPRETER = b"@"
"""Stands for the interpreter's path until there is a place."""
words = st.sampled_from([b"x", b"-a", b"word=1", b"\xff", b"#", b"/", b"/tmp", b".", INTERPRETER])
blanks = st.sampled_from([b"", b" ", b"\t", b" \t ", b"\r", b"\0", b"\v", b"  "])
ends = st.sampled_from([b"\n", b"\nrest\n", b"", b"\0\n", b" \n", b"\t", b"\r\n", b"\0", b" x"])
starts = st.sampled_from([b"#!", b"#! ", b"#!\t", b"#!" + INTERPRETER, b"#!" + INTERPRETER + b" "])


@st.composite
def lines(draw: st.DrawFn) -> bytes:
    """First lines of few words, some of them stretched to where the kernel stops reading."""
    line = draw(starts)
    for _ in range(draw(st.integers(0, 3))):
        line += draw(blanks) + draw(words)
    return line + draw(blanks)


@settings(max_examples=400)
@given(
    line=lines(), end=ends, size=st.none() | st.integers(250, 260), fill=st.sampled_from(b"y \t\0")
)
@example(line=b"#!@", end=b"", size=None, fill=0)
@example(line=b"#!/@", end=b"\n", size=None, fill=0)
@example(line=b"#!", end=b"\n", size=None, fill=0)
@example(line=b"#! \t", end=b"\n", size=256, fill=32)
@example(line=b"#!@", end=b"\n", size=255, fill=32)
@example(line=b"#!@", end=b"\n", size=256, fill=32)
@example(line=b"#!@", end=b"\n", size=257, fill=32)
@example(line=b"#!@ x", end=b"\n", size=256, fill=121)
@example(line=b"#!@ x", end=b"", size=256, fill=121)
@example(line=b"#!@ x", end=b"\n", size=255, fill=121)
@example(line=b"#!@ x", end=b"\n", size=258, fill=121)
@example(line=b"#!@", end=b"\n", size=258, fill=121)
def test_first_lines(place: Place, line: bytes, end: bytes, size: int | None, fill: int) -> None:
    """`size`: the line is filled up to so many bytes before its end."""
    line = line.replace(INTERPRETER, place.interpreter)
    if size is not None:
        line = line.ljust(size, bytes([fill]))
    line += end
    assert place.run(line) == place.expected(line), line


@settings(max_examples=200)
@given(rest=st.binary(max_size=300))
def test_any_bytes(place: Place, rest: bytes) -> None:
    """Behind an interpreter's name."""
    line = b"#!" + place.interpreter + b" " + rest
    assert place.run(line) == place.expected(line), line
