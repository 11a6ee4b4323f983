"""MountTable: which real paths only the tracee itself may open."""

from __future__ import annotations

import os
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from viewos.kernel import raw_statfs
from viewos.monitor.mounts import NATIVE_TYPES, MountTable

MAGIC = {0x9FA0: "proc", 0x62656572: "sysfs", 0x63677270: "cgroup2", 0x27E0EB: "cgroup",
         0x1CD1: "devpts", 0xEF53: "ext", 0x794C7630: "overlay"}  # fmt: skip
"""f_type of statfs(2) -> the type of mountinfo. tmpfs is not here: devtmpfs has the same number."""


def table(*mounts: tuple[str, str]) -> MountTable:
    """A table of (mount point as mountinfo writes it, type)."""
    made = MountTable()
    made.load(
        f"{30 + n} {29 + n} 0:{n} / {point} rw,relatime shared:1 - {kind} source rw\n".encode()
        for n, (point, kind) in enumerate(mounts)
    )
    return made


USUAL = (("/", "ext4"), ("/proc", "proc"), ("/dev", "tmpfs"), ("/dev/pts", "devpts"),
         ("/home", "ext4"), ("/srv/root", "overlay"), ("/srv/root/proc", "proc"))  # fmt: skip


@pytest.mark.parametrize(
    ("real", "mount", "native", "proc"),
    [
        (b"/", b"/", False, None),
        (b"/proc", b"/proc", True, b"/proc"),
        (b"/proc/1/fd/3", b"/proc", True, b"/proc"),
        (b"/procx", b"/", False, None),
        (b"/proc.d/1", b"/", False, None),
        (b"/dev/null", b"/dev", False, None),
        (b"/dev/pts/0", b"/dev/pts", True, None),
        (b"/dev/ptsx", b"/dev", False, None),
        (b"/home/proc/1", b"/home", False, None),
        (b"/srv/root/proc/self", b"/srv/root/proc", True, b"/srv/root/proc"),
        (b"/srv/root/etc", b"/srv/root", False, None),
    ],
)
def test_a_path(real: bytes, mount: bytes, native: bool, proc: bytes | None) -> None:
    mounts = table(*USUAL)
    assert mounts.mount_of(real) == mount
    assert mounts.is_native(real) is native
    assert mounts.proc_root(real) == proc


def test_the_later_of_two_mounts_counts() -> None:
    assert table(("/", "ext4"), ("/x", "proc"), ("/x", "tmpfs")).is_native(b"/x/1") is False
    assert table(("/", "ext4"), ("/x", "tmpfs"), ("/x", "proc")).is_native(b"/x/1") is True


def escape(point: bytes) -> bytes:
    """As seq_path(3) of the kernel does in mountinfo: proc_pid_mountinfo(5)."""
    return b"".join(b"\\%03o" % byte if byte in b" \t\n\\" else bytes([byte]) for byte in point)


@given(st.binary(min_size=1).filter(lambda name: b"/" not in name and b"\0" not in name))
def test_escapes(name: bytes) -> None:
    mounts = MountTable()
    mounts.load([
        b"1 0 0:1 / / rw - ext4 none rw\n",
        b"2 1 0:2 / /" + escape(name) + b" rw - proc none rw\n",
    ])  # fmt: skip
    assert mounts.mount_of(b"/" + name + b"/1") == b"/" + name
    assert mounts.is_native(b"/" + name)
    assert not mounts.is_native(b"/" + name + b"x")


def test_lines_with_and_without_optional_fields() -> None:
    mounts = MountTable()
    mounts.load([
        b"1 0 0:1 / / rw - ext4 /dev/sd\\040a rw\n",
        b"2 1 0:2 /sub\\040dir /a rw shared:1 master:2 propagate_from:3 - proc - rw\n",
        b"3 1 0:3 / /b rw unbindable - sysfs a\\040-\\040b rw\n",
    ])  # fmt: skip
    assert [mounts.is_native(p) for p in (b"/", b"/a/x", b"/b/x")] == [False, True, True]


def test_this_system() -> None:
    """The type that the table has of a mount point is the one that the kernel tells."""
    mounts = MountTable()
    with open("/proc/self/mountinfo", "rb") as file:
        points = {line.split(b" ")[4] for line in file if b"\\" not in line.split(b" ")[4]}
    compared = 0
    for point in points:
        try:
            (magic,) = struct.unpack_from("=I", raw_statfs(point))
        except OSError:
            continue
        kind = MAGIC.get(magic)
        if kind is not None and os.path.ismount(point):
            assert mounts.is_native(point) is (kind in NATIVE_TYPES), (point, kind)
            compared += 1
    assert compared >= 2
    assert mounts.is_native(b"/proc/self/fd/0")
    assert mounts.proc_root(b"/proc/self/fd/0") == b"/proc"


def test_it_is_read_again_for_a_while() -> None:
    mounts = table(*USUAL)
    assert mounts.is_native(b"/srv/root/proc/1")
    mounts.expect_change()
    assert mounts.is_native(b"/proc/1")
    assert mounts.mount_of(b"/srv/root/proc/1") != b"/srv/root/proc"
