"""Where the control sockets of monitors are: in $VIEWOS_RUNTIME_DIR if that is set, else in
$XDG_RUNTIME_DIR/viewos, or in /tmp/viewos-UID."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

SUFFIX = ".sock"
_LONGEST = 100
"""Bytes of a name that fits into a struct sockaddr_un, whatever the C library adds."""


def directory(uid: int) -> str:
    """The directory for the sockets of a user whose environment is ours."""
    chosen = _chosen()
    if chosen is not None:
        return chosen
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime.startswith("/") and is_safe(runtime, uid):
        return os.path.join(runtime, "viewos")
    return f"/tmp/viewos-{uid}"


def directories(uid: int) -> list[str]:
    """All directories in which monitors of that user may have made sockets."""
    chosen = _chosen()
    if chosen is not None:
        return [chosen]
    return list(dict.fromkeys([directory(uid), f"/run/user/{uid}/viewos", f"/tmp/viewos-{uid}"]))


def _chosen() -> str | None:
    path = os.environ.get("VIEWOS_RUNTIME_DIR", "")
    return path if path.startswith("/") else None


def is_safe(path: str, uid: int) -> bool:
    """Is it a directory of that user's in which nobody else may make names?"""
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == uid and not found.st_mode & 0o022


def sockets(uid: int) -> Iterator[str]:
    """The sockets of that user's monitors, also those that nobody serves any more."""
    for path in directories(uid):
        if is_safe(path, uid):
            yield from (os.path.join(path, name) for name in _names(path) if _is_ours(name))


def _is_ours(name: str) -> bool:
    return name.endswith(SUFFIX) and name.removesuffix(SUFFIX).isdecimal()


def identity(path: str) -> str:
    """The id of the view whose monitor has that socket."""
    return os.path.basename(path).removesuffix(SUFFIX)


def _names(path: str) -> list[str]:
    """What a directory holds. In a view whose user is root it may look like ours and be another's:
    then nothing that we could reach."""
    try:
        return sorted(os.listdir(path))
    except OSError:
        return []


def users() -> list[int]:
    """The users of whose monitors this process may ask: its own; root: all."""
    uid = os.geteuid()
    found = {uid}
    if uid == 0 and _chosen() is None:
        for parent, prefix in (("/run/user", ""), ("/tmp", "viewos-")):
            names = [n.removeprefix(prefix) for n in _names(parent) if n.startswith(prefix)]
            found |= {int(name) for name in names if name.isdecimal()}
    return sorted(found)


def reached(path: str) -> tuple[str, int | None]:
    """(a short enough name for bind(2) or connect(2), a descriptor to be kept till then)."""
    if len(os.fsencode(path)) <= _LONGEST:
        return path, None
    parent, name = os.path.split(path)
    held = os.open(parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    return f"/proc/self/fd/{held}/{name}", held
