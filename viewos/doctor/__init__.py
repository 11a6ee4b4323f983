"""What of the kernel and the machine is there: each check tries it.

checks       the table
host, processes, seccomp   one small function a row
trial        runs such a function in a child that may crash, hang or be killed
tracee       a child under a filter
"""

from __future__ import annotations

from collections.abc import Iterator

from viewos.doctor import host
from viewos.doctor.finding import Check, Finding, Missing, State

__all__ = ["Finding", "State", "examine"]

_FIRST = Check(
    "architecture", "the processor's table of system calls", host.architecture,
    cost="no system call can be understood",
    remedy="a 64-bit Python on x86-64",
    needed=True,
)  # fmt: skip


def examine() -> Iterator[Finding]:
    """Try everything, one after another."""
    first = _look(_FIRST, {})
    yield first
    if first.state is not State.OK:
        return  # the rest speaks x86-64
    if host.is_in_a_view():
        yield Finding(
            "view", "this process runs in a view", State.OK, "its monitor makes the views in it"
        )
        return
    from viewos.doctor.checks import CHECKS

    states: dict[str, State] = {}
    for check in CHECKS:
        finding = _look(check, states)
        states[check.name] = finding.state
        yield finding


def _look(check: Check, before: dict[str, State]) -> Finding:
    lacking = [name for name in check.after if before[name] is not State.OK]
    if lacking:
        detail = f"needs {', '.join(lacking)}"
        return Finding(check.name, check.what, State.UNTRIED, detail)
    try:
        return Finding(check.name, check.what, State.OK, check.test())
    except Missing as missing:
        detail, remedy = missing.detail, missing.remedy or check.remedy
    except OSError as error:
        detail, remedy = error.strerror or str(error), check.remedy
    state = State.FAILED if check.needed else State.LACKING
    return Finding(check.name, check.what, state, detail, check.cost, remedy)
