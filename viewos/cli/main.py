"""viewos: the command line. Each command is imported when it is asked for."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from importlib import import_module

from viewos.cli.options import Closed
from viewos.errors import ViewosError, encoded, reason, shown

COMMANDS = (
    "run", "fakeroot", "trace", "ps", "info", "stats", "top", "exec", "shell", "su", "module",
    "mount", "umount", "hostname", "name", "wait", "stop",
    "modules", "profile", "net", "doctor", "completion",
)  # fmt: skip

_BECOME_ANOTHER = ("run", "trace", "fakeroot")
"""Modules run in them, to which a standard output that is closed is None, as in any program."""

USAGE = """\
usage: viewos COMMAND [OPTION]...

Runs unmodified programs in views of their own: their own files, host name, user id.

{}

  viewos COMMAND --help   more about one
  viewos --version

examples:
  viewos run -m vfs:/mnt=/tmp/x -C /mnt -- make
  viewos doctor
"""


def main(argv: list[str] | None = None) -> int:
    """Run a command; the exit status."""
    words = sys.argv[1:] if argv is None else argv
    try:
        status = _dispatch(words)
        if sys.stdout is not None:
            sys.stdout.flush()
    except ViewosError as error:
        _say(str(error))
        return error.status
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
        return 130
    except BrokenPipeError:
        _drop_output()
        return 128 + signal.SIGPIPE
    except OSError as error:
        where = "" if _drop_output() else "standard output: "
        _say(where + reason(error))
        return ViewosError.status
    except MemoryError as error:
        _say(reason(error))
        return ViewosError.status
    except Exception:
        from traceback import format_exc

        _say(f"a bug of viewos, please report it:\n{format_exc().rstrip()}")
        return ViewosError.status
    return status


def _dispatch(words: list[str]) -> int:
    if not words:
        _say("which COMMAND? (see `viewos --help`)")
        return 2
    name, *rest = words
    if sys.stdout is None and name not in _BECOME_ANOTHER:
        sys.stdout = Closed()
    if name in COMMANDS:
        status: int = import_module(f"viewos.cli.{name}").main(rest)
        return status
    if name in ("-h", "--help", "help"):
        if rest[:1] and rest[0] in COMMANDS:
            return _dispatch([rest[0], "--help"])
        lines = [
            f"  {command:<12}{import_module(f'viewos.cli.{command}').HELP_LINE}"
            for command in COMMANDS
        ]
        print(USAGE.format("\n".join(lines)), end="")
        return 0
    if name == "--version":
        from viewos import __version__

        print(f"viewos {__version__}")
        return 0
    _say(f"there is no command {shown(name)}{_hint(name)}")
    return 2


def _hint(name: str) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name, COMMANDS, n=1)
    return f": did you mean {close[0]}?" if close else f"; there are {', '.join(COMMANDS)}"


def _drop_output() -> bool:
    """Can what has been printed be written? What cannot would fail again, with words of its own,
    when Python ends."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), 1)
        return False
    return True


def _say(text: str) -> None:
    # By write(2): sys.stderr is None when it was closed.
    with suppress(OSError):
        os.write(2, encoded(f"viewos: {text}\n"))


if __name__ == "__main__":
    sys.exit(main())
