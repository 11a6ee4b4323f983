"""Rows of the system calls that take paths (manual pages; fs/*.c of Linux 6.18)."""

from __future__ import annotations

from viewos.abi import fcntl as f
from viewos.abi.notation import (
    ARGV,
    AT_FLAGS,
    BUF,
    DIRFD,
    FD,
    FLAGS,
    GID,
    INT,
    LONG,
    MODE,
    OPEN_FLAGS,
    PATH,
    PTR,
    SIZE,
    STR,
    UID,
    UINT,
    ULONG,
    FlagIn,
    note,
    path,
    row,
    upper_half,
    writes,
)
from viewos.abi.row import HOW, OPEN_NOFOLLOW, Inside, Intent

READ, WRITE, CREATE, REMOVE, EXECUTE, OPEN, MOUNT = (
    Intent.READ, Intent.WRITE, Intent.CREATE, Intent.REMOVE, Intent.EXECUTE, Intent.OPEN,
    Intent.MOUNT,
)  # fmt: skip

NEVER = False
UNLESS_ASKED = FlagIn("flags", f.AT_SYMLINK_NOFOLLOW, means_follow=False)
IF_ASKED = FlagIn("flags", f.AT_SYMLINK_FOLLOW, means_follow=True)
EMPTY = ("flags", f.AT_EMPTY_PATH)
UNLESS_OPEN_FLAGS = tuple(FlagIn("flags", mask, False, unless) for mask, unless in OPEN_NOFOLLOW)
XATTR_UNLESS_ASKED = FlagIn("at_flags", f.AT_SYMLINK_NOFOLLOW, means_follow=False)
XATTR_EMPTY = ("at_flags", f.AT_EMPTY_PATH)

NULL_WITH_FLAG = "with AT_EMPTY_PATH a null path is the dirfd itself, since Linux "
XATTR_AT = path(READ, XATTR_UNLESS_ASKED, XATTR_EMPTY, null=True)
XATTR_AT_WRITE = path(WRITE, XATTR_UNLESS_ASKED, XATTR_EMPTY, null=True)
XATTR_AT_NOTE = note(NULL_WITH_FLAG + "6.13")

# fmt: off
OPENING = (
    row("open", path(OPEN, UNLESS_OPEN_FLAGS), path=PATH, flags=OPEN_FLAGS, mode=MODE),
    row("openat", "open", path(OPEN, UNLESS_OPEN_FLAGS),
        dirfd=DIRFD, path=PATH, flags=OPEN_FLAGS, mode=MODE),
    row("openat2", "open", path(OPEN, HOW),
        note("flags, mode and resolve stand in a struct open_how behind the argument how"),
        dirfd=DIRFD, path=PATH, how=PTR, size=SIZE),
    row("creat", "open", path(OPEN), path=PATH, mode=MODE),
)

LOOKING = (
    row("stat", path(READ), path=PATH, statbuf=PTR),
    row("lstat", "stat", path(READ, NEVER), path=PATH, statbuf=PTR),
    row("newfstatat", "stat", path(READ, UNLESS_ASKED, EMPTY, null=True),
        note(NULL_WITH_FLAG + "6.11"), dirfd=DIRFD, path=PATH, statbuf=PTR, flags=AT_FLAGS),
    row("statx", "stat", path(READ, UNLESS_ASKED, EMPTY, null=True),
        note(NULL_WITH_FLAG + "6.11"),
        dirfd=DIRFD, path=PATH, flags=AT_FLAGS, mask=FLAGS, statxbuf=PTR),
    row("access", path(READ), path=PATH, mode=INT),
    row("faccessat", "access", path(READ), dirfd=DIRFD, path=PATH, mode=INT),
    row("faccessat2", "access", path(READ, UNLESS_ASKED, EMPTY),
        dirfd=DIRFD, path=PATH, mode=INT, flags=AT_FLAGS),
    row("readlink", path(READ, NEVER), writes("buf", "bufsiz"),
        path=PATH, buf=BUF, bufsiz=INT),
    row("readlinkat", "readlink", path(READ, NEVER, ("dirfd", 0)), writes("buf", "bufsiz"),
        note("an empty path is the dirfd itself, without a flag"),
        dirfd=DIRFD, path=PATH, buf=BUF, bufsiz=INT),
    row("statfs", path(READ), path=PATH, buf=PTR),
    row("getcwd", writes("buf", "size"), buf=BUF, size=ULONG),
    row("chdir", path(READ), path=PATH),
    row("fchdir", fd=FD),
    row("chroot", path(READ), path=PATH),
    row("inotify_add_watch",
        path(READ, FlagIn("mask", f.IN_DONT_FOLLOW, means_follow=False)),
        fd=FD, path=PATH, mask=FLAGS),
    row("fanotify_mark",
        path(READ, FlagIn("flags", f.FAN_MARK_DONT_FOLLOW, means_follow=False), null=True),
        note("a null path is the dirfd itself; FAN_MARK_MNTNS takes no path"),
        fd=FD, flags=FLAGS, mask=ULONG, dirfd=DIRFD, path=PATH),
    row("name_to_handle_at", path(READ, IF_ASKED, EMPTY),
        dirfd=DIRFD, path=PATH, handle=PTR, mount_id=PTR, flags=AT_FLAGS),
)

NAMES = (
    row("mkdir", path(CREATE, NEVER), path=PATH, mode=MODE),
    row("mkdirat", "mkdir", path(CREATE, NEVER), dirfd=DIRFD, path=PATH, mode=MODE),
    row("mknod", path(CREATE, NEVER), path=PATH, mode=MODE, dev=UINT),
    row("mknodat", "mknod", path(CREATE, NEVER), dirfd=DIRFD, path=PATH, mode=MODE, dev=UINT),
    row("rmdir", path(REMOVE, NEVER), path=PATH),
    row("unlink", path(REMOVE, NEVER), path=PATH),
    row("unlinkat", "unlink", path(REMOVE, NEVER), note("with AT_REMOVEDIR it is rmdir"),
        dirfd=DIRFD, path=PATH, flags=AT_FLAGS),
    row("rename", path(REMOVE, NEVER), path(CREATE, NEVER), oldpath=PATH, newpath=PATH),
    row("renameat", "rename", path(REMOVE, NEVER), path(CREATE, NEVER),
        olddirfd=DIRFD, oldpath=PATH, newdirfd=DIRFD, newpath=PATH),
    row("renameat2", "rename", path(REMOVE, NEVER), path(CREATE, NEVER),
        note("with RENAME_EXCHANGE both names are removed and made"),
        olddirfd=DIRFD, oldpath=PATH, newdirfd=DIRFD, newpath=PATH, flags=FLAGS),
    row("link", path(READ, NEVER), path(CREATE, NEVER), oldpath=PATH, newpath=PATH),
    row("linkat", "link", path(READ, IF_ASKED, EMPTY), path(CREATE, NEVER),
        olddirfd=DIRFD, oldpath=PATH, newdirfd=DIRFD, newpath=PATH, flags=AT_FLAGS),
    row("symlink", path(CREATE, NEVER), target=STR, linkpath=PATH),
    row("symlinkat", "symlink", path(CREATE, NEVER), target=STR, newdirfd=DIRFD, linkpath=PATH),
)

ATTRIBUTES = (
    row("chmod", path(WRITE), path=PATH, mode=MODE),
    row("fchmodat", "chmod", path(WRITE), dirfd=DIRFD, path=PATH, mode=MODE),
    row("fchmodat2", "chmod", path(WRITE, UNLESS_ASKED, EMPTY),
        dirfd=DIRFD, path=PATH, mode=MODE, flags=AT_FLAGS),
    row("chown", path(WRITE), path=PATH, owner=UID, group=GID),
    row("lchown", "chown", path(WRITE, NEVER), path=PATH, owner=UID, group=GID),
    row("fchownat", "chown", path(WRITE, UNLESS_ASKED, EMPTY),
        dirfd=DIRFD, path=PATH, owner=UID, group=GID, flags=AT_FLAGS),
    row("utime", path(WRITE), path=PATH, times=PTR),
    row("utimes", "utime", path(WRITE), path=PATH, times=PTR),
    row("futimesat", "utime", path(WRITE, null=True),
        note("a null path is the dirfd itself, except AT_FDCWD"),
        dirfd=DIRFD, path=PATH, times=PTR),
    row("utimensat", "utime", path(WRITE, UNLESS_ASKED, EMPTY, null=True),
        note("a null path is the dirfd itself, without a flag and except AT_FDCWD"),
        dirfd=DIRFD, path=PATH, times=PTR, flags=AT_FLAGS),
    row("truncate", path(WRITE), path=PATH, length=LONG),
    row("setxattr", path(WRITE),
        path=PATH, name=STR, value=BUF, size=SIZE, flags=FLAGS),
    row("lsetxattr", "setxattr", path(WRITE, NEVER),
        path=PATH, name=STR, value=BUF, size=SIZE, flags=FLAGS),
    row("setxattrat", "setxattr", XATTR_AT_WRITE, XATTR_AT_NOTE, upper_half("dirfd"),
        dirfd=DIRFD, path=PATH, at_flags=AT_FLAGS, name=STR, args=PTR, size=SIZE),
    row("getxattr", path(READ), path=PATH, name=STR, value=BUF, size=SIZE),
    row("lgetxattr", "getxattr", path(READ, NEVER), path=PATH, name=STR, value=BUF, size=SIZE),
    row("getxattrat", "getxattr", XATTR_AT, XATTR_AT_NOTE, upper_half("dirfd"),
        dirfd=DIRFD, path=PATH, at_flags=AT_FLAGS, name=STR, args=PTR, size=SIZE),
    row("listxattr", path(READ), path=PATH, list=BUF, size=SIZE),
    row("llistxattr", "listxattr", path(READ, NEVER), path=PATH, list=BUF, size=SIZE),
    row("listxattrat", "listxattr", XATTR_AT, XATTR_AT_NOTE,
        dirfd=DIRFD, path=PATH, at_flags=AT_FLAGS, list=BUF, size=SIZE),
    row("removexattr", path(WRITE), path=PATH, name=STR),
    row("lremovexattr", "removexattr", path(WRITE, NEVER), path=PATH, name=STR),
    row("removexattrat", "removexattr", XATTR_AT_WRITE, XATTR_AT_NOTE,
        dirfd=DIRFD, path=PATH, at_flags=AT_FLAGS, name=STR),
    row("file_getattr", XATTR_AT, note(NULL_WITH_FLAG + "6.17, which brought it"),
        dirfd=DIRFD, path=PATH, attr=PTR, size=SIZE, at_flags=AT_FLAGS),
    row("file_setattr", XATTR_AT_WRITE,
        note(NULL_WITH_FLAG + "6.17, which brought it"),
        dirfd=DIRFD, path=PATH, attr=PTR, size=SIZE, at_flags=AT_FLAGS),
)

EXECUTING = (
    row("execve", path(EXECUTE), path=PATH, argv=ARGV, envp=ARGV),
    row("execveat", "execve", path(EXECUTE, UNLESS_ASKED, EMPTY),
        note("with AT_SYMLINK_NOFOLLOW a final link gives ELOOP"),
        dirfd=DIRFD, path=PATH, argv=ARGV, envp=ARGV, flags=AT_FLAGS),
    row("uselib", path(EXECUTE), note("removed from x86-64 kernels"), library=PATH),
)

_BINDS = frozenset({f.MS_BIND, f.MS_MOVE, f.MS_BIND | f.MS_MOVE})
_SET_PATH = frozenset({f.FSCONFIG_SET_PATH, f.FSCONFIG_SET_PATH_EMPTY})
_QUOTAON = frozenset({f.Q_QUOTAON << f.QUOTA_TYPE_BITS & 0xFFFFFFFF})
_BPF_PATH = Inside(pointer=0, dirfd=16, dirfd_flags=12, dirfd_mask=f.BPF_F_PATH_FD)

MOUNTING = (
    row("mount",
        path(MOUNT, when=("flags", _BINDS, f.MS_BIND | f.MS_MOVE | f.MS_REMOUNT)), path(MOUNT),
        note("partial: the block device of a new mount is a path that the file system looks up; "
             "such a source, and paths in data, stay as they are, but for overlay's directories"),
        source=PATH, target=PATH, fstype=STR, flags=ULONG, data=PTR),
    row("umount2",
        path(MOUNT, FlagIn("flags", f.UMOUNT_NOFOLLOW, means_follow=False)),
        target=PATH, flags=FLAGS),
    row("pivot_root", path(MOUNT), path(MOUNT), new_root=PATH, put_old=PATH),
    row("move_mount",
        path(MOUNT, FlagIn("flags", f.MOVE_MOUNT_F_SYMLINKS, means_follow=True),
             ("flags", f.MOVE_MOUNT_F_EMPTY_PATH), null=True),
        path(MOUNT, FlagIn("flags", f.MOVE_MOUNT_T_SYMLINKS, means_follow=True),
             ("flags", f.MOVE_MOUNT_T_EMPTY_PATH), null=True),
        note("with MOVE_MOUNT_[FT]_EMPTY_PATH a null path is the dirfd itself, since Linux 6.15"),
        from_dirfd=DIRFD, from_path=PATH, to_dirfd=DIRFD, to_path=PATH, flags=FLAGS),
    row("mount_setattr", path(MOUNT, UNLESS_ASKED, EMPTY),
        dirfd=DIRFD, path=PATH, flags=AT_FLAGS, attr=PTR, size=SIZE),
    row("open_tree", path(READ, UNLESS_ASKED, EMPTY),
        dirfd=DIRFD, path=PATH, flags=AT_FLAGS),
    row("open_tree_attr", path(MOUNT, UNLESS_ASKED, EMPTY),
        dirfd=DIRFD, path=PATH, flags=AT_FLAGS, attr=PTR, size=SIZE),
    row("fsopen", fsname=STR, flags=FLAGS),
    row("fspick",
        path(MOUNT, FlagIn("flags", f.FSPICK_SYMLINK_NOFOLLOW, means_follow=False),
             ("flags", f.FSPICK_EMPTY_PATH)),
        dirfd=DIRFD, path=PATH, flags=FLAGS),
    row("fsconfig",
        path(READ, empty=("cmd", f.FSCONFIG_SET_PATH_EMPTY), when=("cmd", _SET_PATH, 0xFFFFFFFF),
             name="value", dirfd="aux"),
        note("partial: the source of a block file system is a string that the file system looks up;"
             " it stays as it is, which overlay's lowerdir, upperdir and workdir do not"),
        fd=FD, cmd=UINT, key=STR, value=PTR, aux=INT),
    row("fsmount", fd=FD, flags=FLAGS, attr_flags=FLAGS),
    row("statmount",
        note("the structure that it fills holds paths: mnt_root, mnt_point, fs_type's source"),
        req=PTR, buf=BUF, bufsize=SIZE, flags=FLAGS),
    row("listmount", req=PTR, mnt_ids=PTR, nr_mnt_ids=SIZE, flags=FLAGS),
    row("bpf", path(CREATE, when=("cmd", frozenset({f.BPF_OBJ_PIN}), 0xFFFFFFFF),
                           follow=NEVER, name="attr", inside=_BPF_PATH),
        path(WRITE, when=("cmd", frozenset({f.BPF_OBJ_GET}), 0xFFFFFFFF),
             name="attr", inside=_BPF_PATH),
        cmd=INT, attr=PTR, size=UINT),
    row("swapon", path(WRITE), path=PATH, flags=FLAGS),
    row("swapoff", path(READ), path=PATH),
    row("acct", path(WRITE, null=True), note("a null path turns accounting off"),
        filename=PATH),
    row("quotactl", path(READ, null=True),
        path(READ, when=("cmd", _QUOTAON, 0xFFFFFF00), name="addr"),
        note("Q_SYNC takes a null special"),
        cmd=UINT, special=PATH, id=INT, addr=PTR),
)
# fmt: on

ROWS = OPENING + LOOKING + NAMES + ATTRIBUTES + EXECUTING + MOUNTING
