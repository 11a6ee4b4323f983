"""viewos doctor: will views work here, and how well?"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from viewos.cli.options import HELP, Option, UsageError, describe, parse

if TYPE_CHECKING:
    from viewos.doctor import Finding

HELP_LINE = "say whether views work here, and what is missing"

OPTIONS = (Option("json", ("--json",), None, "for programs"), HELP)

USAGE = f"""\
usage: viewos doctor [OPTION]...

Tries each feature of the kernel and fact of the machine that viewos uses, and says what it costs
to lack one, and what to do. Nothing is changed. The status is 0 when `viewos run` works here,
else 1.

{describe(OPTIONS)}

examples:
  viewos doctor
  viewos doctor --json | jq '.checks[] | select(.state != "ok")'
"""


def main(argv: list[str]) -> int:
    """Print what is found; 0 when views work."""
    values, words = parse("viewos doctor", argv, OPTIONS)
    if values["help"]:
        print(USAGE, end="")
        return 0
    if words:
        raise UsageError(f"viewos doctor: takes no arguments, not {words[0]}")
    from viewos.doctor import State, examine
    from viewos.launcher.program import heed_children

    heed_children()
    findings = []
    for finding in examine():
        findings.append(finding)
        if not values["json"]:
            _show(finding)
    broken = [finding.name for finding in findings if finding.state is State.FAILED]
    if values["json"]:
        print(json.dumps(_report(findings, not broken), indent=2))
    elif broken:
        print(f"\nviews do not work here, for want of: {', '.join(broken)}")
    else:
        print("\nviews work here")
    return 1 if broken else 0


def _show(finding: Finding) -> None:
    detail = f": {finding.detail}" if finding.detail else ""
    print(f"{finding.state.value:<8} {finding.name:<15} {finding.what}{detail}", flush=True)
    if finding.cost:
        print(f"{'':25}cost: {finding.cost}\n{'':25}to do: {finding.remedy}", flush=True)


def _report(findings: list[Finding], works: bool) -> dict[str, object]:
    checks = [{**one._asdict(), "state": one.state.value} for one in findings]
    return {"works": works, "checks": checks}
