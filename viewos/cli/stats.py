"""viewos stats: how many calls reached the monitors, and what became of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from viewos.cli.options import HELP, Option, UsageError, describe, parse
from viewos.cli.ps import JSON
from viewos.cli.tables import as_json, table

HELP_LINE = "count the system calls of views, by what became of them"

OPTIONS = (
    JSON,
    Option("prometheus", ("--prometheus",), None, "print Prometheus' text format"),
    HELP,
)

USAGE = f"""\
usage: viewos stats [--json | --prometheus] [VIEW]...

Counts the system calls that have reached the monitor of a view since it was started, by name: those
that the accelerator has settled without Python, and of the others those that were answered, that
failed, and that the kernel was let to run as they are. Without VIEW: of all monitors.

{describe(OPTIONS)}

examples:
  viewos stats build
  viewos stats --prometheus > /var/lib/node_exporter/viewos.prom
"""

_OUTCOMES = ("answered", "failed", "continued")


def main(argv: list[str]) -> int:
    """Print the figures. Raises ViewosError."""
    values, words = parse("viewos stats", argv, OPTIONS, anywhere=True)
    if values["help"]:
        print(USAGE, end="")
        return 0
    if values["json"] and values["prometheus"]:
        raise UsageError("viewos stats: --json or --prometheus, not both")
    from viewos.control.client import figures, find, views

    found = list(figures([find(word) for word in words] if words else views()))
    if values["json"]:
        print(as_json(found))
    elif values["prometheus"]:
        print("\n".join(prometheus(found)))
    else:
        print("\n\n".join(_as_table(one) for one in found))
    return 0


def _as_table(figures: dict[str, Any]) -> str:
    rows = []
    for name, counted in figures["calls"].items():
        counts = [counted.get(outcome, 0) for outcome in _OUTCOMES]
        python = sum(counts)
        mean = f"{counted['seconds'] / python * 1e6:.0f}" if python else "-"
        slowest = f"{counted['slowest'] * 1e3:.1f}" if python else "-"
        rows.append((name, counted.get("accelerator", 0), *counts, mean, slowest))
    rows.sort(key=lambda row: -sum(row[1:5]))
    head = ("CALL", "ACCELERATOR", "ANSWERED", "FAILED", "CONTINUED", "MEAN us", "SLOWEST ms")
    return f"view {figures['id']}\n{table(head, rows)}"


# ---- Prometheus ---------------------------------------------------------------------------------

_METRICS = {
    "viewos_calls_total": ("counter", "System calls that have reached a monitor."),
    "viewos_seconds_total": ("counter", "Seconds that Python has spent on calls."),
    "viewos_slowest_seconds": ("gauge", "What the slowest call took."),
    "viewos_view_calls_total": ("counter", "System calls of the processes of a view."),
    "viewos_module_answers_total": ("counter", "Calls that a module has answered."),
}


def prometheus(found: list[dict[str, Any]]) -> Iterator[str]:
    """The figures of monitors as lines of Prometheus' text format, version 0.0.4."""
    samples: dict[str, list[str]] = {name: [] for name in _METRICS}

    def add(metric: str, value: float, **labels: str) -> None:
        shown = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
        samples[metric].append(f"{metric}{{{shown}}} {value}")

    for one in found:
        monitor = one["id"]
        for call, counted in one["calls"].items():
            for outcome in ("accelerator", *_OUTCOMES):
                if outcome in counted:
                    value = counted[outcome]
                    add("viewos_calls_total", value, monitor=monitor, call=call, outcome=outcome)
            if "seconds" in counted:
                add("viewos_seconds_total", counted["seconds"], monitor=monitor, call=call)
                add("viewos_slowest_seconds", counted["slowest"], monitor=monitor, call=call)
        for view in one["views"]:
            named = {"view": view["id"], "name": view["name"]}
            add("viewos_view_calls_total", view["calls"], **named)
            for module, count in view["modules"].items():
                add("viewos_module_answers_total", count, **named, module=module)
    for metric, (kind, text) in _METRICS.items():
        yield f"# HELP {metric} {text}"
        yield f"# TYPE {metric} {kind}"
        yield from samples[metric]


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
