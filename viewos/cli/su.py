"""viewos su: another user, in a view in the one we are in."""

from __future__ import annotations

import os
from typing import Any, NoReturn

from viewos.cli.options import HELP, Option, UsageError, describe, parse
from viewos.errors import ViewosError

HELP_LINE = "become another user of the view, in a view in it"

OPTIONS = (
    Option("login", ("-l", "--login"), None, "start in the user's home, with a fresh environment"),
    HELP,
)

USAGE = f"""\
usage: viewos su [-l] [USER] [-- COMMAND [ARG]...]

In a view: starts COMMAND, or the user's shell, as USER (default: root), in a view with the module
uid that is nested in this one. USER is a name of the view's /etc/passwd, or a number. There is no
password: who is in a view could become anybody in one of its own.

{describe(OPTIONS)}

examples:
  viewos su
  viewos su -l www-data
  viewos su 1000 -- make install
"""


def main(argv: list[str]) -> int:
    """Become the program; returns only from --help. Raises ViewosError."""
    at = argv.index("--") if "--" in argv else len(argv)
    values, words = parse("viewos su", argv[:at], OPTIONS, anywhere=True)
    if not values["help"]:
        _run(values, words, argv[at + 1 :])
    print(USAGE, end="")
    return 0


def _run(values: dict[str, Any], words: list[str], command: list[str]) -> NoReturn:
    from viewos.control import nested
    from viewos.control.client import own

    if len(words) > 1:
        raise UsageError("viewos su: a COMMAND stands behind -- (see `viewos su --help`)")
    monitor = own()
    if monitor is None:
        raise ViewosError("this process is in no view: `viewos run -m uid:USER -- COMMAND`")
    name, uid, gid, home, shell = _about(words[0] if words else "root")
    os.environ.update(HOME=home, SHELL=shell, USER=name, LOGNAME=name)
    if values["login"]:
        for variable in set(os.environ) - {"HOME", "SHELL", "USER", "LOGNAME", "TERM", "PATH"}:
            del os.environ[variable]
    environment = {os.fsencode(k): os.fsencode(v) for k, v in os.environ.items()}
    nested.run(
        monitor, [f"uid:{uid}:{gid}"], command or [shell],
        chdir=home if values["login"] else None, env=environment,
    )  # fmt: skip


def _about(user: str) -> tuple[str, int, int, str, str]:
    """(name, uid, gid, home, shell), as this view has them. Raises ViewosError."""
    import pwd

    try:
        entry = pwd.getpwuid(int(user)) if user.isdigit() else pwd.getpwnam(user)
    except KeyError:
        if user.isdigit():
            return user, int(user), int(user), "/", "/bin/sh"
        raise ViewosError(f"the view has no user {user} (see its /etc/passwd)") from None
    return entry.pw_name, entry.pw_uid, entry.pw_gid, entry.pw_dir, entry.pw_shell or "/bin/sh"
