"""Copies of programs that are run by another loader than they name."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from viewos.monitor import copies, permission
from viewos.monitor.binfmt import LoaderHeader, loader_of
from viewos.monitor.copies import copied
from viewos.view import View

CAT, TRUE = (os.fsencode(os.path.realpath(f"/bin/{name}")) for name in ("cat", "true"))
LOADER = os.fsencode(os.path.realpath(loader_of(CAT) or b""))


@pytest.fixture
def view(tmp_path: Path) -> View:
    made = View()
    made.scratch = os.fsencode(tmp_path / "scratch")
    os.mkdir(made.scratch)
    return made


def output(path: bytes, *words: str) -> str:
    done = subprocess.run(
        ["its name", *words], executable=path, check=True, capture_output=True, timeout=20
    )
    return done.stdout.decode()


def test_a_copy_runs_by_another_loader(view: View, tmp_path: Path) -> None:
    other = tmp_path / ("a-loader-" + "x" * 100)
    other.symlink_to(os.fsdecode(LOADER))
    copy = copied(view, CAT, os.fsencode(other))
    assert loader_of(copy.path) == os.fsencode(other)
    assert output(copy.path, "/proc/self/comm") == "cat\n"
    assert view.standins.originals[copy.path] == CAT
    assert copied(view, CAT, os.fsencode(other)) is copy
    other.unlink()
    with pytest.raises(FileNotFoundError):
        output(copy.path)


def test_it_is_of_the_file_that_is_there_now(view: View, tmp_path: Path) -> None:
    """Also where size and mtime are the same, and the inode."""
    program = tmp_path / "program"
    real = os.fsencode(program)
    shutil.copy(os.fsdecode(CAT), program)
    size = program.stat().st_size
    os.utime(program, (1, 1))
    first = copied(view, real, LOADER)
    with program.open("r+b") as file:
        file.write(Path(os.fsdecode(TRUE)).read_bytes()[:size].ljust(size, b"\0"))
    os.utime(program, (1, 1))
    second = copied(view, real, LOADER)
    assert output(second.path, "/etc/passwd") == ""
    assert not os.path.exists(first.path)
    assert second.is_of(os.stat(program)) and len(view.standins.copies) == 1
    program.chmod(0o700)
    assert os.stat(copied(view, real, LOADER).path).st_mode & 0o777 == 0o700


def test_the_oldest_make_room(view: View, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "MOST_FILES", 3)
    loaders = [LOADER.replace(b"/", b"/" * n, 1) for n in range(1, 6)]
    made = [copied(view, CAT, loader).path for loader in loaders[:3]]
    assert copied(view, CAT, loaders[0]).path == made[0]  # it is used
    made += [copied(view, CAT, loader).path for loader in loaders[3:]]
    assert [os.path.exists(path) for path in made] == [True, False, False, True, True]
    assert view.standins.size == 3 * os.path.getsize(CAT)
    assert len(os.listdir(view.scratch)) == 3


def test_a_program_larger_than_all_room(view: View, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "MOST_BYTES", 1)
    first, second = copied(view, CAT, LOADER), copied(view, TRUE, LOADER)
    assert not os.path.exists(first.path) and output(second.path) == ""


def test_what_fails_leaves_nothing(view: View, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\n")
    with pytest.raises(OSError, match="no loader"):
        copied(view, os.fsencode(script), LOADER)
    assert not os.listdir(view.scratch) and not view.standins.copies


def test_a_directory_that_was_cleaned(view: View) -> None:
    first = copied(view, CAT, LOADER)
    shutil.rmtree(view.scratch)
    second = copied(view, CAT, LOADER)
    assert first.path != second.path and os.path.exists(second.path)


def test_a_process_that_is_forked_meanwhile(view: View, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has the copy open for writing as long as it lives: another one is made."""
    relink, children = copies._relink, []

    def fork(*args: Any) -> LoaderHeader:
        if not children:
            children.append(os.fork())
            if not children[0]:
                time.sleep(60)
                os._exit(0)
        return relink(*args)

    monkeypatch.setattr(copies, "_relink", fork)
    try:
        assert output(copied(view, CAT, LOADER).path, "/proc/self/comm") == "cat\n"
    finally:
        os.kill(children[0], signal.SIGKILL)
        os.waitpid(children[0], 0)


@pytest.mark.parametrize("can_check", [True, False])
def test_what_is_open_for_writing(
    can_check: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the kernel cannot be asked without executing it."""
    if not can_check:
        monkeypatch.setattr(permission, "can_check", lambda: False)
    program = tmp_path / "program"
    shutil.copy(os.fsdecode(CAT), program)
    real = os.fsencode(program)
    permission.refuse_what_is_written(real)
    with program.open("ab"), pytest.raises(OSError, match=r"writing|busy"):
        permission.refuse_what_is_written(real)
    with program.open("rb"):
        permission.refuse_what_is_written(real)
    permission.refuse_what_is_written(real + b"-none")


def test_few_sources_are_kept_where_few_files_may_be_open(
    view: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, 64))
    for number in range(20):
        copies.keep_source(view, b"%d" % number, CAT, b"")
    assert [*view.standins.sources] == [b"%d" % number for number in range(12, 20)]
    view.standins.close()
    assert not view.standins.sources
