/* The part of the monitor that runs in a program: it makes a path call itself where it is certain of
 * what the monitor would do, and leaves it otherwise. */
#include "code.h"

#include <errno.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

CODE int64_t open_without_links(const struct shared *shared, int directory, const char *path,
                                uint64_t flags, uint64_t mode)
{
    struct open_how how;
    how.flags = flags;
    how.mode = mode;
    how.resolve = RESOLVE_NO_SYMLINKS;
    return call(SYS_openat2, (uint64_t)(int64_t)directory, (uint64_t)path, (uint64_t)&how, sizeof how, 0,
                shared->not_cookie);
}

SECTION size_t count_names(const struct path_call *p, const char *path)
{
    size_t count = 0;
    bool is_name = false;
    for (; *path; path++) {
        count += is_name && *path == '/';
        is_name = *path != '/';
    }
    return count + (is_name && p->follows);
}

SECTION bool are_no_links(const struct shared *shared, const struct path_call *p, const char *path,
                          size_t names, char *text)
{
    for (size_t at = 0; names; names--) {
        for (; path[at] == '/'; at++)
            text[at] = '/';
        for (; path[at] && path[at] != '/'; at++)
            text[at] = path[at];
        text[at] = 0;
        char byte;
        int64_t seen = call(SYS_readlinkat, (uint64_t)(int64_t)p->directory, (uint64_t)text,
                            (uint64_t)&byte, 1, 0, shared->not_cookie);
        if (seen != -EINVAL)
            return seen == -ENOENT || seen == -ENOTDIR;
    }
    return true;
}

/* An open that must fail. A directory cannot be written to, nothing else
 * is a directory. */
SECTION bool is_opened_without(const struct shared *shared, const struct path_call *p, const char *path)
{
    int64_t seen = open_without_links(shared, p->directory, path,
                                      O_WRONLY | O_DIRECTORY | O_CLOEXEC |
                                          (p->follows ? 0 : O_NOFOLLOW), 0);
    return seen == -EISDIR || seen == -ENOTDIR || seen == -ENOENT;
}

enum {
    LARGE = 0100000, /* O_LARGEFILE as the kernel knows it */
    WITH_PATH = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
    TEMPORARY = 020000000, /* __O_TMPFILE */
    KNOWN = O_ACCMODE | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_APPEND | O_NONBLOCK | O_SYNC |
            O_DSYNC | FASYNC | O_DIRECT | O_DIRECTORY | O_NOFOLLOW | O_NOATIME | O_CLOEXEC | O_PATH |
            TEMPORARY | LARGE,
};

/* As the kernel's build_open_how() makes it of what openat(2) is given. */
SECTION struct verdict open_here(const struct shared *shared, const struct path_call *p, const char *path,
                              uint64_t mode)
{
    uint64_t flags = p->flags & KNOWN;
    flags = flags & O_PATH ? flags & WITH_PATH : flags | LARGE;
    mode = flags & (O_CREAT | TEMPORARY) ? mode & 07777 : 0;
    int64_t fd = open_without_links(shared, p->directory, path, flags, mode);
    struct verdict verdict = {fd, fd >= 0 || fd == -ENOENT || fd == -ENOTDIR || fd == -EINTR};
    return verdict;
}

/* An open in a view that claims no path: only files that it makes have to be looked at. */
CODE struct verdict open_freely(const struct shared *shared, const struct here *here, uint32_t calls,
                                long number, const struct arguments *a, const struct path_call *p)
{
    const struct shown *shown = shown_by(shared);
    uint64_t mode = number == SYS_openat ? a->r10 : a->rdx;
    struct verdict verdict = {0, 0};
    if (measure(p->path) < 0 || tells_names(p->path, OPENS))
        return verdict;
    if (p->flags & O_CREAT && !(p->flags & O_PATH))
        if (!(calls & OWNS) || here->no_root || !shown->is_plain || (mode & 0600) != 0600)
            return verdict;
    verdict.value = call(number, a->rdi, a->rsi, a->rdx, a->r10, a->r8, shared->not_cookie);
    verdict.is_made = 1;
    return verdict;
}

CODE bool has_directory(long number)
{
    return number == SYS_openat || number == SYS_newfstatat || number == SYS_statx ||
           number == SYS_faccessat || number == SYS_faccessat2 || number == SYS_readlinkat ||
           number == SYS_fchownat || number == SYS_fchmodat;
}

/* The number and the arguments of a call, as those of one that has a directory. */
CODE void understand(long number, const struct arguments *a, struct path_call *p)
{
    bool at = has_directory(number);
    p->directory = at ? (int)a->rdi : AT_FDCWD;
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
    } else if (number == SYS_fchown || number == SYS_fchmod || number == SYS_fsetxattr) {
        p->kind = number == SYS_fsetxattr ? ACLS : OWNS_OPEN;
        p->directory = (int)a->rdi;
    } else {
        p->kind = OWNS;
        p->flags = number == SYS_fchownat ? (uint32_t)a->r8 : 0;
        p->follows = number != SYS_lchown && !(p->flags & AT_SYMLINK_NOFOLLOW);
        p->writes = true;
    }
}

/* The call itself, with another path. */
CODE int64_t make(const struct shared *shared, long number, const struct arguments *a, const char *path)
{
    bool at = has_directory(number);
    return call(number, at ? a->rdi : (uint64_t)path, at ? (uint64_t)path : a->rsi, a->rdx, a->r10, a->r8,
                shared->not_cookie);
}

/* What a call that looked at a file has given, with the owner whom the view shows. False: the monitor
 * remembers more of it. */
CODE bool show_owner(const struct shared *shared, struct here *here, long number,
                     const struct arguments *a, const volatile char *single)
{
    const struct shown *shown = shown_by(shared);
    struct statx *x = (struct statx *)a->r8;
    struct stat *s = (struct stat *)(number == SYS_newfstatat ? a->rdx : a->rsi);
    bool is_statx = number == SYS_statx;
    if (!is_unknown(shared, here, is_statx ? x->stx_ino : s->st_ino, single))
        return false;
    uint32_t *uid = is_statx ? &x->stx_uid : &s->st_uid, *gid = is_statx ? &x->stx_gid : &s->st_gid;
    *uid = map_show(&shown->uids, *uid);
    *gid = map_show(&shown->gids, *gid);
    return true;
}

/* The call, where nothing speaks against it. */
CODE struct verdict make_here(const struct shared *shared, struct here *here, uint32_t calls, long number,
                              const struct arguments *a, const struct path_call *p, const char *path,
                              const volatile char *single)
{
    if (p->kind == OWNS && calls & SHOWN)
        return own_here(shared, here, number, a, p, path, single);
    struct verdict verdict = {make(shared, number, a, path), 1};
    if (verdict.value == -EACCES) /* a module may lend a permission */
        verdict.is_made = 0;
    if (p->kind == LOOKS && calls & SHOWN && !verdict.value)
        verdict.is_made = show_owner(shared, here, number, a, single);
    return verdict;
}

/* PATH is being searched: what is not there is told; what is there the kernel has to execute. */
CODE struct verdict miss(const struct shared *shared, const struct path_call *p, const char *path,
                         const volatile char *single)
{
    struct verdict verdict = {-ENOENT, 0};
    verdict.is_made = *single && open_without_links(shared, p->directory, path,
                                                    O_WRONLY | O_DIRECTORY | O_CLOEXEC, 0) == -ENOENT;
    return verdict;
}

SECTION struct verdict inproc_call(const struct shared *shared, struct here *here, long number,
                                   struct arguments *a, const volatile char *single)
{
    struct verdict none = {0, 0};
    struct path_call p;
    struct route route;
    uint32_t calls = shared->calls;
    if (a->r9 == ~shared->not_cookie) /* from the frame of a signal that has interrupted a call of ours */
        a->r9 = 0;
    if (here->off)
        return none;
    understand(number, a, &p);
    if (!(calls & p.kind))
        return none;
    if (p.kind == OPENS && calls & FREE)
        return open_freely(shared, here, calls, number, a, &p);
    if (p.kind == OWNS_OPEN || p.kind == ACLS)
        return calls & SHOWN ? own_here(shared, here, number, a, &p, NULL, single) : none;
    long length = measure(p.path);
    if (length < 0)
        return none;
    if (!length) {
        bool may_be = p.kind == LOOKS || (p.kind == OWNS && calls & SHOWN);
        if (!may_be || !(p.flags & AT_EMPTY_PATH) || p.flags & AT_SYMLINK_NOFOLLOW)
            return none;
        return make_here(shared, here, calls, number, a, &p, p.path, single);
    }
    const char *path = find(shared, &p, &route);
    if (!path)
        return none;
    if (p.kind == OPENS)
        return open_here(shared, &p, path, number == SYS_openat ? a->r10 : a->rdx);
    if (p.kind == EXECUTES)
        return miss(shared, &p, path, single);
    /* The open that fails has a number for a moment, which another thread's open could miss. */
    size_t names = count_names(&p, path);
    if (*single && names > 1 ? !is_opened_without(shared, &p, path)
                             : !are_no_links(shared, &p, path, names, route.name))
        return none;
    return make_here(shared, here, calls, number, a, &p, path, single);
}
