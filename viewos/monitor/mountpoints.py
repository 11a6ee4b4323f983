"""Names as the kernel's mounts have them: in which one a name stands, and whether it is a mount
point itself."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from viewos.abi.fcntl import AT_EACCESS, AT_EMPTY_PATH
from viewos.abi.row import signed32
from viewos.kernel import AT_FDCWD, NR, syscall
from viewos.monitor.memory import Fault
from viewos.monitor.place import KERNEL, Place
from viewos.monitor.task import is_like_us

if TYPE_CHECKING:
    from viewos.call import Call
    from viewos.claims import Claim
    from viewos.monitor.router import Router


def probe_flags(call: Call) -> None:
    """Raise OSError EINVAL for flags that the kernel refuses before it looks at paths."""
    if call.name in ("renameat2", "linkat"):
        flags = call.raw[4] & 0xFFFFFFFF & ~(AT_EMPTY_PATH if call.name == "linkat" else 0)
        try:
            syscall(NR[call.name], AT_FDCWD, b"", AT_FDCWD, b"", flags)
        except FileNotFoundError:
            return


def described(router: Router, call: Call) -> Place:
    """What linkat(2) with AT_EMPTY_PATH is to give a name, as the link that procfs has to it;
    KERNEL: it is another call."""
    if call.name != "linkat" or not call.raw[4] & AT_EMPTY_PATH:
        return KERNEL
    try:
        name = f"fd/{signed32(call.raw[0])}"
        if router.memory.read_string(call.tid, call.raw[1]):
            return KERNEL
        link, target = f"/proc/{call.tid}/{name}".encode(), call.task.link(name)
    except (Fault, OSError):
        return KERNEL
    return Place(link, link, None, plain=True, native=True, target=target)


def is_mount_point(router: Router, place: Place) -> bool:
    """Is the name that of a claim, or another one of what a claim is mounted on?"""
    return _is_claim(place) or place.real.rstrip(b"/") in router.view.claims.apart.points


def is_above_mount(router: Router, place: Place) -> bool:
    """Does a claim stand below, whatever its name there?"""
    claims, real = router.view.claims, place.real.rstrip(b"/")
    return claims.is_above(place.virtual) or (real != b"" and claims.apart.is_above_point(real))


def _is_claim(place: Place) -> bool:
    return place.claim is not None and place.virtual == place.claim.prefix


def directory_of(router: Router, place: Place) -> tuple[Claim | None, bytes]:
    """(claim, real path) of the directory in which a name stands."""
    if _is_claim(place):
        return router.view.claims.forward(os.path.dirname(place.virtual))
    return place.claim, place.parent


def refuse_change(call: Call, directory: bytes, name: bytes = b"") -> None:
    """Raise OSError EACCES, EROFS or EPERM where the caller may make no name in a directory, or not
    take away that one (may_create, may_delete of fs/namei.c). Who is not like us is not judged."""
    if not is_like_us(call, call.task):
        return
    syscall(NR["faccessat2"], AT_FDCWD, directory, os.W_OK | os.X_OK, AT_EACCESS)
    found = os.stat(directory)
    if not name or not found.st_mode & stat.S_ISVTX or os.geteuid() == 0:
        return
    if os.geteuid() not in (found.st_uid, os.lstat(name).st_uid):
        raise OSError(errno.EPERM, "sticky directory")


def mounts_of(
    router: Router, call: Call, index: int, place: Place, *, of_parent: bool
) -> set[bytes | None]:
    """The prefixes of the claims where a name stands (`of_parent`: its directory; None: in none),
    several where a descriptor or a magic link stands for what has several names."""
    claims = router.view.claims
    dirfd = call.row.paths[index].dirfd
    by_descriptor = dirfd is not None and signed32(call.raw[dirfd]) != AT_FDCWD
    # Who stands in a claim has most likely opened it by that name.
    by_descriptor = by_descriptor and router.cwd_hint(call) == b""
    if place.target or (by_descriptor and not place.absolute):
        real = place.target or (place.parent if of_parent else place.real)
        names = claims.names(real.removesuffix(b" (deleted)"))
        found = [claims.find(name) for name in names] or [place.claim]
        if place.target and found[0] is not None and found[0].read_only:
            del found[1:]  # it counts as opened there
    elif of_parent:
        found = [directory_of(router, place)[0]]
    else:
        found = [place.claim]
    return {None if claim is None else bytes(claim.prefix) for claim in found}
