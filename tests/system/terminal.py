"""A shell in a real terminal: typed at, read, and compared with its twin without us."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import select
import struct
import subprocess
import tempfile
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from viewos.abi.numbers import NUMBERS

from .launching import Way
from .view import started

PROMPT = re.compile(r"ready:(\d+)> ")
PATIENCE = 20.0
"""Seconds until something that does not come is an error."""
SHELLS = {
    "bash": ("bash", "--noprofile", "--norc", "--noediting", "-i"),
    "dash": ("dash", "-i"),
}


SETTINGS = (
    "ulimit -c 0;"
    " stopped() { until grep -q '^State:.T' /proc/$!/status; do :; done; true; };"
    " running() { until grep -q '^State:.S' /proc/$!/status; do :; done; true; }"
)
"""Waiting in the shell's own line: so it tells of the stop before its next prompt, always."""


def control(letter: str) -> bytes:
    """The byte that Ctrl and this key send."""
    return bytes([ord(letter) & 0x1F])


class Terminal:
    """The keyboard and the screen of a shell. Everything that is shown is kept."""

    def __init__(self, master: int, process: subprocess.Popen[bytes], ground: Path) -> None:
        self._master = master
        self._process = process
        self._at = 0
        self.ground = ground
        self.shown = ""

    # ---- the keyboard ---------------------------------------------------------------------------

    def type(self, keys: str | bytes) -> None:
        """Send these bytes."""
        os.write(self._master, os.fsencode(keys))

    def run(self, line: str) -> int:
        """Give the shell a line, wait for its next prompt; the status that this one shows."""
        self.type(line + "\r")
        return self.prompt()

    def start(self, line: str, until: str = "ready\r\n") -> None:
        """Give the shell a line, and wait for what its command says."""
        self.type(line + "\r")
        self.expect(re.escape(line) + r"\r\n(?s:.)*?" + re.escape(until))

    def background(self, line: str) -> None:
        """Give the shell a line that makes a job, and wait until that has made the file `ready`.

        What a job shows and what its shell shows come in any order.
        """
        self.run(line)
        ready = self.ground / "ready"
        self.until(ready.exists)
        ready.unlink()

    def foreground(self, line: str = "fg") -> None:
        """Give the shell this line, and wait until the terminal is the job's."""
        shells = os.tcgetpgrp(self._master)
        self.type(line + "\r")
        self.expect(re.escape(line) + r"\r\n[^\n]+\r\n")
        self.until(lambda: os.tcgetpgrp(self._master) != shells)

    def press(self, letter: str) -> int:
        """Press Ctrl and a key, and wait for the prompt.

        bash does not tell of a job that stops before it waits for that.
        """
        if letter == "Z":
            self.until_shell_waits()
        self.type(control(letter))
        return self.prompt()

    def resize(self, rows: int, columns: int) -> None:
        """Give the window another size."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    # ---- the screen -----------------------------------------------------------------------------

    def expect(self, pattern: str | re.Pattern[str]) -> re.Match[str]:
        """Read until this is shown, after what was expected before."""
        compiled = re.compile(pattern)
        deadline = time.monotonic() + PATIENCE
        while (found := compiled.search(self.shown, self._at)) is None:
            if not self._read(deadline - time.monotonic()):
                raise AssertionError(f"{pattern!r} did not come:\n{self.shown}")
        self._at = found.end()
        return found

    def prompt(self) -> int:
        """Wait for the shell's next prompt; the status that it shows."""
        return int(self.expect(PROMPT)[1])

    def _read(self, patience: float) -> bool:
        if patience < 0 or not select.select([self._master], [], [], patience)[0]:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError as error:
            if error.errno != errno.EIO:  # nobody has the terminal open any more
                raise
            data = b""
        self.shown += data.decode(errors="backslashreplace")
        return bool(data)

    # ---- the shell ------------------------------------------------------------------------------

    def exit(self, status: int = 0) -> None:
        """Let the shell end, when no zombie is left in the terminal, and read to the end."""
        self.until(lambda: "Z" not in _states(self._process.pid))
        self.end(f"exit {status}\r", status)

    def end(self, keys: str | bytes, status: int = 0) -> None:
        """Type what ends the process that the shell was, and read to the end."""
        self.type(keys)
        deadline = time.monotonic() + PATIENCE
        while self._read(deadline - time.monotonic()):
            pass
        assert self._process.wait(PATIENCE) == status, self.shown

    def hang_up(self) -> int:
        """Close the terminal; what became of the shell, as of Popen.returncode."""
        os.close(self._master)
        self._master = -1
        return self._process.wait(PATIENCE)

    def until_every(self, name: str, state: str) -> None:
        """Wait until all of that name in the terminal are in this state of /proc/PID/stat."""
        self.until(lambda: _states(self._process.pid, name) == {state})

    def until_shell_waits(self) -> None:
        """Wait until the shell itself sleeps until a child of its own changes."""
        sleeps = {str(NUMBERS[name]) for name in ("wait4", "rt_sigsuspend")}
        file = Path(f"/proc/{self._process.pid}/syscall")
        self.until(lambda: file.read_text().split()[0] in sleeps)

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait until this holds."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, self.shown
            select.select([], [], [], 0.002)

    def close(self) -> None:
        """Close the terminal, if it is open."""
        if self._master >= 0:
            os.close(self._master)
            self._master = -1


def _states(session: int, name: str = "") -> set[str]:
    states = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            start, _, rest = path.read_text(errors="replace").rpartition(") ")
        except OSError:
            continue
        state, _, _, sid, *_ = rest.split()
        if int(sid) == session and name in ("", start.partition("(")[2]):
            states.add(state)
    return states


@contextmanager
def shell_in_terminal(shell: str, way: Way, *modules: str) -> Iterator[Terminal]:
    """An interactive shell, itself outside of any view, that leads a session with a terminal.

    In it, `$V COMMAND` runs a command that `way`, in a view of `modules`; natively it is just
    COMMAND. So what is typed and what the shell says of jobs are the same. `$PYTHON` is a quick
    Python, and the working directory (`ground`) is empty. At the end nothing may be left over.
    """
    master, slave = os.openpty()
    os.fchown(slave, way.uid, -1)  # as login(1) does
    attributes = termios.tcgetattr(slave)
    attributes[3] &= ~termios.ECHOCTL
    termios.tcsetattr(slave, termios.TCSANOW, attributes)
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
    env = {
        "V": " ".join(way.view_prefix(*modules)),
        "PS1": "ready:$?> ",
        "PS2": "",
        "PYTHON": "/usr/bin/python3 -ISu",
        "TERM": "vt100",
    }
    with tempfile.TemporaryDirectory(prefix="viewos-terminal-") as name:
        os.chown(name, way.uid, way.uid)
        with started(
            None, SHELLS[shell], user=way.uid, env=env, cwd=name,
            stdin=slave, stdout=slave, stderr=slave, preexec_fn=_take_terminal,
        ) as process:  # fmt: skip
            os.close(slave)
            terminal = Terminal(master, process, Path(name))
            try:
                terminal.prompt()
                terminal.run(SETTINGS)
                yield terminal
            finally:
                terminal.close()


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def without_numbers(shown: str) -> str:
    """What was shown, without the pids that shells tell, and keys that make signals."""
    keys = dict.fromkeys(map(ord, "\3\32\34"))  # echoed before or after what they cause
    return re.sub(r"(?m)^(\[\d+\]) \d+\r$", r"\1 PID\r", shown.translate(keys))
