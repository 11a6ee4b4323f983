"""viewos fakeroot: fakeroot's command line, for those who swap the name."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn

from viewos.cli.options import Option, UsageError, describe, parse, say_usage
from viewos.errors import ViewosError, encoded, from_here

if TYPE_CHECKING:
    from viewos.modules.uid import Uid

HELP_LINE = "run a program as root, with fakeroot's options"
_NO_LIBRARY = "has no meaning here: there is neither a library nor a daemon"
OPTIONS = (
    Option("load", ("-i",), "FILE", "begin with what -s has saved, or a log of `uid:0,save=`"),
    Option("save", ("-s",), "FILE", "save owners, modes and devices there, in fakeroot's format"),
    Option(
        "unknown_is_real", ("-u", "--unknown-is-real"), None,
        "show who really owns the files of which nothing is remembered",
    ),
    Option("lib", ("-l", "--lib"), "FILE", _NO_LIBRARY),
    Option("faked", ("-f", "--faked"), "FILE", _NO_LIBRARY),
    Option("fd_base", ("-b", "--fd-base"), "FD", _NO_LIBRARY),
    Option("version", ("-v", "--version"), None, "say which version this is, and end"),
    Option("help", ("-h", "--help"), None, "say what is said here, and end"),
)  # fmt: skip

USAGE = f"""\
usage: viewos fakeroot [OPTION]... [--] [COMMAND [ARG]...]

Runs COMMAND, or else $SHELL, as a root whose changes of owners, modes and devices are
remembered: as `viewos run -m uid:0`, with the options and the environment (FAKEROOTKEY) of
fakeroot.

{describe(OPTIONS)}

The status is the command's.

examples:
  viewos fakeroot -s saved -- make install
  dpkg-buildpackage -rviewos-fakeroot
"""


def main(argv: list[str] | None = None) -> int:
    """Become the command, or wait for it; the exit status."""
    words = sys.argv[1:] if argv is None else argv
    try:
        return _main(words)
    except ViewosError as error:
        _say(str(error))
    except OSError as error:
        where = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
        _say(f"{where}{error.strerror or error}")
    return 1


def _main(words: list[str]) -> int:
    values, command = parse("viewos fakeroot", words, OPTIONS)
    if values["help"]:
        say_usage(USAGE)
        return 0
    if values["version"]:
        from viewos import __version__

        say_usage(f"viewos fakeroot version {__version__}\n")
        return 0
    if key := os.environ.get("FAKEROOTKEY"):
        raise UsageError(f"FAKEROOTKEY set to {key}: nested operation not yet supported")
    if values["load"] and not os.path.isfile(values["load"]):
        _say(f"database file `{values['load']}' does not exist.")
        values["load"] = None
    command = command or [os.environ.get("SHELL") or "/bin/sh"]
    if values["save"] is None:
        _become(values, command, None)
    return _run_and_save(values, command)


def _say(text: str) -> None:
    text = text.removeprefix("viewos fakeroot: ")
    with suppress(OSError):
        os.write(2, encoded(f"viewos fakeroot: {text}\n"))


def _module(values: dict[str, Any], log: str | None) -> Uid:
    from viewos.modules.uid import Uid

    return Uid(
        0,
        unknown="real" if values["unknown_is_real"] else None,
        load=[values["load"]] if values["load"] else [],
        save=log,
        tells=False,  # a fakeroot is nothing else
    )


def _spec(values: dict[str, Any], log: str | None) -> str:
    """The module as the words that another monitor makes it of."""
    from viewos.spec import quote

    files = {"load": values["load"], "save": log}
    words = ["uid:0"] + ["unknown=real"] * bool(values["unknown_is_real"])
    words += [f"{key}={quote(from_here(path))}" for key, path in files.items() if path]
    return ",".join(words)


def _become(values: dict[str, Any], command: list[str], log: str | None) -> NoReturn:
    """Become the command. Raises ViewosError."""
    from viewos.launcher import environment
    from viewos.launcher.contact import contact

    env = dict(word.partition(b"=")[::2] for word in environment())
    env[b"FAKEROOTKEY"] = b"%d" % (os.getpid() | 1 << 30)
    env[b"FAKED_MODE"] = b"unknown-is-real" if values["unknown_is_real"] else b"unknown-is-root"
    socket = contact()
    if socket is not None:
        from viewos.control import nested
        from viewos.control.client import monitor_at

        nested.run(monitor_at(socket), [_spec(values, log)], command, env=env)

    from viewos.monitor.start import run
    from viewos.view import View

    run(View([_module(values, log)]), command, env=env)


# ---- -s -----------------------------------------------------------------------------------------


def _run_and_save(values: dict[str, Any], command: list[str]) -> int:
    """Run the command as a child, as fakeroot's own script does; then save."""
    from viewos.launcher.program import heed_children, ignore

    with tempfile.TemporaryDirectory(prefix="viewos-fakeroot-") as directory:
        log = os.path.join(directory, "log")
        ignored = heed_children()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                ignore(ignored)
                _become(values, command, log)
            except ViewosError as error:
                _say(str(error))
                status = error.status
            finally:
                os._exit(status)
        status = _wait(child)
        if os.path.exists(log):
            _save(values, log)
    return status


def _wait(child: int) -> int:
    """The status of the child. Signals from a terminal are its own affair; others are handed on."""
    for number in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, frame: os.kill(child, number))
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _save(values: dict[str, Any], log: str) -> None:
    from viewos.modules.uid import entries, faked

    records = {
        identity[:2]: (identity, record)
        for identity, record in entries.read(log) or ()
        if record is not None
    }
    waiting: dict[tuple[int, int], Any] = {}
    if values["load"] and entries.read(values["load"]) is None:
        with open(values["load"], "rb") as file:
            waiting = dict(faked.parse(file.read(), values["load"]))
        for identity, record in records.values():
            waiting.pop((record.device, identity.inode), None)
    export = faked.export(records.values(), waiting.items())
    faked.write(values["save"], export)
    if export.attributes:
        _say(
            f"{values['save']}: the extended attributes of {export.attributes} files are lost,"
            " which this format cannot hold (a log of `viewos run -m uid:0,save=FILE` can)"
        )


if __name__ == "__main__":
    sys.exit(main())
