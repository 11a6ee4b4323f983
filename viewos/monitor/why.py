"""How a path resolves in a view, step by step and layer by layer, for people (`--why`)."""

from __future__ import annotations

import os
import posixpath
import stat
from typing import TYPE_CHECKING

from viewos.claims import Claim, ClaimMap, below, join
from viewos.monitor.paths import Resolver
from viewos.monitor.setup import with_layer

if TYPE_CHECKING:
    from viewos.monitor.mounts import MountTable
    from viewos.monitor.place import Place
    from viewos.monitor.walk import Walk
    from viewos.view import View


class _Recorder(Resolver):
    """A resolver that notes what it meets."""

    def __init__(self, view: View, mounts: MountTable) -> None:
        super().__init__(view.claims, mounts)
        self._modules = [module.spec or module.name for module in view.modules]
        self.steps: list[tuple[str, str]] = []
        """(path of the view, what is there)."""

    def _ascend(self, walk: Walk) -> None:
        super()._ascend(walk)
        self.steps.append((_text(walk.virtual), "by .."))

    def _descend(self, walk: Walk, name: bytes, last: bool, intent: str) -> Place | None:
        here = walk.virtual
        place = super()._descend(walk, name, last, intent)
        at = join(here, b"/" + name)
        claim, real = self.claims.forward(at)
        words = []
        if claim is not None and claim.prefix == at:
            read_only = ", read-only" if claim.read_only else ""
            words.append(f"a claim of {self._owner(claim)}{read_only}")
        try:
            found = os.lstat(real)
            if stat.S_ISLNK(found.st_mode):
                words.append(f"a symbolic link to {_text(os.readlink(real))}")
            elif last and not walk.todo:
                words.append("a directory" if stat.S_ISDIR(found.st_mode) else "a file")
        except OSError as error:
            words.append(error.strerror.lower() if error.strerror else "not there")
        if real != at:
            words.append(f"at {_text(real)}")
        self.steps.append((_text(at), ", ".join(words) or "as it is"))
        return place

    def _owner(self, claim: Claim) -> str:
        if claim.layer < 0:
            return "the view itself (a mount point that does not exist)"
        return f"layer {claim.layer}, {self._modules[claim.layer]}"


def _text(path: bytes) -> str:
    return os.fsdecode(path)


def explain(view: View, mounts: MountTable, path: bytes) -> list[str]:
    """Lines that say how an absolute path of the view resolves."""
    recorder = _Recorder(view, mounts)
    try:
        virtual, real = recorder.canonical(path)
    except OSError as error:
        return [*_steps(recorder), f"fails: {error.strerror}"]
    lines = [_text(path), *_steps(recorder)]
    if virtual != path:
        lines.append(f"  = {_text(virtual)}")
    lines += _layers(view, mounts, virtual)
    owner = view.claims.find(virtual)
    how = "read-only" if owner is not None and owner.read_only else ""
    if mounts.is_native(real):
        how = "which the program itself acts on"
    elif owner is None:
        how = "outside of every claim: the kernel runs calls on it as they are"
    lines.append(f"  is {_text(real)}" + (f" ({how})" if how else ""))
    return lines


def _steps(recorder: _Recorder) -> list[str]:
    width = max((len(path) for path, _ in recorder.steps), default=0)
    return [f"  {path:<{width}}  {what}" for path, what in recorder.steps]


def _layers(view: View, mounts: MountTable, virtual: bytes) -> list[str]:
    """A line for each layer, from the top down, until the bottom or a module's own files."""
    maps = _maps(view, mounts)
    lines = []
    for height, (number, module) in reversed(list(enumerate(view.layers.items()))):
        name = f"  layer {number}, {module.spec or module.name}"
        claim = _claim_of(view, maps[height], number, virtual)
        if claim is None:
            lines.append(f"{name}: does not claim it")
            continue
        if claim.module is not None or claim.scratch:
            lines.append(f"{name}: files of its own")
            break
        prefix = maps[height].canonical(bytes(claim.prefix))[0]
        rest = below(virtual, prefix)
        virtual = join(posixpath.normpath(bytes(claim.backing)), rest)
        virtual = maps[height].canonical(virtual)[0]
        lines.append(f"{name}: {_text(virtual)} of the view below")
    return lines


def _claim_of(view: View, under: Resolver, number: int, virtual: bytes) -> Claim | None:
    """The claim by which a layer shows a path, with its backing as the module named it."""
    best: Claim | None = None
    for claim in view.claimed(number):
        prefix = under.canonical(bytes(claim.prefix))[0]
        inside = virtual == prefix or virtual.startswith(prefix.rstrip(b"/") + b"/")
        if inside and (best is None or len(prefix) > len(best.prefix)):
            best = claim
    return best


def _maps(view: View, mounts: MountTable) -> list[Resolver]:
    """For each height the resolver of the view below that layer."""
    claims = ClaimMap()
    resolvers = []
    for height, number in enumerate(view.layers):
        resolvers.append(Resolver(claims, mounts))
        claims = with_layer(claims, height, view.claimed(number), mounts)
    return resolvers
