"""Who is at the other end of a socket: SO_PEERCRED, SO_PEERGROUPS, SCM_CREDENTIALS; the kernel's
audit is nowhere."""

from __future__ import annotations

import errno
import os
import struct
from collections import OrderedDict
from typing import TYPE_CHECKING

from viewos import PASS
from viewos.modules.uid.credentials import (
    AUDIT_WRITE,
    SETGID,
    SETUID,
    SYS_ADMIN,
    UNCHANGED,
    Credentials,
)
from viewos.modules.uid.identity import IdentityModule

if TYPE_CHECKING:
    from viewos import Call, Ucred, Verdict

SOL_SOCKET, SO_PEERCRED, SO_PEERGROUPS = 1, 17, 59
AF_NETLINK, NETLINK_AUDIT = 16, 9
SOCK_DGRAM, SOCK_RAW = 2, 3
_SOCKET_FLAGS = os.O_CLOEXEC | os.O_NONBLOCK
_UCRED, _SOCKLEN = struct.Struct("=iII"), struct.Struct("=i")
_MOST_SENDERS = 1024


class PeerModule(IdentityModule):
    """Peers in the view are who they are there; those outside are who they really are."""

    def __init__(self, initial: Credentials) -> None:
        """Argument: who the first process of the view is."""
        super().__init__(initial)
        self._senders: OrderedDict[int, tuple[bytes, Ucred]] = OrderedDict()
        """Pid -> (when it began, the credentials that it has sent last): they outlive it."""

    def calls(self) -> frozenset[str]:
        """What the kernel lets a real root do needs no answer."""
        return super().calls() - ({"socket"} if os.geteuid() == 0 else set())

    def socket(self, call: Call) -> Verdict:
        """socket(2) of NETLINK_AUDIT: as in a kernel without audit. sshd and PAM go on without, but
        do not forgive that messages of a root are refused (EPERM)."""
        is_datagrams = call.args.type & ~_SOCKET_FLAGS in (SOCK_DGRAM, SOCK_RAW)
        is_audit = call.args.family == AF_NETLINK and call.args.protocol == NETLINK_AUDIT
        if is_audit and is_datagrams and self._who(call).may(AUDIT_WRITE):
            raise OSError(errno.EPROTONOSUPPORT, "the real user may not use audit")
        return PASS

    def getsockopt(self, call: Call) -> Verdict:
        """SO_PEERCRED, SO_PEERGROUPS: who the peer is in the view, if it is in it, and as long as
        it lives."""
        option = call.args.optname
        if call.args.level != SOL_SOCKET or option not in (SO_PEERCRED, SO_PEERGROUPS):
            return PASS
        room = call.args.optlen and _SOCKLEN.unpack(call.read(call.args.optlen, 4))[0]
        if room < 0:
            return PASS
        pid, _, _ = call.socket().peer_credentials()
        who = self._who_is(call, pid)
        if who is None:
            return PASS
        if option == SO_PEERCRED:
            told = _UCRED.pack(pid, who.uid.effective, who.gid.effective)[:room]
        else:
            told = struct.pack(f"={len(who.groups)}I", *who.groups)
        call.write(call.args.optlen, _SOCKLEN.pack(len(told)))
        if len(told) > room:
            raise OSError(errno.ERANGE, "more groups")
        call.write(call.args.optval, told)
        return 0

    def send_credentials(self, call: Call, sent: Ucred) -> Ucred:
        """scm_check_creds of net/core/scm.c; to the kernel the process is who it really is."""
        who = self._who(call)
        is_own = sent.pid == call.pid or sent.pid == _innermost(call.pid)
        if not (
            (is_own or who.may(SYS_ADMIN))
            and (sent.uid in who.uid[:3] or who.may(SETUID))
            and (sent.gid in who.gid[:3] or who.may(SETGID))
        ):
            raise OSError(errno.EPERM, "credentials of somebody else")
        if not is_own and (sent.pid <= 0 or not _beginning(sent.pid)):
            raise OSError(errno.ESRCH, "no such process")
        if UNCHANGED in sent[1:]:
            raise OSError(errno.EINVAL, "-1 is no id")
        self._senders[call.pid] = _beginning(call.pid), sent._replace(pid=0) if is_own else sent
        self._senders.move_to_end(call.pid)
        if len(self._senders) > _MOST_SENDERS:
            self._senders.popitem(last=False)
        pid = sent.pid if is_own else call.pid
        return sent._replace(pid=pid, uid=os.getuid(), gid=os.getgid())

    def show_credentials(self, call: Call, received: Ucred) -> Ucred:
        """What the sender has said to be last, or its real ids in the view."""
        pid = received.pid
        if pid <= 0:
            return received
        who = self._who_is(call, pid)
        began, said = self._senders.get(pid, (b"", None))
        if said is not None and _beginning(pid) in (began, b""):
            return said._replace(pid=said.pid or pid)
        return received if who is None else received._replace(uid=who.uid.real, gid=who.gid.real)

    def _who_is(self, call: Call, pid: int) -> Credentials | None:
        """Who a process is in the view; None: it is not in it, or has ended."""
        try:
            if pid <= 0 or not call.shares_view(pid):
                return None
            who: Credentials = call.recall_of(pid, self._initial)
        except OSError:
            return None
        return who


def _innermost(pid: int) -> int:
    """The id of a process in its own pid name space."""
    words = status_words(pid, b"NSpid")
    return int(words[-1]) if words else pid


def status_words(tid: int, name: bytes) -> list[bytes]:
    """What a line of /proc/TID/status says; empty: it lacks that one. Raises OSError."""
    with open(f"/proc/{tid}/status", "rb") as file:
        for line in file:
            key, _, words = line.partition(b":")
            if key == name:
                return words.split()
    return []


def _beginning(pid: int) -> bytes:
    """What tells a process from a later one with its id; b"": there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b") ")[2].split()[19]
    except OSError:
        return b""
