"""The table of what is checked, in the order in which one check stands on another."""

from __future__ import annotations

from viewos.doctor import host, processes, seccomp
from viewos.doctor.finding import Check

_CONTAINER = "in a container, allow it in the profile of the container manager; else"
_ROOT = "run viewos as root, or with that capability"

CHECKS = (
    Check(
        "kernel", "the kernel", host.release,
        cost="", remedy="",
    ),
    Check(
        "proc", "/proc shows the processes of a view", host.proc,
        cost="the monitor can learn nothing of the programs that it serves",
        remedy="mount -t proc proc /proc",
        needed=True,
    ),
    Check(
        "null", "/dev/null can be opened", host.null,
        cost="the monitor has nothing to put in the place of the descriptors that it gives back",
        remedy="mknod -m 666 /dev/null c 1 3",
        needed=True,
    ),
    Check(
        "libseccomp", "libseccomp makes the filter", seccomp.libseccomp,
        cost="there is no filter",
        remedy="install libseccomp2 (Debian, Ubuntu) or libseccomp, and pyseccomp",
        needed=True,
    ),
    Check(
        "listener", "seccomp user notification (Linux 5.0)", seccomp.listener,
        cost="system calls cannot be answered",
        remedy="a newer kernel with CONFIG_SECCOMP_FILTER",
        needed=True, after=("libseccomp",),
    ),
    Check(
        "outer-listener", "no other listener above this process", seccomp.outer_listener,
        cost="the kernel refuses a second one (EBUSY)",
        remedy="start viewos outside of that view or container, with all its modules at once",
        needed=True, after=("listener",),
    ),
    Check(
        "answer", "a call is answered, another continues (Linux 5.5)", seccomp.answer,
        cost="what a module does not answer could not go on to the kernel",
        remedy="a newer kernel",
        needed=True, after=("outer-listener",),
    ),
    Check(
        "addfd", "descriptors can be given to a program (Linux 5.9)", seccomp.add_fd,
        cost="no file of a view can be opened",
        remedy="a newer kernel",
        needed=True, after=("answer",),
    ),
    Check(
        "addfd-send", "and its call be answered in the same step (Linux 5.14)",
        seccomp.add_fd_send,
        cost="nothing as long as wait-killable is there; without both, a signal between the two"
        " steps can leave a descriptor behind",
        remedy="a newer kernel",
        after=("addfd",),
    ),
    Check(
        "wait-killable", "signals wait for a received call (Linux 5.19)", seccomp.wait_killable,
        cost="a signal can restart a call that is half done",
        remedy="a newer kernel",
        after=("outer-listener",),
    ),
    Check(
        "sync-wake-up", "program and monitor share a CPU (Linux 6.6)", seccomp.sync_wake_up,
        cost="each trapped call takes about twice as long",
        remedy="a newer kernel",
        after=("outer-listener",),
    ),
    Check(
        "layout", "the monitor may read programs (Yama)", processes.layout,
        cost="a monitor cannot read the paths that a program names",
        remedy="sysctl kernel.yama.ptrace_scope=1, or 0",
        needed=True, after=("proc",),
    ),
    Check(
        "memory", "/proc/PID/mem can be read and written", processes.memory,
        cost="strings of a program can be neither read nor replaced",
        remedy=f"{_CONTAINER} look for a security module, or proc_mem.restrict_write on the"
        " kernel's command line",
        needed=True, after=("proc",),
    ),
    Check(
        "process-vm", "process_vm_readv(2), process_vm_writev(2)", processes.process_vm,
        cost="each look at a program's memory takes three system calls instead of one",
        remedy=f"{_CONTAINER} a kernel with CONFIG_CROSS_MEMORY_ATTACH",
    ),
    Check(
        "ptrace", "ptrace(2) of a child", processes.ptrace,
        cost="no fix-up: what only the program itself can do in a claimed directory fails",
        remedy=f"{_CONTAINER} look for a security module",
        needed=True,
    ),
    Check(
        "fix-up", "a program's call is changed, and run by the kernel", seccomp.fix_up,
        cost="cd, and starting programs, fail in a claimed directory",
        remedy="please report it, with this output",
        needed=True, after=("answer", "memory", "ptrace"),
    ),
    Check(
        "openat2", "openat2(2) says whether links lie on a path (Linux 5.6)", processes.openat2,
        cost="each path is walked component by component",
        remedy=f"{_CONTAINER} a newer kernel",
    ),
    Check(
        "pidfd-getfd", "pidfd_getfd(2) takes copies of descriptors (Linux 5.6)",
        processes.pidfd_getfd,
        cost="mount points that do not exist are missing in listings, and AF_UNIX names below"
        " claims are not mapped",
        remedy=f"{_CONTAINER} a newer kernel",
    ),
    Check(
        "unshare", "a thread has an umask of its own: unshare(CLONE_FS)", processes.unshare,
        cost="calls that make files wait for each other; a Python program that has views sees its"
        " own umask change meanwhile",
        remedy=f"{_CONTAINER} nothing",
    ),
    Check(
        "tokens", "RLIMIT_LOCKS has room for what is remembered of processes", processes.tokens,
        cost="no view starts",
        remedy="let root raise the limit (`ulimit -x unlimited`, limits.conf(5): locks)",
        needed=True,
    ),
    Check(
        "limits", "prlimit(2) of a child", processes.limits,
        cost="what is remembered of a process is set by that process itself, by fix-up",
        remedy=f"{_CONTAINER} nothing",
    ),
    Check(
        "other-limits", "prlimit(2) of other users (CAP_SYS_RESOURCE)",
        processes.other_users_limits,
        cost="the same, for programs that have changed their uid",
        remedy=_ROOT,
    ),
    Check(
        "other-users", "programs that change their uid are read (CAP_SYS_PTRACE)",
        processes.other_users,
        cost="calls of such a program that views answer fail with EPERM, and one line says so",
        remedy=_ROOT,
    ),
    Check(
        "privileges", "a filter without no_new_privs (CAP_SYS_ADMIN)",
        seccomp.without_no_new_privs,
        cost="sudo, su and ping have only the user's own power in a view",
        remedy="run viewos as root where such programs are needed; nothing else changes",
        after=("outer-listener",),
    ),
    Check(
        "newer-calls", "no system call is newer than the table", seccomp.newer_calls,
        cost="those fail with ENOSYS in a view, and programs take an older one instead",
        remedy="a newer viewos",
        after=("outer-listener",),  # below another view no call is
    ),
    Check(
        "accelerator", "calls that data can answer are answered in C", host.accelerator,
        cost="every trapped call is answered in Python, and takes several times as long",
        remedy="install a C compiler and Python's headers (Debian, Ubuntu: gcc, python3-dev), and"
        " viewos again",
    ),
    Check(
        "inproc", "programs make path calls by themselves where they can", host.inproc,
        cost="every path call of a program wakes the monitor: a build costs three times more",
        remedy="a C compiler when viewos is installed, and pip install capstone",
    ),
    Check(
        "handles", "files here can be told from later ones with their inode number", host.handles,
        cost="what the uid module remembers of a removed file may be taken for that of a new one",
        remedy="a kernel since 6.5, or work on another file system (ext4, xfs, btrfs, tmpfs)",
    ),
    Check(
        "scratch", "a directory for what views make", host.scratch,
        cost="modules that make files do not start, or their programs do not run",
        remedy="set TMPDIR to a directory that is writable, without noexec and nosymfollow",
    ),
)  # fmt: skip
