"""Run a suite natively twice and then in the views, and find the tests that differ."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from . import kernel
from .execute import ended
from .places import BOUND, NATIVE, USERS, Place
from .suite import Run, Statuses, Suite

AGAIN = 3
"""Native runs more, of the groups with a difference only: evidence that a test is flaky."""
MISSING = "fail not reported"


class Ended(Exception):
    """The runs are to end: what stands in it has not been run to its end."""


@dataclass
class Options:
    """How to run."""

    work: Path
    logs: Path
    jobs: int = 2
    subset: bool = False
    only: tuple[str, ...] = ()
    """Groups; none: all."""
    again: int = AGAIN


@dataclass
class Result:
    """What one suite showed as one user."""

    suite: str
    user: str
    native: Statuses = field(default_factory=dict)
    flaky: dict[str, list[str]] = field(default_factory=dict)
    """Test -> the results of the native runs that differ."""
    views: dict[str, Statuses] = field(default_factory=dict)
    differences: dict[str, dict[str, tuple[str, str]]] = field(default_factory=dict)
    """View -> test -> (natively, in the view)."""
    listed: dict[str, str] = field(default_factory=dict)
    """Test -> the kernel's reason for its difference."""
    bound: list[str] = field(default_factory=list)
    """Tests that a bind mount at /mnt changes in the same way as the view that shows it there."""
    vanished: list[str] = field(default_factory=list)
    """Tests of the list that do not differ any more."""
    seconds: dict[str, float] = field(default_factory=dict)
    not_run: str | None = None
    ended: str | None = None
    """The run during which everything ended. It, and what follows, is not in the result."""

    @property
    def passes(self) -> int:
        """How many tests pass natively."""
        return sum(status.startswith("pass") for status in self.native.values())

    @property
    def good(self) -> bool:
        """It ran, and cannot tell a view from the real thing."""
        whole = self.not_run is None and self.ended is None
        return whole and not any(self.differences.values()) and not self.vanished


def compare(first: Statuses, second: Statuses) -> dict[str, tuple[str, str]]:
    """The tests whose status is not the same, or that only one run reported."""
    return {
        test: (first.get(test, MISSING), second.get(test, MISSING))
        for test in [*first, *(second.keys() - first.keys())]
        if first.get(test, MISSING) != second.get(test, MISSING)
    }


class Session:
    """The runs of one suite as one user."""

    def __init__(self, suite: Suite, user: str, options: Options) -> None:
        self.suite = suite
        self.options = options
        self.result = Result(suite.name, user)
        self.user = USERS[user]
        groups = suite.groups(self.user, options.subset)
        self.groups = [name for name in groups if not options.only or name in options.only]

    def run(self, views: Iterable[str]) -> Result:
        """Natively twice, then in each of `views`."""
        try:
            self._compare(views)
        except Ended as label:
            self.result.ended = str(label)
        self._judge()
        return self.result

    def _compare(self, views: Iterable[str]) -> None:
        result = self.result
        result.native = self._once(NATIVE, "native-1", self.groups)
        second = self._once(NATIVE, "native-2", self.groups)
        for test, statuses in compare(result.native, second).items():
            result.flaky[test] = list(statuses)
        for view in views:
            result.views[view] = self._once(view, view, self.groups)

    def _judge(self) -> None:
        """Differences are what is left when the flaky and the listed tests are taken out."""
        result = self.result
        found = {
            view: {
                test: pair
                for test, pair in compare(result.native, statuses).items()
                if test not in result.flaky
                and (not self.suite.only_passes or pair[0].startswith("pass"))
            }
            for view, statuses in result.views.items()
        }
        reasons = kernel.listed(result.suite, result.user)
        differing = {test for tests in found.values() for test in tests}
        try:
            self._again(differing - reasons.keys())
            if os.getuid() == 0:
                self._bound(found.get("mnt", {}), reasons)
        except Ended as label:
            result.ended = result.ended or str(label)
        result.listed = {test: reasons[test] for test in sorted(differing & reasons.keys())}
        result.vanished = sorted(
            (reasons.keys() & result.native.keys()) - differing - result.flaky.keys()
        )
        result.differences = {
            view: {
                test: pair
                for test, pair in tests.items()
                if test not in result.flaky
                and test not in reasons
                and not (view == "mnt" and test in result.bound)
            }
            for view, tests in found.items()
        }

    def _again(self, differing: set[str]) -> None:
        """Ask the native system again about the tests that differ."""
        for count in range(self.options.again):
            left = differing - self.result.flaky.keys()
            wanted = {test.partition(":")[0] for test in left}
            groups = [name for name in self.groups if name in wanted]
            if not groups:
                return
            more = self._once(NATIVE, f"native-{3 + count}", groups)
            for test in left:
                pair = [self.result.native.get(test, MISSING), more.get(test, MISSING)]
                if pair[0] != pair[1]:
                    self.result.flaky[test] = pair

    def _bound(self, found: Mapping[str, tuple[str, str]], reasons: Mapping[str, str]) -> None:
        """Where else than natively does a test in /mnt say what it says in the view?"""
        left = found.keys() - self.result.flaky.keys() - reasons.keys()
        wanted = {test.partition(":")[0] for test in left}
        groups = [name for name in self.groups if name in wanted]
        if groups:
            there = self._once(BOUND, BOUND, groups)
            self.result.bound = sorted(t for t in left if there.get(t, MISSING) == found[t][1])

    def _once(self, where: str, label: str, groups: list[str]) -> Statuses:
        if ended.is_set():
            raise Ended(label)
        options = self.options
        name = f"{self.suite.name}-{self.result.user}-{label}"
        real = options.work / label  # short: the path of a socket has 108 bytes
        shutil.rmtree(real, ignore_errors=True)
        real.mkdir(parents=True)
        real.chmod(0o1777)
        run = Run(Place(where, self.user, real), options.logs / name, options.subset)
        start = time.monotonic()
        jobs = min(options.jobs, self.suite.jobs or options.jobs)
        with ThreadPoolExecutor(jobs) as pool:
            done = list(
                pool.map(lambda g: {} if ended.is_set() else self.suite.run(run, g), groups)
            )
        shutil.rmtree(real, ignore_errors=True)
        if ended.is_set():
            raise Ended(label)
        seconds = self.result.seconds[label] = round(time.monotonic() - start, 1)
        print(f"{name}: {len(groups)} groups, {seconds} s", file=sys.stderr, flush=True)
        return _named(dict(zip(groups, done, strict=True)))


def _named(groups: Mapping[str, Statuses]) -> Statuses:
    return {
        f"{group}:{test}" if test else group: status
        for group, statuses in groups.items()
        for test, status in statuses.items()
    }
