"""What modules leave to the accelerator: calls that none of them takes part in, and data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from viewos.abi.row import Row
from viewos.abi.syscalls import TABLE
from viewos.module import VirtualModule
from viewos.monitor.accelerator import MOST_PASSES, STAT_FAMILY, Ours, rules
from viewos.monitor.special import SPECIAL
from viewos.monitor.trapped import ASKED_NAMES, MAKE_NAMES
from viewos.view import View

_ATTRIBUTES = (
    "fsetxattr", "getxattr", "lgetxattr", "fgetxattr", "listxattr", "llistxattr", "flistxattr",
)  # fmt: skip
Chains = Mapping[int, Sequence[tuple[int, Any]]]
"""System call -> (layer, method) of the modules that are asked, the first one first."""


def of(view: View, chains: Chains) -> Ours:
    """All that the accelerator asks of a view."""
    rescues = any(module.rescues() for module in view.modules)
    if rescues:
        chains = _without_rescues(view, chains)
    has_a_say = any(hasattr(module, "executed") for module in view.modules)

    def is_ours(row: Row) -> bool:
        return row.number not in chains and not (row.operation == "execve" and has_a_say)

    ids = _alone(view, chains, rules.IDS, "show_ids")
    names = _alone(view, chains, ("uname",), "show_uname")
    executes = ids is not None and _executes(view, ids[1], chains)
    shows = _shows(view, chains)
    return Ours(
        is_ours, lambda row: row.name in SPECIAL, shows, _changes(shows, chains),
        ids, names and names[1], _passes(view, chains), executes, rescues,
    )  # fmt: skip


def _without_rescues(view: View, chains: Chains) -> Chains:
    """Without the hooks that are only asked where a call fails."""

    rescues = [
        (layer, getattr(module, module.hooks[name]))
        for layer, module in view.layers.items()
        for name in module.rescues() & module.hooks.keys()
    ]
    kept = {nr: [one for one in chain if one not in rescues] for nr, chain in chains.items()}
    return {nr: chain for nr, chain in kept.items() if chain}


def _hooks(module: VirtualModule) -> set[str]:
    return module.hooks.keys() - module.rescues()


def _asked(chains: Chains, names: Sequence[str]) -> set[int]:
    """The layers that are asked for any of these calls."""
    return {layer for name in names for layer, _ in chains.get(TABLE[name].number, ())}


def _shows(view: View, chains: Chains) -> tuple[int, VirtualModule] | None:
    """The layer and module that alone answers the stat family."""
    layers = _asked(chains, STAT_FAMILY)
    if len(layers) != 1:
        return None
    (layer,) = layers
    module = view.layers[layer]
    return None if {"stat", *STAT_FAMILY} & _hooks(module) else (layer, module)


def _changes(shows: tuple[int, VirtualModule] | None, chains: Chains) -> frozenset[str]:
    """The calls that change what a module shows, or ask for more of it, of those that it alone
    answers, where it lets the accelerator do them."""
    if shows is None:
        return frozenset()
    layer, module = shows
    given = type(module).change_owners is not VirtualModule.change_owners
    names = {*rules.CHANGES, *_ATTRIBUTES, *MAKE_NAMES, *ASKED_NAMES}
    if not given or _hooks(module) & {"chown", "chmod", *names}:
        return frozenset()
    return frozenset(name for name in names if _asked(chains, [name]) == {layer})


def _alone(
    view: View, chains: Chains, names: Sequence[str], method: str
) -> tuple[int, VirtualModule] | None:
    """The layer and module that alone answers these calls, and gives what it says as data."""
    layers = _asked(chains, names)
    if len(layers) != 1 or not all(len(chains.get(TABLE[name].number, ())) == 1 for name in names):
        return None
    (layer,) = layers
    module = view.layers[layer]
    given = getattr(type(module), method) is not getattr(VirtualModule, method)
    return (layer, module) if given and not {*names} & _hooks(module) else None


def _executes(view: View, module: VirtualModule, chains: Chains) -> bool:
    """Is it the only module that is asked for what is executed?"""
    others = any(hasattr(one, "executed") for one in view.modules if one is not module)
    given = type(module).keeps_at_exec is not VirtualModule.keeps_at_exec
    return given and not others and TABLE["execve"].number not in chains


def _passes(view: View, chains: Chains) -> tuple[tuple[int, tuple[tuple[int, int, int], ...]], ...]:
    """What the module that alone is asked for a call passes of it."""
    found = []
    for layer, module in view.layers.items():
        for name, tests in module.passes():
            row = TABLE[name]
            is_alone = [one for one, _ in chains.get(row.number, ())] == [layer]
            if is_alone and (name in rules.OPENS if row.paths else name not in SPECIAL):
                packed = tuple((row.position(arg), *test) for arg, test in tests.items())
                found.append((row.number, packed))
    return tuple(found[:MOST_PASSES])
