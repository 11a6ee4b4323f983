"""What mount(2) and umount2(2) mean: a mount stays with what it was made of and what it was made
on, so both are known by the names that the view has for them, whatever led there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viewos.monitor.magic import NAMES
from viewos.monitor.pathcalls import resolve_all
from viewos.monitor.place import KERNEL

if TYPE_CHECKING:
    from viewos.call import Call
    from viewos.monitor.router import Router


def name_of(router: Router, call: Call, index: int, *, covered: bool) -> bytes | None:
    """See `Call.name_of`."""
    places = resolve_all(router, call)
    place = KERNEL if places is None else places[index]
    if place is KERNEL:
        return _covered_cwd(router, call, index) if covered and places is not None else None
    if place.target is None:
        return place.virtual
    link, magic, claims = place.real.rstrip(b"/"), router.resolver.magic, router.view.claims
    if place.target[:1] != b"/" or not router.mounts.match_proc(NAMES, link):
        return None  # a pipe, a name space; or the walk went on behind the link
    find = claims.told if covered else claims.reverse
    name = find(place.target, magic.hint_for(link))
    return name if name is not None and magic.leads_to(link, place.target) else None


def _covered_cwd(router: Router, call: Call, index: int) -> bytes | None:
    """The name of the working directory, if something is mounted over it and the path is no more
    than it."""
    path = router.memory.read_string(call.tid, call.raw[call.row.paths[index].path])
    if not path or path[:1] == b"/" or set(path.split(b"/")) - {b"", b"."}:
        return None
    real = call.task.link("cwd")
    if real[:1] != b"/" or not router.mounts.is_at(call.task, "cwd", real):
        return None
    return router.view.claims.told(real, router.cwd_hint(call))
