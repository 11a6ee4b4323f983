// The calls that the fuzzer makes: each argument is a letter that says of what kind it is.
#pragma once
#include <sys/syscall.h>

#define NEW(name, number) enum { SYS_NEW_##name = number }
NEW(fchmodat2, 452);
NEW(setxattrat, 463);
NEW(getxattrat, 464);
NEW(listxattrat, 465);
NEW(removexattrat, 466);
NEW(file_getattr, 468);

enum decode { PLAIN, FD, STAT, STATX, TEXT, CWD, MOVE, STATFS, HANDLE, WATCH, EXEC };

// d dirfd, f descriptor, p path to change, r path to read, t link text, o open flags, m mode,
// M type and mode of mknod, D device, a AT_* flags, c access mode, s output buffer, z its size,
// q statx mask, u id, T timespec[2], V timeval[2], B utimbuf, l length, k xattr name, v its value,
// n its size, x xattr flags, X xattr_args, R rename flags, w inotify descriptor, W mask, h handle,
// i output int, H open_how, y its size, g argv, 0 nothing.
static const struct call {
    const char *name;
    long number;
    const char *kinds;
    enum decode decode;
    int weight;
} CALLS[] = {
    {"open", SYS_open, "rom", FD, 4},
    {"openat", SYS_openat, "drom", FD, 6},
    {"openat2", SYS_openat2, "drHy", FD, 5},
    {"creat", SYS_creat, "pm", FD, 2},
    {"stat", SYS_stat, "rs", STAT, 3},
    {"lstat", SYS_lstat, "rs", STAT, 3},
    {"newfstatat", SYS_newfstatat, "drsa", STAT, 5},
    {"statx", SYS_statx, "draqs", STATX, 5},
    {"access", SYS_access, "rc", PLAIN, 2},
    {"faccessat", SYS_faccessat, "drc", PLAIN, 2},
    {"faccessat2", SYS_faccessat2, "drca", PLAIN, 3},
    {"readlink", SYS_readlink, "rsz", TEXT, 2},
    {"readlinkat", SYS_readlinkat, "drsz", TEXT, 4},
    {"mkdir", SYS_mkdir, "pm", PLAIN, 2},
    {"mkdirat", SYS_mkdirat, "dpm", PLAIN, 3},
    {"mknod", SYS_mknod, "pMD", PLAIN, 2},
    {"mknodat", SYS_mknodat, "dpMD", PLAIN, 2},
    {"rmdir", SYS_rmdir, "p", PLAIN, 2},
    {"unlink", SYS_unlink, "p", PLAIN, 2},
    {"unlinkat", SYS_unlinkat, "dpa", PLAIN, 2},
    {"rename", SYS_rename, "pp", PLAIN, 3},
    {"renameat", SYS_renameat, "dpdp", PLAIN, 2},
    {"renameat2", SYS_renameat2, "dpdpR", PLAIN, 4},
    {"link", SYS_link, "pp", PLAIN, 2},
    {"linkat", SYS_linkat, "dpdpa", PLAIN, 4},
    {"symlink", SYS_symlink, "tp", PLAIN, 2},
    {"symlinkat", SYS_symlinkat, "tdp", PLAIN, 3},
    {"chmod", SYS_chmod, "pm", PLAIN, 2},
    {"fchmodat", SYS_fchmodat, "dpm", PLAIN, 2},
    {"fchmodat2", SYS_NEW_fchmodat2, "dpma", PLAIN, 2},
    {"chown", SYS_chown, "puu", PLAIN, 1},
    {"lchown", SYS_lchown, "puu", PLAIN, 1},
    {"fchownat", SYS_fchownat, "dpuua", PLAIN, 2},
    {"utime", SYS_utime, "pB", PLAIN, 1},
    {"utimes", SYS_utimes, "pV", PLAIN, 1},
    {"futimesat", SYS_futimesat, "dpV", PLAIN, 1},
    {"utimensat", SYS_utimensat, "dpTa", PLAIN, 3},
    {"truncate", SYS_truncate, "pl", PLAIN, 2},
    {"setxattr", SYS_setxattr, "pkvnx", PLAIN, 2},
    {"lsetxattr", SYS_lsetxattr, "pkvnx", PLAIN, 1},
    {"getxattr", SYS_getxattr, "rksz", TEXT, 2},
    {"lgetxattr", SYS_lgetxattr, "rksz", TEXT, 1},
    {"listxattr", SYS_listxattr, "rsz", TEXT, 2},
    {"llistxattr", SYS_llistxattr, "rsz", TEXT, 1},
    {"removexattr", SYS_removexattr, "pk", PLAIN, 1},
    {"lremovexattr", SYS_lremovexattr, "pk", PLAIN, 1},
    {"setxattrat", SYS_NEW_setxattrat, "dpakXy", PLAIN, 1},
    {"getxattrat", SYS_NEW_getxattrat, "drakXy", PLAIN, 1},
    {"listxattrat", SYS_NEW_listxattrat, "drasz", TEXT, 1},
    {"removexattrat", SYS_NEW_removexattrat, "dpak", PLAIN, 1},
    {"file_getattr", SYS_NEW_file_getattr, "drsza", PLAIN, 1},
    {"chdir", SYS_chdir, "r", MOVE, 5},
    {"fchdir", SYS_fchdir, "f", MOVE, 3},
    {"getcwd", SYS_getcwd, "sz", CWD, 3},
    {"statfs", SYS_statfs, "rs", STATFS, 2},
    {"inotify_add_watch", SYS_inotify_add_watch, "wrW", WATCH, 2},
    {"name_to_handle_at", SYS_name_to_handle_at, "drhia", HANDLE, 2},
    {"execve", SYS_execve, "pg0", EXEC, 3},
    {"bind", SYS_bind, "", PLAIN, 3},     // written out by hand, as is
    {"connect", SYS_connect, "", PLAIN, 2},  // this one
    {"list", -1, "", PLAIN, 3},           // open and getdents64
};
