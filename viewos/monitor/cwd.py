"""The working directory is the kernel's: chdir is fixed up, getcwd maps back."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from viewos.monitor import handover, marks
from viewos.monitor.namespaces import is_view
from viewos.monitor.outcome import CONTINUE, Outcome
from viewos.monitor.outside import change_directory, needs_descriptor
from viewos.monitor.pathcalls import fix_up_paths, may_continue, resolve_all
from viewos.monitor.place import KERNEL
from viewos.monitor.task import is_like_us
from viewos.monitor.walk import is_searchable

if TYPE_CHECKING:
    from viewos.call import Call
    from viewos.monitor.place import Place
    from viewos.monitor.router import Router
    from viewos.view import ProcessState


def chdir(router: Router, call: Call) -> int | Outcome:
    """chdir(2): the kernel's cwd becomes the backing directory; the state remembers by which name
    it was entered, where the backing can be seen by several."""
    places = resolve_all(router, call)
    if places is None:
        return CONTINUE
    place = places[0]
    state = None if place is KERNEL else _entered(router, call, place)

    if state is not None and not is_like_us(call, call.task):
        # Whether it may enter the directory is not known before.
        return fix_up_paths(router, call, places, state=state)

    def keep() -> None:
        if state is not None:
            router.set_process_state(call, state)

    if may_continue(router, place):
        keep()
        return CONTINUE
    if needs_descriptor(router, call, place):
        keep()
        return change_directory(router, call, place)
    handed = handover.hand_directory(router, call, place)
    if handed is None:
        return fix_up_paths(router, call, places, state=state)
    keep()
    return handed


def _entered(router: Router, call: Call, place: Place) -> ProcessState | None:
    """What is to be remembered of a process that has entered a directory; None: what was."""
    real, hint = marks.name_of(router, place)
    state, claims = call.process_state, router.view.claims
    # Only where it is needed: threads with working directories of their own (CLONE_FS) share
    # the hint, and one that enters / would take it from one that is in a claim.
    is_told = claims.told(real, hint) == claims.told(real, state.cwd)
    if state.cwd == hint or (is_told and not claims.is_ambiguous(real)):
        return None
    if is_like_us(call, call.task) and not is_searchable(real):
        return None  # it fails, and the name of before holds
    return state._replace(cwd=hint)


def getcwd(router: Router, call: Call) -> int | Outcome:
    """getcwd(2)."""
    task, root = router.tasks.get(call.tid)
    if not is_view(task):
        return CONTINUE
    real = task.link("cwd")
    if real[:1] != b"/" or not router.mounts.is_at(task, "cwd", real):
        return CONTINUE
    name = router.resolver.claims.told(real, router.cwd_hint(call))
    if name is None:
        name = b"(unreachable)" + real
    base = router.root_of(call, root)
    if base.virtual != b"/":
        if name == base.virtual or name.startswith(base.virtual + b"/"):
            name = name[len(base.virtual) :] or b"/"
        else:
            name = b"(unreachable)" + name
    buffer, size = call.raw[0], call.raw[1]
    if len(name) + 1 > size:
        raise OSError(errno.ERANGE, "size")
    router.memory.write(call.tid, buffer, name + b"\0")
    return len(name) + 1
