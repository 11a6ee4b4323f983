"""Views, modules and processes, as others see them: plain data, for JSON."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from viewos.abi.syscalls import BY_NUMBER
from viewos.monitor.members import comm, members
from viewos.monitor.stats import Stats

if TYPE_CHECKING:
    from viewos.module import VirtualModule
    from viewos.monitor.nesting import Nesting
    from viewos.view import View

_LONGEST_COMMAND = 4096
_MOST_PROCESSES = 50


def identity(pid: int, number: int) -> str:
    """The name of a view in the whole machine: that of the main program's process, and behind a
    dot the number of a nested one."""
    return str(pid) if number == 0 else f"{pid}.{number}"


def views(nesting: Nesting, pid: int) -> list[dict[str, Any]]:
    """All views of a monitor, outer ones before those nested in them; of those that have been
    nested, the ones that still have processes (or views with processes in them)."""
    count: dict[int, int] = {}
    for _, state in members(nesting.levels[0].router.view.states):
        count[state.view] = count.get(state.view, 0) + 1
    found = []
    for number, level in enumerate(list(nesting.levels)):
        if number and not any(count.get(one) for one in nesting.within(number)):
            continue
        view = level.router.view
        found.append(
            {
                "id": identity(pid, number),
                "number": number,
                "outer": None if level.outer is None else identity(pid, level.outer),
                "name": level.name,
                "command": list(level.command),
                "uptime": time.time() - level.started,
                "processes": count.get(number, 0),
                "calls": _calls(nesting, number),
                "modules": [_text(module) for module in view.own.values()],
            }
        )
    return found


def _calls(nesting: Nesting, number: int) -> int:
    """How many calls of a view's processes have reached the monitor."""
    router = nesting.levels[number].router
    fast = nesting.levels[0].router.accelerator
    return router.stats.calls + (0 if fast is None else fast.settled_in(number))


def _text(module: VirtualModule) -> str:
    return module.spec or module.name


def info(nesting: Nesting, pid: int, number: int) -> dict[str, Any]:
    """Everything about one view."""
    level = nesting.levels[number]
    view = level.router.view
    about = next((one for one in views(nesting, pid) if one["number"] == number), None)
    return {
        **(about or {"id": identity(pid, number), "number": number, "processes": 0}),
        "monitor": os.getpid(),
        "nestable": nesting.levels[0].router.view.nestable,
        "layers": modules(nesting, number),
        "claims": [
            {
                "path": os.fsdecode(claim.prefix),
                "backing": None if claim.module is not None else os.fsdecode(claim.backing),
                "read_only": claim.read_only,
            }
            for claim in sorted(view.claims, key=lambda claim: claim.prefix)
            if not claim.scratch
        ],
        "programs": [_program(one) for one, state in members(view.states, {number})],
    }


def modules(nesting: Nesting, number: int) -> list[dict[str, Any]]:
    """The layers of a view, from the top down."""
    view = nesting.levels[number].router.view
    listed = [
        {
            "layer": layer,
            "module": module.name,
            "spec": _text(module),
            "own": layer in view.own,
            "claims": _claimed(view, height),
        }
        for height, (layer, module) in enumerate(view.layers.items())
    ]
    return listed[::-1]


def _claimed(view: View, height: int) -> list[str]:
    return sorted(os.fsdecode(claim.prefix) for claim in view.claims if claim.layer == height)


def _program(pid: int) -> dict[str, Any]:
    try:
        with open(f"/proc/{pid}/cmdline", "rb", buffering=0) as file:
            words = file.read(_LONGEST_COMMAND).rstrip(b"\0").split(b"\0")
        name = comm(pid)
    except OSError:
        words, name = [], "?"
    return {"pid": pid, "name": name, "command": [os.fsdecode(word) for word in words]}


def stats(nesting: Nesting, pid: int) -> dict[str, Any]:
    """Counters since the start: per system call how many the accelerator has settled, and what
    became of the others; per view and module."""
    levels = list(nesting.levels)
    several = [level.router.stats for level in levels]
    calls: dict[str, dict[str, float]] = Stats.by_call(several)
    fast = levels[0].router.accelerator
    for nr, (settled, _) in ({} if fast is None else fast.counts()).items():
        if settled:
            calls.setdefault(BY_NUMBER[nr].name, {})["accelerator"] = settled
    return {
        "id": identity(pid, 0),
        "time": time.time(),
        "calls": calls,
        "views": [
            {
                "id": identity(pid, number), "name": level.name,
                "calls": _calls(nesting, number), "modules": level.router.stats.modules,
            }
            for number, level in enumerate(levels)
        ],
        "processes": [
            {**_program(one), "calls": count}
            for one, count in Stats.busiest(several, _MOST_PROCESSES)
        ],
    }  # fmt: skip
