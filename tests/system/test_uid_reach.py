"""`reach`: a virtual root reaches what its user owns, and modes are what they were afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.system.launching import mark_of, marked
from tests.system.test_uid import USER, as_root, scratch
from tests.system.users import python
from tests.system.view import run_in_view, started

__all__ = ["scratch"]  # the fixture
pytestmark = pytest.mark.timeout(120)

TREE = """
mkdir -p d/e ro; echo secret >d/e/f; echo x >ro/file; ln -s ../ro/file d/e/link
chmod 0 d/e/f d/e; chmod 555 d ro; chmod 444 ro/file
"""
SCRIPT = """
cat d/e/f; echo more >>d/e/f; cat d/e/f d/e/link; ls d/e; stat -c %a d d/e d/e/f ro/file
touch d/new; stat -c '%a %U' d/new; rm d/new; mv d/e d/g; mv d/g d/e
ln -s x d/l; readlink d/l; rm d/l; ln d/e/f d/hard; rm d/hard
mkdir -m 700 d/sub; rmdir d/sub; mkfifo d/e/p; rm d/e/p
test -w d/e/f; echo $?; test -x d/e/f; echo $?; (cd d/e; pwd | sed 's,.*/,,'; cat f)
find d | sort; python3 -c 'import os
for f in ("d/e/f", "d/e", "d"): print(os.access(f, os.R_OK | os.W_OK), os.access(f, os.X_OK))
fd = os.open("d/e/f", os.O_RDWR); print(os.read(fd, 100), oct(os.fstat(fd).st_mode))
os.chdir("d"); print(open("e/f").read()); print(os.stat("e/f").st_size)'
truncate -s 3 d/e/f; cat d/e/f; echo; setfattr -n user.x -v 1 d/e/f
getfattr --only-values -n user.x d/e/f
chmod 640 d/e/f; chown 5:6 d/e/f; stat -c '%a %u:%g' d/e/f; chmod 0 d/e/f; stat -c %a d/e/f
echo y >ro/file; cat ro/file; sed -i s/y/z/ ro/file; cat ro/file; stat -c %a ro/file
cat none/x d/none; setpriv --reuid 1234 --clear-groups cat d/e/f; rm -r ro; ls
"""


def _tree(place: Path, user: int) -> Path:
    place.mkdir(mode=0o755)
    os.chown(place, user, user)
    run_in_view(None, ["sh", "-c", TREE], user=user, cwd=place, check=True)
    return place


def _ran(modules: list[str] | None, user: int, place: Path, pure: str) -> str:
    argv = ["setpriv", "--clear-groups"] if modules is None else []
    argv += ["sh", "-c", "umask 022\n" + SCRIPT]
    done = run_in_view(
        modules, argv, user=user, cwd=place, stderr=subprocess.STDOUT, env={"VIEWOS_PURE": pure}
    )
    lines = done.stdout.decode().splitlines()
    return "\n".join(line for line in lines if not line.startswith("viewos: uid: with another"))


@as_root
@pytest.mark.parametrize("pure", ["0", "1"])
def test_as_root_would(scratch: Path, pure: str) -> None:
    scratch.chmod(0o755)
    native = _ran(None, 0, _tree(scratch / "native", 0), "")
    seen = _ran(["uid:0:0,reach"], USER, _tree(scratch / "view", USER), pure)
    # Without `drop` another user still has the real one's access, and no more than that.
    assert seen == native
    assert "Permission denied" in native


def test_the_modes_stay(scratch: Path) -> None:
    scratch.chmod(0o755)
    place = _tree(scratch / "view", USER)
    script = "cat d/e/f d/e/link; echo x >>ro/file; touch d/n; rm d/n; ls d/e; stat d/e/f"
    run_in_view(["uid:0,reach"], ["sh", "-c", script], user=USER, cwd=place, check=True)
    modes = [os.stat(place / name).st_mode & 0o777 for name in ("d", "d/e", "d/e/f", "ro/file")]
    assert modes == [0o555, 0, 0, 0o444]


def test_somebody_elses_stays_closed(scratch: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("another user's file takes root to make")
    scratch.chmod(0o755)
    (scratch / "other").write_text("x")
    (scratch / "other").chmod(0)
    done = run_in_view(["uid:0,reach"], ["cat", "other"], user=USER, cwd=scratch)
    assert b"Permission denied" in done.stderr


def test_not_with_drop(scratch: Path) -> None:
    done = run_in_view(["uid:0,reach,drop"], ["true"], user=USER, cwd=scratch)
    assert (done.returncode, done.stderr.count(b"\n")) == (2, 1)
    assert b"choose" in done.stderr


OPENAT2 = """
import ctypes, os, struct
how = struct.pack("=QQQ", os.O_WRONLY | os.O_APPEND, 0, 0)
libc = ctypes.CDLL(None, use_errno=True)
fd = libc.syscall(437, -100, b"ro/file", how, len(how))
print(fd >= 0 and os.write(fd, b"y"), os.strerror(ctypes.get_errno()))
"""


@pytest.mark.parametrize("pure", ["0", "1"])
def test_openat2_has_its_flags_in_memory(scratch: Path, pure: str) -> None:
    scratch.chmod(0o755)
    place = _tree(scratch / "view", USER)
    done = run_in_view(
        ["uid:0,reach"], ["python3", "-c", OPENAT2], user=USER, cwd=place,
        env={"VIEWOS_PURE": pure},
    )  # fmt: skip
    assert done.stdout == b"1 Success\n", done.stderr


AS_PROOT = """
viewos run -m uid:0,reach -- touch d/foo/bar || echo 1; stat -c %a d
viewos run -m uid:123:456,reach -- stat d/foo 2>/dev/null && echo 2
viewos run -m uid:0,reach -- stat -c %a d/foo; chmod -R a+rwx d; chmod 0 d/foo/bar d/foo d
viewos run -m uid:123:456,reach -- chmod g+w d/foo/bar 2>/dev/null && echo 3
viewos run -m uid:0,reach -- sh -c 'chmod g+w d/foo/bar; stat -c %a d/foo/bar d/foo d'
stat -c %a d; rm -fr d 2>/dev/null && echo 4; viewos run -m uid:0,reach -- rm -fr d
ls -d d 2>/dev/null
"""


def test_what_a_test_of_proot_asks_for(scratch: Path) -> None:
    """Its 1fedd9a3, but for the real mode of a file of which the view remembers another one."""
    scratch.chmod(0o777)
    script = AS_PROOT.replace("viewos", f"{python(USER)} -m viewos")
    done = run_in_view(
        None, ["sh", "-c", "mkdir -p d/foo; chmod 0 d/foo d" + script], user=USER, cwd=scratch
    )
    assert done.stdout.split() == [b"0", b"0", b"20", b"0", b"0", b"0"], done.stderr


LOOPS = "cat ro/file; while :; do cat d/e/f >/dev/null; echo x >>ro/file; done"


def _send(number: int, processes: dict[str, int]) -> None:
    for pid in processes.values():
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def test_what_a_killed_monitor_lent_is_put_back(scratch: Path) -> None:
    """However often it is killed, in whatever moment."""
    scratch.chmod(0o777)
    place = _tree(scratch / "view", USER)
    env = {"XDG_STATE_HOME": str(scratch / "state"), "TMPDIR": str(scratch)}
    paths = [place / name for name in ("d", "d/e", "d/e/f", "ro", "ro/file")]
    before = [os.lstat(path).st_mode for path in paths]
    for turn in range(8):
        with started(
            ["uid:0,reach"], ["sh", "-c", LOOPS], user=USER, cwd=place, env=env, strict=False,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        ) as running:  # fmt: skip
            assert running.stdout and running.stdout.readline() == b"x\n"
            time.sleep(turn / 97)
            others = marked(mark_of(running))
            monitor = others.pop("viewos-monitor")
            if turn % 2:  # else what is left of the view puts them back
                _send(signal.SIGSTOP, others)
            os.kill(monitor, signal.SIGKILL)
            if turn % 2:
                _send(signal.SIGKILL, others)
            running.kill()
            running.wait()
        journals = [*(scratch / "state" / "viewos").iterdir()]
        assert len(journals) == turn % 2
        if turn % 2:
            run_in_view(["uid:0"], ["true"], user=USER, cwd=place, env=env, check=True)
        assert [os.lstat(path).st_mode for path in paths] == before, turn
        assert [*(scratch / "state" / "viewos").iterdir()] == []


def test_what_is_not_where_it_was_is_named(scratch: Path) -> None:
    state = scratch / "viewos"
    state.mkdir(mode=0o700)
    entry = {"path": "/nowhere/at/all", "before": 0, "lent": 0o700, "is": [1, 2, "68"]}
    (state / "lent-1").write_text(json.dumps(entry) + '\n{"path": "/half')
    for path in (scratch, state, state / "lent-1"):
        os.chown(path, USER, USER)
    env = {"XDG_STATE_HOME": str(scratch)}
    done = run_in_view(["uid:0"], ["echo", "began"], user=USER, env=env)
    assert done.returncode == 0
    assert b"/nowhere/at/all" in done.stderr
    assert done.stdout == b"began\n"
    assert not (state / "lent-1").exists()
