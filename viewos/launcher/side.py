"""The processes beside the program: how they let go of what they inherited; the monitor's life."""

from __future__ import annotations

import fcntl
import gc
import os
import resource
import select
import signal
import stat
from collections.abc import Callable
from contextlib import suppress

from viewos import kernel
from viewos.errors import ViewosError, encoded, reason
from viewos.launcher import raw
from viewos.launcher.errors import LaunchError
from viewos.launcher.layout import Layout, Session
from viewos.launcher.wire import FAILED, SERVING, Wire
from viewos.tuples import NamedTuple

SERVED, LEFT = b"R", b"B"
Identity = tuple[int, int] | None
_MOST_TEXT = 4000


class Service(NamedTuple):
    """What the caller wants of the processes beside the program; see `launch`."""

    serve: Callable[[Session], None]
    warm_up: Callable[[], object]
    clean_up: Callable[[], None]
    stderr: Identity
    """The file that is the program's stderr at launch; None: there is none."""


# The monitor outlives its program for the sake of background processes. Whatever ends a whole
# group or machine politely ends those too, and then it leaves by itself.
_MONITOR_IGNORES = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGPIPE,
)
_OWN_WORK = (resource.RLIMIT_CPU, resource.RLIMIT_AS, resource.RLIMIT_DATA)


def in_child(body: Callable[[], int]) -> int:
    """Fork; the child runs `body` and exits with its result, whatever happens. The child's pid.

    Raises LaunchError: there can be no more processes.
    """
    try:
        pid = os.fork()
    except OSError as error:
        raise LaunchError(f"one more process: {reason(error)}") from error
    if pid:
        return pid
    status = 1
    try:
        gc.disable()  # a collection writes to pages that are shared with the parent
        status = body()
    except BaseException:
        _write(2, _traceback())
    finally:
        os._exit(status)


def or_say(wire: Wire, body: Callable[[], int], clean_up: Callable[[], object]) -> int:
    """What `body` gives; where the system lacks something that it needs, 1: who waits at the other
    end of the wire is told what, and all is cleaned up."""
    try:
        return body()
    except (OSError, ViewosError) as error:
        clean_up()
        wire.send(FAILED + encoded(reason(error)))
        return 1


def _traceback() -> str:
    import traceback  # which costs milliseconds

    return traceback.format_exc()


def _write(fd: int, text: str) -> None:
    with suppress(OSError):
        os.write(fd, encoded(text))


# ---- letting go ---------------------------------------------------------------------------------


def check_null() -> None:
    """Raise LaunchError where `let_go` would fail: it can tell nobody any more."""
    try:
        os.close(os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        raise LaunchError(f"{reason(error)} (the monitor needs it)") from error


def let_go(*, keep_own: bool = False) -> None:
    """Give back what was inherited: descriptors, working directory; /dev/null on 0, 1 and 2.

    A pipe that a background process keeps open would never end: `viewos run ... | cat` would hang.
    With `keep_own`, descriptors that this program has opened stay: they are O_CLOEXEC, and one
    that came through an exec cannot be.
    """
    for fd in _open_descriptors():
        if fd > 2 and not (keep_own and _is_own(fd)):
            with suppress(OSError):  # the one by which the directory was read
                os.close(fd)
    null = raw.lifted(os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC))
    for fd in (0, 1, 2):
        if not (keep_own and _is_own(fd)):
            os.dup2(null, fd, inheritable=False)
    os.close(null)
    os.chdir("/")


def let_go_except(*kept: int) -> None:
    """Like `let_go`, but for these descriptors."""
    at = 3
    for fd in sorted(kept):
        if fd > at:
            kernel.close_range(at, fd - 1)
        at = fd + 1
    kernel.close_range(at)
    null = raw.lifted(os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC))
    for fd in (0, 1, 2):
        os.dup2(null, fd, inheritable=False)
    os.close(null)
    os.chdir("/")


def _open_descriptors() -> list[int]:
    return [int(name) for name in os.listdir("/proc/self/fd")]


def _is_own(fd: int) -> bool:
    try:
        return bool(fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC)
    except OSError:
        return False


# ---- the monitor --------------------------------------------------------------------------------


def run_monitor(wire: Wire, service: Service, layout: Layout, alive: int) -> int:
    """Be the monitor, from the hand-over of the listener until `serve` returns; the exit status.

    `alive` is a pipe to the guard: SERVED is written when calls are answered, LEFT at the end.
    """
    for number in _MONITOR_IGNORES:
        signal.signal(number, signal.SIG_IGN)
    pid = 0
    said_ready = False

    def ready() -> None:
        nonlocal said_ready
        said_ready = True
        os.write(alive, SERVED)
        wire.send(SERVING)
        wire.close()

    try:
        _settle()
        service.warm_up()
        gc.freeze()  # what has been imported is not looked through again
        gc.enable()
        received = wire.receive_descriptor()
        if received is None:  # who was to be the program was killed, or its parent
            service.clean_up()
            received = (-1, 0)
        listener, pid = received
        if listener >= 0:  # otherwise who failed has said so, and cleans up
            service.serve(Session(listener, pid, layout, service.stderr, ready))
    except BaseException as error:
        if said_ready:
            say(pid, service.stderr, _traceback().rstrip())
        else:
            wire.send(FAILED + encoded(reason(error)))
        return 1
    os.write(alive, LEFT)
    return 0


def _settle() -> None:
    for limit in _OWN_WORK:
        with suppress(OSError):  # a container's filter may forbid it
            _, hard = resource.getrlimit(limit)
            resource.setrlimit(limit, (hard, hard))
    raw.set_name(b"viewos-monitor")
    let_go(keep_own=True)


# ---- the guard --------------------------------------------------------------------------------


def guard(life: bytes, how: str, pid: int, service: Service) -> None:
    """After the monitor's end: if it died, tell the user of the program, and clean up.

    `life` is all that came out of the monitor's pipe, `how` what became of it ("died").
    """
    if LEFT in life:
        return
    service.clean_up()
    if SERVED in life:  # otherwise the program has not started, and has said why
        _mourn(how, pid, service.stderr)


def _mourn(how: str, pid: int, stderr: Identity) -> None:
    say(
        pid,
        stderr,
        f"the monitor {how}: the system calls that it answered for the programs of this view"
        " now fail with ENOSYS (Function not implemented)",
    )


def say(pid: int, stderr: Identity, text: str, patience: int = 1000) -> None:
    """Write to a program's stderr, if it still is the file of the launch.

    `patience`: milliseconds to wait for a pipe or terminal that takes nothing more.
    """
    if stderr is None:
        return
    try:
        fd = _descriptor_of(pid, stderr)
    except OSError:
        return
    try:
        poll = select.poll()
        poll.register(fd, select.POLLOUT)
        if poll.poll(patience):
            # A pipe that is ready takes PIPE_BUF bytes without blocking.
            _write(fd, f"viewos: {text[:_MOST_TEXT]}\n")
    finally:
        os.close(fd)


def _descriptor_of(pid: int, stderr: tuple[int, int]) -> int:
    path = f"/proc/{pid}/fd/2"
    found = os.stat(path)
    if (found.st_dev, found.st_ino) != stderr:
        raise FileNotFoundError(path)
    ways = [_opened, _copy_of]  # which serves a socket, too, and a terminal of another user
    if stat.S_ISREG(found.st_mode):
        ways.reverse()  # a copy has the program's own position: neither writes over the other
    try:
        return ways[0](pid)
    except OSError:
        return ways[1](pid)


def _opened(pid: int) -> int:
    flags = os.O_WRONLY | os.O_APPEND | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC
    return os.open(f"/proc/{pid}/fd/2", flags)


def _copy_of(pid: int) -> int:
    pidfd = kernel.pidfd_open(pid)
    try:
        return kernel.pidfd_getfd(pidfd, 2)
    finally:
        os.close(pidfd)
