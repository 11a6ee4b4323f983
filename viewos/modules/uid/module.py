"""The module itself: its words, and its life."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Self, TypeVar, cast

from viewos import Owners, absolute
from viewos.modules.uid import faked, lent
from viewos.modules.uid.credentials import UNCHANGED, Credentials
from viewos.modules.uid.entries import read
from viewos.modules.uid.executed import ExecModule
from viewos.modules.uid.journal import Journal
from viewos.modules.uid.schedule import ScheduleModule
from viewos.modules.uid.table import Table

if TYPE_CHECKING:
    from viewos import Items

T = TypeVar("T")


class Uid(ExecModule, ScheduleModule):
    """Let the program see itself as another user, who owns what it makes and may be root."""

    name = "uid"
    grammar = (
        "uid:USER|UID[:GROUP|GID][,unknown=real|root][,map=REAL=UID]...[,load=FILE]...[,save=FILE]"
        "[,reach][,drop]"
    )
    example = "uid:0"

    def __init__(
        self,
        user: int | str,
        group: int | str | None = None,
        *,
        unknown: str | None = None,
        maps: dict[int, int] | None = None,
        load: Sequence[str] = (),
        save: str | None = None,
        tells: bool = True,
    ) -> None:
        """Arguments: ids or names of the user and group databases. Without `group` the user's
        own groups count; a uid that nobody has gets the gid of the same number, and no others.
        `unknown`: who owns the files of which nothing is remembered, "real" (who really does) or
        "root"; by default root for a user 0, and else "real", but the real user's own files are the
        virtual user's. `maps`: real ids, of users and groups alike, that show as others.
        `tells`: the user is told, once, when a program gives up a virtual root: only ids change.

        Raises LookupError for a name that does not exist, ValueError for a number that is no id.
        """
        uid, gid, groups = _user(user)
        if group is not None:
            gid, groups = _group(group), ()
        if unknown not in (None, "real", "root"):
            raise ValueError(f"unknown={unknown}: it is real or root")
        initial = Credentials.of(uid, gid, groups)
        super().__init__(initial, Table(), _unknown(uid, gid, unknown, maps or {}))
        self._load = tuple(os.fsdecode(absolute(os.fsencode(path))) for path in load)
        self._save = None if save is None else os.fsdecode(absolute(os.fsencode(save)))
        self._saves = save is not None
        self._says_what_ids_are &= tells

    @classmethod
    def from_items(cls, items: Items) -> Self:
        """USER or USER:GROUP, each a name or a number, and options behind it."""
        words = list(items)
        if not words or words[0].key is not None or not words[0].value:
            raise items.error(words[0] if words else None, "expected one USER[:GROUP]")
        user, colon, group = words[0].value.partition(":")
        if not user or (colon and not group):
            raise items.error(words[0], "expected USER or USER:GROUP")
        unknown: str | None = None
        maps: dict[int, int] = {}
        flags = {"drop": False, "reach": False}
        files: dict[str, list[str]] = {"load": [], "save": []}
        for item in words[1:]:
            if item.key in files and item.value:
                files[item.key].append(item.value)
            elif item.key is None and item.value in flags:
                flags[item.value] = True
            elif item.key == "unknown" and item.value in ("real", "root"):
                unknown = item.value
            elif item.key == "map":
                real, _, shown = item.value.partition("=")
                if not (_is_id(real) and _is_id(shown)):
                    raise items.error(item, "expected map=REAL=UID, two numbers")
                maps[int(real)] = int(shown)
            else:
                raise items.error(item, "expected one USER[:GROUP], and options behind it")
        if len(files["save"]) > 1:
            raise items.error(words[-1], "there can be one save= only")
        if all(flags.values()):
            raise items.error(words[-1], "drop looks at what modes allow, reach does not: choose")
        try:
            return _chosen(cls, **flags)(
                _number(user), _number(group) if colon else None, unknown=unknown, maps=maps,
                load=files["load"], save=next(iter(files["save"]), None),
            )  # fmt: skip
        except (LookupError, ValueError) as error:
            raise items.error(words[0], str(error.args[0])) from None

    def syscalls(self) -> frozenset[str]:
        """What changes where a process's paths lead, so that they are looked up anew."""
        return frozenset({"unshare", "setns", "pivot_root"})

    def start(self, scratch: bytes) -> None:
        """Look at the ids that files will really get, and take what was saved."""
        for path in lent.put_all_back():
            _say(
                f"{path} is not where it was when a view was killed that had given it another mode"
                " for a moment (chmod it where it is now)"
            )
        self._watch_makers()
        log = None if self._save is None else Journal(self._save)
        self._table = Table(log)
        if log is not None:
            if log.damage:
                _say(log.damage)
            self._table.refresh()
            self._table.forget_gone()
            log.tidy(self._table, len(self._table))
        for path in self._load:
            _load(self._table, path)

    def forked(self) -> None:
        """Locks that nobody holds, and no monitor to be told."""
        self._table.renew_lock()

    def stop(self) -> None:
        """Close the table."""
        self._table.close()


def _chosen(cls: type[T], *, drop: bool, reach: bool) -> type[T]:
    if drop:
        from viewos.modules.uid.drop import DroppingUid

        return cast("type[T]", DroppingUid)
    if reach:
        from viewos.modules.uid.reach import ReachingUid

        return cast("type[T]", ReachingUid)
    return cls


def _say(line: str) -> None:
    print(f"viewos: uid: {line}", file=sys.stderr)


def _load(table: Table, path: str) -> None:
    entries = read(path, _say)
    if entries is None:
        with open(path, "rb") as file:
            table.adopt(faked.parse(file.read(), path))
    else:
        table.take(entries)


def _unknown(uid: int, gid: int, word: str | None, maps: dict[int, int]) -> Owners:
    uids, gids = dict(maps), dict(maps)
    if word == "root" or (word is None and uid == 0 and not maps):
        return Owners(uids, gids, 0, 0)
    if word is None and not maps:
        uids, gids = {os.geteuid(): uid}, {os.getegid(): gid}
    return Owners(uids, gids, None, None)


# ---- users and groups by name -------------------------------------------------------------------


def _is_id(word: str) -> bool:
    return word.isascii() and word.isdigit() and int(word) < UNCHANGED


def _number(word: str) -> int | str:
    return int(word) if word.isascii() and word.isdigit() else word


def _checked(identity: int, what: str) -> int:
    if not 0 <= identity < UNCHANGED:
        raise ValueError(f"{identity} is no {what}: it lies between 0 and {UNCHANGED - 1}")
    return identity


def _user(user: int | str) -> tuple[int, int, tuple[int, ...]]:
    """(uid, primary gid, supplementary groups as initgroups(3) finds them)."""
    import pwd

    try:
        entry = pwd.getpwnam(user) if isinstance(user, str) else pwd.getpwuid(_checked(user, "uid"))
    except KeyError:
        if isinstance(user, str):
            raise LookupError(f"there is no user {user!r}") from None
        return user, user, ()
    groups = os.getgrouplist(entry.pw_name, entry.pw_gid)
    return entry.pw_uid, entry.pw_gid, tuple(sorted(set(groups)))


def _group(group: int | str) -> int:
    if isinstance(group, int):
        return _checked(group, "gid")
    import grp

    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise LookupError(f"there is no group {group!r}") from None
