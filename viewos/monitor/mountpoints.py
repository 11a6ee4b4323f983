"""Names as the kernel's mounts have them: in which one a name stands, and whether it is a mount
point itself."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from viewos.abi.fcntl import AT_EMPTY_PATH
from viewos.abi.row import signed32
from viewos.kernel import AT_FDCWD, NR, syscall

if TYPE_CHECKING:
    from viewos.call import Call
    from viewos.claims import Claim
    from viewos.monitor.paths import Place
    from viewos.monitor.router import Router


def probe_flags(call: Call) -> None:
    """Raise OSError EINVAL for flags that the kernel refuses before it looks at paths."""
    if call.name in ("renameat2", "linkat"):
        flags = call.raw[4] & 0xFFFFFFFF & ~(AT_EMPTY_PATH if call.name == "linkat" else 0)
        try:
            syscall(NR[call.name], AT_FDCWD, b"", AT_FDCWD, b"", flags)
        except FileNotFoundError:
            return


def is_mount_point(place: Place) -> bool:
    """Is the name that of a claim?"""
    return place.claim is not None and place.virtual == place.claim.prefix


def directory_of(router: Router, place: Place) -> tuple[Claim | None, bytes]:
    """(claim, real path) of the directory in which a name stands."""
    if is_mount_point(place):
        return router.view.claims.forward(os.path.dirname(place.virtual))
    return place.claim, place.parent


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
        names = claims.names(place.target or (place.parent if of_parent else place.real))
        found = [claims.find(name) for name in names] or [place.claim]
    elif of_parent:
        found = [directory_of(router, place)[0]]
    else:
        found = [place.claim]
    return {None if claim is None else bytes(claim.prefix) for claim in found}
