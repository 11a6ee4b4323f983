"""Run a command in a view, or natively, and see to it that nothing is left behind."""

from __future__ import annotations

import os
import secrets
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.system.users import REPOSITORY, as_user, python

MARK = "VIEWOS_TEST_RUN"
"""An environment variable that every process of a run inherits, the monitor included."""
INPROC = "VIEWOS_TEST_INPROC"
"""Set to 0 it has the views of tests run without the in-process tier."""
SLOWER = float(os.environ.get("VIEWOS_TEST_PATIENCE", "1"))
"""By which factor limits are higher on a machine that is slower (an emulated one)."""
PATIENCE = 5.0 * SLOWER
"""Seconds that the monitor and background processes get to leave after the command."""


class LeftOver(AssertionError):
    """Processes of a run outlived it."""


def in_process() -> bool:
    """Do views of tests run with the in-process tier?"""
    return os.environ.get(INPROC) != "0"


def cache_variable(user: int) -> str:
    """NAME=VALUE that lets viewos keep what it keeps where no test looks."""
    return f"XDG_CACHE_HOME={tempfile.gettempdir()}/viewos-tests-{user}"


def prefix(
    modules: Sequence[str] | None,
    *,
    user: int | None = None,
    inproc: bool | None = None,
    nested: bool = False,
) -> list[str]:
    """The words in front of a command that run it in a view of `modules`; None: natively.
    `inproc`: with the in-process tier; None: unless VIEWOS_TEST_INPROC=0. `nested`: in a view."""
    if modules is None:
        return []
    options = [word for module in modules for word in ("-m", module)]
    if not nested and not (in_process() if inproc is None else inproc):
        options.append("--no-inproc")
    return [python(user), "-m", "viewos", "run", *options, "--"]


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a run: an interpreter of any user finds viewos and what it needs."""
    site = [path for path in sys.path if path.endswith("site-packages")]
    name, _, value = cache_variable(os.geteuid()).partition("=")
    env = {**os.environ, "PYTHONPATH": ":".join([str(REPOSITORY), *site]), "LC_ALL": "C.UTF-8"}
    return {**env, name: value, **(extra or {})}


@contextmanager
def started(
    modules: Sequence[str] | None,
    argv: Sequence[str | bytes],
    *,
    user: int | None = None,
    env: Mapping[str, str] | None = None,
    before: Sequence[str] = (),
    strict: bool = True,
    **kw: Any,
) -> Iterator[subprocess.Popen[bytes]]:
    """The command, running in a session of its own; at the end nothing of it may be left.

    `before`: words in front of everything (unshare, taskset). `strict=False`: what is left over
    is killed without a word.
    """
    mark = secrets.token_hex(8)
    words = [*before, *as_user(user, [*prefix(modules, user=user), *argv])]  # type: ignore[list-item]
    process = subprocess.Popen(
        words, env={**environment(env), MARK: mark}, start_new_session=True, **kw
    )
    failed = True
    try:
        yield process
        failed = False
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        left = _kill_left(mark, process.pid, 0 if failed else PATIENCE)
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()
        if left and strict and not failed:
            raise LeftOver(f"left over {PATIENCE} s after the command: {left}")


ONLY_IDS = (
    b"viewos: uid: with another uid the program still has the real user's access"
    b" (-m uid:...,drop takes it away)\n"
)
"""What the user is told, once, when a virtual root is given up."""


def without_note(output: bytes) -> bytes:
    """Output, but for what is told so (`ONLY_IDS`)."""
    return output.replace(ONLY_IDS, b"", 1)


@contextmanager
def scratch_directory(prefix: str) -> Iterator[Path]:
    """A new directory that everybody may search, for programs of several users."""
    path = Path(tempfile.mkdtemp(prefix=prefix))
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def run_in_view(
    modules: Sequence[str] | None,
    argv: Sequence[str | bytes],
    *,
    user: int | None = None,
    timeout: float = 60,
    check: bool = False,
    input: bytes | None = None,
    **kw: Any,
) -> subprocess.CompletedProcess[bytes]:
    """Run `argv` in a view of `modules` (None: natively); output is captured as bytes.

    Raises AssertionError with the output so far after `timeout` seconds, when a process is left
    over, and with `check` when the status is not 0.
    """
    stdin = subprocess.DEVNULL if input is None else subprocess.PIPE
    kw = {"stdin": stdin, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **kw}
    with started(modules, argv, user=user, **kw) as process:
        try:
            out, err = process.communicate(input, timeout=timeout * SLOWER)
        except subprocess.TimeoutExpired as late:
            raise AssertionError(
                f"{argv} took over {timeout} s\n{_text(late.stdout)}{_text(late.stderr)}"
            ) from None
    result = subprocess.CompletedProcess(process.args, process.returncode, out, err)
    if check and result.returncode != 0:
        raise AssertionError(f"{argv}: status {result.returncode}\n{_text(out)}{_text(err)}")
    return result


def _text(output: bytes | None) -> str:
    return (output or b"").decode(errors="backslashreplace")[-4000:]


def members(mark: str, session: int) -> dict[int, str]:
    """pid -> command line of the living processes of a run."""
    needle = f"{MARK}={mark}".encode()
    found = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        with suppress(OSError, IndexError):
            base = f"/proc/{entry}/"
            state, its_session, environ = _who(base)
            marked = needle in environ.split(b"\0")
            if state not in b"ZX" and (marked or its_session == session):
                with open(base + "cmdline", "rb") as file:
                    found[int(entry)] = file.read().replace(b"\0", b" ").decode(errors="replace")
    return found


def _who(base: str) -> tuple[bytes, int, bytes]:
    """The state, session and environment of a process, also of one that just executes a program.

    The environment is empty from the point of no return of execve(2) until the new stack is made:
    who calls setsid(2) and executes a program would be nobody's then.
    """
    kernel_thread = 0x00200000  # PF_KTHREAD of linux/sched.h
    for _ in range(1000):
        with open(base + "stat", "rb") as file:
            state, *fields = file.read().rpartition(b") ")[2].split()
        with open(base + "environ", "rb") as file:
            environ = file.read()
        env_end = fields[47]
        if environ or env_end != b"0" or state in b"ZX" or int(fields[5]) & kernel_thread:
            break
        time.sleep(0.001)
    return state, int(fields[2]), environ


def _kill_left(mark: str, session: int, patience: float) -> dict[int, str]:
    """Wait for the rest of a run, kill what does not go, and say what that was."""
    left: dict[int, str] = {}
    while living := members(mark, session):
        for pid, command in living.items():
            try:
                pidfd = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
            try:
                poll = select.poll()
                poll.register(pidfd, select.POLLIN)
                if not poll.poll(int(patience * 1000)):
                    left[pid] = command
                    with suppress(ProcessLookupError):
                        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                    poll.poll(2000)
                    patience = 0.05  # one patience for all: the rest had its time meanwhile
            finally:
                os.close(pidfd)
    return left


@dataclass(frozen=True)
class Place:
    """Where a test runs: natively or in a view, as which user, in which directory."""

    name: str
    modules: tuple[str, ...] | None
    user: int
    directory: str
    """What the program calls its scratch directory."""
    real: Path
    """What it is outside of the view."""

    def run(self, argv: Sequence[str | bytes], **kw: Any) -> subprocess.CompletedProcess[bytes]:
        """Like `run_in_view`, here."""
        return run_in_view(self.modules, argv, user=self.user, **kw)

    def started(self, argv: Sequence[str | bytes], **kw: Any) -> Any:
        """Like `started`, here."""
        return started(self.modules, argv, user=self.user, **kw)


@contextmanager
def place(name: str, user: int) -> Iterator[Place]:
    """A fresh scratch directory owned by `user`, natively or seen through a view.

    `name`: "native", "identity" (`vfs:/=/`), or "mnt" (the directory is seen as /mnt).
    """
    real = Path(tempfile.mkdtemp(prefix="viewos-place-"))
    os.chown(real, user, user)
    real.chmod(0o755)
    try:
        modules, directory = {
            "native": (None, str(real)),
            "identity": (("vfs:/=/",), str(real)),
            "mnt": ((f"vfs:/mnt={real}",), "/mnt"),
        }[name]
        yield Place(name, modules, user, directory, real)
    finally:
        shutil.rmtree(real, ignore_errors=True)
