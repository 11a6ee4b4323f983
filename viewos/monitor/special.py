"""System calls that are more than "resolve, then continue, emulate or fix up"."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from viewos.monitor import (
    attributes,  # noqa: F401 - it registers emulations
    cwd,
    descriptors,
    execve,
    landlock,
    links,
    listing,
    marks,
    msghdr,
    process,
    reports,
    sockets,
    trapped,
)
from viewos.monitor.outcome import Outcome

if TYPE_CHECKING:
    from viewos.call import Call
    from viewos.monitor.router import Router

SPECIAL: dict[str, Callable[[Router, Call], int | Outcome]] = {
    "chdir": cwd.chdir,
    "fchdir": marks.fchdir,
    "getcwd": cwd.getcwd,
    "readlink": links.readlink,
    "readlinkat": links.readlink,
    "linkat": links.linkat,
    **dict.fromkeys(("open", "openat", "openat2"), reports.open_),
    "statmount": reports.statmount,
    "execve": execve.execve,
    "execveat": execve.execve,
    "chroot": process.chroot,
    "pivot_root": process.chroot,
    "prctl": process.prctl,
    "getrlimit": process.getrlimit,
    "setrlimit": process.setrlimit,
    "prlimit64": process.prlimit,
    "landlock_add_rule": landlock.add_rule,
    "landlock_restrict_self": landlock.restrict_self,
    "seccomp": process.filtering,
    "ptrace": process.tracing,
    "getdents64": listing.getdents,
    "getdents": listing.getdents,
    "bind": sockets.named,
    "connect": sockets.named,
    "sendto": sockets.named,
    "getsockname": sockets.asked,
    "getpeername": sockets.asked,
    "accept": sockets.received,
    "accept4": sockets.received,
    "recvfrom": sockets.received,
    **dict.fromkeys(("sendmsg", "sendmmsg"), msghdr.sent),
    **dict.fromkeys(("recvmsg", "recvmmsg"), msghdr.received),
    **dict.fromkeys(trapped.CHANGES, descriptors.change),
    "ioctl": descriptors.ioctl,
    "fstatfs": descriptors.fstatfs,
    **dict.fromkeys(trapped.CREDENTIAL_CALLS, process.credentials),
    **dict.fromkeys(trapped.MOUNT_CALLS, process.mounting),
    "fsconfig": process.configuring,
}
