/* What the arguments of a call are, as those of one that has a directory and a path. */
#include "code.h"

#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

CODE bool has_directory(long number)
{
    return number == SYS_openat || number == SYS_newfstatat || number == SYS_statx ||
           number == SYS_faccessat || number == SYS_faccessat2 || number == SYS_readlinkat ||
           number == SYS_fchownat || number == SYS_fchmodat || number == SYS_unlinkat ||
           number == SYS_mkdirat || number == SYS_mknodat || number == SYS_utimensat;
}

CODE bool is_pair(long number)
{
    return number == SYS_rename || number == SYS_renameat || number == SYS_renameat2 ||
           number == SYS_link || number == SYS_linkat;
}

CODE bool makes_name(long number)
{
    return number == SYS_mkdir || number == SYS_mkdirat || number == SYS_mknod ||
           number == SYS_mknodat || number == SYS_symlink || number == SYS_symlinkat;
}

CODE bool is_name(long number)
{
    return number == SYS_unlink || number == SYS_unlinkat || number == SYS_rmdir || makes_name(number);
}

CODE void understand_name(long number, const struct arguments *a, struct path_call *p)
{
    p->kind = makes_name(number) ? MAKES : NAMES;
    p->follows = number == SYS_utimensat && !(a->r10 & AT_SYMLINK_NOFOLLOW);
    p->writes = true;
    if (number == SYS_symlink || number == SYS_symlinkat) {
        bool at = number == SYS_symlinkat;
        p->directory = at ? (int)a->rsi : AT_FDCWD;
        p->at = 1 + at;
        p->path = (const char *)(at ? a->rdx : a->rsi);
    }
}

SECTION void understand(long number, const struct arguments *a, struct path_call *p)
{
    bool at = has_directory(number);
    p->directory = at ? (int)a->rdi : AT_FDCWD;
    p->at = at;
    p->path = (const char *)(at ? a->rsi : a->rdi);
    p->flags = 0;
    p->follows = true;
    p->writes = false;
    if (number == SYS_open || number == SYS_openat) {
        p->kind = OPENS;
        p->flags = (uint32_t)(at ? a->rdx : a->rsi);
        p->writes = p->flags & (O_ACCMODE | O_CREAT | O_TRUNC | TEMPORARY) && !(p->flags & O_PATH);
    } else if (number == SYS_stat || number == SYS_lstat || number == SYS_newfstatat ||
               number == SYS_statx) {
        p->kind = LOOKS;
        p->flags = number == SYS_newfstatat ? (uint32_t)a->r10 : number == SYS_statx ? (uint32_t)a->rdx : 0;
        p->follows = number != SYS_lstat && !(p->flags & AT_SYMLINK_NOFOLLOW);
    } else if (number == SYS_access || number == SYS_faccessat || number == SYS_faccessat2) {
        p->kind = TESTS;
        p->flags = number == SYS_faccessat2 ? (uint32_t)a->r10 : 0;
        p->follows = !(p->flags & AT_SYMLINK_NOFOLLOW);
        p->writes = (at ? a->rdx : a->rsi) & W_OK;
    } else if (number == SYS_readlink || number == SYS_readlinkat) {
        p->kind = READS;
        p->follows = false;
    } else if (number == SYS_execve) {
        p->kind = EXECUTES;
    } else if (number == SYS_chdir) {
        p->kind = ENTERS;
    } else if (number == SYS_fchown || number == SYS_fchmod || number == SYS_fsetxattr) {
        p->kind = number == SYS_fsetxattr ? ACLS : OWNS_OPEN;
        p->directory = (int)a->rdi;
    } else if (number == SYS_utimensat || is_name(number)) {
        understand_name(number, a, p);
    } else if (number == SYS_getxattr || number == SYS_lgetxattr || number == SYS_listxattr ||
               number == SYS_llistxattr) {
        p->kind = ASKS;
        p->follows = number == SYS_getxattr || number == SYS_listxattr;
    } else if (number == SYS_fgetxattr || number == SYS_flistxattr) {
        p->kind = ASKS_OPEN;
        p->directory = (int)a->rdi;
    } else if (number == SYS_getuid || number == SYS_geteuid || number == SYS_getgid ||
               number == SYS_getegid) {
        p->kind = IDS;
    } else if (is_pair(number)) {
        p->kind = PAIRS;
    } else {
        p->kind = OWNS;
        p->flags = number == SYS_fchownat ? (uint32_t)a->r8 : 0;
        p->follows = number != SYS_lchown && !(p->flags & AT_SYMLINK_NOFOLLOW);
        p->writes = true;
    }
}

/* The same call, but that it follows no link at the end of its path: there is none, or it has been put
 * there since that was looked at. */
SECTION long without_following(long number, struct arguments *a)
{
    if (number == SYS_newfstatat || number == SYS_utimensat)
        a->r10 |= AT_SYMLINK_NOFOLLOW;
    else if (number == SYS_statx)
        a->rdx |= AT_SYMLINK_NOFOLLOW;
    else if (number == SYS_fchownat)
        a->r8 |= AT_SYMLINK_NOFOLLOW;
    else if (number == SYS_stat)
        return SYS_lstat;
    else if (number == SYS_chown)
        return SYS_lchown;
    else if (number == SYS_getxattr)
        return SYS_lgetxattr;
    else if (number == SYS_listxattr)
        return SYS_llistxattr;
    return number;
}

/* Put the working directory in front of the arguments. */
CODE void shift(struct arguments *a)
{
    a->r8 = a->r10;
    a->r10 = a->rdx;
    a->rdx = a->rsi;
    a->rsi = a->rdi;
    a->rdi = (uint64_t)AT_FDCWD;
}

CODE long with_directories(long number, struct arguments *a)
{
    if (number != SYS_rename && number != SYS_link)
        return number;
    a->r10 = a->rsi;
    a->rsi = a->rdi;
    a->rdi = a->rdx = (uint64_t)AT_FDCWD;
    a->r8 = 0;
    return number == SYS_rename ? SYS_renameat : SYS_linkat;
}

SECTION long with_directory(long number, struct arguments *a)
{
    if (is_pair(number))
        return with_directories(number, a);
    if (number == SYS_symlink) {
        a->rdx = a->rsi;
        a->rsi = (uint64_t)AT_FDCWD;
        return SYS_symlinkat;
    }
    if (has_directory(number) || number == SYS_symlinkat)
        return number;
    shift(a);
    if (number == SYS_unlink || number == SYS_rmdir) {
        a->rdx = number == SYS_rmdir ? AT_REMOVEDIR : 0;
        return SYS_unlinkat;
    }
    if (number == SYS_chown || number == SYS_lchown) {
        a->r8 = number == SYS_lchown ? AT_SYMLINK_NOFOLLOW : 0;
        return SYS_fchownat;
    }
    return number == SYS_mkdir ? SYS_mkdirat : number == SYS_mknod ? SYS_mknodat : SYS_fchmodat;
}

/* Has a call that looked at a file found a link? */
SECTION bool has_met_link(long number, const struct arguments *a)
{
    return S_ISLNK(number == SYS_statx ? ((struct statx *)a->r8)->stx_mode
                                       : ((struct stat *)(number == SYS_newfstatat ? a->rdx : a->rsi))->st_mode);
}
