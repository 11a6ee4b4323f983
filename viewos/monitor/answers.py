"""From a handler's value to what the tracee gets, and from the kernel's answer to a value."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from viewos.abi.socket import InetAddress, UnixAddress
from viewos.abi.utsname import Utsname
from viewos.kernel import AT_FDCWD, NR, syscall
from viewos.module import PASS
from viewos.monitor import inet
from viewos.monitor.emulate import EMULATIONS, umask_of
from viewos.monitor.exchanged import open_how, open_plainly
from viewos.monitor.intents import opening
from viewos.monitor.outcome import Outcome
from viewos.monitor.pathcalls import committed, emulable, resolve_all, settled
from viewos.monitor.place import RESOLVE_MASK
from viewos.monitor.refusals import check_changes
from viewos.monitor.task import read_status

if TYPE_CHECKING:
    from viewos.call import Call
    from viewos.files import File
    from viewos.monitor.router import Router

_UID_GID = struct.Struct("=I")
_STAT_SIZES = {"stat": 144, "lstat": 144, "newfstatat": 144, "fstat": 144, "statx": 256}


class BadAnswer(TypeError):
    """A handler returned what is no answer to its call."""

    def __init__(self, call: Call, value: object) -> None:
        # repr() of an int of thousands of digits raises ValueError.
        shown = "an int of more than 64 bits" if _is_too_wide(value) else repr(value)
        super().__init__(
            f"{shown} is no answer to {call.name}: return a value, raise OSError, or return PASS"
        )


def _is_too_wide(value: object) -> bool:
    return isinstance(value, int) and not -(1 << 63) <= value < 1 << 63


def encode(router: Router, call: Call, value: Any) -> int | Outcome:
    """The result register for a handler's value; writes memory or injects a descriptor on the way.

    Raises OSError (EFAULT, EMFILE), BadAnswer.
    """
    if isinstance(value, Outcome):
        return value  # what `below()` gave: the kernel has made the call in the tracee
    encoder = _ENCODERS.get(call.name) or _ENCODERS.get(call.operation)
    if encoder is not None:
        return encoder(router, call, value)
    if isinstance(value, int) and not isinstance(value, bool) and not _is_too_wide(value):
        return value
    raise BadAnswer(call, value)


def _integer(call: Call, value: Any) -> int:
    if not isinstance(value, int):
        raise BadAnswer(call, value)
    return value


def _encode_uname(router: Router, call: Call, value: Any) -> int:
    if not isinstance(value, Utsname):
        raise BadAnswer(call, value)
    router.memory.write(call.tid, call.raw[0], value.encode())
    return 0


def _encode_ids(router: Router, call: Call, value: Any) -> int:
    if not (isinstance(value, tuple) and len(value) == 3):
        raise BadAnswer(call, value)
    for address, one in zip(call.raw, value, strict=False):
        router.memory.write(call.tid, address, _UID_GID.pack(_integer(call, one) & 0xFFFFFFFF))
    return 0


def _encode_groups(router: Router, call: Call, value: Any) -> int:
    if not isinstance(value, (tuple, list)):
        raise BadAnswer(call, value)
    size = call.decode(0)
    if size:
        if size < len(value):
            raise OSError(errno.EINVAL, "size")
        router.memory.write(call.tid, call.raw[1], b"".join(map(_UID_GID.pack, value)))
    return len(value)


def _encode_open(router: Router, call: Call, value: Any) -> int:
    """A descriptor: an object with fileno(), which is closed when the tracee has its copy."""
    fileno = getattr(value, "fileno", None)
    if fileno is None:
        raise BadAnswer(call, value)
    flags = opening(router, call)[0]
    try:
        return router.inject(call, os.dup(fileno()), cloexec=bool(flags & os.O_CLOEXEC))
    finally:
        value.close()


def _encode_text(at: int, terminated: bool) -> Callable[[Router, Call, Any], int]:
    def encode_text(router: Router, call: Call, value: Any) -> int:
        if not isinstance(value, bytes):
            raise BadAnswer(call, value)
        size = call.raw[at + 1]
        if terminated:
            value += b"\0"
            if len(value) > size:
                raise OSError(errno.ERANGE, "size")
        router.memory.write(call.tid, call.raw[at], value[:size])
        return min(len(value), size)

    return encode_text


def _encode_stat(router: Router, call: Call, value: Any) -> int:
    at = {"newfstatat": 2, "statx": 4}.get(call.name, 1)
    if not isinstance(value, bytes) or len(value) != _STAT_SIZES[call.name]:
        raise BadAnswer(call, value)
    router.memory.write(call.tid, call.raw[at], value)
    return 0


def _encode_accept(router: Router, call: Call, value: Any) -> int:
    """A connection, which is closed when the tracee has its copy."""
    fileno = getattr(value, "fileno", None)
    if fileno is None:
        raise BadAnswer(call, value)
    flags = call.args.flags if call.name == "accept4" else 0
    try:
        return router.inject(call, os.dup(fileno()), cloexec=bool(flags & os.O_CLOEXEC))
    finally:
        value.close()


def _encode_address(router: Router, call: Call, value: Any) -> int:
    if not isinstance(value, (InetAddress, UnixAddress)):
        raise BadAnswer(call, value)
    call.tell_address(value)
    return 0


_ENCODERS: dict[str, Callable[[Router, Call, Any], int]] = {
    "uname": _encode_uname,
    "getresuid": _encode_ids,
    "getresgid": _encode_ids,
    "getgroups": _encode_groups,
    "open": _encode_open,
    "readlink": _encode_text(1, terminated=False),
    "readlinkat": _encode_text(2, terminated=False),
    "getcwd": _encode_text(0, terminated=True),
    "accept": _encode_accept,
    "getsockname": _encode_address,
    "getpeername": _encode_address,
    **dict.fromkeys(_STAT_SIZES, _encode_stat),
}


# ---- below() ------------------------------------------------------------------------------------


class _Opened:
    """A descriptor that `below()` gives for an open."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def fileno(self) -> int:
        return self._fd

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def _ids(field: bytes) -> Callable[[Router, Call], tuple[int, ...]]:
    def read(router: Router, call: Call) -> tuple[int, ...]:
        for line in read_status(call.tid).splitlines():
            if line.startswith(field):
                return tuple(int(word) for word in line.split()[1:])
        return ()

    return read


_UIDS, _GIDS, _GROUPS = _ids(b"Uid:"), _ids(b"Gid:"), _ids(b"Groups:")


def _native_open(router: Router, call: Call) -> Any:
    places = resolve_all(router, call)
    if places is None or not emulable(call, places):
        raise OSError(errno.EOPNOTSUPP, "below() cannot open this for the caller")
    check_changes(router, call, places)
    flags, mode, rules = opening(router, call)
    real, flags = places[0].real, flags | os.O_CLOEXEC
    with umask_of(call.task.umask() if flags & os.O_CREAT else 0o077):
        if call.name == "openat2":  # the resolver has obeyed the RESOLVE_* bits already
            return _Opened(open_how(AT_FDCWD, real, flags, mode, rules & ~RESOLVE_MASK))
        return _Opened(open_plainly(AT_FDCWD, real, flags, mode))


def _file(call: Call) -> File:
    file = call.file()
    if file is None:
        raise OSError(errno.EOPNOTSUPP, "below() cannot look at this for the caller")
    return file


def _native_stat(router: Router, call: Call) -> bytes:
    return _file(call).stat()


def _native_statx(router: Router, call: Call) -> bytes:
    return _file(call).statx(call.decode(2), call.decode(3))


def _native_priority(kind: int) -> Callable[[Router, Call], int]:
    """setpriority, ioprio_set; `kind` is what means one process, the caller here."""

    def change(router: Router, call: Call) -> int:
        which, who, value = (call.decode(index) for index in range(3))
        if which != kind or who not in (0, call.tid):
            raise OSError(errno.EOPNOTSUPP, f"below() answers {call.name} of the caller only")
        return syscall(NR[call.name], which, call.tid, value)

    return change


def _native_uname(router: Router, call: Call) -> Utsname:
    try:
        with open(f"/proc/{call.tid}/personality", "rb", buffering=0) as file:
            return Utsname.of_host().of_personality(int(file.read(), 16))
    except OSError:  # another user's process
        return Utsname.of_host()


_NATIVE: dict[str, Callable[[Router, Call], Any]] = {
    "uname": _native_uname,
    "getuid": lambda router, call: _UIDS(router, call)[0],
    "geteuid": lambda router, call: _UIDS(router, call)[1],
    "getgid": lambda router, call: _GIDS(router, call)[0],
    "getegid": lambda router, call: _GIDS(router, call)[1],
    "getresuid": lambda router, call: _UIDS(router, call)[:3],
    "getresgid": lambda router, call: _GIDS(router, call)[:3],
    "getgroups": _GROUPS,
    "open": _native_open,
    "getcwd": lambda router, call: call.path,
    "connect": inet.connect,
    "bind": inet.bind,
    "sendto": inet.sendto,
    **dict.fromkeys(("sendmsg", "sendmmsg"), inet.sendmsg),
    "getsockname": inet.asked,
    "getpeername": inet.asked,
    "readlink": lambda router, call: os.readlink(_first_real(router, call)),
    "stat": _native_stat,
    "fstat": _native_stat,
    "statx": _native_statx,
    "setpriority": _native_priority(os.PRIO_PROCESS),
    "ioprio_set": _native_priority(1),  # IOPRIO_WHO_PROCESS of linux/ioprio.h
}


def _first_real(router: Router, call: Call) -> bytes:
    places = resolve_all(router, call)
    if places is None:
        raise OSError(errno.EOPNOTSUPP, "below() has no path here")
    return places[0].real


def native(router: Router, call: Call) -> Any:
    """The kernel's answer as a value. Raises OSError; EOPNOTSUPP where there is no such value."""
    return settled(router, call, lambda: _native(router, call))


def _native(router: Router, call: Call) -> Any:
    source = _NATIVE.get(call.name) or _NATIVE.get(call.operation)
    if source is None:
        emulation = EMULATIONS.get(call.name)
        places = resolve_all(router, call) if emulation is not None else None
        if emulation is None or places is None or not emulable(call, places):
            raise OSError(errno.EOPNOTSUPP, f"below() has no answer to {call.name}")
        check_changes(router, call, places)
        answer = emulation(router, call, places)
        if isinstance(answer, Outcome):
            raise OSError(errno.EOPNOTSUPP, f"below() has no answer to {call.name}")
        committed(call, places)
        return answer
    return source(router, call)


__all__ = ["PASS", "BadAnswer", "encode", "native"]
