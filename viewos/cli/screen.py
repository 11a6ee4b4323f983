"""The screen of `viewos top`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from rich.markup import escape
from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.widgets import DataTable, Footer, Static

from viewos.cli.rates import Rates, between
from viewos.cli.tables import duration, printable
from viewos.control.client import Found, figures, find, views
from viewos.errors import ViewosError

_HEADS = {
    "views": ("VIEW", "NAME", "PROCS", "CALLS/s", "UP", "MODULES"),
    "calls": ("CALL", "ACCEL/s", "ANSWER/s", "FAIL/s", "CONT/s", "SLOWEST ms"),
    "modules": ("MODULE", "ANSWERS/s"),
    "processes": ("PID", "PROGRAM", "PYTHON CALLS/s"),
}
_MOST_ROWS = 40


class Screen(App[None]):
    """Asks the monitors at regular times, and shows what happened in between."""

    TITLE = "viewos top"
    CSS = "DataTable { height: 1fr; } #views { height: 30%; } #status { height: 1; }"
    BINDINGS: ClassVar = [
        Binding("q", "quit", "quit"),
        # textual keeps it for copying, which there is nothing for here
        Binding("ctrl+c", "quit", "quit", show=False, priority=True),
        Binding("space", "pause", "pause"),
    ]

    def __init__(self, view: str | None, delay: float) -> None:
        """`view`: an id or a name, None: all monitors; `delay`: seconds between two looks."""
        super().__init__()
        self._view = view
        self._delay = delay
        self._paused = False
        self._before: dict[str, dict[str, Any]] = {}

    def compose(self) -> ComposeResult:
        """The parts of the screen."""
        yield Static(id="status")
        yield DataTable(id="views", cursor_type="none")
        with Horizontal():
            yield DataTable(id="calls", cursor_type="none")
            with Vertical():
                yield DataTable(id="modules", cursor_type="none")
                yield DataTable(id="processes", cursor_type="none")
        yield Footer()

    def on_mount(self) -> None:
        """Begin to look."""
        for name, head in _HEADS.items():
            self.query_one(f"#{name}", DataTable).add_columns(*head)
        self._look()
        self.set_interval(self._delay, self._look)

    def action_pause(self) -> None:
        """Stop looking, or go on."""
        self._paused = not self._paused

    def _look(self) -> None:
        if self._paused:
            return
        silent: list[ViewosError] = []
        try:
            if self._view is None:
                found = list(views(silent.append))
            else:
                found = [find(self._view, silent.append)]
        except ViewosError as error:
            self.query_one("#status", Static).update(f"viewos: {error}")
            return
        now = {told["id"]: told for told in figures(found)}
        for one in found:
            one.monitor.close()
        rates = [between(self._before.get(key, told), told) for key, told in now.items()]
        self._before = now
        self._show(found, rates, "".join(f"; {one}" for one in silent[:1]))

    def _show(self, found: list[Found], rates: list[Rates], silent: str) -> None:
        by_view = {key: value for one in rates for key, value in one.views.items()}
        self._fill(
            "views",
            [
                (
                    one.about["id"], one.about["name"], one.about["processes"],
                    f"{by_view.get(one.about['id'], 0):.0f}", duration(one.about["uptime"]),
                    " ".join(one.about["modules"]),
                )
                for one in found
            ],
        )  # fmt: skip
        calls = [
            (name, *(f"{rate:.0f}" for rate in counted.values()), f"{slowest:.1f}")
            for one in rates
            for name, counted, slowest in one.calls
        ]
        self._fill("calls", calls)
        self._fill("modules", [(n, f"{r:.0f}") for one in rates for n, r in one.modules])
        self._fill("processes", [(p, n, f"{r:.0f}") for one in rates for p, n, r in one.processes])
        total = sum(by_view.values())
        self.query_one("#status", Static).update(
            f"{len(found)} views, {total:.0f} calls/s{', paused' if self._paused else ''}{silent}"
        )

    def _fill(self, name: str, rows: Sequence[tuple[object, ...]]) -> None:
        table = self.query_one(f"#{name}", DataTable)
        table.clear()
        for row in rows[:_MOST_ROWS]:
            table.add_row(*(escape(printable(str(cell))) for cell in row))
