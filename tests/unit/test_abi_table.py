"""The table of system calls against itself, the headers and the running kernel's prototypes."""

from __future__ import annotations

import functools
import os
import pathlib
import re
import subprocess

import pytest

from viewos.abi.row import NO_COOKIE, SIGNED_32, SIXTH, UNSIGNED_32, Kind
from viewos.abi.syscalls import (
    BY_NUMBER,
    LAST_NUMBER,
    NUMBERS,
    OPERATIONS,
    PATH_SYSCALLS,
    TABLE,
)

pytestmark = pytest.mark.timeout(60)

# What sys_NAME is called in the kernel, where it differs from the system call's name.
KERNEL_NAMES = {
    "stat": "newstat",
    "lstat": "newlstat",
    "fstat": "newfstat",
    "uname": "newuname",
    "sendfile": "sendfile64",
    "umount2": "umount",
}
PATH_WORDS = re.compile(r"path|filename|name|file$|root|put_old|special|path_str")
# char pointers whose name looks like a path's, and why they are none.
NO_PATHS = {
    "name": {
        "getxattr lgetxattr fgetxattr getxattrat": "an attribute's name",
        "setxattr lsetxattr fsetxattr setxattrat": "an attribute's name",
        "removexattr lremovexattr fremovexattr removexattrat": "an attribute's name",
        "sethostname setdomainname": "the name itself",
        "delete_module": "a module's name",
    },
    "uname": {"memfd_create": "a label for /proc/PID/maps"},
    "u_name": {"mq_open mq_unlink": "a name in the queues' own name space, without slashes"},
    "oldname": {"symlink symlinkat": "the text of the link, which no call resolves"},
    "_fs_name": {"fsopen": "a type of file system"},
}
# The paths that no `const char *` in a prototype shows.
HIDDEN_PATHS = {"bpf", "fsconfig", "uselib"}


def header() -> dict[str, int]:
    for place in ("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "/usr/include/asm/unistd_64.h"):
        if os.path.exists(place):
            text = pathlib.Path(place).read_text(encoding="ascii")
            return {n: int(v) for n, v in re.findall(r"#define __NR_(\w+)\s+(\d+)", text)}
    pytest.skip("no asm/unistd_64.h (Debian: linux-libc-dev)")


@functools.cache
def prototypes() -> dict[str, list[tuple[str, str]]]:
    """Name -> [(type, argument)] of every system call that this kernel was built with."""
    read = "cd /sys/kernel/tracing/events/syscalls && grep -H field: sys_enter_*/format"
    commands = [["sh", "-c", read]]
    mount = "mount -t tracefs none /sys/kernel/tracing && "
    commands.append(["unshare", "-m", "--propagation", "private", "sh", "-c", mount + read])
    found: dict[str, list[tuple[str, str]]] = {}
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        for name, kind, argument in re.findall(
            r"^sys_enter_(\w+)/format:\s*field:(.*?)(\w+);", done.stdout, re.MULTILINE
        ):
            arguments = found.setdefault(name, [])
            if not argument.startswith(("common_", "__syscall_nr")):
                arguments.append((kind.strip(), argument))
        if found:
            return found
    pytest.skip(
        "no prototypes: /sys/kernel/tracing/events/syscalls needs root and a kernel with "
        "CONFIG_FTRACE_SYSCALLS"
    )


def known(kernel_name: str) -> str:
    return {value: key for key, value in KERNEL_NAMES.items()}.get(kernel_name, kernel_name)


def test_every_number_of_the_header() -> None:
    wrong = {n: v for n, v in header().items() if n not in TABLE or TABLE[n].number != v}
    assert wrong == {}


def test_every_system_call_of_the_kernel_has_a_row() -> None:
    assert {known(name) for name in prototypes()} - set(TABLE) == set()


def test_as_many_arguments_as_the_kernel_takes() -> None:
    wrong = {
        known(name): [argument for _, argument in arguments]
        for name, arguments in prototypes().items()
        if len(TABLE[known(name)].args) != len(arguments)
    }
    assert wrong == {}


def is_path(call: str, kind: str, argument: str) -> bool:
    if kind.replace("const ", "").strip() != "char *" or not PATH_WORDS.search(argument):
        return False
    return not any(call in calls.split() for calls in NO_PATHS.get(argument, {}))


def unlisted_paths(
    protos: dict[str, list[tuple[str, str]]], positions: dict[str, set[int]]
) -> list[tuple[str, str]]:
    return [
        (known(name), argument)
        for name, arguments in protos.items()
        for index, (kind, argument) in enumerate(arguments)
        if is_path(known(name), kind, argument) and index not in positions.get(known(name), set())
    ]


POSITIONS = {name: {where.path for where in row.paths} for name, row in TABLE.items()}


def test_every_path_of_the_kernel_is_in_the_table() -> None:
    assert unlisted_paths(prototypes(), POSITIONS) == []


def test_a_missing_path_would_be_seen() -> None:
    protos = prototypes()
    for name in PATH_SYSCALLS - HIDDEN_PATHS:
        missing = unlisted_paths(protos, {**POSITIONS, name: set()})
        assert {call for call, _ in missing} == {name}


def test_a_new_path_call_would_be_seen() -> None:
    protos = {**prototypes(), "openat3": [("int", "dfd"), ("const char *", "filename")]}
    assert unlisted_paths(protos, POSITIONS) == [("openat3", "filename")]


def test_exceptions_are_not_stale() -> None:
    protos = prototypes()
    for argument, reasons in NO_PATHS.items():
        for call in " ".join(reasons).split():
            arguments = protos.get(KERNEL_NAMES.get(call, call))
            # A kernel without modules lacks delete_module.
            assert arguments is None or argument in [a for _, a in arguments], (call, argument)


def test_every_path_is_a_char_pointer() -> None:
    for name in PATH_SYSCALLS - HIDDEN_PATHS:
        arguments = prototypes()[KERNEL_NAMES.get(name, name)]
        for where in TABLE[name].paths:
            kind, argument = arguments[where.path]
            if (name, argument) != ("quotactl", "addr"):
                assert kind in ("const char *", "char *"), (name, argument)
            if where.dirfd is not None:
                assert arguments[where.dirfd][0] == "int", name


def test_kinds_have_the_width_that_the_kernel_takes() -> None:
    wide = {"unsigned long", "size_t", "long", "loff_t", "off_t", "aio_context_t", "__u64"}
    for name, arguments in prototypes().items():
        row = TABLE[known(name)]
        for arg, (kind, _) in zip(row.args, arguments, strict=True):
            plain = kind.replace("const ", "").strip()
            # Descriptors are cut to an int by fdget, pids by the call itself.
            narrow = arg.kind in SIGNED_32 | UNSIGNED_32 and arg.kind not in (Kind.FD, Kind.PID)
            if plain in wide or plain.endswith("*"):
                assert not narrow, (row.name, arg, kind)


def test_cookies_fit() -> None:
    protos = prototypes()
    for row in TABLE.values():
        needs = row.paths or row.sockaddr
        assert not needs or row.cookie != NO_COOKIE, row.name
        if row.cookie == SIXTH:
            assert len(row.args) < 6, row.name
        elif row.cookie != NO_COOKIE:
            assert row.cookie.shift == 32
            assert protos[row.name][row.cookie.arg][0] in ("int", "unsigned int"), row.name


def test_rows_are_consistent() -> None:
    assert {name: row.number for name, row in TABLE.items()} == NUMBERS
    assert len(BY_NUMBER) == len(TABLE)
    assert max(NUMBERS.values()) == LAST_NUMBER
    for row in TABLE.values():
        assert len(row.args) <= 6
        assert len({arg.name for arg in row.args}) == len(row.args)
        held = {where.path for where in row.paths}
        assert {i for i, arg in enumerate(row.args) if arg.kind == Kind.PATH} <= held, row.name
        dirfds = {where.dirfd for where in row.paths} - {None}
        assert {i for i, arg in enumerate(row.args) if arg.kind == Kind.DIRFD} <= dirfds, row.name
        for i, arg in enumerate(row.args):
            assert (arg.kind == Kind.SOCKADDR) == (i in [a.address for a in row.sockaddr])
        assert row.name in OPERATIONS[row.operation]


def test_the_path_calls_that_a_view_promises() -> None:
    promised = (
        "open openat openat2 creat stat lstat newfstatat statx access faccessat faccessat2 "
        "readlink readlinkat mkdir mkdirat mknod mknodat rmdir unlink unlinkat rename renameat "
        "renameat2 link "
        "linkat symlink symlinkat chmod fchmodat fchmodat2 chown lchown fchownat utime utimes "
        "futimesat utimensat truncate getxattr lgetxattr getxattrat setxattr lsetxattr setxattrat "
        "listxattr llistxattr listxattrat removexattr lremovexattr removexattrat file_getattr "
        "file_setattr chdir chroot execve execveat statfs inotify_add_watch fanotify_mark "
        "name_to_handle_at mount umount2 pivot_root move_mount mount_setattr open_tree "
        "open_tree_attr fspick fsconfig bpf swapon swapoff acct quotactl uselib"
    )
    assert set(promised.split()) == PATH_SYSCALLS
