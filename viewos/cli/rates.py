"""From two looks at the counters of monitors to what happened in between: calls a second."""

from __future__ import annotations

from typing import Any

from viewos.tuples import NamedTuple

_OUTCOMES = ("accelerator", "answered", "failed", "continued")


class Rates(NamedTuple):
    """Rows for the screen, the busiest first; all but the slowest are numbers a second."""

    calls: list[tuple[str, dict[str, float], float]]
    """(system call, rate by outcome, milliseconds of the slowest ever)."""
    modules: list[tuple[str, float]]
    processes: list[tuple[int, str, float]]
    views: dict[str, float]


def between(before: dict[str, Any], now: dict[str, Any]) -> Rates:
    """What happened between two answers of the method `stats`."""
    seconds: float = max(now["time"] - before["time"], 1e-3)

    def rate(new: float, old: float) -> float:
        return max(0.0, new - old) / seconds

    calls = []
    for name, counted in now["calls"].items():
        old = before["calls"].get(name, {})
        rates = {key: rate(counted.get(key, 0), old.get(key, 0)) for key in _OUTCOMES}
        calls.append((name, rates, counted.get("slowest", 0.0) * 1e3))
    old_views = {view["id"]: view for view in before["views"]}
    views, modules = {}, dict[str, float]()
    for view in now["views"]:
        old = old_views.get(view["id"], {"calls": 0, "modules": {}})
        views[view["id"]] = rate(view["calls"], old["calls"])
        for name, count in view["modules"].items():
            more = rate(count, old["modules"].get(name, 0))
            modules[name] = modules.get(name, 0.0) + more
    known = {one["pid"]: one["calls"] for one in before["processes"]}
    processes = [
        (one["pid"], one["name"], rate(one["calls"], known.get(one["pid"], 0)))
        for one in now["processes"]
    ]
    return Rates(
        sorted(calls, key=lambda row: -sum(row[1].values())),
        sorted(modules.items(), key=lambda row: -row[1]),
        sorted(processes, key=lambda row: -row[2]),
        views,
    )
