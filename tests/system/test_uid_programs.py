"""Programs that fakeroot does not reach, and many owners at once: as root, and as virtual root."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.system.view import run_in_view, scratch_directory, without_note
from tests.system.witness import build

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.skipif(os.getuid() != 0, reason="the native twin needs root"),
]
NOBODY = 65534
MANY = 10_000
PACK = """
import os, sys
os.mkdir("tree")
for i in range(int(sys.argv[1])):
    if i % 100 == 0:
        os.mkdir(f"tree/{i}"); os.chown(f"tree/{i}", i, i + 1)
    path = f"tree/{i // 100 * 100}/f{i}"
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
    os.chown(path, 1000 + i * 7 % 9973, 2000 + i * 11 % 9941)
    os.chmod(path, (0o644, 0o4755, 0o2711, 0o600, 0o1777)[i % 5])
"""
ROUND = f"""
python3 -S -c '{PACK}' {MANY}
pack() {{ tar --numeric-owner --sort=name --mtime=@0 --format=gnu -c "$1" | sha256sum; }}
list() {{ find tree -printf '%p %m %U:%G\\n' | sort | sha256sum; }}
pack tree; list
tar --numeric-owner --mtime=@0 -cf all.tar tree; rm -r tree; tar --numeric-owner -xpf all.tar
pack tree; list; find tree | wc -l
"""

FLAGS = """
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
def told(*a): return errno.errorcode[ctypes.get_errno()] if libc.syscall(*a) else 0
room = ctypes.create_string_buffer(256)
os.close(os.open("f", os.O_CREAT))
fds = [os.open("f", 0), os.open("f", os.O_PATH), os.open(".", 0), -100, 99]
for flags in (0, 0x1000, 0x1100, 0x1400, 0x1200, 0x1800, 0x400, 0x3000, 0x7000):
    for fd in fds:
        found = told(262, fd, b"", room, flags), told(332, fd, b"", flags, 0x7FF, room)
        print(hex(flags), fd, *found)
"""


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A directory that everybody may search."""
    with scratch_directory("viewos-uid-") as path:
        yield path


def both(scratch: Path, argv: Sequence[str]) -> tuple[str, str]:
    """What a command prints as root, and as virtual root."""
    shown = []
    for modules, user in ((None, 0), (["uid:0:0"], NOBODY)):
        place = scratch / str(user)
        place.mkdir()
        os.chown(place, user, user)
        result = run_in_view(
            modules, argv, user=user, cwd=place, stderr=subprocess.STDOUT, timeout=150, check=True
        )
        shown.append(without_note(result.stdout).decode())
    return shown[0], shown[1]


def test_a_static_go_program(scratch: Path) -> None:
    program = scratch / "owners"
    shutil.copy(build("owners"), program)
    program.chmod(0o755)
    native, virtual = both(scratch, [str(program)])
    assert "file 104755 5:6 0" in native
    assert virtual == native


def test_an_archive_of_ten_thousand_owners(scratch: Path) -> None:
    native, virtual = both(scratch, ["sh", "-ec", "umask 022" + ROUND])
    assert virtual == native
    packed, listed, packed_again, listed_again, count = native.splitlines()
    assert (packed_again, listed_again, count) == (packed, listed, str(MANY + MANY // 100 + 1))


BY_DESCRIPTOR = """
import os
def run(program):
    if os.fork() == 0:
        os.setgid(7); os.setuid(7); os.execve(program, ["id", "-u"], {})
    os.wait()
fd = os.open("id", os.O_RDONLY)
for program in "id", fd, f"/proc/self/fd/{fd}", f"/dev/fd/{fd}":
    run(program)
"""


@pytest.mark.parametrize("modules", [["uid:0"], ["vfs:/=/", "uid:0"], ["uid:0,drop"]])
def test_the_set_user_id_bit_by_a_descriptor(scratch: Path, modules: list[str]) -> None:
    script = 'cp /usr/bin/id id; chown 5 id; chmod 4755 id; exec python3 -IS -c "$0"'
    os.chown(scratch, NOBODY, NOBODY)
    argv = ["sh", "-c", script, BY_DESCRIPTOR]
    done = run_in_view(modules, argv, user=NOBODY, cwd=scratch, timeout=60)
    assert done.stdout.split() == [b"5"] * 4


@pytest.mark.parametrize("pure", ["0", "1"])
def test_flags_that_the_kernel_does_not_know_beside_a_descriptor(
    scratch: Path, pure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIEWOS_PURE", pure)
    native, virtual = both(scratch, ["python3", "-ISc", FLAGS])
    assert virtual == native
