"""A call as strace prints it, from its row of the table."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Sequence

from viewos.abi import fcntl as f
from viewos.abi.row import POINTERS, STRINGS, Kind, Row, decode

_OPEN_FLAGS = (
    (f.O_TMPFILE, "O_TMPFILE"), (f.O_SYNC, "O_SYNC"), (f.O_CREAT, "O_CREAT"), (f.O_EXCL, "O_EXCL"),
    (f.O_NOCTTY, "O_NOCTTY"), (f.O_TRUNC, "O_TRUNC"), (f.O_APPEND, "O_APPEND"),
    (f.O_NONBLOCK, "O_NONBLOCK"), (f.O_DSYNC, "O_DSYNC"), (f.FASYNC, "FASYNC"),
    (f.O_DIRECT, "O_DIRECT"), (f.O_LARGEFILE, "O_LARGEFILE"), (f.O_DIRECTORY, "O_DIRECTORY"),
    (f.O_NOFOLLOW, "O_NOFOLLOW"), (f.O_NOATIME, "O_NOATIME"), (f.O_CLOEXEC, "O_CLOEXEC"),
    (f.O_PATH, "O_PATH"), (f.O_TMPFILE_BIT, "__O_TMPFILE"),
)  # fmt: skip
_ACCESS_MODES = ("O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE")
_AT_FLAGS = (
    (f.AT_SYMLINK_NOFOLLOW, "AT_SYMLINK_NOFOLLOW"), (f.AT_SYMLINK_FOLLOW, "AT_SYMLINK_FOLLOW"),
    (f.AT_NO_AUTOMOUNT, "AT_NO_AUTOMOUNT"), (f.AT_EMPTY_PATH, "AT_EMPTY_PATH"),
    (f.AT_STATX_FORCE_SYNC, "AT_STATX_FORCE_SYNC"), (f.AT_STATX_DONT_SYNC, "AT_STATX_DONT_SYNC"),
    (f.AT_RECURSIVE, "AT_RECURSIVE"), (f.AT_EXECVE_CHECK, "AT_EXECVE_CHECK"),
)  # fmt: skip
# One bit, another meaning in each of these calls (linux/fcntl.h).
_AT_FLAGS_OF = {
    "unlinkat": (*_AT_FLAGS, (f.AT_REMOVEDIR, "AT_REMOVEDIR")),
    "faccessat2": (*_AT_FLAGS, (f.AT_EACCESS, "AT_EACCESS")),
    "open_tree": (
        *_AT_FLAGS,
        (f.OPEN_TREE_CLONE, "OPEN_TREE_CLONE"),
        (f.OPEN_TREE_CLOEXEC, "OPEN_TREE_CLOEXEC"),
    ),
}
_AT_FLAGS_OF["open_tree_attr"] = _AT_FLAGS_OF["open_tree"]

# strace writes no \a and no \b.
_ESCAPES = {
    0x09: "\\t", 0x0A: "\\n", 0x0B: "\\v", 0x0C: "\\f", 0x0D: "\\r", 0x22: '\\"', 0x5C: "\\\\",
}  # fmt: skip

LONGEST_STRING = 4096
"""Bytes of a string that are printed."""


def flag_names(value: int, flags: Iterable[tuple[int, str]]) -> list[str]:
    """The names of the flags in `value`, and what is left in hex. Flags of several bits come first
    in `flags`."""
    names = []
    for mask, name in flags:
        if value & mask == mask:
            names.append(name)
            value &= ~mask
    return [*names, hex(value)] if value else names


def open_flags(value: int) -> str:
    """open(2)'s flags: "O_WRONLY|O_CREAT|O_TRUNC"."""
    names = flag_names(value & 0xFFFFFFFF & ~f.O_ACCMODE, _OPEN_FLAGS)
    return "|".join([_ACCESS_MODES[value & f.O_ACCMODE], *names])


def at_flags(value: int, call: str = "") -> str:
    """The AT_ flags of the system call of that name: "AT_SYMLINK_NOFOLLOW"; "0" without one."""
    return "|".join(flag_names(value & 0xFFFFFFFF, _AT_FLAGS_OF.get(call, _AT_FLAGS))) or "0"


def quoted(data: bytes, longest: int = LONGEST_STRING) -> str:
    """Bytes as a C string literal, with octal escapes as strace writes them, "..." when cut."""
    parts = []
    cut = data[:longest]
    for index, byte in enumerate(cut):
        if byte in _ESCAPES:
            parts.append(_ESCAPES[byte])
        elif 0x20 <= byte < 0x7F:
            parts.append(chr(byte))
        else:
            # A digit after a short octal escape would belong to it.
            digit_follows = cut[index + 1 : index + 2].isdigit()
            parts.append(f"\\{byte:03o}" if digit_follows else f"\\{byte:o}")
    return f'"{"".join(parts)}"' + ("..." if len(data) > longest else "")


def mode(value: int) -> str:
    """A file mode in octal, with its leading zero."""
    return f"0{value:o}" if value else "000"


def signal_name(value: int) -> str:
    """A signal's name, or its number: "SIGTERM", "36"."""
    try:
        return signal.Signals(value).name
    except ValueError:
        return str(value)


def format_argument(
    row: Row, index: int, value: int, read_string: Callable[[int], bytes] | None = None
) -> str:
    """One argument of a call.

    Arguments: `value` is the raw register; `read_string` reads a string that ends with a zero
    from the tracee (OSError: the address is printed), None prints addresses.
    """
    kind = row.args[index].kind
    number = decode(kind, value)
    if kind in STRINGS and read_string and value:
        try:
            return quoted(read_string(value))
        except OSError:
            return hex(value)
    if kind in POINTERS:
        return hex(value) if value else "NULL"
    if kind == Kind.AT_FLAGS:
        return at_flags(number, row.name)
    if kind == Kind.DIRFD and number == f.AT_FDCWD:
        return "AT_FDCWD"
    if kind in (Kind.UID, Kind.GID):
        return "-1" if number == 0xFFFFFFFF else str(number)
    return _PRINTERS.get(kind, str)(number)


_PRINTERS: dict[Kind, Callable[[int], str]] = {
    Kind.OPEN_FLAGS: open_flags,
    Kind.MODE: mode,
    Kind.SIGNAL: signal_name,
    Kind.FLAGS: lambda value: hex(value) if value else "0",
    Kind.ULONG: lambda value: hex(value) if value else "0",
}


def _takes_mode(row: Row, args: Sequence[int]) -> bool:
    """Whether an open has a mode argument: without O_CREAT or O_TMPFILE it is left-over data."""
    for index, arg in enumerate(row.args):
        if arg.kind == Kind.OPEN_FLAGS:
            return bool(args[index] & (f.O_CREAT | f.O_TMPFILE_BIT))
    return True


def format_call(
    row: Row, args: Sequence[int], read_string: Callable[[int], bytes] | None = None
) -> str:
    """A call as strace prints it: `openat(AT_FDCWD, "/etc/passwd", O_RDONLY|O_CLOEXEC)`.

    Arguments: the raw argument registers (at least as many as the row has arguments), and
    `read_string` as in `format_argument`.
    """
    shown = len(row.args)
    if shown and row.operation == "open" and row.args[-1].kind == Kind.MODE:
        shown -= not _takes_mode(row, args)
    texts = [format_argument(row, index, args[index], read_string) for index in range(shown)]
    return f"{row.name}({', '.join(texts)})"
