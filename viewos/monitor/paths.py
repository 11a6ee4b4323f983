"""The resolver: where a path of a tracee leads, in the virtual name space.

It does what the kernel's namei does, component by component: symbolic links are followed by
their text in the virtual name space, claims are crossed at canonical virtual paths. Beside the
virtual position it follows where the *kernel* would be if it got the tracee's own string; while
both agree the call may simply continue.

A path that cannot be resolved to its end is no error here: the `Place` then names a real path that
fails in the same way, and the kernel, given that one, says how.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from viewos.abi.fcntl import (
    RESOLVE_BENEATH,
    RESOLVE_IN_ROOT,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS,
    RESOLVE_NO_XDEV,
)
from viewos.claims import Claim, ClaimMap, join
from viewos.kernel import AT_FDCWD, vouch
from viewos.monitor.magic import MagicLinks
from viewos.monitor.mounts import MountTable
from viewos.monitor.place import KERNEL, PATH_MAX, Place, Start
from viewos.monitor.walk import (
    LOOK,
    LOOK_NOFOLLOW,
    Walk,
    is_above,
    is_directory,
    is_searchable,
    split,
    up,
)

if TYPE_CHECKING:
    from viewos.monitor.task import Task

MAX_LINKS = 40

_TRUSTED = (-errno.ENOENT, -errno.ENOTDIR)
_MAGIC = rb"/\d+(?:/task/\d+)?/(?:cwd|root|exe|fd/\d+|map_files/[^/]+|ns/\w+)\Z"


class Resolver:
    """Resolves paths against one map of claims."""

    def __init__(self, claims: ClaimMap, mounts: MountTable) -> None:
        self.claims = claims
        self.mounts = mounts
        self.magic = MagicLinks(mounts)

    def root_of(self, real: bytes) -> Start:
        """The virtual root directory of a tracee whose root is `real`."""
        if real == b"/":
            return Start(b"/", b"/")
        return Start(self.claims.reverse(real) or real, real)

    def start(self, task: Task, dirfd: int, hint: bytes | None, path: bytes = b"") -> Start | None:
        """The directory of the relative `path`; None where only the kernel can judge."""
        link = "cwd" if dirfd == AT_FDCWD else f"fd/{dirfd}"
        try:
            real = task.link(link)
        except OSError:
            return None
        is_there = real[:1] == b"/" and self.mounts.is_at(task, link, real)
        if not is_there and not real.endswith(b" (deleted)"):
            return None
        if is_there and dirfd != AT_FDCWD and not is_directory(real):
            return None
        virtual = self.claims.reverse(real, hint) if is_there else None
        if virtual is not None:
            return Start(virtual, real)
        return self._below(task, link, real, hint, path)

    def _below(
        self, task: Task, link: str, real: bytes, hint: bytes | None, path: bytes
    ) -> Start | None:
        """A directory over which something has been mounted, or that was removed, if the path leads
        up far enough."""
        virtual, at, names, levels = None, real, b"", 0
        for name in path.split(b"/"):
            if name == b"..":
                at, _, last = at.rpartition(b"/")
                names, levels = b"/" + last + names, levels + 1
                if is_above(task, link, levels, at or b"/"):
                    virtual = self.claims.told(at or b"/", hint)
            elif name not in (b"", b"."):
                break
            if virtual is not None and self._leads_on(virtual, at or b"/"):
                return Start(join(virtual, names), real, hidden=True)
        return None

    def _leads_on(self, virtual: bytes, real: bytes) -> bool:
        """Does `..` that has led to a real directory go on in the view? Where something is mounted
        over that very directory it does, but not below that."""
        return virtual in self.claims.by_prefix or self.claims.forward(virtual)[1] == real

    def _behind(self, start: Start) -> bytes:
        return start.real if start.hidden else self.claims.forward(start.virtual)[1]

    def resolve(
        self,
        task: Task,
        root: Start,
        start: Start | None,
        path: bytes,
        *,
        follow: bool,
        keep_last: bool = False,
        intent: str = "look",
        rules: int = 0,
    ) -> Place:
        """Where `path` leads.

        Arguments: `start` the directory of a relative path; `follow` a final symbolic link;
        `keep_last` for calls that make or remove a name: the last component is not looked
        at; `rules` the RESOLVE_* bits of openat2(2). Raises OSError: ELOOP, EXDEV, ENAMETOOLONG.
        """
        if len(path) >= PATH_MAX:
            raise OSError(errno.ENAMETOOLONG, "path")
        absolute = path[:1] == b"/"
        if absolute and not rules & RESOLVE_IN_ROOT:
            if rules & RESOLVE_BENEATH:
                raise OSError(errno.EXDEV, "absolute path")
            start = root
        if start is None:
            return KERNEL
        if not rules:
            place = self._fast(start, root, path, absolute, follow, keep_last, intent)
            if place is not None:
                return place
        if rules & RESOLVE_IN_ROOT:
            root = start
        walk = Walk(task, root, start, self._behind(start), path, rules)
        walk.claim = self.claims.find(start.virtual)
        return self._walk(walk, follow, keep_last, intent)

    def searched(
        self,
        task: Task,
        root: Start,
        start: Start,
        path: bytes,
        *,
        follow: bool,
        keep_last: bool,
        rules: int,
    ) -> Iterator[bytes]:
        """The canonical virtual directories in which the names of `path` are looked up, in their
        order; the arguments are those of `resolve`. Raises OSError EXDEV, and ELOOP after those
        that come before."""
        walk = Walk(task, root, start, self._behind(start), path, rules)
        walk.claim = self.claims.find(start.virtual)
        failed = None
        try:
            self._walk(walk, follow, keep_last, "look")
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            failed = error
        yield from walk.searched
        if failed is not None:
            raise failed

    def canonical(self, path: bytes) -> tuple[bytes, bytes]:
        """(virtual, real) of an absolute path, with no tracee; for building claims.

        Components that do not exist stay as they are.
        """
        root = Start(b"/", b"/")
        walk = Walk(None, root, root, self.claims.forward(b"/")[1], path, 0)
        place = self._walk(walk, follow=True, keep_last=False, intent="look")
        return place.virtual, place.real.rstrip(b"/") or b"/"

    # ---- the fast path -----------------------------------------------------------------------

    def _fast(
        self,
        start: Start,
        root: Start,
        path: bytes,
        absolute: bool,
        follow: bool,
        keep_last: bool,
        intent: str,
    ) -> Place | None:
        """The lexical answer, where the kernel vouches that no symbolic link was met."""
        if keep_last and path.rstrip(b"/").rpartition(b"/")[2] in (b"", b".", b".."):
            return None
        virtual, kernel = start.virtual, start.real
        rest = path
        if rest[:1] == b"." and not is_searchable(kernel):
            return None
        while rest[:2] == b"..":  # `..` of a canonical directory is lexical
            if len(rest) > 2 and rest[2:3] != b"/":
                break
            at_root = virtual in (root.virtual, b"/") or kernel == b"/"
            if absolute or at_root or not is_searchable(kernel):
                return None
            virtual, kernel = os.path.dirname(virtual), os.path.dirname(kernel)
            rest = rest[2:].lstrip(b"/")
        if b"/." in rest or rest[:1] == b".":
            parts = [part for part in rest.split(b"/") if part != b"."]
            if b".." in parts or rest.rstrip(b"/").endswith(b"/."):
                return None
            rest = b"/".join(parts)
        if b"//" in rest:
            rest = re.sub(rb"/+", b"/", rest)
        rest = rest.strip(b"/")
        slash = path.endswith(b"/") and bool(rest)
        if rest:
            virtual = virtual + b"/" + rest if virtual != b"/" else b"/" + rest
            kernel = kernel + b"/" + rest if kernel != b"/" else b"/" + rest
        claim, real = self.claims.forward(virtual, intent)
        if len(real) >= PATH_MAX - 1:
            return None
        looked_through = slash or (follow and not keep_last)
        seen = vouch(AT_FDCWD, real, LOOK if looked_through else LOOK_NOFOLLOW)
        if seen >= 0:
            os.close(seen)
        elif seen not in _TRUSTED:
            return None
        plain = real == kernel
        native = self.mounts.is_native(real)
        if slash:
            real += b"/"
        return Place(virtual, real, claim, plain, absolute, native)

    # ---- the slow walk ----------------------------------------------------------------------

    def _walk(self, walk: Walk, follow: bool, keep_last: bool, intent: str) -> Place:
        while walk.todo:
            walk.searched.append(walk.virtual)
            name = walk.todo.pop()
            last = not walk.todo
            if name in (b".", b".."):
                if last and keep_last:
                    return self._arrived_at(walk, walk.real, name)
                if walk.entered and not is_searchable(walk.real):
                    return self._arrived_at(walk, walk.real, name)
                if name == b"..":
                    self._ascend(walk)
                continue
            if last and (keep_last or not (follow or walk.slash)):
                self._enter(walk, name, intent)
                break
            place = self._descend(walk, name, last, intent)
            if place is not None:
                return place
        return self._arrived_at(walk, walk.real)

    def _ascend(self, walk: Walk) -> None:
        walk.rooted = True
        if walk.virtual == walk.floor and walk.rules & RESOLVE_BENEATH:
            raise OSError(errno.EXDEV, "..")
        if walk.virtual != walk.root.virtual:
            walk.virtual = os.path.dirname(walk.virtual)
        walk.kernel = up(walk.kernel, walk.root.real)
        self._arrive(walk, *self.claims.forward(walk.virtual))
        walk.entered = False

    def _arrive(self, walk: Walk, claim: Claim | None, real: bytes) -> None:
        if walk.rules & RESOLVE_NO_XDEV and (
            claim is not walk.claim or self.mounts.mount_of(real) != self.mounts.mount_of(walk.real)
        ):
            raise OSError(errno.EXDEV, "another mount")
        walk.claim, walk.real = claim, real
        walk.plain = walk.plain and real == walk.kernel

    def _enter(self, walk: Walk, name: bytes, intent: str) -> None:
        walk.virtual = join(walk.virtual, b"/" + name)
        walk.kernel = join(walk.kernel, b"/" + name)
        self._arrive(walk, *self.claims.forward(walk.virtual, intent))
        walk.entered = True

    def _descend(self, walk: Walk, name: bytes, last: bool, intent: str) -> Place | None:
        """Enter a component and follow it if it is a link; a Place when the walk ends here."""
        before = (walk.virtual, walk.real, walk.kernel, walk.claim)
        self._enter(walk, name, intent if last else "look")
        if walk.claim is not None and walk.claim.prefix == walk.virtual:
            return None  # the root of a claim is no link
        text = self._proc_self(walk)
        if text is None:
            try:
                text = os.readlink(walk.real)
            except OSError as error:
                if error.errno == errno.EINVAL:
                    return None
                return self._arrived_at(walk, walk.real)
        walk.links += 1
        if walk.links > MAX_LINKS or walk.rules & RESOLVE_NO_SYMLINKS:
            raise OSError(errno.ELOOP, "symbolic links")
        if self.mounts.match_proc(_MAGIC, walk.real):
            return self._magic(walk, text, last)
        if text.endswith(b"/") and last:
            walk.slash = True
        walk.todo.extend(split(text))
        if text[:1] == b"/":
            # The kernel does not know the root yet where nothing before has asked for it.
            if walk.rules & RESOLVE_BENEATH or (walk.rules & RESOLVE_NO_XDEV and not walk.rooted):
                raise OSError(errno.EXDEV, "absolute link")
            walk.absolute, walk.inside = True, bool(walk.rules & RESOLVE_IN_ROOT)
            walk.virtual, walk.kernel = walk.root.virtual, walk.root.real
            self._arrive(walk, *self.claims.forward(walk.virtual))
        else:
            walk.virtual, walk.real, walk.kernel, walk.claim = before
        walk.entered = False
        return None

    def _proc_self(self, walk: Walk) -> bytes | None:
        """/proc/self and /proc/thread-self are the tracee's, not ours."""
        if walk.task is None or not walk.real.endswith(b"self"):
            return None
        proc = self.mounts.proc_root(walk.real)
        if proc is None:
            return None
        if walk.real == join(proc, b"/self"):
            return b"%d" % walk.task.tgid
        if walk.real == join(proc, b"/thread-self"):
            return b"%d/task/%d" % (walk.task.tgid, walk.task.tid)
        return None

    def _magic(self, walk: Walk, text: bytes, last: bool) -> Place | None:
        """A magic link leads to an object, whatever its text says."""
        if walk.rules & RESOLVE_NO_MAGICLINKS:
            raise OSError(errno.ELOOP, "magic link")
        if walk.rules & (RESOLVE_BENEATH | RESOLVE_IN_ROOT | RESOLVE_NO_XDEV):
            raise OSError(errno.EXDEV, "magic link")
        forbidden = walk.task is not None and not walk.task.may_follow(walk.real)
        virtual = None if forbidden else self.magic.stands_for(walk.real, text)
        if virtual is None:
            if text[:1] == b"/" and not text.endswith(b" (deleted)"):
                virtual = self.claims.reverse(text, self.magic.hint_for(walk.real))
            # Of the last name, too: it may be opened, and paths begin there.
            there = (
                virtual is not None and is_directory(text) and self.magic.leads_to(walk.real, text)
            )
            if last or virtual is None or forbidden or not there:
                place = self._arrived_at(walk, walk.real)
                is_ours = last and not forbidden and walk.task is not None and walk.task.like_us
                kept = self.magic.kept_for(walk.real, text) if is_ours else None
                if kept is not None:
                    place = place._replace(real=kept, plain=False)
                return place._replace(native=True, target=text)
        walk.virtual, walk.kernel, walk.absolute, walk.inside = virtual, text, True, True
        self._arrive(walk, *self.claims.forward(virtual))
        walk.entered = True  # it may be any file
        return None

    def _arrived_at(self, walk: Walk, real: bytes, *names: bytes) -> Place:
        """The real path so far, and the rest, if any, as it stands: the kernel judges it."""
        rest = b"/".join([*names, *reversed(walk.todo)])
        if rest:
            real = real + b"/" + rest if real != b"/" else b"/" + rest
        if walk.slash and real != b"/":
            real += b"/"
        virtual = join(walk.virtual, b"/" + rest) if rest else walk.virtual
        best = self._is_kernels(walk)
        native = best or self.mounts.is_native(walk.real)
        plain = walk.plain and walk.real == walk.kernel
        return Place(virtual, real, walk.claim, plain, walk.absolute, native, best=best)

    def _is_kernels(self, walk: Walk) -> bool:
        """Is it for the kernel alone to say whether the task may pass? A walk that starts in the
        middle needs no permission above its start, but a real path from the root does."""
        if not (walk.inside and walk.plain) or (walk.claim is not None and walk.claim.read_only):
            return False
        seen = vouch(AT_FDCWD, walk.real, LOOK_NOFOLLOW)
        if seen >= 0:
            os.close(seen)
        return seen == -errno.EACCES
