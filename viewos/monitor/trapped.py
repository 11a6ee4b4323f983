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
SET_LABEL = 0x41009432
CHANGING_IOCTLS = (0x40086602, 0x401C5820, 0x40087602, 0x40086604, SET_LABEL)
"""FS_IOC_SETFLAGS, FS_IOC_FSSETXATTR, FS_IOC_SETVERSION (ext4 has two of it) and FS_IOC_SETFSLABEL
(linux/fs.h): they need no descriptor that may write."""
SOCKET_CALLS = frozenset("socket connect bind sendto sendmsg sendmmsg accept accept4".split())
"""A module that acts on one of them would be passed by through io_uring."""
