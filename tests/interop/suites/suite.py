"""What a suite is: groups of tests, each of which can be run alone, with a status a test."""

from __future__ import annotations

import os
import re
import shutil
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

from .execute import Outcome, execute
from .places import NATIVE, NOBODY, ROOT, VIEWS, Place

Statuses = dict[str, str]
"""Test -> its status. The first word is "pass", "fail" or "skip"; what follows is compared too."""

_KEEP = {"PATH", "LANG", "TERM", "SHELL"}


@dataclass(frozen=True)
class Run:
    """One run of a suite in one place."""

    place: Place
    logs: Path
    subset: bool
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def env(self) -> dict[str, str]:
        """The environment of the tests: little, and the same in every place."""
        inherited = {name: value for name, value in os.environ.items() if name in _KEEP}
        work = str(self.place.work)
        return {**inherited, "HOME": work, "TMPDIR": work, "LC_ALL": "C.UTF-8", "USER": "viewos"}

    @property
    def outside(self) -> Run:
        """The same run, with commands that are not put into a view: they make views themselves."""
        return replace(self, place=replace(self.place, name=NATIVE))

    @contextmanager
    def directory(self, name: str) -> Iterator[tuple[Path, Path]]:
        """A fresh directory of the user's: as seen in this place, and its real name."""
        name = re.sub(r"[^\w.-]", "_", name)
        real = self.place.real / name
        real.mkdir()
        os.chown(real, self.place.user, self.place.user)
        try:
            yield self.place.work / name, real
        finally:
            shutil.rmtree(real, ignore_errors=True)

    def keep(self, name: str, files: Iterable[Path]) -> None:
        """Put what a suite has written about its tests beside the log."""
        for number, path in enumerate(files):
            if path.exists():
                target = self.logs / re.sub(r"[^\w.-]", "_", f"{name}.{number}.{path.name}")
                shutil.copyfile(path, target)

    def __call__(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        log: str,
        limit: float,
        env: Mapping[str, str] | None = None,
    ) -> Outcome:
        """Run a command here, for at most `limit` seconds."""
        return execute(
            self.place.words(list(argv), cwd),
            log=self.logs / re.sub(r"[^\w.-]", "_", log),
            env={**self.env, **(env or {})},
            limit=limit,
        )


class Suite(ABC):
    """Someone else's test suite."""

    name: ClassVar[str]
    users: ClassVar[tuple[int, ...]] = (ROOT, NOBODY)
    views: ClassVar[tuple[str, ...]] = VIEWS
    subset: ClassVar[bool] = True
    """Whether it has a part in the subset."""
    only_passes: ClassVar[bool] = False
    """Whether "natively" is another program's run: then what passes there has to pass here."""
    jobs: ClassVar[int | None] = None
    """The most groups at a time, where they disturb each other."""

    @abstractmethod
    def build(self, subset: bool) -> None:
        """Unpack and build it. Raises NotRun."""

    @abstractmethod
    def groups(self, user: int, subset: bool) -> list[str]:
        """The names of its groups of tests."""

    @abstractmethod
    def run(self, run: Run, group: str) -> Statuses:
        """Run one group. The keys are the tests in it; "" where the group is one test."""


def ending(outcome: Outcome) -> str:
    """The status of a test whose exit status says all."""
    if outcome.status is None:
        return "fail time limit"
    return "pass" if outcome.status == 0 else f"fail status {outcome.status}"


def unused(name: str, found: Statuses) -> str:
    """A name that is not in `found` yet: some tests share theirs."""
    count = 1
    while name in found:
        count += 1
        name = f"{name.partition(' [')[0]} [{count}]"
    return name
