"""viewos profile: what is wrong with a profile."""

from __future__ import annotations

import os

from viewos.cli.options import HELP, UsageError, describe, parse
from viewos.errors import SpecError, ViewosError, encoded

HELP_LINE = "check the files that `viewos run -p` takes"

OPTIONS = (HELP,)

USAGE = f"""\
usage: viewos profile check PROFILE...

Says what is wrong with profiles, by line: whether they can be read, and whether each module can be
made of what stands there. No module is started, so backings need not be there.
A PROFILE with a slash or .toml in its name is a file, any other one is
XDG_CONFIG_HOME/viewos/PROFILE.toml.

{describe(OPTIONS)}

The status is 0: nothing is wrong, 2: something is.

examples:
  viewos profile check ./build.toml
  viewos profile check build && viewos run -p build -- make
"""


def main(argv: list[str]) -> int:
    """Check. Raises ViewosError."""
    values, words = parse("viewos profile", argv, OPTIONS)
    if values["help"] or words[1:] in (["-h"], ["--help"]):
        print(USAGE, end="")
        return 0
    if words[:1] != ["check"]:
        raise UsageError("viewos profile: check is what it can do (see `viewos profile --help`)")
    if not words[1:]:
        raise UsageError("viewos profile check: which PROFILE?")
    said = [error for name in words[1:] for error in _errors(name)]
    for line in said:
        os.write(2, encoded(f"viewos: {line}\n"))
    return SpecError.status if said else 0


def _errors(name: str) -> list[str]:
    from viewos.cli.profiles import read

    try:
        profile = read(name)
    except ViewosError as error:
        return [str(error)]
    said = []
    for module in profile.modules:
        try:
            module.load()
        except ViewosError as error:
            said.append(str(error))
    return said
