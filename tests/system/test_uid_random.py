"""Random calls on names by a virtual root, most of which its programs make themselves, against the
kernel's for a real root."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.test_uid import USER, as_root, scratch
from tests.system.test_uid_changes import _place
from tests.system.view import run_in_view

__all__ = ["scratch"]  # the fixture
pytestmark = pytest.mark.timeout(120)

RANDOM = """
import errno, os, random, stat, sys
top, seed = sys.argv[1:]
os.chdir(top)
chance = random.Random(int(seed))
os.mkdir('p'); os.mkdir('g'); os.chown('g', 0, 5); os.chmod('g', 0o2775); os.symlink('g', 'to')
directories = [os.open(name, os.O_RDONLY) for name in 'pg']
modes = [0, 0o644, 0o755, 0o200, 0o2755, 0o4711, 0o1777]
flags = [os.O_RDONLY, os.O_WRONLY | os.O_CREAT, os.O_RDWR | os.O_CREAT | os.O_EXCL, os.O_RDWR,
         os.O_WRONLY | os.O_CREAT | os.O_TRUNC, os.O_RDONLY | os.O_DIRECTORY,
         os.O_PATH, os.O_PATH | os.O_NOFOLLOW, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW]
kinds = [stat.S_IFIFO, stat.S_IFREG, stat.S_IFCHR, stat.S_IFSOCK]

def short():
    where = chance.choice(['', '', 'p/', 'g/', 'to/', 'p/d/', 'g/d/', './', 'p/../'])
    return where + chance.choice('abcd')

def path():
    used.append(short() + chance.choice(['', '', '', '/', '/.']))
    return chance.choice(['', top + '/']) + used[-1]

def at():
    return {'path': chance.choice('abcd'), 'dir_fd': chance.choice(directories)}

def opens(name, **kw):
    which = chance.choice(flags)
    used.append(oct(which))
    if not which & os.O_PATH: which |= os.O_NONBLOCK
    fd = os.open(name, which, chance.choice(modes), **kw)
    try:
        found = os.fstat(fd)
        if stat.S_ISCHR(found.st_mode):
            return 'device'  # the real one
        return '%o' % found.st_mode, found.st_uid, found.st_gid, found.st_nlink
    finally:
        os.close(fd)

calls = {
    'open': lambda: opens(path()),
    'openat': lambda: opens(chance.choice('abcd'), dir_fd=chance.choice(directories)),
    'mkdir': lambda: os.mkdir(path(), chance.choice(modes)),
    'mkdirat': lambda: os.mkdir(**at(), mode=chance.choice(modes)),
    'mknod': lambda: os.mknod(path(), chance.choice(kinds) | chance.choice(modes), 0x103),
    'symlink': lambda: os.symlink(chance.choice(['a', 'p', 'none']), path()),
    'link': lambda: os.link(path(), path()),
    'rename': lambda: os.rename(path(), path()),
    'renameat': lambda: os.rename('a', chance.choice('abcd'), src_dir_fd=directories[0],
                                  dst_dir_fd=chance.choice(directories)),
    'unlink': lambda: os.unlink(path()),
    'unlinkat': lambda: os.unlink(**at()),
    'rmdir': lambda: os.rmdir(path()),
    'utime': lambda: os.utime(path(), (1, 2)),
    'chmod': lambda: os.chmod(path(), chance.choice(modes)),
    'chown': lambda: os.chown(path(), chance.choice([0, 0, 5]), chance.choice([0, 0, 6])),
    'umask': lambda: os.umask(chance.choice([0, 0o22, 0o22, 0o77, 0o707])),
    'access': lambda: os.access(path(), chance.choice([0, 2, 4])),
    'readlink': lambda: os.readlink(path()),
}
weights = [1 if name in ('umask', 'chmod', 'chown') else 8 for name in calls]

places = ['.', *'abcd']
for directory in ('p', 'g', 'p/d', 'g/d'):
    places += [directory, *(directory + '/' + name for name in 'abcd')]

def shown():
    for name in places:
        try:
            st = os.lstat(name)
            size = 0 if stat.S_ISDIR(st.st_mode) else st.st_size
            yield '%s %o:%d:%d:%d:%d' % (name, st.st_mode, st.st_uid, st.st_gid, st.st_rdev, size)
        except OSError:
            pass

for turn in range(600):
    (name,) = chance.choices(list(calls), weights)
    used = []
    try:
        said = calls[name]()
    except OSError as error:
        said = errno.errorcode[error.errno]
    print(turn, name, *used, said, *shown())
"""
VIEWS = {
    "alone": ["uid:0:0"],
    "saved": ["uid:0:0,save=LOG"],
    "claimed": ["vfs:/mnt=DIR", "uid:0:0"],
    "claimed and saved": ["vfs:/mnt=DIR", "uid:0:0,save=LOG"],
    "a root of its own": ["vfs:/=/,/mnt=DIR", "uid:0:0,save=LOG"],
}


@as_root
@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("seed", range(3))
def test_random_names_are_as_a_real_root_has_them(scratch: Path, seed: int, view: str) -> None:
    place, real = _place(scratch), _place(scratch, "native", 0)
    words = ["python3", "-c", RANDOM]
    native = run_in_view(None, [*words, real, str(seed)], user=0, check=True)
    modules = [
        module.replace("DIR", str(place)).replace("LOG", str(scratch / "log"))
        for module in VIEWS[view]
    ]
    top = "/mnt" if "/mnt" in modules[0] else str(place)
    said = run_in_view(modules, [*words, top, str(seed)], user=USER, check=True)
    for ours, theirs in zip(said.stdout.splitlines(), native.stdout.splitlines(), strict=True):
        assert ours == theirs
    real_modes = [path.lstat().st_mode for path in place.rglob("*") if not path.is_symlink()]
    assert not any(mode & 0o6000 for mode in real_modes)  # they would give the real user away
