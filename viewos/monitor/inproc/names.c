/* Calls that change something by a name. Where the program has one thread the directory of the name is
 * opened, without a link on the way, and the call is made there: a directory that somebody exchanges for a
 * link meanwhile would lead out of the view else. Signals wait, so that no handler that jumps loses the
 * descriptor, and no child gets it. Other threads could close it, or miss its number: with them calls
 * that take a name from a file are the monitor's, and for the others the names are looked at before. */
#include "code.h"

#include <errno.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- what a call is made with instead of a path ---------------------------------------------------- */

struct held {
    int64_t fd;      /* -1: what is missing is told for EBADF */
    int64_t missing; /* minus the errno */
    uint64_t before; /* the signals that were blocked */
};

CODE void block_signals(struct held *h)
{
    uint64_t all = ~UINT64_C(0);
    call(SYS_rt_sigprocmask, SIG_SETMASK, (uint64_t)&all, (uint64_t)&h->before, 8, 0, NO_SIXTH);
}

CODE void let_signals(const struct held *h)
{
    call(SYS_rt_sigprocmask, SIG_SETMASK, (uint64_t)&h->before, 0, 8, 0, NO_SIXTH);
}

/* False: it is not certain what the call would say. */
CODE bool hold(const struct shared *shared, int directory, const char *path, uint64_t flags, struct held *to)
{
    block_signals(to);
    to->fd = open_without_links(shared, directory, path, O_PATH | O_CLOEXEC | flags, 0);
    to->missing = 0;
    if (to->fd >= 0)
        return true;
    to->missing = to->fd;
    to->fd = -1;
    let_signals(to);
    return to->missing == -ENOENT || to->missing == -ENOTDIR;
}

CODE struct verdict release(const struct shared *shared, const struct held *h, struct verdict verdict)
{
    if (h->missing && verdict.value == -EBADF)
        verdict.value = h->missing;
    if (h->fd >= 0) {
        call(SYS_close, (uint64_t)h->fd, 0, 0, 0, 0, shared->not_cookie);
        let_signals(h);
    }
    return verdict;
}

/* Hold the directory in which the last name of `*path` stands, and go on to that: *directory becomes the
 * descriptor, if it needs one. `text`: room for the path. */
CODE bool hold_directory(const struct shared *shared, int *directory, const char **path, char *text,
                         struct held *to)
{
    size_t size = 0;
    for (size_t i = 0; (*path)[i]; i++) {
        text[i] = (*path)[i];
        size = text[i] == '/' ? i + 1 : size;
    }
    text[size] = 0;
    to->fd = -1;
    to->missing = 0;
    if (!size)
        return true;
    if (!(*path)[size])
        return false; /* it ends in a slash */
    if (!hold(shared, *directory, text, O_DIRECTORY, to))
        return false;
    *directory = (int)to->fd;
    *path += size;
    return true;
}

SECTION int64_t enter_held(const struct shared *shared, const char *path)
{
    struct held held;
    struct verdict verdict = {0, 1};
    if (!hold(shared, AT_FDCWD, path, O_DIRECTORY, &held))
        return held.missing;
    verdict.value = call(SYS_fchdir, (uint64_t)held.fd, 0, 0, 0, 0, shared->not_cookie);
    return release(shared, &held, verdict).value;
}

/* A mode, where the kernel has no fchmodat2(2): by the name that procfs has for the file. */
SECTION int64_t change_mode_held(const struct shared *shared, int directory, const char *path, uint64_t mode)
{
    struct held held;
    struct verdict verdict = {0, 1};
    if (!hold(shared, directory, path, O_NOFOLLOW, &held) || held.missing)
        return held.missing;
    uint64_t name[4];
    name[0] = W('/', 'p', 'r', 'o', 'c', '/', 's', 'e');
    name[1] = W('l', 'f', '/', 'f', 'd', '/', 0, 0);
    name[2] = name[3] = 0;
    char *to = (char *)name + 14;
    int64_t left = held.fd, digit = 1;
    while (left / digit > 9)
        digit *= 10;
    for (; digit; digit /= 10)
        *to++ = (char)('0' + left / digit % 10);
    verdict.value = call(SYS_fchmodat, (uint64_t)AT_FDCWD, (uint64_t)name, mode, 0, 0, shared->not_cookie);
    if (verdict.value == -ENOENT) /* there is no procfs */
        verdict.value = -ENOSYS;
    return release(shared, &held, verdict).value;
}

/* ---- one name -------------------------------------------------------------------------------------- */

/* Is what the call makes no more than the kernel makes of it, for a root of the view? */
CODE bool is_made_plainly(const struct shared *shared, struct here *here, long number,
                          const struct arguments *a, int directory, const char *path,
                          const volatile char *single)
{
    bool at = number == SYS_mkdirat || number == SYS_mknodat;
    uint64_t mode = at ? a->rdx : a->rsi, kind = mode & S_IFMT;
    bool is_directory = number == SYS_mkdir || number == SYS_mkdirat;
    bool is_link = number == SYS_symlink || number == SYS_symlinkat;
    if (!is_directory && !is_link && kind && kind != S_IFREG && kind != S_IFIFO && kind != S_IFSOCK)
        return false;
    mode = is_link ? 0 : is_directory ? mode & 01777 : mode;
    return makes_plainly(shared, here, mode, is_link ? 0 : is_directory ? 0700 : 0600, directory, path, single);
}

SECTION bool ends_in_a_name(const char *path)
{
    const char *end = path;
    while (*end)
        end++;
    if (end[-1] == '.')
        end -= end - path > 1 && end[-2] == '.' ? 2 : 1;
    return end > path && end[-1] != '/';
}

SECTION bool may_name(const struct shared *shared, struct here *here, uint32_t calls, long number,
                      const struct arguments *a, const struct path_call *p, const char *path,
                      const volatile char *single)
{
    if (p->kind == MAKES)
        return !(calls & SHOWN) || is_made_plainly(shared, here, number, a, p->directory, path, single);
    return number == SYS_utimensat || may_lose(shared, here, calls, p->directory, path, single);
}

/* What follows a link at the end, and would do something to the link: made at the file itself. */
CODE struct verdict change_file(const struct shared *shared, struct here *here, uint32_t calls, long number,
                                struct arguments *a, const struct path_call *p, const char *path,
                                const volatile char *single)
{
    struct verdict verdict = {0, 0};
    struct path_call at = *p;
    struct held held;
    char empty = 0;
    if (!*single || !hold(shared, p->directory, path, 0, &held))
        return verdict;
    at.at = 1;
    a->rdi = (uint64_t)held.fd;
    *(number == SYS_utimensat ? &a->r10 : &a->r8) |= AT_EMPTY_PATH;
    return release(shared, &held, make_here(shared, here, calls, number, a, &at, &empty, single));
}

SECTION __attribute__((noinline)) struct verdict
change_here(const struct shared *shared, struct here *here, uint32_t calls, long number,
            const struct arguments *a, const struct path_call *p, const char *path, struct route *route,
            const volatile char *single)
{
    struct verdict verdict = {0, 0};
    struct arguments real = *a;
    struct path_call at = *p;
    struct held held = {-1, 0, 0};
    number = with_directory(number, &real);
    bool is_single = *single, is_link = number == SYS_symlinkat, is_mode = number == SYS_fchmodat;
    if (p->follows && !is_mode && !(p->kind == OWNS && calls & SHOWN))
        return change_file(shared, here, calls, number, &real, p, path, single);
    if (!is_single && number == SYS_unlinkat && count_names(p, path))
        return verdict;
    if (is_single ? !hold_directory(shared, &at.directory, &path, route->name, &held)
                  : !has_no_link(shared, p, path, route, single))
        return verdict;
    at.at = 1 + is_link;
    *(is_link ? &real.rsi : &real.rdi) = (uint64_t)(int64_t)at.directory;
    if (p->kind == OWNS || may_name(shared, here, calls, number, &real, &at, path, single))
        verdict = make_here(shared, here, calls, number, &real, &at, path, single);
    return release(shared, &held, verdict);
}

/* ---- two names ------------------------------------------------------------------------------------- */

struct pair {
    struct path_call *first, *second;
    const char *from, *to;
};

CODE struct verdict make_pair(const struct shared *shared, struct here *here, uint32_t calls, long number,
                              struct arguments *a, const struct pair *pair, const volatile char *single)
{
    struct verdict none = {0, 0};
    if (number != SYS_linkat && !may_lose(shared, here, calls, pair->second->directory, pair->to, single))
        return none;
    a->rdi = (uint64_t)(int64_t)pair->first->directory;
    a->rsi = (uint64_t)pair->from;
    a->rdx = (uint64_t)(int64_t)pair->second->directory;
    a->r10 = (uint64_t)pair->to;
    return as_it_is(shared, number, a);
}

/* Do both names stand in the same directory, as far as the paths say? */
CODE bool are_neighbours(const struct pair *pair)
{
    size_t at = 0, from = 0, to = 0;
    while (pair->from[at] && pair->from[at] == pair->to[at])
        at++;
    for (size_t i = 0; pair->from[i]; i++)
        from = pair->from[i] == '/' ? i + 1 : from;
    for (size_t i = 0; pair->to[i]; i++)
        to = pair->to[i] == '/' ? i + 1 : to;
    return from == to && from <= at && pair->first->directory == pair->second->directory;
}

CODE struct verdict held_pair(const struct shared *shared, struct here *here, uint32_t calls, long number,
                              struct arguments *a, struct pair *pair, struct route *route,
                              const volatile char *single)
{
    struct verdict verdict = {0, 0};
    struct held first, second = {-1, 0, 0};
    bool is_one = are_neighbours(pair);
    const char *from = pair->from;
    if (!hold_directory(shared, &pair->first->directory, &pair->from, route->name, &first))
        return verdict;
    if (is_one) {
        pair->second->directory = pair->first->directory;
        pair->to += pair->from - from;
        verdict = make_pair(shared, here, calls, number, a, pair, single);
    } else if (hold_directory(shared, &pair->second->directory, &pair->to, route->name, &second)) {
        verdict = make_pair(shared, here, calls, number, a, pair, single);
        second.missing = first.missing ? 0 : second.missing; /* of the first one it is told first */
        verdict = release(shared, &second, verdict);
    }
    return release(shared, &first, verdict);
}

SECTION __attribute__((noinline)) struct verdict
pair_here(const struct shared *shared, struct here *here, uint32_t calls, long number, const struct arguments *a,
          const volatile char *single)
{
    struct verdict none = {0, 0};
    struct path_call first, second;
    struct route route;
    char room[ROOM];
    bool at = number != SYS_rename && number != SYS_link;
    bool is_single = *single; /* a handler may begin a thread */
    first.kind = PAIRS;
    first.at = 0;
    first.flags = 0;
    first.follows = false;
    first.writes = true;
    second = first;
    first.directory = at ? (int)a->rdi : AT_FDCWD;
    second.directory = at ? (int)a->rdx : AT_FDCWD;
    first.path = (const char *)(at ? a->rsi : a->rdi);
    second.path = (const char *)(at ? a->r10 : a->rsi);
    if ((number == SYS_linkat && (int)a->r8) || measure(first.path) <= 0 || measure(second.path) <= 0)
        return none;
    if (!ends_in_a_name(first.path) || !ends_in_a_name(second.path))
        return none;
    bool is_absolute = *first.path == '/';
    if (is_absolute != (*second.path == '/') || (!is_absolute && first.directory != second.directory))
        return none;
    const char *from = find(shared, &first, &route);
    if (!from || (!is_single && !has_no_link(shared, &first, from, &route, single)))
        return none;
    const struct entry *claim = route.claim;
    if (from != first.path) {
        for (size_t i = 0; i < ROOM; i++)
            room[i] = from[i];
        from = room;
    }
    const char *to = find(shared, &second, &route);
    bool is_link = number == SYS_link || number == SYS_linkat;
    if (!is_single && !is_link && (count_names(&first, from) || (to && count_names(&second, to))))
        return none;
    if (!to || route.claim != claim ||
        (!is_single && !has_no_link(shared, &second, to, &route, single)))
        return none;
    struct arguments real = *a;
    number = with_directory(number, &real);
    struct pair pair = {&first, &second, from, to};
    return is_single ? held_pair(shared, here, calls, number, &real, &pair, &route, single)
                     : make_pair(shared, here, calls, number, &real, &pair, single);
}
