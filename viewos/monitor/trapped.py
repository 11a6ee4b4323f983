"""Names of calls that a view traps together: read at every start, so apart from their handlers."""

from __future__ import annotations

CREDENTIAL_CALLS = frozenset(
    "setuid setgid setreuid setregid setresuid setresgid setfsuid setfsgid setgroups capset "
    "unshare setns".split()
)
"""After these the task is looked at anew. They are rare, so trapping them costs nothing."""
MOUNT_CALLS = frozenset(
    "mount umount2 move_mount mount_setattr open_tree open_tree_attr fsmount".split()
)
TAKE_NAMES = ("unlink", "unlinkat", "rmdir", "rename", "renameat", "renameat2")
MAKE_NAMES = ("mkdir", "mkdirat", "mknod", "mknodat", "symlink", "symlinkat")
ASKED_NAMES = (*TAKE_NAMES, "bind")
"""Calls of which the accelerator asks a module that shows owners only where it has a say."""
MSGHDR_CALLS = frozenset({"sendmsg", "recvmsg", "sendmmsg", "recvmmsg"})
CHANGES = frozenset({"fchmod", "fchown", "fsetxattr", "fremovexattr"})
CHANGING_IOCTLS = (0x40086602, 0x401C5820)
"""FS_IOC_SETFLAGS, FS_IOC_FSSETXATTR (linux/fs.h): they need no descriptor that may write."""
SOCKET_CALLS = frozenset("socket connect bind sendto sendmsg sendmmsg accept accept4".split())
"""A module that acts on one of them would be passed by through io_uring."""
