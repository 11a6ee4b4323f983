"""chown and chmod of a virtual root, many of which the accelerator does by itself: random ones
against the kernel's for a real root, and none of them lost between it and Python."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.system.test_uid import USER, as_root, scratch
from tests.system.users import python
from tests.system.view import run_in_view

__all__ = ["scratch"]  # the fixture
pytestmark = pytest.mark.timeout(120)

RANDOM = """
import ctypes, errno, os, random, stat
here = os.open('.', os.O_RDONLY)
libc = ctypes.CDLL(None, use_errno=True)
names = 'plain other hard link dangling d d/inner device fifo none d/../plain'.split()
for name in ('plain', 'other'):
    open(name, 'w').close()
os.link('plain', 'hard')
os.symlink('plain', 'link')
os.symlink('nowhere', 'dangling')
os.mkdir('d')
open('d/inner', 'w').close()
os.mknod('device', 0o600 | stat.S_IFCHR, os.makedev(1, 3))
os.mkfifo('fifo')
gone = os.open('gone', os.O_CREAT | os.O_RDWR)
os.unlink('gone')
fds = [gone, 99, *(os.open(name, 0) for name in ('plain', 'd')),
       *(os.open(name, os.O_PATH) for name in ('d', 'link'))]
chance = random.Random(SEED)
ids = [-1, 0, 5, 6, 70000]
modes = [0, 0o644, 0o755, 0o4711, 0o2755, 0o2644, 0o6777, 0o1777, 0o7777, 0o200]

def raw(number, *args):
    if libc.syscall(number, *args) < 0:
        raise OSError(ctypes.get_errno(), '')

calls = {
    'chown': lambda: os.chown(chance.choice(names), chance.choice(ids), chance.choice(ids)),
    'lchown': lambda: os.lchown(chance.choice(names), chance.choice(ids), chance.choice(ids)),
    'fchown': lambda: os.fchown(chance.choice(fds), chance.choice(ids), chance.choice(ids)),
    'fchownat': lambda: raw(260, chance.choice([here, -100]), chance.choice(names).encode(),
                            *chance.choices(ids, k=2), chance.choice([0, 0x100, 0x1100, 1])),
    'empty': lambda: raw(260, chance.choice(fds), b'', chance.choice(ids), chance.choice(ids),
                         chance.choice([0, 0x1000])),
    'chmod': lambda: os.chmod(chance.choice(names), chance.choice(modes)),
    'fchmod': lambda: os.fchmod(chance.choice(fds), chance.choice(modes)),
    'fchmodat': lambda: os.chmod(chance.choice(names), chance.choice(modes), dir_fd=here),
    'fchmodat2': lambda: raw(452, -100, chance.choice(names).encode(), chance.choice(modes),
                             chance.choice([0, 0x100])),
    'setxattr': lambda: os.setxattr('other', 'trusted.x', b'%d' % chance.randrange(9)),
    'removexattr': lambda: os.removexattr('other', 'trusted.x'),
    'make': lambda: os.close(os.open('d/new%d' % chance.randrange(5), os.O_CREAT | os.O_RDWR)),
    'again': lambda: (os.unlink('other'), os.close(os.open('other', os.O_CREAT))),
}
for turn in range(400):
    name = chance.choice(list(calls))
    try:
        calls[name]()
        said = 'done'
    except OSError as error:
        said = errno.errorcode[error.errno]
    shown = []
    for path in [*names, 'd/new1', *fds]:
        try:
            st = os.fstat(path) if isinstance(path, int) else os.lstat(path)
            shown.append('%o:%d:%d:%d' % (st.st_mode, st.st_uid, st.st_gid, st.st_rdev))
        except OSError as error:
            shown.append(errno.errorcode[error.errno])
    print(turn, name, said, *shown)
"""


def _place(scratch: Path, name: str = "view", user: int = USER) -> Path:
    scratch.chmod(0o777)
    place = scratch / name
    place.mkdir()
    os.chown(place, user, user)
    return place


def _lines(modules: list[str] | None, user: int, place: Path, code: str, pure: str) -> list[bytes]:
    argv = ["setpriv", "--clear-groups"] if modules is None else []
    done = run_in_view(
        modules, [*argv, "python3", "-c", code], user=user, cwd=place, check=True,
        env={"VIEWOS_PURE": pure},
    )  # fmt: skip
    return done.stdout.splitlines()


@as_root
@pytest.mark.parametrize("pure", ["0", "1"])
@pytest.mark.parametrize("seed", range(4))
def test_random_changes_are_as_a_real_root_has_them(scratch: Path, seed: int, pure: str) -> None:
    code = RANDOM.replace("SEED", str(seed))
    native = _lines(None, 0, _place(scratch, "native", 0), code, "")
    assert _lines(["uid:0:0"], USER, _place(scratch), code, pure) == native
    assert len(native) == 400


TAKING_TURNS = """
import os, sys
for turn in range(1, 1500):
    if sys.argv[1] == "owner": # the accelerator's
        os.chown("d", turn, -1)
        assert os.stat("d").st_uid == turn, (turn, os.stat("d"))
    elif sys.argv[1] == "bit": # Python's: what is made in it inherits
        os.chmod("d", 0o2700 + turn % 8)
        assert os.stat("d").st_mode & 0o7777 == 0o2700 + turn % 8, (turn, os.stat("d"))
    else:
        os.chown("d", -1, turn)
        assert os.stat("d").st_gid == turn, (turn, os.stat("d"))
"""


def test_changes_here_and_there_at_the_same_time(scratch: Path) -> None:
    """One process changes the owner, one the group, one the mode: what one of them has changed is
    never undone by the others, of which some are the accelerator's and some are not."""
    place = _place(scratch)
    (place / "turns.py").write_text(TAKING_TURNS)
    script = """mkdir d; chmod 2755 d
        python3 turns.py owner & a=$!; python3 turns.py bit & b=$!
        python3 turns.py group && wait $a && wait $b && stat -c '%u %g %a' d"""
    done = run_in_view(
        ["uid:0"], ["sh", "-c", script], user=USER, cwd=place, stderr=subprocess.PIPE
    )
    assert (done.returncode, done.stdout) == (0, b"1499 1499 2703\n"), done.stderr


def test_who_is_no_root_may_not(scratch: Path) -> None:
    place = _place(scratch)
    script = """touch a b; chown 5:6 a; chown 7 b
        setpriv --reuid 5 --regid 6 --clear-groups sh -c 'chmod 4711 a; chown 8 a; chmod 777 b'
        capsh --drop=cap_chown -- -c 'chown 9 a'; capsh --drop=cap_fowner -- -c 'chmod 700 a'
        stat -c '%u %g %a' a b"""
    done = run_in_view(
        ["uid:0"], ["sh", "-c", script], user=USER, cwd=place, stderr=subprocess.PIPE
    )
    assert done.stdout == b"5 6 4711\n7 0 644\n"
    assert done.stderr.count(b"Operation not permitted") == 4


def test_a_second_view_of_a_table_ends_it(scratch: Path) -> None:
    """What is nested shows the same owners: it must see what the outer one changes, and the other
    way round."""
    place = _place(scratch)
    viewos = f"{python(USER)} -m viewos run -m vfs:/mnt=."
    script = f"""touch a; chown 1 a; chown 2 a; stat -c %u a
        {viewos} -- sh -c 'stat -c %u /mnt/a; chown 3 /mnt/a; chown 4 a; stat -c %u a'
        stat -c %u a; chown 5 a; {viewos} -- stat -c %u a"""
    done = run_in_view([f"vfs:/srv={place}", "uid:0"], ["sh", "-c", script], user=USER, cwd=place)
    assert done.stdout.split() == b"2 2 4 4 5".split(), done.stderr


@pytest.mark.parametrize("owner", ["5:6", "0:0"])
def test_it_is_the_accelerator_that_changes(scratch: Path, owner: str) -> None:
    """Of many files few changes are Python's: the first on a file system, and when many wait."""
    place = _place(scratch)
    for number in range(5000):
        (place / str(number)).touch()
        os.chown(place / str(number), USER, -1)
    log = scratch / "log"
    script = f"ls | xargs chown {owner}; stat -c %u:%g * | sort | uniq -c"
    options = ["-v", "--log", str(log), "--no-inproc", "-m", "uid:0"]
    argv = [python(USER), "-m", "viewos", "run", *options, "--", "sh", "-c", script]
    done = run_in_view(None, argv, user=USER, cwd=place, check=True)
    assert done.stdout.split() == [b"5000", owner.encode()]
    passed = re.search(r"fchownat (\d+)", log.read_text())
    assert passed is None or int(passed[1]) < 300, log.read_text()
