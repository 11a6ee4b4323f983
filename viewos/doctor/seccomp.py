"""Checks of seccomp user notification, each with a filter and a tracee of its own."""

from __future__ import annotations

import ctypes
import errno
import os
from functools import partial

from viewos import kernel
from viewos.abi import seccomp as abi
from viewos.abi.syscalls import LAST_NUMBER, TABLE
from viewos.doctor.finding import Missing
from viewos.doctor.tracee import COOKIE, LISTENER, Trapped, put_under_filter, tracee
from viewos.doctor.trial import attempt
from viewos.filter import FilterPlan, build
from viewos.launcher.raw import set_filter

_WHY = {
    errno.ENOSYS: "the kernel has no seccomp(2), or a container's filter hides it",
    errno.EPERM: "a container's filter forbids seccomp(2)",
    errno.EACCES: "a container's filter or a security module forbids seccomp(2)",
    errno.EINVAL: "the kernel knows no such filter (Linux 5.0 has listeners)",
}
_CONTAINER = (
    "in a container, allow seccomp (docker run --security-opt seccomp=unconfined, or a profile that"
    " allows seccomp(2) and its listener); else a newer kernel"
)


def libseccomp() -> str:
    """Build a filter with pyseccomp."""

    def body() -> str:
        try:
            # RET_ERRNO alone: whether the kernel knows listeners is another check.
            program = build(FilterPlan(errnos={"io_uring_setup": errno.ENOSYS}))
        except Exception as error:
            raise Missing(f"{type(error).__name__}: {error}") from error
        version = (ctypes.c_uint * 3)()
        library = ctypes.CDLL("libseccomp.so.2")
        library.seccomp_version.restype = ctypes.POINTER(ctypes.c_uint)
        version[:] = library.seccomp_version()[:3]
        return f"{'.'.join(map(str, version))}, a filter of {len(program) // 8} instructions"

    return attempt(body)


def _install(flags: int) -> None:
    try:
        os.close(put_under_filter("uname", flags))
    except OSError as error:
        if error.errno == errno.EBUSY:
            return  # there are listeners, and another one was first: `outer_listener`
        remedy = _CONTAINER if error.errno in _WHY else ""
        raise Missing(_WHY.get(error.errno or 0) or str(error.strerror), remedy) from error


def listener() -> str:
    """Install a filter with a listener."""

    def body() -> str:
        _install(LISTENER | abi.SECCOMP_FILTER_FLAG_SPEC_ALLOW)
        return ""

    return attempt(body)


def outer_listener() -> str:
    """Is ours the only listener? The kernel allows one in a process's whole chain of filters."""

    def body() -> str:
        try:
            put_under_filter("uname")
        except OSError as error:
            if error.errno == errno.EBUSY:
                raise Missing(
                    "this process has a listener already: it runs below a container manager that"
                    " uses one, or in a view whose monitor has other credentials"
                ) from error
            raise
        return "none"

    return attempt(body)


def wait_killable() -> str:
    """Install a filter with WAIT_KILLABLE_RECV."""

    def body() -> str:
        put_under_filter("uname", LISTENER | abi.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV)
        return ""

    return attempt(body)


def without_no_new_privs() -> str:
    """Install a filter in a process that could still gain privileges."""

    def body() -> str:
        program = build(FilterPlan(trap=frozenset({"uname"})))
        try:
            set_filter(program, LISTENER)
        except OSError as error:
            if error.errno != errno.EACCES:
                raise
            raise Missing(
                "without CAP_SYS_ADMIN a view sets no_new_privs, which takes their power from"
                " set-user-ID programs such as sudo, su and ping"
            ) from error
        return "set-user-ID programs keep their power"

    return attempt(body)


# ---- answering ----------------------------------------------------------------------------------


def answer() -> str:
    """Answer a trapped call, and let another continue."""

    def body() -> str:
        with tracee("umask", _two_umasks) as traced:
            traced.trapped().answer(0o123)
            traced.trapped().answer(flags=abi.SECCOMP_USER_NOTIF_FLAG_CONTINUE)
            result = traced.result()
        if not result.startswith(b"%d " % 0o123):
            raise Missing(f"a call that was answered with {0o123} returned {result!r}")
        return ""

    return attempt(body)


def _two_umasks() -> bytes:
    return b"%d %d" % (os.umask(0), os.umask(0))


def _read_injected() -> bytes:
    return os.read(os.open("/", os.O_RDONLY), 16)


def _inject(give: bool) -> str:
    def body() -> str:
        with tracee("openat", _read_injected) as traced:
            reader, writer = os.pipe()
            os.write(writer, b"injected")
            call: Trapped = traced.trapped()
            if give:
                call.add_fd(reader, abi.SECCOMP_ADDFD_FLAG_SEND)
            else:
                call.answer(call.add_fd(reader))
            if traced.result() != b"injected":
                raise Missing("the tracee did not get the descriptor")
        return ""

    return attempt(body)


def add_fd() -> str:
    """Put a descriptor into a tracee, then answer its call with the number."""
    return _inject(give=False)


def add_fd_send() -> str:
    """Both in one step."""
    return _inject(give=True)


def sync_wake_up() -> str:
    """Ask the listener for it."""

    def body() -> str:
        fd = put_under_filter("uname")
        failed = kernel.ioctl_errno(
            fd, abi.SECCOMP_IOCTL_NOTIF_SET_FLAGS, abi.SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP
        )
        if failed:
            raise OSError(failed, os.strerror(failed))
        return ""

    return attempt(body)


def fix_up() -> str:
    """Let a tracee change its directory to another one than it asked for, by the monitor's code."""

    def body() -> str:
        from viewos.monitor.fixup import fix_up as run
        from viewos.monitor.rewrite import Ending, Rewrite
        from viewos.monitor.traced import Traced

        row = TABLE["chdir"]
        rewrite = Rewrite(row.number, [b"/proc\0"], row.cookie.arg, row.cookie.shift)
        with tracee("chdir", _change_directory) as traced:
            again = True
            while again:  # without WAIT_KILLABLE_RECV the call can come back
                call = traced.trapped()
                try:
                    answered = run(call.tid, COOKIE, rewrite, partial(_answer_with, call))
                except Traced as error:
                    call.answer(error=errno.EPERM)
                    raise Missing(f"ptrace: {error}") from error
                again = answered.ending is Ending.AGAIN
            result = traced.result()
        if result != b"/proc":
            raise Missing(f"the tracee's directory is {result!r}")
        return ""

    return attempt(body)


def _answer_with(call: Trapped, error: int) -> bool:
    return call.answer(error=error)


def _change_directory() -> bytes:
    os.chdir("/no/such/directory")
    return os.getcwdb()


# ---- calls that the table lacks -----------------------------------------------------------------

_SURELY_UNKNOWN = 0x0FFF_FFF0
_PROBED = 64


def newer_calls() -> str:
    """Make calls of numbers above the table, with arguments that none of them can take."""

    def body() -> str:
        # A container's filter may have an answer of its own for what it does not know.
        unlike = {_errno_of(_SURELY_UNKNOWN), errno.ENOSYS}
        numbers = range(LAST_NUMBER + 1, LAST_NUMBER + 1 + _PROBED)
        known = [number for number in numbers if _errno_of(number) not in unlike]
        if known:
            raise Missing(f"this kernel has calls {', '.join(map(str, known))} as well")
        return f"the table ends at {LAST_NUMBER}, as the kernel's does"

    return attempt(body)


def _errno_of(number: int) -> int:
    minus = [-1] * 6
    try:
        kernel.syscall(number, *minus)
    except OSError as error:
        return error.errno or 0
    return 0
