"""`viewos run` without modules: launches a command, and lets the kernel run every trapped call.

driver.py [OPTION...] -- COMMAND...: what the tests of the launcher run, in a process of its own.
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import os
import select
import sys
import threading

from viewos import kernel
from viewos.abi import seccomp as abi
from viewos.abi.syscalls import TABLE
from viewos.filter import FilterPlan, build
from viewos.launcher import FAILED, LaunchError, Layout, Session, launch

TRAPPED = frozenset({"chdir", "execve", "uname", "access", "openat", "sendmsg"})


def serve(session: Session) -> None:
    """Continue every call, until the last tracee is gone."""
    receiver = threading.Thread(target=receive, args=(session.listener,), daemon=True)
    receiver.start()
    session.ready()
    poll = select.poll()
    poll.register(session.listener, 0)
    while not any(event & select.POLLHUP for _, event in poll.poll()):
        pass


def receive(listener: int, until: str | None = None) -> None:
    """Answer calls, for ever or until one of that name has been received (it is not answered)."""
    buffer = ctypes.create_string_buffer(abi.NOTIF.size)
    while True:
        ctypes.memset(buffer, 0, abi.NOTIF.size)
        failed = kernel.ioctl_errno(
            listener, abi.SECCOMP_IOCTL_NOTIF_RECV, ctypes.addressof(buffer)
        )
        if failed:
            assert failed in (errno.EINTR, errno.ENOENT)
            continue
        identity, _, _, number, *_ = abi.NOTIF.unpack(buffer.raw)
        if until is not None and number == TABLE[until].number:
            return
        answer = abi.RESP.pack(identity, 0, 0, abi.SECCOMP_USER_NOTIF_FLAG_CONTINUE)
        response = ctypes.create_string_buffer(answer, len(answer))
        kernel.ioctl_errno(listener, abi.SECCOMP_IOCTL_NOTIF_SEND, ctypes.addressof(response))


def raise_before(session: Session) -> None:
    """Fail before the program starts."""
    raise OSError(errno.EIO, "serve refuses")


def raise_at_uname(session: Session) -> None:
    """Fail while the program waits for the answer to its uname(2)."""
    session.ready()
    receive(session.listener, "uname")
    raise RuntimeError("serve has a bug")


def die_before(session: Session) -> None:
    """Be killed before the program starts."""
    os.kill(os.getpid(), 9)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--layout", default="auto")
    parser.add_argument("-C", dest="chdir")
    parser.add_argument("--serve", default="serve")
    parser.add_argument("--scratch", help="a file that the clean-up removes")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    try:
        launch(
            options.command,
            program_filter=build(FilterPlan(trap=TRAPPED)),
            serve=globals()[options.serve],
            layout=Layout(options.layout),
            chdir=None if options.chdir is None else os.fsencode(options.chdir),
            clean_up=lambda: os.unlink(options.scratch) if options.scratch else None,
        )
    except LaunchError as error:
        print(f"viewos: {error}", file=sys.stderr)
        sys.exit(FAILED)


if __name__ == "__main__":
    main()
