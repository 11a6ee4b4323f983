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
