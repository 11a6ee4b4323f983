"""mount: mount(2) and umount2(2) change the view, and need no privilege."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from viewos import PASS, VirtualModule

if TYPE_CHECKING:
    from viewos import Call, Verdict

MS_RDONLY, MS_REMOUNT, MS_BIND, MS_MOVE = 1, 0x20, 0x1000, 0x2000
MS_KINDS = 0x20000 | 0x40000 | 0x80000 | 0x100000
"""MS_UNBINDABLE, MS_PRIVATE, MS_SLAVE, MS_SHARED (linux/mount.h)."""
MNT_DETACH = 2


class Mount(VirtualModule):
    """Let programs mount in the view: mount --bind, mount -t MODULE or proc, umount."""

    name = "mount"
    grammar = "mount"
    example = "mount"
    claims_later = True

    def mount(self, call: Call) -> Verdict:
        """mount(2): a bind mount, one of a type that is a module's, or a second sight of /proc and
        its like; else the kernel's."""
        flags = call.args.flags & 0xFFFFFFFF
        if flags & MS_REMOUNT and not flags & MS_BIND:
            return PASS
        if flags & MS_KINDS and not flags & (MS_BIND | MS_MOVE | MS_REMOUNT):
            return 0  # nothing of the view is shared with anybody
        if flags & MS_MOVE:
            raise OSError(errno.EINVAL, "a mount of the view does not move")
        target = call.second_path
        if target is None:
            return PASS
        if flags & MS_REMOUNT:
            call.remount(target, read_only=bool(flags & MS_RDONLY))
            return 0
        if flags & MS_BIND:
            source = call.path
            if source is None:
                return PASS
            call.mount("bind", source, target)
            return 0
        return self._of_type(call, target, flags)

    def _of_type(self, call: Call, target: bytes, flags: int) -> Verdict:
        kind = call.args.fstype.decode(errors="replace") if call.args.fstype else ""
        source = call.args.source or b"none"
        data = call.args.data
        options = call.read_text(data).decode(errors="replace").split(",") if data else []
        options += ["ro"] if flags & MS_RDONLY else []
        try:
            call.mount(kind, source, target, [option for option in options if option])
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise
            return PASS
        return 0

    def umount2(self, call: Call) -> Verdict:
        """umount2(2) of what the view has mounted; what else the kernel does."""
        target = call.path
        if target is None or not call.unmount(target, lazy=bool(call.args.flags & MNT_DETACH)):
            return PASS
        return 0

    def fsopen(self, call: Call) -> Verdict:
        """The newer calls are not there: mount(8) falls back to mount(2)."""
        raise OSError(errno.ENOSYS, "see mount(2)")

    def fspick(self, call: Call) -> Verdict:
        """See `fsopen`."""
        raise OSError(errno.ENOSYS, "see mount(2)")

    def open_tree(self, call: Call) -> Verdict:
        """See `fsopen`."""
        raise OSError(errno.ENOSYS, "see mount(2)")

    def mount_setattr(self, call: Call) -> Verdict:
        """See `fsopen`."""
        raise OSError(errno.ENOSYS, "see mount(2)")
