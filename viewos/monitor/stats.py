"""Counts of what Python answers: per system call, module and process. The accelerator has its own.

Each receiving thread counts for itself, so that nothing is lost and nothing waits.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator

_MOST_PROCESSES = 4096
SETTLED, FAILED, CONTINUED = range(3)
"""What became of a call."""


class _Counts:
    """Of one thread."""

    def __init__(self) -> None:
        self.calls = 0
        self.by_call: dict[str, list[int]] = {}
        """Name -> [answered, failed, continued, nanoseconds, those of the slowest]."""
        self.by_module: Counter[str] = Counter()
        self.by_process: Counter[int] = Counter()


class Stats:
    """Of one view; shared by the routers that it has had."""

    def __init__(self) -> None:
        self._local = threading.local()
        self._all: list[_Counts] = []

    def count(self, name: str, process: int, outcome: int, took: int, module: str | None) -> None:
        """A call has been answered. `took` is in
        nanoseconds, `module` the one that answered."""
        counts: _Counts | None = getattr(self._local, "counts", None)
        if counts is None:
            counts = self._local.counts = _Counts()
            self._all.append(counts)
        counts.calls += 1
        entry = counts.by_call.get(name)
        if entry is None:
            entry = counts.by_call[name] = [0, 0, 0, 0, 0]
        entry[outcome] += 1
        entry[3] += took
        if took > entry[4]:
            entry[4] = took
        if module is not None:
            counts.by_module[module] += 1
        if process in counts.by_process or len(counts.by_process) < _MOST_PROCESSES:
            counts.by_process[process] += 1

    @property
    def calls(self) -> int:
        """How many calls Python has answered."""
        return sum(one.calls for one in list(self._all))

    @property
    def modules(self) -> dict[str, int]:
        """Module -> how many calls it has answered."""
        modules: Counter[str] = Counter()
        for one in list(self._all):
            modules.update(dict(one.by_module))
        return dict(modules)

    @staticmethod
    def by_call(several: Iterable[Stats]) -> dict[str, dict[str, float]]:
        """Of several views: name -> {answered, failed, continued, seconds, slowest}."""
        calls: dict[str, list[int]] = {}
        for one in _counts(several):
            for name, counted in list(one.by_call.items()):
                entry = calls.setdefault(name, [0, 0, 0, 0, 0])
                for index in range(4):
                    entry[index] += counted[index]
                entry[4] = max(entry[4], counted[4])
        return {
            name: {
                "answered": entry[0], "failed": entry[1], "continued": entry[2],
                "seconds": entry[3] / 1e9, "slowest": entry[4] / 1e9,
            }
            for name, entry in calls.items()
        }  # fmt: skip

    @staticmethod
    def busiest(several: Iterable[Stats], most: int) -> list[tuple[int, int]]:
        """Of several views: (process, calls), those that make most."""
        processes: Counter[int] = Counter()
        for one in _counts(several):
            processes.update(dict(one.by_process))
        return processes.most_common(most)


def _counts(several: Iterable[Stats]) -> Iterator[_Counts]:
    for stats in several:
        yield from list(stats._all)
