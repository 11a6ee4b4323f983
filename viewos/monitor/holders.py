"""Who holds what a claim shows: working directories, roots, programs, open and mapped files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from viewos.claims import Claim, lies_in
from viewos.monitor.members import comm, members
from viewos.monitor.task import flags_in

if TYPE_CHECKING:
    from viewos.view import View

_LINKS = {"cwd": "working directory", "root": "root directory", "exe": "program"}


def holders(view: View, views: set[int], claims: Sequence[Claim]) -> list[str]:
    """A line for each process of these views that uses something in one of the claims."""
    found = []
    for pid, state in members(view.states, views):
        uses = list(dict.fromkeys(_uses(view, pid, state.cwd, claims)))
        if uses:
            more = f" and {len(uses) - 1} more" if len(uses) > 1 else ""
            found.append(f"{_name(pid)} ({pid}): {uses[0]}{more}")
    return found


def writers(view: View, views: set[int], claims: Sequence[Claim]) -> list[str]:
    """A line for each process that has a file in one of the claims open for writing, of those that
    the view shows by one name: by which of several a file was opened is not known."""
    found = []
    for pid, _ in members(view.states, views):
        for number in _listed(pid):
            real = _target(f"/proc/{pid}/fd/{number}")
            names = [name for name in view.claims.names(real) if not _is_scratch(view, name)]
            name = _shown(view, real, None, claims) if len(names) == 1 else None
            if name is not None and _is_writable(pid, number):
                found.append(f"{_name(pid)} ({pid}): open file {name}")
                break
    return found


def _is_writable(pid: int, number: str) -> bool:
    try:
        with open(f"/proc/{pid}/fdinfo/{number}", "rb", buffering=0) as file:
            flags = flags_in(file.read())
    except OSError:
        return False
    return bool(flags & os.O_ACCMODE) and not flags & os.O_PATH


def _listed(pid: int) -> list[str]:
    try:
        return os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return []


def _name(pid: int) -> str:
    try:
        return comm(pid)
    except OSError:
        return "?"


def _uses(view: View, pid: int, hint: bytes | None, claims: Sequence[Claim]) -> Iterator[str]:
    for link, what in _LINKS.items():
        real = _target(f"/proc/{pid}/{link}")
        if link == "exe" and not _has_one_name(view, real):
            continue  # by which it was executed is not known, and it will have another
        name = _shown(view, real, hint if link == "cwd" else None, claims)
        if name is not None:
            yield f"{what} {name}"
    for number in _listed(pid):
        name = _shown(view, _target(f"/proc/{pid}/fd/{number}"), None, claims)
        if name is not None:
            yield f"open file {name}"
    for real in _mapped(pid):
        name = _shown(view, real, None, claims) if _has_one_name(view, real) else None
        if name is not None:
            yield f"mapped file {name}"


def _has_one_name(view: View, real: bytes) -> bool:
    """Has what the view shows only the one name? Those in the scratch directory do not count."""
    return _is_scratch(view, real) or not view.claims.is_ambiguous(real)


def _is_scratch(view: View, real: bytes) -> bool:
    return bool(view.scratch) and lies_in(real, view.scratch)


def _mapped(pid: int) -> list[bytes]:
    """The real paths of the files that a process has mapped (proc_pid_maps(5))."""
    try:
        with open(f"/proc/{pid}/maps", "rb") as file:
            words = [line.rstrip(b"\n").split(None, 5) for line in file]
    except OSError:
        return []
    return list(dict.fromkeys(found[5] for found in words if found[5:] and found[5][:1] == b"/"))


def _target(link: str) -> bytes:
    try:
        return os.readlink(os.fsencode(link))
    except OSError:
        return b""


def _shown(view: View, real: bytes, hint: bytes | None, claims: Sequence[Claim]) -> str | None:
    """The name in one of the claims by which the view shows a real path."""
    if not real.startswith(b"/"):
        return None
    name = view.claims.reverse(real, hint)
    if name is None:
        return None
    owner = view.claims.find(name)
    if owner is None or owner not in claims:
        return None
    return os.fsdecode(name)
