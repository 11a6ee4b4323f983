/* Calls that make, remove, and change names, by raw system call with odd flags. */
#include "say.h"
#include <sys/time.h>
#include <sys/xattr.h>
#include <utime.h>

int main(void)
{
    touch("f", "text"), symlink("f", "l"), mkdir("d", 0755), symlink("d", "dl"), symlink("no", "gone");
    int here = open(".", O_RDONLY), fd = open("f", O_RDWR), op = open("f", O_PATH);
    int sub = open("d", O_PATH);
    say("follow", syscall(SYS_linkat, here, "l", here, "followed", AT_SYMLINK_FOLLOW));
    say("plain", syscall(SYS_linkat, here, "l", here, "not", 0));
    say("empty", syscall(SYS_linkat, fd, "", here, "by-fd", AT_EMPTY_PATH));
    say("empty O_PATH", syscall(SYS_linkat, op, "", sub, "by-path", AT_EMPTY_PATH));
    if (fork() == 0) {
        say("empty, inherited", syscall(SYS_linkat, fd, "", here, "by-heir", AT_EMPTY_PATH));
        int own = open("f", O_RDONLY);
        say("empty, of its own", syscall(SYS_linkat, own, "", here, "by-child", AT_EMPTY_PATH));
        say("empty, closed", syscall(SYS_linkat, 99, "", here, "by-none", AT_EMPTY_PATH));
        _exit(0);
    }
    wait(NULL);
    say("empty from outside", syscall(SYS_linkat, 9, "", here, "by-none", AT_EMPTY_PATH));
    say("empty without", syscall(SYS_linkat, fd, "", here, "x", 0));
    say("bad flag", syscall(SYS_linkat, here, "f", here, "x", 1));
    say("exists", syscall(SYS_link, "f", "l"));
    say("through proc", syscall(SYS_linkat, AT_FDCWD, "/proc/self/fd/4", sub, "proc", AT_SYMLINK_FOLLOW));
    say("directory", syscall(SYS_link, "d", "x"));
    say("dangling", syscall(SYS_linkat, here, "gone", here, "x", AT_SYMLINK_FOLLOW));
    say("unlinkat d", syscall(SYS_unlinkat, here, "d", 0));
    say("unlinkat f as directory", syscall(SYS_unlinkat, here, "f", AT_REMOVEDIR));
    say("unlinkat bad flag", syscall(SYS_unlinkat, here, "f", 1));
    say("unlinkat dl", syscall(SYS_unlinkat, here, "dl/", AT_REMOVEDIR));
    say("symlinkat", syscall(SYS_symlinkat, "any thing", sub, "s"));
    say("symlinkat empty", syscall(SYS_symlinkat, "", sub, "e"));
    say("symlinkat exists", syscall(SYS_symlinkat, "x", here, "gone"));
    say("mkdirat", syscall(SYS_mkdirat, sub, "m", 07777));
    say("mkdirat gone", syscall(SYS_mkdirat, here, "gone", 0700));
    say("mknodat file", syscall(SYS_mknodat, sub, "n", 0640, 0));
    say("mknod file", syscall(SYS_mknod, "n", S_IFREG | 0600, 0));
    say("mknod socket", syscall(SYS_mknod, "sock", S_IFSOCK | 0600, 0));
    say("mknod directory", syscall(SYS_mknod, "nd", S_IFDIR | 0600, 0));
    say("mknod gone", syscall(SYS_mknod, "gone", S_IFREG | 0600, 0));
    say("creat", syscall(SYS_creat, "c", 06644) >= 0);
    say("open create through gone", syscall(SYS_open, "gone", O_CREAT | O_WRONLY | O_EXCL, 0600));
    say("open odd access", syscall(SYS_open, "f", 3) >= 0);
    say("fchmodat", syscall(SYS_fchmodat, here, "f", 0604));
    say("fchmodat2 of a link", syscall(452, here, "l", 0600, AT_SYMLINK_NOFOLLOW));
    say("fchmodat2 empty", syscall(452, op, "", 0640, AT_EMPTY_PATH));
    say("fchmodat2 bad", syscall(452, here, "f", 0640, 1));
    say("fchownat", syscall(SYS_fchownat, here, "l", -1, -1, AT_SYMLINK_NOFOLLOW));
    say("fchownat empty", syscall(SYS_fchownat, op, "", getuid(), getgid(), AT_EMPTY_PATH));
    say("fchownat bad", syscall(SYS_fchownat, here, "f", -1, -1, 1));
    struct timespec set[2] = { { 1000000000, 1 }, { 1000000001, 2 } }, omit[2], bad[2];
    omit[0].tv_nsec = UTIME_OMIT, omit[1].tv_nsec = UTIME_OMIT;
    bad[0].tv_nsec = 2000000000, bad[1].tv_nsec = 0;
    say("utimensat", syscall(SYS_utimensat, here, "l", set, AT_SYMLINK_NOFOLLOW));
    say("utimensat null path", syscall(SYS_utimensat, fd, NULL, set, 0));
    say("utimensat empty", syscall(SYS_utimensat, op, "", set, AT_EMPTY_PATH));
    say("utimensat omit", syscall(SYS_utimensat, here, "missing", omit, 0));
    say("utimensat bad", syscall(SYS_utimensat, here, "f", bad, 0));
    say("utimensat bad pointer", syscall(SYS_utimensat, here, "f", (void *)8, 0));
    say("utimensat null null", syscall(SYS_utimensat, AT_FDCWD, NULL, set, 0));
    struct timeval tv[2] = { { 1100000000, 5 }, { 1100000001, 6 } };
    say("utimes", syscall(SYS_utimes, "c", tv));
    say("futimesat", syscall(SYS_futimesat, sub, "n", tv));
    say("utime", syscall(SYS_utime, "n", &(struct utimbuf){ 7, 8 }));
    say("truncate", syscall(SYS_truncate, "c", 77));
    say("truncate negative", syscall(SYS_truncate, "c", -1));
    say("truncate a link", syscall(SYS_truncate, "l", 2));
    say("setxattr", syscall(SYS_setxattr, "l", "user.v", "value", 5, 0));
    say("create", syscall(SYS_setxattr, "f", "user.v", "w", 1, XATTR_CREATE));
    say("replace", syscall(SYS_setxattr, "f", "user.none", "w", 1, XATTR_REPLACE));
    say("lsetxattr", syscall(SYS_lsetxattr, "l", "user.v", "w", 1, 0));
    say("size", syscall(SYS_getxattr, "f", "user.v", NULL, 0));
    say("short", syscall(SYS_getxattr, "f", "user.v", (char[2]){ 0 }, 2));
    say("lgetxattr", syscall(SYS_lgetxattr, "l", "user.v", (char[9]){ 0 }, 9));
    say("listxattr", syscall(SYS_listxattr, "f", (char[99]){ 0 }, 99));
    say("llistxattr", syscall(SYS_llistxattr, "l", (char[99]){ 0 }, 99));
    say("long name", syscall(SYS_setxattr, "f", (char[300]){ [0 ... 298] = 'x' }, "w", 1, 0));
    say("removexattr", syscall(SYS_removexattr, "f", "user.none"));
    say("bad value", syscall(SYS_setxattr, "f", "user.w", (void *)8, 5, 0));
    say("huge value", syscall(SYS_setxattr, "f", "user.w", "", 1 << 20, 0));
    say("chdir f", syscall(SYS_chdir, "f"));
    say("fchdir", syscall(SYS_fchdir, sub));
    say("getcwd short", syscall(SYS_getcwd, (char[3]){ 0 }, 3));
    char buffer[PATH_MAX];
    say("getcwd", syscall(SYS_getcwd, buffer, sizeof buffer));
    say("getcwd exact", syscall(SYS_getcwd, buffer, strlen(buffer) + 1));
    say("getcwd bad", syscall(SYS_getcwd, (void *)8, 100));
    puts(buffer);
    return 0;
}
