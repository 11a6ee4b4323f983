"""`reach`: a virtual root reaches all that the real user owns, whatever its mode.

Where the kernel would refuse a call for want of permission, the directory or file that refuses has
the permission for as long as the call takes. See lent.py for what becomes of a mode when the
monitor is killed meanwhile.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable
from contextlib import ExitStack
from typing import TYPE_CHECKING

from viewos import PASS, Claim, RealPath, VirtualPath, hook
from viewos.modules.uid import lent
from viewos.modules.uid.credentials import DAC_OVERRIDE
from viewos.modules.uid.module import Uid

if TYPE_CHECKING:
    from viewos import Call, File, Verdict

REACHED = (
    "open", "stat", "access", "readlink", "statfs", "chdir", "chroot", "inotify_add_watch", "mkdir",
    "mknod", "rmdir", "unlink", "rename", "link", "symlink", "chmod", "chown", "utime", "truncate",
    "setxattr", "getxattr", "listxattr", "removexattr",
)  # fmt: skip
_MOST = 40
"""Directories of a path, and files, that a call may need."""


class ReachingUid(Uid):
    """uid:...,reach"""

    name = "uid"
    _lent: lent.Modes

    def rescues(self) -> frozenset[str]:
        """What is only looked at where it fails."""
        return frozenset(REACHED)

    def start(self, scratch: bytes) -> None:
        """Find a place to write modes down."""
        self._lent = lent.Modes()
        super().start(scratch)

    def forked(self) -> None:
        """A place of the child's own."""
        super().forked()
        self._lent.leave()
        self._lent = lent.Modes()

    def stop(self) -> None:
        """Give it back."""
        super().stop()
        self._lent.close()

    def claims(self) -> Iterable[Claim]:
        """All paths, which stay what they are."""
        yield Claim(VirtualPath(b"/"), RealPath(b"/"))

    @hook(*REACHED)
    def reach(self, call: Call) -> Verdict:
        """A call that the kernel would refuse with EACCES."""
        if not self._who(call).may(DAC_OVERRIDE):
            return PASS
        with self._lent.using(), ExitStack() as stack:
            seen: list[tuple[int, int]] = []
            while len(seen) < _MOST:
                obstacle = _obstacle(call)
                if obstacle is None:
                    return _made(call) if seen else PASS
                stack.callback(obstacle.close)
                found = os.stat(obstacle.path)
                place = found.st_dev, found.st_ino
                if place in seen or found.st_uid != os.geteuid() or obstacle.read_only:
                    return PASS
                seen.append(place)
                stack.enter_context(self._lent.lend(obstacle.path, _permitting(found.st_mode)))
        return PASS


def _made(call: Call) -> Verdict:
    """What comes of it now: at the latest the program makes it while it is allowed to."""
    try:
        result: Verdict = call.below()
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        return call.make_within()
    return result


def _obstacle(call: Call) -> File | None:
    try:
        return call.obstacle()
    except OSError:
        return None


def _permitting(mode: int) -> int:
    """The mode that lets its owner do what a root could."""
    may_execute = stat.S_ISDIR(mode) or mode & 0o111
    return stat.S_IMODE(mode) | (0o700 if may_execute else 0o600)
