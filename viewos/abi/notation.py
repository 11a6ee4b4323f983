"""The notation that the rows of the table of system calls are in.

A row names its arguments in order, each with a kind:

    row("openat", "open", path(OPEN, ...), dirfd=DIRFD, path=PATH, flags=OPEN_FLAGS, mode=MODE)

Its `path(...)` items belong to its PATH arguments in their order; an argument of kind DIRFD just
before a path is that path's dirfd. Rows refer to arguments by name; `Row` holds indices.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

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


class FlagIn(NamedTuple):
    """A `Flag` by its argument's name."""

    arg: str
    mask: int
    means_follow: bool
    unless: int = 0

    def resolve(self, names: list[str]) -> Flag:
        """The flag with the argument's index in `names`."""
        return Flag(names.index(self.arg), self.mask, self.means_follow, self.unless)


class path(NamedTuple):
    """A `PathArg` by its arguments' names; see there."""

    intent: Intent
    follow: bool | FlagIn | tuple[FlagIn, ...] | How = True
    empty: tuple[str, int] | None = None
    null: bool = False
    when: tuple[str, frozenset[int], int] | None = None
    name: str = ""
    """The argument that holds it, where that is not one of kind PATH."""
    dirfd: str = ""
    """The argument that holds its dirfd, where that does not stand before it."""
    inside: Inside | None = None


class note(NamedTuple):
    """What is partial or surprising in a row."""

    text: str


class writes(NamedTuple):
    """An `OutPath` by its arguments' names."""

    buffer: str
    size: str


class address(NamedTuple):
    """A `SockaddrArg` by its arguments' names."""

    direction: Literal["in", "out"]
    intent: Intent
    name: str = "addr"
    length: str = "addrlen"


class upper_half(NamedTuple):
    """The cookie goes into the upper half of that argument."""

    arg: str


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
                text = extra.text
            elif type(extra) is writes:
                outs += (OutPath(names.index(extra.buffer), names.index(extra.size)),)
            elif type(extra) is address:
                where = names.index(extra.name), names.index(extra.length)
                addresses += (SockaddrArg(*where, extra.direction, extra.intent),)
            elif type(extra) is upper_half:
                cookie = Cookie(names.index(extra.arg), 32)
    return _new(
        Row,
        (
            call, NUMBERS.get(call, -1), operation, tuple(args), paths, outs, addresses, cookie, text,
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
