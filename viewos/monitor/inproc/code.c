/* The part of the monitor that runs in a program: it makes a path call itself where it is certain of
 * what the monitor would do, and leaves it otherwise. */
#include "code.h"

#include <errno.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

SECTION int64_t open_without_links(const struct shared *shared, int directory, const char *path,
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
    OPEN_FLAGS = O_ACCMODE | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_APPEND | O_NONBLOCK | O_SYNC |
            O_DSYNC | FASYNC | O_DIRECT | O_DIRECTORY | O_NOFOLLOW | O_NOATIME | O_CLOEXEC | O_PATH |
            TEMPORARY | LARGE,
};

/* As the kernel's build_open_how() makes it of what openat(2) is given. */
SECTION struct verdict open_here(const struct shared *shared, const struct path_call *p, const char *path,
                              uint64_t mode)
{
    uint64_t flags = p->flags & OPEN_FLAGS;
    flags = flags & O_PATH ? flags & WITH_PATH : flags | LARGE;
    mode = flags & (O_CREAT | TEMPORARY) ? mode & 07777 : 0;
    int64_t fd = open_without_links(shared, p->directory, path, flags, mode);
    struct verdict verdict = {fd, fd >= 0 || fd == -ENOENT || fd == -ENOTDIR || fd == -EINTR};
    return verdict;
}

SECTION bool makes_plainly(const struct shared *shared, struct here *here, uint64_t mode, uint64_t owner,
                        int directory, const char *path, const volatile char *single)
{
    uint32_t where = shown_by(shared)->plainly;
    owner |= mode & 0011 ? 0100 : 0; /* a root executes what anybody may */
    if (here->no_root || where == NOWHERE || (mode & (S_ISUID | S_ISGID | owner)) != owner)
        return false;
    return where == EVERYWHERE || (path && is_unknown_parent(shared, here, directory, path, single));
}

SECTION struct verdict as_it_is(const struct shared *shared, long number, const struct arguments *a)
{
    struct verdict verdict;
    verdict.value = call(number, a->rdi, a->rsi, a->rdx, a->r10, a->r8, shared->not_cookie);
    verdict.is_made = verdict.value != -EACCES;
    return verdict;
}

CODE uint64_t mode_of_open(long number, const struct arguments *a)
{
    return number == SYS_openat ? a->r10 : a->rdx;
}

/* An open in a view that claims no path: only files that it makes have to be looked at. */
CODE struct verdict open_freely(const struct shared *shared, struct here *here, uint32_t calls, long number,
                                const struct arguments *a, const struct path_call *p,
                                const volatile char *single)
{
    const char *where = p->flags & O_EXCL ? p->path : NULL; /* it follows a link else */
    struct verdict none = {0, 0};
    if (measure(p->path) < 0 || tells_names(p->path, OPENS))
        return none;
    if (p->flags & O_CREAT && !(p->flags & O_PATH))
        if (!(calls & OWNS) || !makes_plainly(shared, here, mode_of_open(number, a), 0600, p->directory,
                                              where, single))
            return none;
    return as_it_is(shared, number, a);
}

/* The call itself, with another path. */
CODE int64_t make(const struct shared *shared, long number, const struct arguments *a,
                  const struct path_call *p, const char *path)
{
    uint64_t first = p->at == 0 ? (uint64_t)path : a->rdi;
    uint64_t second = p->at == 1 ? (uint64_t)path : a->rsi;
    uint64_t third = p->at == 2 ? (uint64_t)path : a->rdx;
    return call(number, first, second, third, a->r10, a->r8, shared->not_cookie);
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

/* Is it what is said of attributes that a link has none of? */
CODE bool says_little(int64_t value)
{
    return !value || value == -ENODATA || value == -EOPNOTSUPP;
}

CODE bool is_link(const struct shared *shared, const char *path)
{
    char byte;
    return call(SYS_readlinkat, (uint64_t)AT_FDCWD, (uint64_t)path, (uint64_t)&byte, 1, 0,
                shared->not_cookie) != -EINVAL;
}

SECTION struct verdict make_here(const struct shared *shared, struct here *here, uint32_t calls, long number,
                              const struct arguments *a, const struct path_call *p, const char *path,
                              const volatile char *single)
{
    if (p->kind == OWNS && calls & SHOWN)
        return own_here(shared, here, number, a, p, path, single);
    if (number == SYS_chmod || number == SYS_fchmodat)
        return change_mode_here(shared, number, a, p, path, single);
    struct verdict verdict = {0, 0};
    if (p->kind == ASKS && calls & SHOWN && !is_unknown_file(shared, here, AT_FDCWD, path, single))
        return verdict;
    verdict.value = make(shared, number, a, p, path);
    verdict.is_made = 1;
    if (verdict.value == -EACCES) /* a module may lend a permission */
        verdict.is_made = 0;
    if (p->kind == LOOKS && calls & SHOWN && !verdict.value)
        verdict.is_made = show_owner(shared, here, number, a, single);
    if (p->kind == LOOKS && p->follows && !verdict.value && has_met_link(number, a))
        verdict.is_made = 0;
    if (p->kind == ASKS && p->follows && says_little(verdict.value) && is_link(shared, path))
        verdict.is_made = 0;
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

/* What is there the kernel has to execute, and perhaps by another path, with other arguments: the monitor
 * writes where they stand, and they themselves, and hears of it if nothing came of it. */
APART struct verdict execute(const struct shared *shared, const struct arguments *a)
{
    uint64_t room[HANDED_ROOM / sizeof(uint64_t)], mark = shared->not_cookie ^ HAND_OVER;
    struct verdict verdict = {-EINTR, 1};
    while (verdict.value == -EINTR) /* which execve(2) never says: nobody had received the call */
        verdict.value = call(SYS_execve, a->rdi, a->rsi, a->rdx, mark, (uint64_t)room, NO_SIXTH);
    if (verdict.value == HANDED_OVER) {
        verdict.value = call(SYS_execve, room[0], room[1], a->rdx, 0, 0, shared->not_cookie);
        while (call(SYS_execve, 0, 0, 0, mark, (uint64_t)verdict.value, NO_SIXTH) == -EINTR)
            ;
        verdict.is_made = verdict.value != -ENOENT; /* what stood in for it has made room: as ever then */
    }
    return verdict;
}

/* A directory of a claim has another path for the kernel, and the monitor remembers by which name it has
 * been entered. What fails is the monitor's: it may find another way. */
APART struct verdict enter(const struct shared *shared, const struct arguments *a,
                           const volatile char *single)
{
    uint64_t room[HANDED_ROOM / sizeof(uint64_t)], mark = shared->not_cookie ^ HAND_OVER;
    struct verdict verdict = {-EINTR, 1};
    while (verdict.value == -EINTR) /* nobody had received the call */
        verdict.value = call(SYS_chdir, a->rdi, 0, 0, mark, (uint64_t)room, NO_SIXTH);
    if (verdict.value == HANDED_OVER) {
        verdict.value = *single ? enter_held(shared, (const char *)room)
                                : call(SYS_chdir, (uint64_t)room, 0, 0, 0, 0, shared->not_cookie);
        verdict.is_made = !verdict.value;
    }
    return verdict;
}

SECTION bool has_no_link(const struct shared *shared, const struct path_call *p, const char *path,
                      struct route *route, const volatile char *single)
{
    size_t names = count_names(p, path);
    return *single && names > 1 ? is_opened_without(shared, p, path)
                                : are_no_links(shared, p, path, names, route->name);
}

CODE bool has_slash(const char *path)
{
    while (*path && *path != '/')
        path++;
    return *path;
}

/* May a path that is no claim's lead to what a claim shows too? */
CODE bool is_apart_path(const struct route *route)
{
    enum { MOST = 8 };
    const struct entry *found[MOST];
    bool is_root = !route->length;
    char root = '/';
    size_t count = table_backings(route->claims, is_root ? &root : route->name,
                                  is_root ? 1 : route->length, found, MOST);
    for (size_t i = 0; i < count && i < MOST; i++)
        if (found[i]->flags & CLAIM_APART_BELOW)
            return true;
    return count > MOST;
}

/* May it be a directory that has to say by which name it was opened? What is opened by one name in one
 * that need not say so need not either (marks.py). */
CODE bool is_marked(const struct shared *shared, const struct route *route, const struct path_call *p,
                    const char *path)
{
    enum { GET_SIGNAL = 11 };
    struct stat s;
    if (!(route->claims->flags & CLAIM_APART_BELOW))
        return false;
    bool is_within = *path != '/' && p->directory >= 0 && !has_slash(path);
    if (is_within && !call(SYS_fcntl, (uint64_t)p->directory, GET_SIGNAL, 0, 0, 0, NO_SIXTH))
        return false;
    if (*path == '/' && !route->claim && !is_apart_path(route))
        return false;
    return !call(SYS_newfstatat, (uint64_t)(int64_t)p->directory, (uint64_t)path, (uint64_t)&s,
                 AT_SYMLINK_NOFOLLOW, 0, shared->not_cookie) && S_ISDIR(s.st_mode);
}

/* An open of a path that is known, and that `find` has found. */
CODE struct verdict open_found(const struct shared *shared, struct here *here, uint32_t calls, long number,
                               const struct arguments *a, const struct path_call *p, const char *path,
                               const struct route *route, const volatile char *single)
{
    struct verdict none = {0, 0};
    uint64_t mode = mode_of_open(number, a);
    if (calls & SHOWN) {
        bool may_make = calls & OWNS && p->flags & O_CREAT &&
                        makes_plainly(shared, here, mode, 0600, p->directory, path, single);
        if (!opens_plainly(shared, here, p, path, may_make, single))
            return none;
    }
    if (is_marked(shared, route, p, path))
        return none;
    return open_here(shared, p, path, mode);
}

/* A call of one path, of at least one byte. */
APART struct verdict path_here(const struct shared *shared, struct here *here, uint32_t calls, long number,
                               const struct arguments *a, const struct path_call *p,
                               const volatile char *single)
{
    struct verdict none = {0, 0};
    struct route route;
    if ((p->kind == NAMES || p->kind == MAKES) && !ends_in_a_name(p->path))
        return none;
    if (p->kind == MAKES && calls & FREE)
        return may_name(shared, here, calls, number, a, p, p->path, single) ? as_it_is(shared, number, a) : none;
    const char *path = find(shared, p, &route);
    if (!path)
        return none;
    if (p->kind == OPENS)
        return open_found(shared, here, calls, number, a, p, path, &route, single);
    if (p->kind == EXECUTES)
        return miss(shared, p, path, single);
    if (p->kind & (NAMES | MAKES | OWNS))
        return change_here(shared, here, calls, number, a, p, path, &route, single);
    if (!has_no_link(shared, p, path, &route, single))
        return none;
    struct arguments real = *a;
    number = p->follows ? without_following(number, &real) : number;
    return make_here(shared, here, calls, number, &real, p, path, single);
}

SECTION struct verdict inproc_call(const struct shared *shared, struct here *here, long number,
                                   struct arguments *a, const volatile char *single)
{
    struct verdict none = {0, 0};
    struct path_call p;
    uint32_t calls = shared->calls;
    if (a->r9 == ~shared->not_cookie) /* from the frame of a signal that has interrupted a call of ours */
        a->r9 = 0;
    uint32_t off = here->off;
    if (off) {
        none.is_made = off & WATCHED ? NATIVELY : 0;
        return none;
    }
    understand(number, a, &p);
    if (!(calls & p.kind))
        return none;
    if (p.kind == OPENS && calls & FREE)
        return open_freely(shared, here, calls, number, a, &p, single);
    if (p.kind == OWNS_OPEN || p.kind == ACLS)
        return calls & SHOWN ? own_here(shared, here, number, a, &p, NULL, single) : none;
    if (p.kind == ASKS_OPEN) {
        if (!(calls & SHOWN) || !is_unknown_file(shared, here, p.directory, NULL, single))
            return none;
        p.at = 6; /* it has none */
        return make_here(shared, here, calls, number, a, &p, NULL, single);
    }
    if (p.kind == IDS) {
        struct verdict told = {call(number, 0, 0, 0, 0, 0, shared->not_cookie), 1};
        return told;
    }
    if (p.kind == ENTERS)
        return enter(shared, a, single);
    if (p.kind == PAIRS)
        return pair_here(shared, here, calls, number, a, single);
    long length = measure(p.path);
    if (p.kind == EXECUTES) {
        struct verdict missed = length > 0 ? path_here(shared, here, calls, number, a, &p, single) : none;
        return missed.is_made ? missed : execute(shared, a);
    }
    if (length > 0)
        return path_here(shared, here, calls, number, a, &p, single);
    bool may_be = !length && (p.kind == LOOKS || (p.kind == OWNS && calls & SHOWN));
    if (!may_be || !(p.flags & AT_EMPTY_PATH) || p.flags & AT_SYMLINK_NOFOLLOW)
        return none;
    return make_here(shared, here, calls, number, a, &p, p.path, single);
}
