"""Modules that are put into a view, taken out or moved while its programs run.

A view that has been made never changes. A change makes another one in its place, with a router of
its own, and so for each view that is nested in it; then they are exchanged. Calls that are being
answered end in the old one, the next ones go to the new one.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from viewos.errors import ViewosError
from viewos.module import VirtualModule
from viewos.monitor import authors
from viewos.monitor.holders import holders, writers
from viewos.monitor.nesting import Gone, Nesting, in_directory, is_there, load_in, refuse_if
from viewos.monitor.scratch import scratch_directory
from viewos.monitor.setup import add_claims, show_missing_mount_points, start

if TYPE_CHECKING:
    from viewos.claims import Claim
    from viewos.monitor.router import Router
    from viewos.view import View

PATIENCE = 5.0
"""Seconds that calls which a module is answering may take to end before it is stopped."""


def add(
    nesting: Nesting, number: int, specs: Sequence[str], directory: bytes, gone: Gone = is_there
) -> list[int]:
    """Put modules on top of a view; the numbers of their layers. `directory` is that to which
    relative paths refer, in the view. Raises ViewosError, and nothing has changed then: also where
    whoever asked for it has `gone` before all have started."""
    modules = load_in(nesting.levels[number].router, list(specs), directory)
    with in_directory(directory):
        return add_modules(nesting, number, modules, gone)


def add_modules(
    nesting: Nesting, number: int, modules: Sequence[VirtualModule], gone: Gone = is_there
) -> list[int]:
    """See `add`."""
    with nesting.lock:
        view = nesting.levels[number].router.view
        scratch_directory(view)  # the old view and the new one share it
        added = {view.next_layer(): module for module in modules}
    started: list[VirtualModule] = []
    try:
        # Without the lock: who waits in there for something holds nobody else up.
        for layer, module in added.items():
            started.append(module)
            start(view, layer, module)
            view.wanted[layer] = authors.claims(module)
        with nesting.lock:
            refuse_if(gone)
            own = nesting.levels[number].router.view.own
            _exchange(nesting, number, {**own, **added})
    except BaseException:
        authors.stop(tuple(started), None)
        for layer in added:
            view.wanted.pop(layer, None)
        raise
    return list(added)


def remove(nesting: Nesting, number: int, layer: int, *, lazy: bool = False) -> None:
    """Take a module out of a view. Raises ViewosError: there is none, or (unless `lazy`) processes
    hold files or directories that it shows."""
    with nesting.lock:
        old = nesting.levels[number].router
        module = own_module(old.view, layer)
        if not lazy:
            in_use = "the module is in use (--lazy removes it all the same)"
            _refuse_if(holders, nesting, number, layer, in_use)
        own = {key: one for key, one in old.view.own.items() if key != layer}
        replaced = _exchange(nesting, number, own, keeps=True)
        if type(module).stop is not VirtualModule.stop:
            for router in replaced:
                _wait_for_end(router)
        old.view.wanted.pop(layer, None)
    authors.stop((module,), old.log.warning)


def set_read_only(nesting: Nesting, number: int, layer: int, read_only: bool) -> None:
    """Let what a module shows be read-only, or not. Raises ViewosError: files that it alone shows
    are open for writing."""
    with nesting.lock:
        view = nesting.levels[number].router.view
        own_module(view, layer)
        before = view.wanted[layer]
        if read_only and not all(claim.read_only for claim in before):
            _refuse_if(writers, nesting, number, layer, "files are open for writing")
        view.wanted[layer] = [claim._replace(read_only=read_only) for claim in before]
        try:
            _exchange(nesting, number, view.own)
        except BaseException:
            view.wanted[layer] = before
            raise


def move(nesting: Nesting, number: int, layer: int, place: int) -> None:
    """Move a module to a place among the view's own ones, 0 at the bottom. Raises ViewosError."""
    with nesting.lock:
        own = nesting.levels[number].router.view.own
        module = own_module(nesting.levels[number].router.view, layer)
        rest = [item for item in own.items() if item[0] != layer]
        if not 0 <= place <= len(rest):
            raise ViewosError(f"there is no place {place}: the view has {len(own)} modules")
        rest.insert(place, (layer, module))
        _exchange(nesting, number, dict(rest))


def own_module(view: View, layer: int) -> VirtualModule:
    """The module of a layer that is the view's own. Raises ViewosError."""
    try:
        return view.own[layer]
    except KeyError:
        pass
    if layer in view.layers:
        raise ViewosError(f"layer {layer} is the outer view's: change it there")
    raise ViewosError(f"there is no layer {layer} (`viewos module ls` lists them)")


def _exchange(
    nesting: Nesting, number: int, own: dict[int, VirtualModule], *, keeps: bool = False
) -> list[Router]:
    """Put new views in the place of one and of those nested in it; the routers that were there.

    Raises ViewosError: one of the new ones cannot be; or, if it `keeps` what modules show, some
    show something that has gone. Nothing has been exchanged then.
    """
    _ = nesting.trapped  # what it says is of the first view that the outermost one was
    made: dict[int, View] = {}
    outermost = nesting.levels[0].router
    for index in sorted(nesting.within(number)):
        level = nesting.levels[index]
        old = level.router.view
        below = old.below
        if level.outer is not None:
            below = made.get(level.outer, nesting.levels[level.outer].router.view)
        view = made[index] = old.changed(own if index == number else old.own, below)
        layers = list(old.layers)
        shown = {(layers[claim.layer], bytes(claim.backing)) for claim in old.claims}
        for layer in view.own:
            add_claims(view, layer, outermost.mounts, shown)
        if keeps:
            _refuse_if_shown_elsewhere(old, view)
        show_missing_mount_points(view)
        nesting.check(view)
    _stand(nesting, made)
    replaced = []
    for index, view in made.items():
        level = nesting.levels[index]
        replaced.append(level.router)
        router = level.router.renewed(view)
        if outermost.accelerator is not None:
            outermost.accelerator.add_view(index, view, router.accelerated)
        level.router = router
        nesting.look_again(index)
    return replaced


def _stand(nesting: Nesting, made: dict[int, View]) -> None:
    """Tell modules on which others they are about to stand. Raises ViewosError: one refuses."""
    try:
        for view in made.values():
            authors.stand(view)
    except ViewosError:
        for index in made:
            authors.stand(nesting.levels[index].router.view)
        raise


def _wait_for_end(router: Router) -> None:
    """Until no call but ours is being answered by it, or some of them wait for something else."""
    end = time.monotonic() + PATIENCE
    while router.active.keys() - {threading.get_ident()} and time.monotonic() < end:
        time.sleep(0.002)


class InUse(ViewosError):
    """Processes use what the module shows."""


def _refuse_if_shown_elsewhere(old: View, new: View) -> None:
    """A bind mount of what has gone would show the machine's own directory."""
    before, after = list(old.layers), list(new.layers)
    for claim in new.claims:
        was = old.claims.by_prefix.get(claim.prefix)
        if was is None or before[was.layer] != after[claim.layer]:
            continue
        if (was.backing, was.module) != (claim.backing, claim.module):
            raise InUse(f"{os.fsdecode(claim.prefix)} shows what it shows: unmount that first")


def _refuse_if(
    users: Callable[[View, set[int], Sequence[Claim]], list[str]],
    nesting: Nesting, number: int, layer: int, why: str,
) -> None:  # fmt: skip
    view = nesting.levels[number].router.view
    height = list(view.layers).index(layer)
    claims = [claim for claim in view.claims if claim.layer == height]
    found = users(view, nesting.within(number), claims)
    if found:
        shown = "; ".join(found[:5]) + (f"; {len(found) - 5} more" if len(found) > 5 else "")
        raise InUse(f"{why}: {shown}")
