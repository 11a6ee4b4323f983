"""What a row of the table of system calls is made of, and how registers become values.

Plain classes instead of enum.Enum: the table is imported at every start of a program, and a
member of an Enum is hashed by Python code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final, Literal

from viewos.abi.fcntl import O_CREAT, O_EXCL, O_NOFOLLOW, O_PATH
from viewos.tuples import NamedTuple


class Kind(str):
    """How an argument is decoded and printed. Compare with ==."""

    __slots__ = ()

    FD: ClassVar[Kind]
    DIRFD: ClassVar[Kind]
    INT: ClassVar[Kind]
    PID: ClassVar[Kind]
    SIGNAL: ClassVar[Kind]
    SOCKLEN: ClassVar[Kind]
    AT_FLAGS: ClassVar[Kind]
    UINT: ClassVar[Kind]
    FLAGS: ClassVar[Kind]
    OPEN_FLAGS: ClassVar[Kind]
    MODE: ClassVar[Kind]
    UID: ClassVar[Kind]
    GID: ClassVar[Kind]
    LONG: ClassVar[Kind]
    OFFSET: ClassVar[Kind]
    ULONG: ClassVar[Kind]
    SIZE: ClassVar[Kind]
    PATH: ClassVar[Kind]
    STR: ClassVar[Kind]
    BUF: ClassVar[Kind]
    PTR: ClassVar[Kind]
    ARGV: ClassVar[Kind]
    SOCKADDR: ClassVar[Kind]
    SOCKLEN_PTR: ClassVar[Kind]


def _kinds(names: str) -> frozenset[Kind]:
    for name in names.split():
        setattr(Kind, name, Kind(name))
    return frozenset(getattr(Kind, name) for name in names.split())


SIGNED_32: Final = _kinds("FD DIRFD INT PID SIGNAL SOCKLEN AT_FLAGS")
"""Kinds that the kernel takes as int: the upper half of the register is ignored."""
UNSIGNED_32: Final = _kinds("UINT FLAGS OPEN_FLAGS MODE UID GID")
"""Kinds that the kernel takes as unsigned int (or int, where only the bits count)."""
SIGNED_64: Final = _kinds("LONG OFFSET")
UNSIGNED_64: Final = _kinds("ULONG SIZE")
POINTERS: Final = _kinds("PATH STR BUF PTR ARGV SOCKADDR SOCKLEN_PTR")
STRINGS: Final = frozenset({Kind.PATH, Kind.STR})
"""Pointers to a string that ends with a zero byte, read by the kernel."""


class Intent(str):
    """What a call does with the object that a path names. Compare with ==."""

    __slots__ = ()

    READ: ClassVar[Intent]
    WRITE: ClassVar[Intent]
    CREATE: ClassVar[Intent]
    REMOVE: ClassVar[Intent]
    EXECUTE: ClassVar[Intent]
    OPEN: ClassVar[Intent]
    MOUNT: ClassVar[Intent]


Intent.READ = Intent("READ")  # looks, needs nothing to be writable
Intent.WRITE = Intent("WRITE")  # changes the object: chmod, truncate, setxattr, utimensat
Intent.CREATE = Intent("CREATE")  # makes the last name: mkdir, symlink, rename's new, bind
Intent.REMOVE = Intent("REMOVE")  # removes the last name: unlink, rmdir, rename's old
Intent.EXECUTE = Intent("EXECUTE")
Intent.OPEN = Intent("OPEN")  # depends on the open flags
Intent.MOUNT = Intent("MOUNT")  # changes the mount table at that place


class Arg(NamedTuple):
    """An argument: its name in the manual page, and its kind."""

    name: str
    kind: Kind


class Flag(NamedTuple):
    """A bit that decides whether a final symbolic link is followed.

    It matches when all bits of `mask` are set in argument `arg`, and none of `unless`. A match
    means `means_follow`; no match means the opposite.
    """

    arg: int
    mask: int
    means_follow: bool
    unless: int = 0

    def matches(self, value: int) -> bool:
        """Whether an argument of that value has the flag."""
        return value & self.mask == self.mask and not value & self.unless


class How:
    """The type of HOW: the flags stand in openat2's struct open_how, behind argument 2."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "HOW"


HOW: Final = How()
OPEN_NOFOLLOW: Final = ((O_NOFOLLOW, 0), (O_CREAT | O_EXCL, O_PATH))
"""Open flags that keep a final link from being followed: mask, unless (open(2); O_PATH makes the
kernel forget O_CREAT and O_EXCL, fs/open.c build_open_flags)."""
_HOW_FLAGS: Final = tuple(Flag(-1, mask, False, unless) for mask, unless in OPEN_NOFOLLOW)


class Empty(NamedTuple):
    """The flag that lets an empty path name the dirfd itself. Mask 0: always (readlinkat)."""

    arg: int
    mask: int


class When(NamedTuple):
    """The argument is a path only when `args[arg] & mask` is one of `values`."""

    arg: int
    values: frozenset[int]
    mask: int


class Inside(NamedTuple):
    """The pointer to the path, and the dirfd, stand in a structure behind the argument.

    Offsets in bytes. The 32-bit dirfd counts when `dirfd_mask` is set in the 32-bit word at
    `dirfd_flags`; otherwise it is the cwd.
    """

    pointer: int
    dirfd: int
    dirfd_flags: int
    dirfd_mask: int


class PathArg(NamedTuple):
    """All that a resolver needs to know of one path argument."""

    path: int
    """The index of the pointer to the string."""
    dirfd: int | None
    """The index of the dirfd; None: the cwd."""
    follow: bool | Flag | tuple[Flag, ...] | How
    """Whether a final symbolic link is followed; a tuple: not if any of its flags match.
    `follows` decides."""
    empty: Empty | None
    """The flag that allows an empty path."""
    intent: Intent
    null_ok: bool
    """A null pointer has a meaning. With `empty`: the same as an empty path, if its flag is set
    (only in the kernels that the row's note names; older ones give EFAULT). Without: see the note
    (the dirfd itself, or no path at all)."""
    when: When | None
    """None: always a path. `applies` decides."""
    inside: Inside | None
    """Where the string's address is found; None: in the argument itself."""


class OutPath(NamedTuple):
    """A buffer into which the kernel writes a path."""

    buffer: int
    size: int


class SockaddrArg(NamedTuple):
    """A socket address, which may be an AF_UNIX name.

    `length` is the index of the length: its value for "in", a pointer to an int for "out".
    `intent`: CREATE for bind (a final symbolic link is not followed), else WRITE ("in") or READ.
    """

    address: int
    length: int
    direction: Literal["in", "out"]
    intent: Intent


class Cookie(NamedTuple):
    """Where a fix-up's cookie goes.

    Shift 0: all 64 bits of the argument, which the call does not have. Shift 32: the upper half of
    an argument that the kernel takes as int. `arg` -1: there is no room, the call cannot be fixed
    up with a cookie.
    """

    arg: int
    shift: int


SIXTH: Final = Cookie(5, 0)
NO_COOKIE: Final = Cookie(-1, 0)


class Row(NamedTuple):
    """One system call. `number` is -1 where this machine lacks it (such rows are in no table)."""

    name: str
    number: int
    operation: str
    args: tuple[Arg, ...]
    paths: tuple[PathArg, ...]
    out_paths: tuple[OutPath, ...]
    sockaddr: tuple[SockaddrArg, ...]
    cookie: Cookie
    note: str

    def position(self, argument: str) -> int:
        """The index of the argument of that name. Raises KeyError."""
        for index, arg in enumerate(self.args):
            if arg.name == argument:
                return index
        raise KeyError(f"{self.name} has no argument {argument!r}")


# ---- values of registers --------------------------------------------------------------------


def signed32(value: int) -> int:
    """A register as the kernel's int: 0xffffff9c is -100 (AT_FDCWD)."""
    return ((value & 0xFFFFFFFF) ^ 0x80000000) - 0x80000000


def signed64(value: int) -> int:
    """A register as the kernel's long."""
    return ((value & 0xFFFFFFFFFFFFFFFF) ^ 0x8000000000000000) - 0x8000000000000000


def decode(kind: Kind, value: int) -> int:
    """A register as the kernel takes an argument of that kind; pointers are addresses."""
    if kind in SIGNED_32:
        return signed32(value)
    if kind in UNSIGNED_32:
        return value & 0xFFFFFFFF
    return signed64(value) if kind in SIGNED_64 else value


def applies(where: PathArg, args: Sequence[int]) -> bool:
    """Whether the argument is a path in a call with these arguments (raw registers)."""
    when = where.when
    return when is None or args[when.arg] & when.mask in when.values


def may_be_empty(where: PathArg, args: Sequence[int]) -> bool:
    """Whether an empty path is allowed in a call with these arguments (raw registers)."""
    empty = where.empty
    return empty is not None and args[empty.arg] & empty.mask == empty.mask


def follows(where: PathArg, args: Sequence[int], how_flags: int = 0) -> bool:
    """Whether a call with these arguments (raw registers) follows a final symbolic link.

    `how_flags` is the first word of openat2's struct open_how, for HOW. A trailing slash makes
    every call follow; that is the resolver's business.
    """
    follow = where.follow
    if isinstance(follow, bool):
        return follow
    if isinstance(follow, Flag):
        return follow.matches(args[follow.arg]) is follow.means_follow
    if isinstance(follow, How):
        return not any(flag.matches(how_flags) for flag in _HOW_FLAGS)
    return not any(flag.matches(args[flag.arg]) for flag in follow)
