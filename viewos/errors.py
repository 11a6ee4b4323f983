"""What goes wrong before a program runs: one line for the user, and the status to end with. And one
error of calls."""

from __future__ import annotations

import errno
import os
import sys

_LIMITS = {
    errno.EMFILE: "ulimit -n",
    errno.EAGAIN: "ulimit -u, or a container's limit of processes",
    errno.ENOMEM: "ulimit -v, or a container's limit of memory",
    errno.EFBIG: "ulimit -f",
}
"""What may be raised where the system has no more of something."""

FAULTS = (Exception, SystemExit)
"""What an author's code may raise: sys.exit() of a module is no wish of the user's."""


class ViewosError(Exception):
    """Something that the user can read and act on. The text is one line."""

    status = 125
    """viewos itself fails: the convention of env(1) and timeout(1)."""


class SpecError(ViewosError):
    """A module, or the words given to it or to a trace, that are not right."""

    status = 2


class BadArgument(OSError):
    """The kernel refuses what the program has given, whatever modules say. A handler lets it pass:
    the kernel makes the call as it stands, and says in its own order what is wrong with it."""


def short(text: str, most: int = 300) -> str:
    """`text`, with its middle left out where it has more than `most` characters."""
    if len(text) <= most:
        return text
    return f"{text[: most * 2 // 3]}[...]{text[-most // 3 :]}"


def encoded(text: str) -> bytes:
    """`text` for a terminal, a file or a pipe. Never raises: names come out as they came in, and
    what else the encoding has not is written with backslashes."""
    try:
        return os.fsencode(text)
    except UnicodeEncodeError:
        return text.encode(sys.getfilesystemencoding(), "backslashreplace")


def quoted(text: str) -> str:
    """`text` as repr() has it, not too long, and with bytes that are no characters as they are."""
    shown = repr(short(text))
    for char in {char for char in text if "\udc80" <= char <= "\udcff"}:
        shown = shown.replace(f"\\u{ord(char):x}", char)
    return shown


def shown(text: str) -> str:
    """A word of the user's, in a line: as it is, or quoted where that would not show it."""
    return text if text and not _is_control(text) else quoted(text)


def _is_control(text: str) -> bool:
    return any(char < " " or "\x7f" <= char < "\xa0" for char in text)


def from_here(path: str) -> str:
    """The path, absolute. Raises ViewosError: the current directory has been removed."""
    try:
        return path if path.startswith("/") else os.path.join(os.getcwd(), path)
    except FileNotFoundError:
        raise ViewosError(f"{path}: the current directory has been removed") from None


def reason(error: BaseException) -> str:
    """The text of an error, with the limit that it is about, where it is about one."""
    if isinstance(error, MemoryError):
        error = OSError(errno.ENOMEM, "not enough memory")
    text = str(error)
    if not isinstance(error, OSError):
        return text or type(error).__name__
    text = error.strerror or text
    if error.filename is not None:
        text = f"{os.fsdecode(error.filename)}: {text}"
    limit = _LIMITS.get(error.errno or 0)
    return f"{text} (see {limit})" if limit else text


def told(error: BaseException, path: str | None = None) -> str:
    """One line about an exception: the place in the file `path`, if any, and the text."""
    line = getattr(error, "lineno", None) if isinstance(error, SyntaxError) else None
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == path:
            line = trace.tb_lineno
        trace = trace.tb_next
    text = " ".join(str(error).split())
    where = f"line {line}: " if line else ""
    return f"{where}{type(error).__name__}{': ' if text else ''}{text}"
