"""Calls that make names: a new file belongs to its virtual maker, and a device is one in the view.

Where a new file shows as its maker's by itself, the kernel makes it and nothing is remembered.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import Iterable, Mapping
from contextlib import suppress
from io import FileIO
from typing import TYPE_CHECKING

from viewos import PASS, CallTest, File, UnixAddress
from viewos.modules.uid import acl
from viewos.modules.uid.attributes import PERMISSIONS, AttributeModule, real_mode
from viewos.modules.uid.credentials import FSETID, MKNOD, Credentials
from viewos.modules.uid.peers import NETLINK_AUDIT, SO_PEERCRED, SO_PEERGROUPS, status_words
from viewos.modules.uid.refusals import stands
from viewos.modules.uid.shown import OWNER, OWNER_AT
from viewos.modules.uid.table import Record

if TYPE_CHECKING:
    from viewos import Call, Changing, Verdict

_OWNER_BITS, _SET_IDS = 0o600, 0o6000
_MAKEABLE = frozenset({0, stat.S_IFREG, stat.S_IFIFO, stat.S_IFSOCK})
_DEVICES = frozenset({stat.S_IFCHR, stat.S_IFBLK})
_EXCHANGE, _NOREPLACE = 2, 1


class NameModule(AttributeModule):
    """What is made."""

    _strange_umask = False
    """Some process, of whatever view, has had a umask that takes from the owner."""
    _is_real_root = False
    _default_owner = (-1, -1)
    """The owner and group that a new file shows of which nothing is remembered."""

    def _watch_makers(self) -> None:
        """At the start of the view, in a process with the ids and the umask of its first one."""
        self._is_real_root = os.geteuid() == 0
        self._default_owner = self._owners.show(os.geteuid(), os.getegid())
        mask = os.umask(0o77)
        os.umask(mask)
        if mask & 0o700:
            NameModule._strange_umask = True

    def change_owners(self, changing: Changing) -> None:
        """As `chown` and `chmod` do, and an `open` that makes a file."""
        if self._strange_umask or not self.makes_plainly(None):
            self._table.spoil()
        super().change_owners(changing)

    def makes_plainly(self, kept: Credentials | None) -> bool:
        """As `open` has it."""
        who = self._initial if kept is None else kept
        return (who.uid.fs, who.gid.fs) == self._default_owner

    def tests(self) -> Iterable[CallTest]:
        """Only an open that makes a file, a umask that takes from the owner, and so on."""
        yield CallTest("open", "flags", "&", os.O_CREAT)
        yield CallTest("openat", "flags", "&", os.O_CREAT)
        yield CallTest("umask", "mask", "&", 0o700)
        yield CallTest("getsockopt", "optname", "==", SO_PEERCRED)
        yield CallTest("getsockopt", "optname", "==", SO_PEERGROUPS)
        if "socket" in self.calls():
            yield CallTest("socket", "protocol", "==", NETLINK_AUDIT)

    def passes(self) -> Iterable[tuple[str, Mapping[str, tuple[int, int]]]]:
        """What makes no file."""
        for name in ("open", "openat"):
            yield name, {"flags": (os.O_CREAT, 0)}
            yield name, {"flags": (os.O_PATH, os.O_PATH)}

    def umask(self, call: Call) -> Verdict:
        """umask(2) that takes from the owner."""
        if call.args.mask & 0o700:
            NameModule._strange_umask = True
            self._table.spoil()
        return PASS

    def _is_plain(self, who: Credentials, mode: int, wanted: int) -> bool:
        """Shows what the kernel makes for this process as it should?"""
        has = self._table.holding()
        wanted |= 0o100 if mode & 0o011 else 0  # as `real_mode` has it
        return (
            (who.uid.fs, who.gid.fs) == self._default_owner
            and mode & (wanted | _SET_IDS) == wanted
            and not (self._strange_umask or has.set_gid or has.attributes)
        )

    def open(self, call: Call) -> Verdict:
        """open(2), openat(2), openat2(2), creat(2) of a file that is made."""
        if self._table.holding().devices and (device := self._open_device(call)) is not None:
            return device
        flags, mode = opening(call)
        if not flags & os.O_CREAT or flags & os.O_PATH:
            return PASS
        who = self._who(call)
        if self._is_plain(who, mode, _OWNER_BITS):
            return PASS
        try:
            call.file()
        except FileNotFoundError:
            return self._create(call, flags, mode & PERMISSIONS)
        except OSError:
            pass  # the kernel knows of what it fails: "file/" is EISDIR with O_CREAT
        return PASS

    def _open_device(self, call: Call) -> FileIO | None:
        """The real device behind one that was made in the view, where all processes share it."""
        flags = opening(call)[0]
        if flags & _MUST_MAKE == _MUST_MAKE:
            return None
        try:
            file = call.file()
        except OSError:
            return None
        record = None if file is None or flags & os.O_PATH else self._table.find(file)
        if record is None or record.mode is None or not stat.S_ISCHR(record.mode):
            return None
        path = _SHARED_DEVICES.get(record.rdev)
        return None if path is None else FileIO(os.open(path, flags & ~_MAKES | os.O_CLOEXEC))

    def _create(self, call: Call, flags: int, mode: int) -> Verdict:
        changes = {}
        if call.name != "openat2":  # what is wrong with the new file's mode is put right at once
            changes["mode"] = mode & ~_SET_IDS | _OWNER_BITS
        if call.name in ("open", "openat"):
            changes["flags"] = flags | os.O_EXCL
        self._table.make_room()
        try:
            opened = call.below(None, **changes)
        except OSError as error:
            if error.errno in (errno.EOPNOTSUPP, errno.EEXIST):
                return PASS
            raise
        self._made(call, File(path=b"/proc/self/fd/%d" % opened.fileno()), mode)
        return opened

    def mkdir(self, call: Call) -> Verdict:
        """mkdir(2), mkdirat(2)."""
        mode = call.args.mode & 0o1777
        if self._is_plain(self._who(call), mode, 0o700):
            return PASS
        return self._make(call, stat.S_IFDIR | mode, mode=mode | 0o700)

    def symlink(self, call: Call) -> Verdict:
        """symlink(2), symlinkat(2)."""
        if self._is_plain(self._who(call), 0, 0):
            return PASS
        return self._make(call, stat.S_IFLNK | 0o777)

    def mknod(self, call: Call) -> Verdict:
        """mknod(2), mknodat(2): a device stands as an empty file."""
        mode, kind = call.args.mode & 0xFFFF, stat.S_IFMT(call.args.mode)
        who = self._who(call)
        if kind in _DEVICES:
            if not who.may(MKNOD) and (kind, call.args.dev) != (stat.S_IFCHR, 0):
                _check_name(call)
                raise OSError(errno.EPERM, "needs CAP_MKNOD")
            plain = stat.S_IFREG | mode & 0o777 | _OWNER_BITS
            return self._make(call, mode, rdev=call.args.dev, mode=plain, dev=0)
        if kind not in _MAKEABLE or self._is_plain(who, mode, _OWNER_BITS):
            return PASS
        return self._make(call, mode, mode=mode & ~_SET_IDS | _OWNER_BITS)

    def bind(self, call: Call) -> Verdict:
        """bind(2) to a path of AF_UNIX, which makes a file."""
        if self._is_plain(self._who(call), _OWNER_BITS, _OWNER_BITS):
            return PASS
        address = call.address
        if not isinstance(address, UnixAddress) or address.name[:1] in (b"", b"\0"):
            return PASS

        def made() -> None:
            file = call.file()
            assert file is not None
            self._made(call, file, OWNER.unpack_from(file.stat(), OWNER_AT)[0])

        self._make_room(call)
        return call.bind(made)

    def _make(self, call: Call, wanted: int, rdev: int = 0, **changes: int) -> Verdict:
        """Let the kernel make it with changed arguments, and remember what was wanted."""
        index = len(call.row.paths) - 1
        self._make_room(call, index)
        try:
            result = call.below(None, **changes)
        except OSError as error:
            if error.errno == errno.EOPNOTSUPP:
                return PASS
            raise
        file = call.file(index)
        if file is not None:
            self._made(call, file, wanted, rdev, index)
        return result

    def _make_room(self, call: Call, index: int = 0) -> None:
        """Before a name is made, which the kernel refuses first where there is one. Raises
        OSError."""
        try:
            self._table.make_room()
        except OSError:
            try:
                call.file(index)
            except FileNotFoundError:
                pass
            else:
                return
            raise

    def _made(self, call: Call, file: File, wanted: int, rdev: int = 0, index: int = 0) -> None:
        """Remember a new file. `wanted`: its mode, before the umask; the real one has all bits for
        its owner."""
        who = self._who(call)
        with self._table.changing():
            shown, real, _ = self._shown(file)
            has = self._table.holding()
            parent = call.parent(index) if has.set_gid or has.attributes else None
            directory = None if parent is None else self._shown(parent)[0]
            made = Record(who.uid.fs, who.gid.fs, wanted, rdev)
            if not stat.S_IFMT(wanted):
                made = made._replace(mode=stat.S_IFMT(real) | wanted)
            if directory is not None and not (who.may(FSETID) or who.in_group(directory.gid)):
                made = made._replace(mode=without_set_gid(directory, made.mode or 0))
            made = new(directory, made, real & ~self._taken(call, real))
            follows = real
            if has_default_list(directory) and not stat.S_ISLNK(real):
                follows = stat.S_IFMT(real) | stat.S_IMODE(made.mode or 0)  # without the umask
            if real_mode(follows) != stat.S_IMODE(real) and not stat.S_ISLNK(real):
                os.chmod(file.path, real_mode(follows))
                real = stat.S_IFMT(real) | real_mode(follows)
            if made._replace(mode=real) == shown._replace(mode=real) and made.mode == real:
                return
            self._table.put(file, made._replace(mode=None if made.mode == real else made.mode))

    def _taken(self, call: Call, mode: int) -> int:
        """What the umask takes from a file's owner, which is not seen in the file where a module
        below has given it back."""
        if not self._strange_umask or stat.S_ISLNK(mode):
            return 0
        return _umask(call.tid) & 0o700


def _check_name(call: Call) -> None:
    """Raise OSError for what the kernel says of the name of a mknod(2) before it asks who makes a
    device."""
    if not call.args.path:
        raise OSError(errno.ENOENT, "no name")
    if stands(call, 0):
        raise OSError(errno.EEXIST, "there is one")
    try:
        file = call.file()
    except FileNotFoundError:
        parent = call.parent()
        if call.args.path.endswith(b"/"):
            raise
        if parent is not None and not os.access(parent.path, os.W_OK | os.X_OK):
            raise OSError(errno.EACCES, "the real user may not") from None
    else:
        if file is not None:
            raise OSError(errno.EEXIST, "there is one")


def _umask(tid: int) -> int:
    with suppress(OSError):
        for word in status_words(tid, b"Umask"):
            return int(word, 8)
    return 0


_SHARED_DEVICES = {
    os.makedev(1, minor): f"/dev/{name}"
    for minor, name in ((3, "null"), (5, "zero"), (7, "full"), (8, "random"), (9, "urandom"))
}
_MAKES = os.O_CREAT | os.O_EXCL | os.O_TRUNC
_MUST_MAKE = os.O_CREAT | os.O_EXCL
_HOW = struct.Struct("=QQ")
"""The first two of struct open_how: flags, mode (linux/openat2.h)."""
_CREAT = os.O_CREAT | os.O_WRONLY | os.O_TRUNC


def opening(call: Call) -> tuple[int, int]:
    """The flags and mode of open(2) and its kin. Raises OSError EFAULT."""
    if call.name == "openat2":
        flags, mode = _HOW.unpack(call.read(call.args.how, _HOW.size))
        return flags & 0xFFFFFFFF, mode & 0xFFFF
    return _CREAT if call.name == "creat" else call.args.flags, call.args.mode


def new(directory: Record | None, asked: Record, real: int) -> Record:
    """A new file, with the mode that was asked for, and what it gets from its directory, if that
    counts; `real`: the mode that the kernel gave it, which tells the umask."""
    mode = asked.mode or 0
    if not has_default_list(directory) or stat.S_ISLNK(mode):
        mode &= ~0o777 | real
    if stat.S_ISDIR(mode):
        mode |= real & stat.S_ISGID  # its real directory gives it
    made = asked._replace(mode=mode)
    return made if directory is None else inherited(directory, made)


def without_set_gid(directory: Record, mode: int) -> int:
    """The mode that somebody may give a new file who is not in the group of a directory that gives
    its group away (mode_strip_sgid)."""
    both = stat.S_ISGID | stat.S_IXGRP
    gives = (directory.mode or 0) & stat.S_ISGID and not stat.S_ISDIR(mode)
    return mode & ~stat.S_ISGID if gives and mode & both == both else mode


def has_default_list(directory: Record | None) -> bool:
    """Such a list takes the umask's place (posix_acl_create)."""
    return directory is not None and directory.attribute(acl.DEFAULT) is not None


def inherited(parent: Record, made: Record) -> Record:
    """What a new file gets from its directory (inode_init_owner, posix_acl_create)."""
    assert parent.mode is not None and made.mode is not None
    if parent.mode & stat.S_ISGID:
        bit = stat.S_ISGID if stat.S_ISDIR(made.mode) else 0
        made = made._replace(gid=parent.gid, mode=made.mode | bit)
    return acl.inherited(parent, made)
