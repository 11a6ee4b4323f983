"""mount: mount(2) and umount2(2) change the view, and need no privilege."""

from __future__ import annotations

import errno
import os
import stat
import struct
from typing import TYPE_CHECKING, Self

from viewos import PASS, VirtualModule

if TYPE_CHECKING:
    from viewos import Call, File, Items, Verdict

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_BIND, MS_MOVE = 0x20, 0x1000, 0x2000
MS_REC, MS_SILENT = 0x4000, 0x8000
MS_KINDS = 0x20000 | 0x40000 | 0x80000 | 0x100000
"""MS_UNBINDABLE, MS_PRIVATE, MS_SLAVE, MS_SHARED (linux/mount.h)."""
MS_MGC_VAL, MS_MGC_MSK = 0xC0ED0000, 0xFFFF0000
"""What old programs put in front of their flags."""
MNT_FORCE, MNT_DETACH, MNT_EXPIRE, UMOUNT_NOFOLLOW = 1, 2, 4, 8
_FROM_EMPTY_PATH = 4
"""MOVE_MOUNT_F_EMPTY_PATH (linux/mount.h)."""
_STATX_ATTR_MOUNT_ROOT = 0x2000
_STATX = struct.Struct("=8xQ12xH26xQ")
"""Of struct statx (linux/stat.h): attributes, mode, and which attributes are known."""
_STATX_MNT_ID = 0x1000
_MNT_ID = struct.Struct("=I140xQ")
"""Of struct statx: what is known, and the mount (Linux 5.8)."""
_MACHINES = (
    "what was mounted before the view began is not for its programs to change (EPERM); with"
    " -m mount:real they do, for all of the machine, unless viewos is started below"
    " `unshare --mount --propagation private`"
)
_NAMELESS = (
    "what a link of /proc/PID leads to can be mounted, or mounted on, where the view shows it by a"
    " name: not a namespace, what was removed, or what another mount covers (EPERM)"
)
_NO_EXPIRY = (  # whether it has been used since the first time, nobody can tell
    "umount2: mounts of a view do not expire: MNT_EXPIRE fails with EINVAL, use umount without it"
)
_IGNORED = {
    MS_NOEXEC: "noexec is accepted and not enforced in a view: what stands there can be executed"
    " (chmod -x keeps it from that)",
    MS_NODEV: "nodev is accepted and not enforced in a view: devices that stand in the source can"
    " be opened by who may open them there",
    MS_NOSUID: "nosuid is accepted and not enforced in a view of the real root: set-user-ID"
    " programs that stand there have their power",
}
_WITHOUT_PROGRAMS = (b"proc", b"sysfs", b"devpts", b"mqueue", b"cgroup2")


class Mount(VirtualModule):
    """Let programs mount in the view: mount --bind, mount -t MODULE or proc, umount."""

    name = "mount"
    grammar = "mount[:real]"
    example = "mount"
    claims_later = True

    def __init__(self, *, real: bool = False) -> None:
        """Arguments: `real` lets programs of the real root unmount, remount and move for real what
        was mounted before the view began."""
        # Of another user the kernel refuses it by itself.
        self._machines = frozenset[int]() if real or os.geteuid() else _mounts_now()

    @classmethod
    def from_items(cls, items: Items) -> Self:
        """Nothing, or `real`."""
        for item in items:
            if item.text != "real":
                raise items.error(item, "expected nothing, or real")
        return cls(real=bool(items))

    def mount(self, call: Call) -> Verdict:
        """mount(2): a bind mount, one of a type that is a module's, or a second sight of /proc and
        its like; else the kernel's."""
        flags = call.args.flags & 0xFFFFFFFF
        if flags & MS_MGC_MSK == MS_MGC_VAL:
            flags &= ~MS_MGC_MSK
        sets_kind = flags & MS_KINDS and not flags & (MS_BIND | MS_REMOUNT)
        target = _named(call, 1, covered=not (sets_kind or flags & MS_REMOUNT))
        if target is None:
            return PASS
        if flags & MS_REMOUNT and not flags & MS_BIND:
            self._refuse_machines(call, 1, target)
            return PASS
        found = _reached(call, 1, target)  # what is wrong with it comes before what else is wrong
        if sets_kind:
            return self._set_kind(call, target, found, flags & ~(MS_REC | MS_SILENT))
        if flags & MS_REMOUNT:
            call.remount(target, read_only=bool(flags & MS_RDONLY))
            _tell_ignored(call, flags)
            return 0
        if flags & MS_BIND:
            return self._bind(call, target, flags)
        if flags & MS_MOVE:
            raise OSError(errno.EINVAL, "a mount of the view does not move")
        return self._of_type(call, target, flags)

    def _set_kind(self, call: Call, target: bytes, found: File | None, kind: int) -> Verdict:
        """Nothing of the view is shared with anybody."""
        if _has_own_mounts(call):
            return PASS
        if kind & ~MS_KINDS or kind & (kind - 1):
            raise OSError(errno.EINVAL, "one kind at a time")
        if found is not None and not (call.is_mounted(target) or _is_mount(found)):
            raise OSError(errno.EINVAL, "nothing is mounted there")
        return 0

    def _bind(self, call: Call, target: bytes, flags: int) -> Verdict:
        if not _text(call, "source"):
            raise OSError(errno.EINVAL, "a bind mount of nothing")
        source = _named(call, 0, covered=False)
        if source is None:
            return PASS
        _reached(call, 0, source)
        call.mount("bind", source, target)
        _tell_ignored(call, flags)
        return 0

    def _of_type(self, call: Call, target: bytes, flags: int) -> Verdict:
        kind = _text(call, "fstype")
        if kind is None:
            raise OSError(errno.EINVAL, "a mount of no type")
        source = _text(call, "source") or b"none"
        data = call.args.data
        options = call.read_text(data).decode(errors="replace").split(",") if data else []
        options += ["ro"] if flags & MS_RDONLY else []
        try:
            call.mount(
                kind.decode(errors="replace"), source, target, [word for word in options if word]
            )
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise
            self._forget_unmounted()
            return PASS
        if kind not in _WITHOUT_PROGRAMS:
            _tell_ignored(call, flags & ~MS_NODEV)  # a new file system has no devices yet
        return 0

    def umount2(self, call: Call) -> Verdict:
        """umount2(2) of what the view has mounted; of another mount the kernel's."""
        flags = call.args.flags & 0xFFFFFFFF
        if flags & ~(MNT_FORCE | MNT_DETACH | MNT_EXPIRE | UMOUNT_NOFOLLOW):
            raise OSError(errno.EINVAL, "unknown flags")
        target = call.name_of(0, covered=True) or call.path
        if target is None:
            return PASS
        found, missing = _found(call)
        if missing is not None and flags & MNT_EXPIRE:
            raise missing
        if flags & MNT_EXPIRE:
            if not flags & (MNT_FORCE | MNT_DETACH):
                call.warn(_NO_EXPIRY, once=_NO_EXPIRY)
            raise OSError(errno.EINVAL, "mounts of a view do not expire")
        if found is not None and flags & UMOUNT_NOFOLLOW and _is_link(found):
            raise OSError(errno.EINVAL, "a symbolic link")
        if call.unmount(target, lazy=bool(flags & MNT_DETACH)):
            return 0
        if missing is not None:
            raise missing
        if found is not None and not _is_mount(found):
            # The kernel would say EPERM, as to somebody who may mount nothing.
            raise OSError(errno.EINVAL, "nothing is mounted there")
        self._refuse_machines(call, 0, target)
        return PASS

    def move_mount(self, call: Call) -> Verdict:
        """move_mount(2): the kernel's, but for what the machine has mounted."""
        source = call.path  # None: a descriptor's, perhaps
        if source is not None or call.args.flags & _FROM_EMPTY_PATH:
            self._refuse_machines(call, 0, source)
        return PASS

    def _forget_unmounted(self) -> None:
        """A real mount is about to be made, and may get the number of one that has gone."""
        now = _mounts_now() if self._machines else None
        if now:
            self._machines &= now

    def _refuse_machines(self, call: Call, index: int, target: bytes | None) -> None:
        """Raise OSError EPERM for a mount of the machine's, unless the caller has a copy."""
        if not self._machines or _has_own_mounts(call):
            return
        found = call.file(index)
        if found is None and target is None:
            return  # a bad descriptor
        file = call.file_at(target or b"/") if found is None else found
        try:
            is_machines = _is_mount(file) and _mount_of(file) in self._machines
        finally:
            if found is None:
                file.close()
        if is_machines:
            call.warn(f"{call.name}: {_MACHINES}", once=_MACHINES)
            raise OSError(errno.EPERM, "a mount of the machine's")

    def fsopen(self, call: Call) -> Verdict:
        """The newer calls are not there: mount(8) falls back to mount(2)."""
        raise OSError(errno.ENOSYS, "see mount(2)")

    def fspick(self, call: Call) -> Verdict:
        """See `fsopen`."""
        raise OSError(errno.ENOSYS, "see mount(2)")

    def open_tree(self, call: Call) -> Verdict:
        """See `fsopen`."""
        raise OSError(errno.ENOSYS, "see mount(2)")

    def open_tree_attr(self, call: Call) -> Verdict:
        """See `fsopen`."""
        raise OSError(errno.ENOSYS, "see mount(2)")

    def mount_setattr(self, call: Call) -> Verdict:
        """See `fsopen`."""
        raise OSError(errno.ENOSYS, "see mount(2)")


def _text(call: Call, name: str) -> bytes | None:
    """A string argument; None: a null pointer."""
    if not call.raw[call.row.position(name)]:
        return None
    text: bytes = getattr(call.args, name)
    return text


def _named(call: Call, index: int, *, covered: bool) -> bytes | None:
    """The source's name in the view, or (1) the target's; None: only the kernel can judge. Raises
    OSError: what a magic link leads to has none."""
    name = call.name_of(index, covered=covered)
    if name is None and (call.second_path if index else call.path) is not None:
        if index and not covered:
            raise OSError(errno.EINVAL, "nothing is mounted there")
        call.warn(f"mount: {_NAMELESS}", once=_NAMELESS)
        raise OSError(errno.EPERM, "no name in the view")
    return name


def _tell_ignored(call: Call, flags: int) -> None:
    for flag, text in _IGNORED.items():
        if flags & flag and not (flag == MS_NOSUID and _has_no_new_privileges(call)):
            call.warn(f"mount: {text}", once=f"mount {flag}")


def _mounts_now() -> frozenset[int]:
    """The mounts that are there, by their numbers (proc_pid_mountinfo(5)), and 0."""
    try:
        with open("/proc/self/mountinfo", "rb") as file:
            return frozenset([0, *(int(line.split(None, 1)[0]) for line in file)])
    except OSError:  # there is no /proc, and so no view
        return frozenset()


def _mount_of(file: File) -> int:
    """The number of its mount in mountinfo; 0: the kernel does not tell."""
    known, number = _MNT_ID.unpack_from(file.statx(0, _STATX_MNT_ID))
    return int(number) if known & _STATX_MNT_ID else 0


def _reached(call: Call, index: int, path: bytes) -> File | None:
    """What stands at a path argument. Raises OSError: nothing; a file, with a slash behind it."""
    found = call.file(index)
    if found is None:
        call.file_at(path).close()
    return found


def _found(call: Call) -> tuple[File | None, FileNotFoundError | None]:
    """The target, or why there is none: a mount whose source was removed leads nowhere."""
    try:
        return call.file(), None
    except FileNotFoundError as error:
        return None, error


def _has_no_new_privileges(call: Call) -> bool:
    """An ordinary user's view sets that, which is more than nosuid."""
    try:
        with open(f"/proc/{call.pid}/status", "rb") as file:
            return b"\nNoNewPrivs:\t1\n" in file.read()
    except OSError:  # it has ended
        return True


def _has_own_mounts(call: Call) -> bool:
    """Is the caller in a mount name space of its own, though its mounts may be shared with ours?"""
    try:
        theirs = os.stat(f"/proc/{call.tid}/ns/mnt")
    except OSError:  # it has ended, or nobody may look
        return False
    return not os.path.samestat(theirs, os.stat("/proc/self/ns/mnt"))


def _is_link(file: File) -> bool:
    return stat.S_ISLNK(_STATX.unpack_from(file.statx(0, 0))[1])


def _is_mount(file: File) -> bool:
    """Does the kernel have one there? Where it does not tell, it may."""
    attributes, _, known = _STATX.unpack_from(file.statx(0, 0))
    return bool((attributes | ~known) & _STATX_ATTR_MOUNT_ROOT)
