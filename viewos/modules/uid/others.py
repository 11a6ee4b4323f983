"""`drop`: what a process may do to another one, by who both are in the view."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from viewos import PASS, hook
from viewos.modules.uid.credentials import KILL, SYS_NICE, SYS_PTRACE, SYS_RESOURCE, Credentials
from viewos.modules.uid.peers import PeerModule

if TYPE_CHECKING:
    from viewos import Call, Verdict

_SIGCONT, _LAST_SIGNAL = 18, 64
_TO_THREAD, _TO_PROCESS, _TO_GROUP = 1, 2, 4
"""PIDFD_SIGNAL_THREAD and its kin (linux/pidfd.h, 6.9)."""
_ATTACH, _SEIZE = 16, 0x4206
_SIZE_OF_INFO = 128
_PID = re.compile(rb"^Pid:\t(\d+)$", re.MULTILINE)
_DIRECTORY = re.compile(rb"/proc/(\d+)\Z")
Rule = Callable[[Credentials, Credentials], bool]


def may_signal(who: Credentials, other: Credentials) -> bool:
    """kill_ok_by_cred of kernel/signal.c."""
    ours = {who.uid.real, who.uid.effective}
    return who.may(KILL) or bool(ours & {other.uid.real, other.uid.saved})


def may_schedule(who: Credentials, other: Credentials) -> bool:
    """check_same_owner of kernel/sched/syscalls.c."""
    return who.may(SYS_NICE) or who.uid.effective in other.uid[:2]


def may_limit(who: Credentials, other: Credentials) -> bool:
    """check_prlimit_permission of kernel/sys.c."""
    return who.may(SYS_RESOURCE) or _has_ids(who, other)


def may_trace(who: Credentials, other: Credentials) -> bool:
    """__ptrace_may_access of kernel/ptrace.c, for the real ids."""
    is_open = not other.permitted & ~who.permitted and other.dumpable == 1
    return who.may(SYS_PTRACE) or (_has_ids(who, other) and is_open)


def may_see(who: Credentials, other: Credentials) -> bool:
    """The same for the file system ids, by which names in procfs are judged."""
    as_real = who._replace(
        uid=who.uid._replace(real=who.uid.fs), gid=who.gid._replace(real=who.gid.fs),
        permitted=who.effective,
    )  # fmt: skip
    return may_trace(as_real, other)


def _has_ids(who: Credentials, other: Credentials) -> bool:
    return {*other.uid[:3]} == {who.uid.real} and {*other.gid[:3]} == {who.gid.real}


class OtherProcesses(PeerModule):
    """Calls that name a process."""

    # ---- signals --------------------------------------------------------------------------------

    @hook("kill")
    def may_send(self, call: Call) -> Verdict:
        """kill(2) of a process, or of several."""
        return self._send(call, call.args.pid)

    @hook("tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo")
    def may_send_to_one(self, call: Call) -> Verdict:
        """tkill(2), sigqueue(3) and their kin."""
        return PASS if call.args.pid <= 0 else self._send(call, call.args.pid)

    @hook("pidfd_send_signal")
    def may_send_by_descriptor(self, call: Call) -> Verdict:
        """pidfd_send_signal(2)."""
        pid = _named_by(call, call.args.pidfd)
        if pid is None or call.args.flags not in (0, _TO_THREAD, _TO_PROCESS, _TO_GROUP):
            return PASS
        return self._send(call, -pid if call.args.flags == _TO_GROUP else pid)

    def _send(self, call: Call, number: int) -> Verdict:
        who, signal = self._who(call), call.args.sig
        if who.may(KILL) or not 0 <= signal <= _LAST_SIGNAL:
            return PASS
        info = getattr(call.args, "info", None)
        if info or (info is not None and call.name != "pidfd_send_signal"):
            call.read(info, _SIZE_OF_INFO)  # EFAULT comes first
        if number > 0:
            if self._may_get(call, number):
                return PASS
            raise OSError(errno.EPERM, "another user's process")
        pids = _group(call, number)
        allowed = [pid for pid in pids if self._may_get(call, pid)]
        if len(allowed) == len(pids):
            return PASS
        if not allowed and number != -1:
            raise OSError(errno.EPERM, "other users' processes")
        for pid in allowed:  # the kernel would let the others have it, too
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal)
        return 0

    def _may_get(self, call: Call, pid: int) -> bool:
        if self._may(call, pid, may_signal):
            return True
        with suppress(OSError):
            return call.args.sig == _SIGCONT and os.getsid(pid) == os.getsid(call.pid)
        return True

    # ---- everything else ------------------------------------------------------------------------

    @hook("sched_setparam", "sched_setscheduler", "sched_setattr", "sched_setaffinity")
    def may_schedule_it(self, call: Call) -> Verdict:
        """How a process runs."""
        return self._judge(call, call.args.pid, may_schedule)

    @hook("prlimit64")
    def may_limit_it(self, call: Call) -> Verdict:
        """prlimit(2) of another process."""
        return self._judge(call, call.args.pid, may_limit)

    @hook("ptrace")
    def may_attach(self, call: Call) -> Verdict:
        """ptrace(2): PTRACE_ATTACH and PTRACE_SEIZE."""
        if call.args.request not in (_ATTACH, _SEIZE):
            return PASS
        return self._judge(call, call.args.pid, may_trace)

    @hook("process_vm_readv", "process_vm_writev", "migrate_pages", "move_pages")
    def may_reach_memory(self, call: Call) -> Verdict:
        """Calls on another process's memory."""
        return self._judge(call, call.args.pid, may_trace)

    @hook("kcmp")
    def may_compare(self, call: Call) -> Verdict:
        """kcmp(2)."""
        self._judge(call, call.args.pid1, may_trace)
        return self._judge(call, call.args.pid2, may_trace)

    @hook("pidfd_getfd")
    def may_take_descriptor(self, call: Call) -> Verdict:
        """pidfd_getfd(2)."""
        pid = _named_by(call, call.args.pidfd)
        return PASS if pid is None else self._judge(call, pid, may_trace)

    def _judge(self, call: Call, pid: int, rule: Rule) -> Verdict:
        if pid > 0 and not self._may(call, pid, rule):
            raise OSError(errno.EPERM, "another user's process")
        return PASS

    def _may(self, call: Call, pid: int, rule: Rule) -> bool:
        """True also for no process at all: the kernel says so."""
        if pid in (call.tid, call.pid):
            return True
        try:
            other: Credentials = call.recall_of(pid, self._initial)
        except OSError:
            return True
        return rule(self._who(call), other)


def _named_by(call: Call, pidfd: int) -> int | None:
    """The process of a pidfd, or of an open directory /proc/PID."""
    try:
        with open(f"/proc/{call.tid}/fdinfo/{pidfd}", "rb") as file:
            match = _PID.search(file.read())
        match = match or _DIRECTORY.match(os.readlink(b"/proc/%d/fd/%d" % (call.tid, pidfd)))
    except OSError:
        return None
    return int(match[1]) if match else None


def _group(call: Call, number: int) -> list[int]:
    """The processes that a kill(2) of 0, -1 or -GROUP is about."""
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    if number == -1:
        return [pid for pid in pids if pid not in (1, call.pid)]
    found = []
    with suppress(OSError):
        group = -number or os.getpgid(call.pid)
        for pid in pids:
            with suppress(ProcessLookupError):
                if os.getpgid(pid) == group:
                    found.append(pid)
    return found
