"""The notation that the rows of the table of system calls are in.

A row names its arguments in order, each with a kind:

    row("openat", "open", path(OPEN, ...), dirfd=DIRFD, path=PATH, flags=OPEN_FLAGS, mode=MODE)

Its `path(...)` items belong to its PATH arguments in their order; an argument of kind DIRFD just
before a path is that path's dirfd. Rows refer to arguments by name; `Row` holds indices.

As in row.py, annotations are not postponed: it would make the import slower.
"""

from typing import Literal

from viewos.abi.numbers import NUMBERS
from viewos.abi.row import (
    NO_COOKIE,
    SIXTH,
    Arg,
    Cookie,
    Empty,
    Flag,
    How,
    Inside,
    Intent,
    Kind,
    OutPath,
    PathArg,
    Row,
    SockaddrArg,
    When,
)

FD = Kind.FD
DIRFD = Kind.DIRFD
INT = Kind.INT
PID = Kind.PID
SIGNAL = Kind.SIGNAL
SOCKLEN = Kind.SOCKLEN
AT_FLAGS = Kind.AT_FLAGS
UINT = Kind.UINT
FLAGS = Kind.FLAGS
OPEN_FLAGS = Kind.OPEN_FLAGS
MODE = Kind.MODE
UID = Kind.UID
GID = Kind.GID
LONG = Kind.LONG
OFFSET = Kind.OFFSET
ULONG = Kind.ULONG
SIZE = Kind.SIZE
PATH = Kind.PATH
STR = Kind.STR
BUF = Kind.BUF
PTR = Kind.PTR
ARGV = Kind.ARGV
SOCKADDR = Kind.SOCKADDR
SOCKLEN_PTR = Kind.SOCKLEN_PTR


class FlagIn:
    """A `Flag` by its argument's name."""

    __slots__ = ("arg", "rest")

    def __init__(self, arg: str, mask: int, means_follow: bool, unless: int = 0) -> None:
        self.arg = arg
        self.rest = (mask, means_follow, unless)

    def resolve(self, names: list[str]) -> Flag:
        """The flag with the argument's index in `names`."""
        return Flag(names.index(self.arg), *self.rest)


class path:
    """A `PathArg` by its arguments' names; see there.

    `name` is the argument that holds it where that is not one of kind PATH, `dirfd` its dirfd
    where that does not stand before it.
    """

    __slots__ = ("dirfd", "empty", "follow", "inside", "intent", "name", "null", "when")

    def __init__(
        self,
        intent: Intent,
        follow: bool | FlagIn | tuple[FlagIn, ...] | How = True,
        empty: tuple[str, int] | None = None,
        *,
        null: bool = False,
        when: tuple[str, frozenset[int], int] | None = None,
        name: str = "",
        dirfd: str = "",
        inside: Inside | None = None,
    ) -> None:
        self.intent, self.follow, self.empty, self.null = intent, follow, empty, null
        self.when, self.name, self.dirfd, self.inside = when, name, dirfd, inside


class note(str):
    """What is partial or surprising in a row."""

    __slots__ = ()


class upper_half(str):
    """The cookie goes into the upper half of the argument of that name."""

    __slots__ = ()


class writes:
    """An `OutPath` by its arguments' names."""

    __slots__ = ("buffer", "size")

    def __init__(self, buffer: str, size: str) -> None:
        self.buffer, self.size = buffer, size


class address:
    """A `SockaddrArg`, whose arguments are called addr and addrlen in every row."""

    __slots__ = ("direction", "intent")

    def __init__(self, direction: Literal["in", "out"], intent: Intent) -> None:
        self.direction, self.intent = direction, intent


Extra = str | path | note | writes | address | upper_half

_ARGS: dict[tuple[str, Kind], Arg] = {}
# tuple.__new__ skips the Python-level __new__ of a NamedTuple, a third of the table's import.
_new = tuple.__new__


def row(call: str, /, *extras: Extra, **kinds: Kind) -> Row:
    """A row; see the top of this file. A string in `extras` is the operation that the call is a
    variant of; without one the call is an operation of its own."""
    args = []
    for item in kinds.items():
        arg = _ARGS.get(item)
        if arg is None:
            arg = _ARGS[item] = Arg(*item)
        args.append(arg)
    cookie = SIXTH if len(args) < 6 else NO_COOKIE
    paths: tuple[PathArg, ...] = ()
    outs: tuple[OutPath, ...] = ()
    addresses: tuple[SockaddrArg, ...] = ()
    operation, text = call, ""
    if extras:
        names = list(kinds)
        at = iter([n for n in names if kinds[n] is Kind.PATH])
        for extra in extras:
            if type(extra) is str:
                operation = extra
            elif type(extra) is path:
                paths += (_path_arg(extra, names, kinds, extra.name or next(at)),)
            elif type(extra) is note:
                text = str(extra)
            elif type(extra) is writes:
                outs += (OutPath(names.index(extra.buffer), names.index(extra.size)),)
            elif type(extra) is address:
                where = names.index("addr"), names.index("addrlen")
                addresses += (SockaddrArg(*where, extra.direction, extra.intent),)
            elif type(extra) is upper_half:
                cookie = Cookie(names.index(extra), 32)
    return _new(
        Row,
        (
            call, NUMBERS.get(call, -1), operation, tuple(args), paths, outs, addresses, cookie,
            text,
        ),
    )  # fmt: skip


def _path_arg(what: path, names: list[str], kinds: dict[str, Kind], name: str) -> PathArg:
    index = names.index(name)
    dirfd: int | None = None
    if what.dirfd:
        dirfd = names.index(what.dirfd)
    elif index and kinds[names[index - 1]] is Kind.DIRFD:
        dirfd = index - 1
    follow: bool | Flag | tuple[Flag, ...] | How
    if isinstance(what.follow, (bool, How)):
        follow = what.follow
    elif isinstance(what.follow, FlagIn):
        follow = what.follow.resolve(names)
    else:
        follow = tuple([flag.resolve(names) for flag in what.follow])
    empty = what.empty and Empty(names.index(what.empty[0]), what.empty[1])
    when = what.when and When(names.index(what.when[0]), *what.when[1:])
    return PathArg(index, dirfd, follow, empty, what.intent, what.null, when, what.inside)
