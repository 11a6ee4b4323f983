"""readlink of what procfs says about names: mapped back from the backing to the view."""

from __future__ import annotations

import errno
import os
import re
from typing import TYPE_CHECKING

from viewos.monitor.emulate import readlink as emulated_readlink
from viewos.monitor.outcome import CONTINUE, Outcome
from viewos.monitor.pathcalls import (
    emulable,
    fix_up_paths,
    may_continue,
    resolve_all,
)
from viewos.monitor.paths import Place

if TYPE_CHECKING:
    from viewos.call import Call
    from viewos.monitor.router import Router

_NAMES = re.compile(rb"/(\d+)(?:/task/\d+)?/(cwd|root|exe|fd/\d+|map_files/[^/]+)\Z")
_DELETED = b" (deleted)"


def readlink(router: Router, call: Call) -> int | Outcome:
    """readlink(2), readlinkat(2)."""
    places = resolve_all(router, call)
    if places is None:
        return CONTINUE
    place = places[0]
    proc = router.mounts.proc_root(place.real) if place.native else None
    match = _NAMES.match(place.real, 0 if proc in (None, b"/") else len(proc or b""))
    if proc is not None and match:
        answer = _names(router, call, place, int(match[1]), match[2])
        if answer is not CONTINUE:
            return answer
    if may_continue(router, place):
        return CONTINUE
    if emulable(call, places):
        return emulated_readlink(router, call, places)
    return fix_up_paths(router, call, places)


def _names(router: Router, call: Call, place: Place, pid: int, what: bytes) -> int | Outcome:
    if not call.task.like_us:
        return CONTINUE  # whether it may look is the kernel's to say, and its eyes are not ours
    try:
        text = os.readlink(place.real)
    except OSError:
        return CONTINUE
    name = virtual_name(router, text, pid, what)
    if name == text:
        return CONTINUE
    at = 1 if call.name == "readlink" else 2
    size = call.raw[at + 1] & 0xFFFFFFFF
    if size == 0 or size >> 31:
        raise OSError(errno.EINVAL, "buffer size")
    router.memory.write(call.tid, call.raw[at], name[:size])
    return min(len(name), size)


def virtual_name(router: Router, text: bytes, pid: int, what: bytes) -> bytes:
    """What a magic link of process `pid` says in the view."""
    if text[:1] != b"/":
        return text
    hint = None
    if what in (b"cwd", b"exe"):
        try:
            state = router.view.states.read(pid)
        except OSError:
            state = router.view.states.initial
        hint = state.cwd if what == b"cwd" else None
        if what == b"exe" and state.executable is not None:
            text = state.executable
    tail = _DELETED if text.endswith(_DELETED) else b""
    name = router.resolver.claims.reverse(text[: len(text) - len(tail)], hint)
    return text if name is None else name + tail
