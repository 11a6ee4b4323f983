"""A file system that is full, in blocks and inodes: nothing half done, the errors of the kernel."""

from __future__ import annotations

import os
import re

import pytest

from .swapped import SWAP, Tree, tree
from .view import run_in_view

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="mounting takes CAP_SYS_ADMIN")
MOUNT = 'mount -t tmpfs -o size=2M,nr_inodes=300,mode=1777 none "$1" && shift && exec "$@"'
SCRIPT = r"""
    cd "$1"; head -c 3000000 /dev/zero >big; stat -c %s big
    for i in $(seq 400); do : >n$i || break; done 2>/dev/null; ls | wc -l
    mkdir d; ln big l; cp big c; mkfifo p; ln -s big s; : >n1; mv n1 m1; rm -f n*; mkdir d
    echo x >d/f; cp d/f d/g; df --output=size,avail . | tail -1; truncate -s 0 big; echo y >d/f
    ulimit -f 4; (trap '' XFSZ; head -c 9000 /dev/zero >f); stat -c %s f; truncate -s 9000 g; ls d
"""


def _says(ground: Tree, modules: tuple[str, ...] | None, path: str) -> str:
    before = ("unshare", "-m", "--propagation", "private", "sh", "-c", MOUNT, "sh")
    done = run_in_view(
        modules and [ground.name(module) for module in modules],
        ["bash", "-c", f"exec 2>&1; {SCRIPT}", "bash", ground.name(path)],
        user=ground.user, before=(*before, ground.name("T/b/sub")), timeout=40,
    )  # fmt: skip
    return re.sub(r"line \d+: +\d+ ", "", done.stdout.decode())


@pytest.mark.timeout(90)
@pytest.mark.parametrize("user", [0, 65534])
def test_a_full_file_system(user: int) -> None:
    with tree(user) as ground:
        ground.root.chmod(0o755)
        expected = _says(ground, None, "T/b/sub")
        assert expected.count("No space left on device") > 5, expected
        assert "File too large" in expected
        assert _says(ground, SWAP, "T/a/sub") == expected
        assert _says(ground, ("vfs:/=/",), "T/b/sub") == expected


LOG_IS_FULL = r"""
import errno, os, stat
os.umask(0)
def says(call, *args):
    try:
        call(*args)
        return "made"
    except OSError as error:
        return errno.errorcode[error.errno]
def left(name):
    return oct(os.lstat(name).st_mode) if os.path.lexists(name) else "nothing"
for name in ("file", "gone"):
    open(name, "w").close()
    os.chown(name, 7, 7)
os.mkdir("there", 0)
open("/mnt/fill", "wb", buffering=0).write(bytes(1 << 20))
n = 0
while n < 2000 and says(os.chown, "file", n, n) == "made":
    n += 1
print("last", os.stat("file").st_uid == n - 1)
creates = os.O_CREAT | os.O_WRONLY
print("device", says(os.mknod, "device", stat.S_IFCHR, os.makedev(1, 3)), left("device"))
print("fifo", says(os.mknod, "fifo", stat.S_IFIFO | 0o6600), left("fifo"))
print("directory", says(os.mkdir, "directory", 0), left("directory"))
print("there", says(os.mkdir, "there", 0), left("there"))
print("file 0", says(os.open, "zero", creates, 0), left("zero"))
print("set-uid", says(os.open, "set", creates, 0o4755), left("set"))
print("chmod", says(os.chmod, "file", 0), left("file"))
print("mode that is", says(os.chmod, "plain", 0o640), left("plain"))
print("remove", says(os.unlink, "gone"), left("gone"))
os.unlink("/mnt/fill")
print("then", says(os.mknod, "device", stat.S_IFCHR, os.makedev(1, 3)), left("device"))
"""
LEFT = """last True
device ENOSPC nothing
fifo ENOSPC nothing
directory ENOSPC nothing
there EEXIST 0o40000
file 0 ENOSPC nothing
set-uid ENOSPC nothing
chmod ENOSPC 0o100666
mode that is made 0o100640
remove made nothing
then made 0o20000
"""


@pytest.mark.parametrize("env", [{}, {"VIEWOS_PURE": "1"}])
def test_a_log_that_is_full(env: dict[str, str]) -> None:
    """Calls failed, and had had their effect."""
    with tree(0) as ground:
        mount = 'mount -t tmpfs -o size=200k none /mnt && cd "$1" && shift && : >plain && exec "$@"'
        done = run_in_view(
            ["uid:0,save=/mnt/log"],
            ["python3", "-c", LOG_IS_FULL],
            user=0, timeout=40, env=env,
            before=("unshare", "-m", "sh", "-c", mount, "sh", ground.name("T/b/sub")),
        )  # fmt: skip
        assert done.stdout.decode() == LEFT
