"""Parts of other people's test suites give the same results in a view as natively."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.interop.suites import kernel, report, runner, tap
from tests.interop.suites.execute import Outcome, execute
from tests.interop.suites.sources import sources
from tests.interop.suites.suite import Run, Statuses, Suite
from tests.interop.suites.table import SUITES
from tests.system.control import until
from tests.system.view import REPOSITORY, run_in_view

pytestmark = pytest.mark.timeout(600)

MODULE = [sys.executable, "-m", "tests.interop.suites"]
LIST = sources().parent / "ltp.select"
QUICK = ("fsstress", "fsx", "fakeroot")
"""Suites that take seconds. The subsets of the others take minutes each, and are run by
`python -m tests.interop.suites --subset`."""


@pytest.mark.skipif(not LIST.exists(), reason=f"no suites: there is no {LIST}")
@pytest.mark.skipif(os.getuid() != 0, reason="the suites are built and run by root")
@pytest.mark.parametrize("options", [[], ["--no-inproc"]], ids=["inproc", "trapped"])
@pytest.mark.parametrize("suite", QUICK)
def test_a_suite_cannot_tell_a_view_from_the_real_thing(
    suite: str, options: list[str], tmp_path: Path
) -> None:
    found = tmp_path / "report.json"
    argv = [*MODULE, suite, "--subset", "--json", str(found), *options]
    result = run_in_view(None, argv, cwd=REPOSITORY, timeout=590, strict=False)
    results: list[dict[str, Any]] = json.loads(found.read_text())
    text = result.stdout.decode(errors="backslashreplace")

    assert [entry["not_run"] for entry in results] == [None] * len(results), text
    assert result.returncode == 0, text
    for entry in results:
        # The comparison is about something.
        assert entry["passes"] > 0, text
        assert all(
            statuses.keys() == entry["native"].keys() for statuses in entry["views"].values()
        )


class Scripted(Suite):
    """A suite whose runs give what a test says, one after the other."""

    name = "scripted"

    def __init__(self, *runs: Statuses) -> None:
        self._runs = iter(runs)

    def build(self, subset: bool) -> None:
        """Nothing to do."""

    def groups(self, user: int, subset: bool) -> list[str]:
        """One."""
        return ["group"]

    def run(self, run: Run, group: str) -> Statuses:
        """The next script."""
        return next(self._runs)


def judged(
    tmp_path: Path, *runs: Statuses, again: int = 0, view: str = "identity"
) -> runner.Result:
    options = runner.Options(tmp_path / "work", tmp_path / "logs", again=again)
    user = "root" if os.getuid() == 0 else "nobody"
    return runner.Session(Scripted(*runs), user, options).run([view])


def test_a_test_that_gives_another_status_in_the_view_is_a_difference(tmp_path: Path) -> None:
    one, other = {"a": "pass", "b": "pass"}, {"a": "pass", "b": "fail status 1"}
    result = judged(tmp_path, one, one, other)
    assert result.differences == {"identity": {"group:b": ("pass", "fail status 1")}}
    assert not result.good


def test_a_test_that_fails_alike_is_no_difference(tmp_path: Path) -> None:
    statuses = {"": "fail status 1", "b": "skip"}
    result = judged(tmp_path, statuses, statuses, statuses)
    assert result.good
    assert (len(result.native), result.passes) == (2, 0)


def test_a_test_that_the_view_does_not_report_is_a_difference(tmp_path: Path) -> None:
    result = judged(tmp_path, {"a": "skip"}, {"a": "skip"}, {"b": "skip"})
    assert set(result.differences["identity"]) == {"group:a", "group:b"}


def test_flaky_is_what_two_native_runs_do_not_agree_on(tmp_path: Path) -> None:
    result = judged(tmp_path, {"a": "pass"}, {"a": "skip"}, {"a": "fail"})
    assert result.good
    assert result.flaky == {"group:a": ["pass", "skip"]}


def test_what_differs_is_asked_again_natively(tmp_path: Path) -> None:
    one, other = {"a": "pass", "b": "pass"}, {"a": "fail", "b": "fail"}
    again = [one, {"a": "pass", "b": "skip"}, one]
    result = judged(tmp_path, one, one, other, *again, again=3)
    assert result.flaky == {"group:b": ["pass", "skip"]}
    assert set(result.differences["identity"]) == {"group:a"}


@pytest.mark.skipif(os.getuid() != 0, reason="mount(8) needs root")
def test_what_a_bind_mount_changes_alike_is_no_difference(tmp_path: Path) -> None:
    one, other = {"a": "pass", "b": "pass"}, {"a": "fail", "b": "fail"}
    bound = {"a": "fail", "b": "pass"}
    result = judged(tmp_path, one, one, other, bound, view="mnt")
    assert result.bound == ["group:a"]
    assert set(result.differences["mnt"]) == {"group:b"}


def test_a_listed_difference_is_the_kernels_until_it_vanishes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    list_ = tmp_path / "kernel.txt"
    list_.write_text("scripted * group:a # because\nscripted * group:b # of this\n")
    monkeypatch.setattr(kernel, "LIST", list_)
    kernel.entries.cache_clear()
    try:
        one = {"a": "pass", "b": "pass"}
        result = judged(tmp_path, one, one, {"a": "fail", "b": "pass"})
    finally:
        kernel.entries.cache_clear()
    assert result.listed == {"group:a": "because"}
    assert result.vanished == ["group:b"]
    assert not result.differences["identity"]
    assert not result.good


def test_rows_of_other_suites_stay_in_the_table(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{report.BEGIN}\n{report.END}\nafter\n")
    first = runner.Result("one", "root", native={"a": "pass"}, differences={"identity": {}})
    other = runner.Result("two", "nobody", not_run="no compiler")
    report.write_docs([first, other], page)
    report.write_docs([runner.Result("one", "root", native={"a": "pass", "b": "fail"})], page)
    lines = page.read_text().splitlines()
    assert (lines[0], lines[-1]) == ("before", "after")
    assert [line for line in lines if line.startswith("| one")] == [
        "| one | root | 2 | 1 | - | - | 0 | 0 |"
    ]
    assert [line for line in lines if line.startswith("| two")] == [
        "| two | nobody | not run |  |  |  |  |  |"
    ]


def test_results_survive_json(tmp_path: Path) -> None:
    one, other = {"a": "pass", "b": "pass"}, {"a": "fail", "b": "skip"}
    result = judged(tmp_path, one, {**one, "b": "skip"}, other)
    report.write_json([result], tmp_path / "json")
    (read,) = report.read_json(tmp_path / "json")
    assert report.details(read) == report.details(result)
    assert "DIFFERS in identity: group:a" in report.details(read)


def test_parts_of_a_suite_are_one_row(tmp_path: Path) -> None:
    def part(group: str, status: str) -> runner.Result:
        differs = {f"{group}:b": ("pass", status)} if status != "pass" else {}
        tests = {f"{group}:a": "pass", f"{group}:b": "pass"}
        views = {"identity": {**tests, f"{group}:b": status}}
        return runner.Result("suite", "root", tests, views=views, differences={"identity": differs})

    parts = [part("one", "fail"), part("two", "fail"), part("one", "pass")]
    other = runner.Result("other", "root", {"c": "pass"})
    first, second = report.combined([*parts, other])
    assert second is other
    assert len(first.native) == 4
    assert first.differences == {"identity": {"two:b": ("pass", "fail")}}
    assert first.views["identity"]["one:b"] == "pass"


def test_what_was_found_before_the_end_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Ending(Scripted):
        def run(self, run: Run, group: str) -> Statuses:
            found = super().run(run, group)
            if "end" in found:
                over.set()
            return found

    over = threading.Event()
    monkeypatch.setattr(runner, "ended", over)
    one, other = {"a": "pass"}, {"a": "fail"}
    user = "root" if os.getuid() == 0 else "nobody"
    options = runner.Options(tmp_path / "work", tmp_path / "logs")
    suite = Ending(one, one, other, {"end": "pass"})
    result = runner.Session(suite, user, options).run(["identity", "mnt"])
    assert result.ended == "mnt"
    assert set(result.differences["identity"]) == {"group:a"}
    assert "mnt" not in result.views
    assert not result.good
    assert "ENDED in mnt" in report.details(result)


@pytest.mark.skipif(not LIST.exists(), reason=f"no suites: there is no {LIST}")
@pytest.mark.skipif(os.getuid() != 0, reason="the suites are built and run by root")
def test_a_signal_ends_the_commands_and_what_was_found_is_written(tmp_path: Path) -> None:
    found = tmp_path / "report.json"
    argv = [*MODULE, "fsx", "fsstress", "--subset", "--json", str(found), "--jobs", "1"]
    with subprocess.Popen(argv, cwd=REPOSITORY, stdout=subprocess.PIPE) as process:
        until(psutil.Process(process.pid).children)
        process.terminate()
        process.communicate(timeout=60)
    assert process.returncode == 130
    (result,) = report.read_json(found)
    assert result.ended == "native-1"


def test_tap_lines_become_statuses() -> None:
    lines = [
        "1..5",
        "ok 1",
        "not ok 2 - tried x, got y",
        "ok 3 # SKIP why",
        "not ok 4 # TODO later",
    ]
    assert tap.parse(Outcome(1, "\n".join([*lines, "ok 5 - name"]), 0.1)) == {
        "1": "pass",
        "2": "fail",
        "3": "skip",
        "4": "skip todo",
        "5": "pass",
        "end": "fail status 1",
    }


def test_nothing_that_a_command_started_outlives_it(tmp_path: Path) -> None:
    script = f"setsid sleep 60 & echo $! > {tmp_path}/pid"
    outcome = execute(["sh", "-c", script], log=tmp_path / "log", env=dict(os.environ), limit=30)
    pid = int((tmp_path / "pid").read_text())
    assert outcome.status == 0
    assert not Path(f"/proc/{pid}/exe").exists()


def test_a_command_ends_at_its_time_limit(tmp_path: Path) -> None:
    argv = ["sh", "-c", "echo begun; exec sleep 60"]
    outcome = execute(argv, log=tmp_path / "log", env=dict(os.environ), limit=1)
    assert (outcome.status, outcome.output) == (None, "begun\n")


def test_every_entry_of_the_kernels_list_names_a_suite_and_a_reason() -> None:
    assert {suite for suite, _, _ in kernel.entries()} <= {suite.name for suite in SUITES}
