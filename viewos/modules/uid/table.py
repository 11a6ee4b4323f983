"""What is remembered of files: owner, mode, device number, extended attributes.

In memory a file is found by its file system and inode number, in two steps of a dict; its handle,
which has the inode's generation, then proves that it is the same file still. Nothing has to be
forgotten when a file is removed.
"""

from __future__ import annotations

import stat
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple, Protocol

from viewos import Identity, Known

if TYPE_CHECKING:
    from viewos import Changed, Changing, File, Told, Watched

_DEV_INO = struct.Struct("=QQ")
_MODE = struct.Struct("=I")
_MODE_AT = 24
Place = tuple[int, int]
"""(file system, inode)"""


class Record(NamedTuple):
    """What is remembered of a file."""

    uid: int
    gid: int
    mode: int | None = None
    """st_mode with the type of file; None: what it really is."""
    rdev: int = 0
    attributes: tuple[tuple[bytes, bytes], ...] = ()
    """Extended attributes that exist in the view alone, sorted by name."""
    gone: bool = False
    """Its last name was removed in the view; it may be open still."""
    real: int = 0
    """The real st_mode, and st_dev, when it was written."""
    device: int = 0

    def attribute(self, name: bytes) -> bytes | None:
        """The value of an extended attribute."""
        return dict(self.attributes).get(name)

    def with_attribute(self, name: bytes, value: bytes | None) -> Record:
        """A copy with that extended attribute, or without it."""
        found = dict(self.attributes)
        found.pop(name, None)
        if value is not None:
            found[name] = value
        return self._replace(attributes=tuple(sorted(found.items())))


class Holding(NamedTuple):
    """Is there a file with attributes of its own, a directory with the bit, a device?"""

    attributes: bool
    set_gid: bool
    devices: bool


Take = Callable[[Identity, Record | None], object]


class Store(Protocol):
    """Where a table's records are kept beyond the life of the view."""

    def update(self, take: Take) -> None:
        """Give `take` what has been written since the last time."""

    def locked(self) -> AbstractContextManager[object]:
        """Held while something is looked up and changed."""

    def make_room(self) -> None:
        """Raise OSError ENOSPC or EDQUOT unless what a call changes can be kept."""

    def write(self, identity: Identity, record: Record | None, take: Take) -> None:
        """Keep a record, or forget it, and give it to `take`, with what others had written."""

    def unseen(self) -> Watched:
        """See `Owners.while_equal`."""

    def watch_others(self, told: Callable[[bool], None]) -> None:
        """Call `told` with True once nobody else can write records, and with False before somebody
        can; it is called by a thread."""

    def renew_lock(self) -> None:
        """See `Table.renew_lock`."""

    def close(self) -> None:
        """Nothing more will be written."""


class Table:
    """The records of a view. Several threads may ask at once; changes are made under `changing`."""

    def __init__(self, store: Store | None = None) -> None:
        self._store = store
        self._records: dict[Place, tuple[bytes, Record]] = {}
        self._adopted: dict[Place, Record] = {}
        """(st_dev, inode) -> a record that a file of fakeroot's brought, which knows no handle."""
        self._file_systems: dict[int, int] = {}
        """st_dev -> the file system's own identity."""
        self._lock = threading.RLock()
        """Nothing is asked of the store while it is held."""
        self._told: list[Told] = []
        self._changing: Changing | None = None
        """Who changes records beside us, and lets us take them."""
        self._telling: Changing | None = None
        """Who is told whether that is all, and what a root of the view makes shows plainly."""
        self._is_alone = False
        self._has = Holding(False, False, False)
        self._is_plain = True
        """What a root of the view makes shows as its own."""

    def renew_lock(self) -> None:
        """In a forked child: a thread that is not there may have held the lock."""
        self._lock = threading.RLock()
        self._changing = self._telling = None
        self._is_alone = False
        self._told = []
        if self._store is not None:
            self._store.renew_lock()

    def watch(self, told: Told) -> Watched | None:
        """Have each file told of which something is remembered. What tells whether others have
        remembered more; None: there are no others."""
        with self._held():
            self._told.append(told)
            for _, inode in (*self._records, *self._adopted):
                told(inode, None)
        return None if self._store is None else self._store.unseen()

    def share(self, changing: Changing) -> None:
        """Let the monitor change records too, as long as all who are told of them are told by it:
        views that share them cannot see what one of them changes by itself."""
        with self._held():
            self._tell_all(0, None)  # the file of no inode: who is over leaves
            if self._telling is not None:
                self._telling.make_plainly(False)
                self._telling.be_alone(False)
                self._telling = None
            if self._changing is not None:
                self._changing.hold()  # for good
                self._changing = None
            if len(self._told) == 1:
                self._telling = changing
                changing.make_plainly(self._is_plain, unless_known=any(self._has))
                changing.be_alone(self._is_alone)
                if self._store is None:
                    self._changing = changing
                    for device in self._file_systems:
                        changing.allow(device)
        if self._store is not None:
            self._store.watch_others(self._be_alone)

    def _be_alone(self, is_alone: bool) -> None:
        if is_alone:
            self.refresh()
        with self._lock:
            self._is_alone = is_alone
            if self._telling is not None:
                self._telling.be_alone(is_alone)

    def spoil(self) -> None:
        """From now on something may have to be remembered of what a root of the view makes."""
        with self._lock:
            if self._is_plain and self._telling is not None:
                self._telling.make_plainly(False)
            self._is_plain = False

    def _tell(self, device: int, place: Place) -> None:
        """What is remembered now, which need not be what has been found a moment before."""
        if not self._told:
            return
        with self._held():
            found = self._records.get(place)
            if found is not None:
                handle, record = found
                shown = record.uid, record.gid, record.mode or 0, record.rdev
                more = bool(record.attributes) or record.gone
                self._tell_all(place[1], Known(device, place[1], handle, *shown, more))

    def _tell_all(self, inode: int, known: Known | None) -> None:
        self._told = [told for told in self._told if not told(inode, known)]

    def find(self, file: File, data: bytes | None = None) -> Record | None:
        """What is remembered of a file. `data`: its `struct stat`, where that is known already."""
        self.refresh()
        # Who may change records beside us has to know of the file system from its first file on.
        if not self._records and not self._adopted and self._changing is None:
            return None
        device, inode = _DEV_INO.unpack_from(data or file.stat())
        place = (self._file_system(file, device), inode)
        found = self._records.get(place)
        if found is None:
            return self._adopt(file, data, (device, inode)) if self._adopted else None
        handle, record = found
        if handle != file.handle():
            return None
        self._tell(device, place)
        return record

    def put(self, file: File, record: Record) -> None:
        """Remember `record` of a file."""
        data = file.stat()
        device, inode = _DEV_INO.unpack_from(data)
        identity = Identity(self._file_system(file, device), inode, file.handle())
        record = record._replace(device=device, real=_MODE.unpack_from(data, _MODE_AT)[0])
        self._write(identity, record)
        self._tell(device, identity[:2])

    def forget(self, file: File, shown: Record) -> None:
        """A file shows as `shown` by itself. Its owner or mode may be changed again without us."""
        device, inode = _DEV_INO.unpack_from(file.stat())
        identity = Identity(self._file_system(file, device), inode, file.handle())
        if identity[:2] not in self._records:
            return
        self._write(identity, None)
        known = Known(device, inode, identity.handle, shown.uid, shown.gid, 0, 0)
        with self._held():
            self._tell_all(inode, known)

    def changing(self) -> AbstractContextManager[object]:
        """Held around `find` and the `put` that depends on it."""
        return self._held() if self._store is None else self._store.locked()

    def make_room(self) -> None:
        """Before a call has an effect that has to be remembered. Raises OSError."""
        if self._store is not None:
            self._store.make_room()

    def refresh(self) -> None:
        """Take what others have written."""
        if self._store is not None:
            self._store.update(self._take)
        elif (changing := self._changing) is not None:
            with self._lock:
                self._learn(changing.taken())

    def forget_gone(self) -> None:
        """At the start of a view, which has none of these files open: another file gets its inode
        number, of which programs would ask in vain."""
        with self._held():
            kept = {place: one for place, one in self._records.items() if not one[1].gone}
            self._records = kept

    def adopt(self, records: Iterable[tuple[Place, Record]]) -> None:
        """Take records that are found by (st_dev, inode), until their files are seen."""
        for place, record in records:
            self._adopted[place] = record
            self._note(record)

    def take(self, records: Iterable[tuple[Identity, Record | None]]) -> None:
        """Take records of another table."""
        for identity, record in records:
            self._write(identity, record)

    def close(self) -> None:
        """Close the store."""
        if self._store is not None:
            self._store.close()

    def holding(self) -> Holding:
        """What is among the records, those of others too."""
        self.refresh()
        return self._has

    def __len__(self) -> int:
        self.refresh()
        return len(self._records) + len(self._adopted)

    def __iter__(self) -> Iterator[tuple[Identity, Record]]:
        self.refresh()
        for (file_system, inode), (handle, record) in list(self._records.items()):
            yield Identity(file_system, inode, handle), record

    def waiting(self) -> dict[Place, Record]:
        """The records that were taken by `adopt`, and whose files have not been seen."""
        return dict(self._adopted)

    # ---- inside ---------------------------------------------------------------------------------

    @contextmanager
    def _held(self) -> Iterator[None]:
        """Nobody else changes records here, nor are others told of them."""
        with self._lock:
            changing = self._changing
            if changing is None:
                yield
                return
            self._learn(changing.hold())
            try:
                yield
            finally:
                changing.release()

    def _learn(self, changes: Iterable[Changed]) -> None:
        """Take what has been changed; who has told us knows it."""
        records, file_systems, make = self._records, self._file_systems, Record._make
        for device, inode, handle, uid, gid, mode, rdev, real in changes:
            record = make((uid, gid, mode or None, rdev, (), False, real, device))
            records[file_systems[device], inode] = handle, record

    def _file_system(self, file: File, device: int) -> int:
        known = self._file_systems.get(device)
        if known is None:
            known = self._file_systems[device] = file.file_system()
            with self._lock:
                if self._changing is not None:
                    self._changing.allow(device)
        return known

    def _adopt(self, file: File, data: bytes | None, place: Place) -> Record | None:
        record = self._adopted.get(place)
        if record is None:
            return None
        (mode,) = _MODE.unpack_from(data or file.stat(), _MODE_AT)
        if record.mode is not None and not _may_be(record.mode, mode):
            return None
        with suppress(OSError), self.changing():  # whoever looks at a file needs no room for it
            self.put(file, record)
            self._adopted.pop(place, None)
        return record

    def _write(self, identity: Identity, record: Record | None) -> None:
        if self._store is None:
            self._take(identity, record)
        else:
            self._store.write(identity, record, self._take)

    def _take(self, identity: Identity, record: Record | None) -> None:
        with self._held():
            if record is None:
                self._records.pop(identity[:2], None)
            else:
                self._records[identity[:2]] = identity.handle, record
                self._note(record)
            self._tell_all(identity.inode, None)

    def _note(self, record: Record) -> None:
        mode = record.mode or 0
        self._has = Holding(
            self._has.attributes or bool(record.attributes),
            self._has.set_gid or (stat.S_ISDIR(mode) and bool(mode & stat.S_ISGID)),
            self._has.devices or bool(record.rdev),
        )
        if self._is_plain and self._telling is not None and any(self._has):
            self._telling.make_plainly(True, unless_known=True)


def _may_be(remembered: int, real: int) -> bool:
    """Can a file of that real mode be the one that is remembered? A device stands as a plain
    file."""
    kind, here = stat.S_IFMT(remembered), stat.S_IFMT(real)
    return kind == here or (kind in (stat.S_IFBLK, stat.S_IFCHR) and here == stat.S_IFREG)
