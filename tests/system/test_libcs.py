"""The in-process tier with libcs of other shapes than this machine's."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.system.inproc import notifications, place, run
from tests.system.view import Place, run_in_view
from tests.system.witness import build

__all__ = ["place"]  # the fixture
pytestmark = pytest.mark.timeout(120)

FRAMES = ("-fomit-frame-pointer", "-fno-omit-frame-pointer")
"""Distributions have one or the other."""
ROOTS = [Path(path) for path in os.environ.get("VIEWOS_TEST_ROOTS", "").split(":") if path]
"""Trees with a libc of their own, as debootstrap makes them: `VIEWOS_TEST_ROOTS=/srv/trixie`."""
WAYS = ("looks", "steps", "watched", "threads", "cancel", "seccomp", "prctl", "stacks")
CHROOT = (
    'mount --rbind /proc "$1/proc" && mount --rbind /dev "$1/dev" && mount --rbind "$2" "$1/mnt"'
    ' && root=$1 && shift 2 && exec chroot "$root" "$@"'
)
POINTS = """opened
EINTR, lost 0
read, lost 0
steps taken, lost 0
"""


@pytest.mark.parametrize("frames", FRAMES)
def test_cancellation_points_that_one_function_makes(place: Place, frames: str) -> None:
    """As of glibc 2.41: its opens are made in the program, its other calls stay what they are."""
    (place.real / "file").write_text("text")
    library = place.real / "lib" / "libc.so.6"
    library.parent.mkdir()
    shutil.copy(build("libpoints", "-shared", "-fPIC", frames), library)
    program = build("points")
    words = [program, str(library), str(place.real / "file")]
    assert run_in_view(None, words, user=place.user).stdout.decode() == POINTS
    words[-1] = "/mnt/file"
    assert run([f"vfs:/mnt={place.real}"], words, place.user) == POINTS
    assert notifications(place, "vfs:/mnt=DIR", *words) < 20


@pytest.mark.parametrize("inproc", [True, False])
def test_threads_are_cancelled(place: Place, inproc: bool) -> None:
    words = [build("cancel"), str(place.real)]
    natively = run_in_view(None, words, user=place.user).stdout.decode()
    assert natively.count(": cancelled") == 7
    words[-1] = "/mnt"
    options = [] if inproc else ["--no-inproc"]
    view = run([f"vfs:/mnt={place.real}"], words, place.user, options=options)
    assert view == natively


# ---- real ones, where trees of them are at hand ----


def in_root(root: Path, place: Place, *words: str) -> tuple[str, str]:
    """What a program of this machine says with the libc of a tree: natively, and in a view."""
    (root / "mnt").mkdir(exist_ok=True)
    natively = ["unshare", "--mount", "sh", "-c", CHROOT, "sh", str(root), str(place.real), *words]
    done = subprocess.run(natively, capture_output=True, text=True, timeout=60, check=False)
    view = f"vfs:/={root},/proc=/proc,/dev=/dev,/mnt={place.real}"
    return done.stdout + done.stderr, run([view], list(words), place.user, cwd="/")


def put(place: Place, program: str) -> str:
    shutil.copy(program, place.real)
    return f"/mnt/{Path(program).name}"


if ROOTS:

    @pytest.mark.parametrize("place", [0], indirect=True)  # for chroot(2)
    @pytest.mark.parametrize("root", ROOTS, ids=str)
    class TestRoot:
        """VIEWOS_TEST_ROOTS."""

        @pytest.mark.parametrize("how", WAYS)
        def test_a_program_cannot_tell(self, place: Place, root: Path, how: str) -> None:
            natively, view = in_root(root, place, put(place, build("inproc")), "/mnt", how)
            assert view == natively

        def test_threads_are_cancelled(self, place: Place, root: Path) -> None:
            natively, view = in_root(root, place, put(place, build("cancel")), "/mnt")
            assert view == natively and natively.count(": cancelled") == 7

        def test_it_opens_files_itself(self, place: Place, root: Path) -> None:
            module = f"vfs:/={root},/proc=/proc,/dev=/dev"
            words = ["--", "/bin/cat", *200 * ["/etc/passwd"]]
            assert notifications(place, module, *words, cwd="/") < 20
