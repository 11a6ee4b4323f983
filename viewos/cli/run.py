"""viewos run: a program in a view."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any, NoReturn

from viewos.abi.machine import MACHINE
from viewos.cli.options import HELP, Option, UsageError, describe, parse, say_usage
from viewos.control import NAME, is_name
from viewos.errors import ViewosError, quoted

if TYPE_CHECKING:
    from viewos.cli.profiles import Placed

HELP_LINE = "run a program in a view"

OPTIONS = (
    Option(
        "modules", ("-m", "--module"), "MODULE[:ITEM,...]",
        "put a module on top of those before it; `viewos modules` lists\n"
        "what there is, FILE.py:CLASS is one of your own",
        repeats=True,
    ),
    Option(
        "profiles", ("-p", "--profile"), "PROFILE",
        "modules (below those of -m), chdir and nestable from FILE.toml, or\n"
        "from XDG_CONFIG_HOME/viewos/NAME.toml",
        repeats=True,
    ),
    Option("chdir", ("-C", "--chdir"), "DIR", "start in this directory of the view"),
    Option("name", ("--name",), "NAME", "call the view so: `viewos ps`, `viewos exec NAME`, ..."),
    Option("verbose", ("-v", "--verbose"), None, "say more of what the monitor does"),
    Option("quiet", ("-q", "--quiet"), None, "say nothing while the program runs"),
    Option("log", ("--log",), "FILE", "append what the monitor says to FILE, and not to stderr"),
    Option(
        "layout", ("--layout",), "LAYOUT",
        "which process is whose parent: direct (the monitor stands beside\n"
        "the program), ancestor (above it), auto (default)",
        choices=("auto", "direct", "ancestor"),
    ),
    Option(
        "why", ("--why",), "PATH",
        "first say how PATH resolves in the view, step by step and layer\n"
        "by layer; a COMMAND may be missing then",
        repeats=True,
    ),
    Option(
        "nestable", ("--nestable",), None,
        "trap what any module can use, so that every view can be nested in\n"
        "this one: calls that no module answers cost a notification each",
    ),
    Option(
        "no_inproc", ("--no-inproc",), None,
        "leave the libc of programs as it is, so that all their calls are\n"
        "made by themselves or by the monitor: a build costs three times more",
    ),
    Option(
        "no_continue", ("--no-continue",), None,
        "for tests: answer also those calls on claimed paths that the\n"
        "kernel alone would get right",
    ),
    HELP,
)  # fmt: skip

USAGE = f"""\
usage: viewos run [OPTION]... [--] COMMAND [ARG]...

Runs COMMAND in a view: modules decide what it sees of files, host name, user and so on.
A view is a virtualisation, not a sandbox.

{describe(OPTIONS)}

The status is the program's; 127: not found, 126: not executable, 125: viewos failed,
2: wrong usage.

examples:
  viewos run -m vfs:/mnt=/tmp/x -C /mnt -- make
  viewos run -m vfs:/etc/hosts=hosts,ro -m hostname:build7 -m uid:0 -- ./install.sh
  viewos run -p ./build.toml -- make
  viewos run -m vfs:/mnt=/tmp/x --why /mnt/link/file
  viewos run -m ./faults.py:DiskFull -- tar xf archive.tar
"""


def main(argv: list[str]) -> int:
    """Become the program; returns only from --help. Raises ViewosError."""
    values, command = parse("viewos run", argv, OPTIONS)
    if not values["help"]:
        _run(values, command)
    say_usage(USAGE)
    return 0


def _run(values: dict[str, Any], command: list[str]) -> NoReturn:
    if not command and not values["why"]:
        raise UsageError("viewos run: which COMMAND? (see `viewos run --help`)")

    name = values["name"] or ""
    if not is_name(name):
        raise UsageError(f"viewos run: --name {quoted(name)}: {NAME}")
    if values["log"] == "":
        raise UsageError("viewos run: --log needs the name of a FILE")
    if MACHINE != "x86_64":
        raise ViewosError(f"viewos runs on x86_64, and not on {MACHINE} (see `viewos doctor`)")

    # This process makes what lasts, and then becomes the program; the monitor switches it on again.
    gc.disable()

    from viewos.launcher.contact import contact

    from_profiles = _take_profiles(values) if values["profiles"] else ()
    verbosity = 1 + values["verbose"] - values["quiet"]
    socket = contact()
    if socket is not None:
        from viewos.control import nested
        from viewos.control.client import monitor_at

        for only in ("log", "layout", "no_inproc"):
            if values[only] not in (None, False, "auto"):
                option = f"--{only.replace('_', '-')}"
                raise UsageError(
                    f"viewos run: {option} is for the outermost view, whose monitor serves this one"
                )
        for module in from_profiles:
            module.load()  # the monitor knows nothing of files and lines
        texts = [module.text for module in from_profiles] + values["modules"]
        nested.run(
            monitor_at(socket), texts, command, chdir=values["chdir"],
            no_continue=values["no_continue"], nestable=values["nestable"], verbosity=verbosity,
            name=name, why=values["why"],
        )  # fmt: skip

    from viewos.loader import load
    from viewos.monitor.start import run
    from viewos.view import View

    modules = [module.load() for module in from_profiles]
    modules += [load(text) for text in values["modules"]]
    run(
        View(
            modules,
            no_continue=values["no_continue"],
            nestable=values["nestable"],
            inproc=not values["no_inproc"],
        ),
        command,
        chdir=values["chdir"],
        layout=values["layout"] or "auto",
        verbosity=verbosity,
        log=values["log"],
        name=name,
        why=values["why"],
    )


def _take_profiles(values: dict[str, Any]) -> tuple[Placed, ...]:
    """The modules of profiles; what else they say becomes a value where no option says it."""
    from viewos.cli.profiles import together

    profile = together(values["profiles"])
    values["chdir"] = profile.chdir if values["chdir"] is None else values["chdir"]
    values["nestable"] = values["nestable"] or profile.nestable
    return profile.modules
