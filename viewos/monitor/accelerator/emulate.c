/* The call made at the backing, for the tracee. Places are resolved, and have no link left. */
#include "accelerator.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

uint64_t argument(const struct call *c, int index)
{
    return index < 0 ? 0 : c->notification->data.args[index];
}

/* The n-th further argument of the call, 32 bits of it. */
uint32_t value(const struct call *c, int n)
{
    return (uint32_t)argument(c, c->rule->values[n]);
}

static uint64_t pointer(const struct call *c, int n)
{
    return argument(c, c->rule->values[n]);
}

enum outcome done(struct call *c, long result)
{
    c->result = result < 0 ? -errno : result;
    return ANSWER;
}

enum outcome fails(struct call *c, int number)
{
    c->result = -number;
    return ANSWER;
}

/* What was read belongs to this call only if it is still waiting. */
bool is_waiting(const struct call *c)
{
    uint64_t id = c->notification->id;
    return !ioctl(c->listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &id);
}

/* Write to where an argument points. */
enum outcome deliver(struct call *c, uint64_t address, const void *data, size_t size)
{
    if (!is_waiting(c))
        return ABANDONED;
    return write_exactly((int)c->notification->pid, address, data, size) ? ANSWER : PASS;
}

static enum outcome give(struct call *c, int n, const void *data, size_t size)
{
    return deliver(c, pointer(c, n), data, size);
}

/* ---- looking ------------------------------------------------------------------------------------ */

/* Has a link taken the place of what the call would follow? */
static bool is_exchanged(const struct call *c, uint32_t mode)
{
    return S_ISLNK(mode) && c->rule->path_count && follows(c, c->rule->paths);
}

static enum outcome stat_at(struct call *c, int directory, const char *path, uint32_t flags, bool is_place)
{
    struct owners *owners = c->level->owners;
    c->result = 0;
    if (c->rule->action == ACTION_STATX) {
        struct statx st;
        if (syscall(SYS_statx, directory, path, flags, value(c, 1), &st))
            return done(c, -1);
        if (is_place && is_exchanged(c, st.stx_mode))
            return PASS;
        if (owners && !owners_statx(owners, directory, path, (int)flags, &st))
            return PASS;
        return give(c, 2, &st, sizeof st);
    }
    struct stat st;
    if (syscall(SYS_newfstatat, directory, path, &st, flags))
        return done(c, -1);
    if (is_place && is_exchanged(c, st.st_mode))
        return PASS;
    if (owners && !owners_stat(owners, directory, path, (int)flags, &st))
        return PASS;
    return give(c, 0, &st, sizeof st);
}

static uint32_t stat_flags(const struct call *c)
{
    if (c->rule->action == ACTION_STATX)
        return value(c, 0);
    return c->rule->values[1] < 0 ? 0 : value(c, 1);
}

static enum outcome do_stat(struct call *c)
{
    struct spot spot;
    if (!take_directory(c->places, &spot))
        return PASS;
    return made_at(c, &spot, stat_at(c, spot.fd, spot.name, stat_flags(c) | AT_SYMLINK_NOFOLLOW, true));
}

/* May we act for the caller? */
bool is_like_us(struct call *c)
{
    return !(c->state.kind & STATE_CONFINED) && task_is_like_us(c);
}

/* The task, where what it has open may be acted on for it. */
static bool take_task(struct call *c)
{
    return task_take(c) && is_like_us(c);
}

/* What a descriptor stands for, which may have no name. */
enum outcome do_fstat(struct call *c, int fd)
{
    char name[32] = "cwd";
    uint32_t flags = stat_flags(c), known = AT_EMPTY_PATH | AT_NO_AUTOMOUNT | AT_STATX_SYNC_TYPE;
    if (fd < 0 && fd != AT_FDCWD)
        return CONTINUE; /* EBADF */
    if (c->rule->path_count && (!(flags & AT_EMPTY_PATH) || flags & ~known))
        return flags & AT_EMPTY_PATH ? PASS : CONTINUE; /* ENOENT */
    if (fd != AT_FDCWD)
        snprintf(name, sizeof name, "fd/%d", fd);
    if (!take_task(c))
        return PASS;
    if (faccessat(c->task->directory, name, F_OK, AT_SYMLINK_NOFOLLOW))
        return errno == ENOENT ? CONTINUE : PASS; /* EBADF */
    return stat_at(c, c->task->directory, name, flags & ~(uint32_t)AT_EMPTY_PATH, false);
}

/* ---- owners, for who may change all: a module's answer ------------------------------------------- */

static enum outcome change_at(struct call *c, int directory, const char *path, int flags, bool follow)
{
    uint8_t action = c->rule->action;
    struct change how = {
        .uid = value(c, 0), .gid = value(c, 1), .mode = value(c, 0), .follow = follow};
    how.is_mode = action == ACTION_MODE || action == ACTION_MODE_FD;
    if (c->accelerator->facts[c->state_index][CHANGES_OWNERS] != 1 || !c->level->owners ||
        !owners_change(c->level->owners, directory, path, flags, how))
        return PASS;
    c->result = 0;
    return ANSWER;
}

static bool has_known_flags(const struct call *c)
{
    uint32_t flags = c->rule->values[2] < 0 ? 0 : value(c, 2);
    return !(flags & ~(uint32_t)(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH));
}

static enum outcome do_change(struct call *c)
{
    struct spot spot;
    if (!has_known_flags(c) || !take_directory(c->places, &spot))
        return PASS;
    bool follow = follows(c, c->rule->paths);
    return made_at(c, &spot, change_at(c, spot.fd, spot.name, O_NOFOLLOW, follow));
}

/* `c->path` is one name, in a view that changes no names. */
enum outcome do_change_name(struct call *c, int directory, bool follow)
{
    char name[LONGEST + 32];
    if (directory == AT_FDCWD)
        snprintf(name, sizeof name, "cwd/%s", c->path);
    else
        snprintf(name, sizeof name, "fd/%d/%s", directory, c->path);
    if (!take_task(c) || !has_known_flags(c))
        return PASS;
    return is_waiting(c) ? change_at(c, c->task->directory, name, O_NOFOLLOW, follow) : ABANDONED;
}

enum outcome do_change_fd(struct call *c, int fd)
{
    char name[32];
    struct stat st;
    snprintf(name, sizeof name, "fd/%d", fd);
    if (fd < 0 || !take_task(c))
        return PASS;
    /* What is open for nothing (O_PATH) shows no permission there. */
    if (fstatat(c->task->directory, name, &st, AT_SYMLINK_NOFOLLOW) || !(st.st_mode & 0700) ||
        !is_waiting(c))
        return PASS;
    return change_at(c, c->task->directory, name, 0, false);
}

static enum outcome do_access(struct call *c)
{
    uint32_t flags = c->rule->values[1] < 0 ? 0 : value(c, 1);
    struct spot spot;
    if (!take_file(c, &spot))
        return PASS;
    return made_at(c, &spot, done(c, syscall(SYS_faccessat2, spot.fd, "", value(c, 0),
                                             flags | AT_EMPTY_PATH)));
}

static enum outcome do_readlink(struct call *c)
{
    uint32_t size = value(c, 1);
    if (!size || size >> 31)
        return fails(c, EINVAL);
    struct spot spot;
    if (!take_directory(c->places, &spot))
        return PASS;
    long length = readlinkat(spot.fd, spot.name, c->text, LONGEST);
    enum outcome outcome = made_at(c, &spot, done(c, length));
    if (length < 0)
        return outcome;
    c->result = length < (long)size ? length : (long)size;
    return give(c, 0, c->text, (size_t)c->result);
}

enum outcome do_getcwd(struct call *c)
{
    struct place *p = c->places;
    char *name = p->kernel;
    long length = task_directory(c->accelerator, c->task, "cwd", c->text);
    if (length < 0)
        return PASS;
    if (!reverse(c->claims, c->text, (size_t)length, c->state.cwd, name, &p->kernel_length,
                 &c->scratch, NULL))
        return PASS;
    if (p->kernel_length + 1 > pointer(c, 1))
        return fails(c, ERANGE);
    c->result = (int64_t)p->kernel_length + 1;
    return give(c, 0, name, p->kernel_length + 1);
}

/* ---- changing ------------------------------------------------------------------------------------- */

static enum outcome do_mkdir(struct call *c)
{
    mode_t before;
    struct spot spot;
    if (!take_directory(c->places, &spot))
        return PASS;
    if (!take_umask(c, &before))
        return made_at(c, &spot, PASS);
    enum outcome outcome = done(c, syscall(SYS_mkdirat, spot.fd, spot.name, value(c, 0) & 0xffff));
    umask(before);
    return made_at(c, &spot, outcome);
}

static enum outcome do_unlink(struct call *c)
{
    uint32_t flags = c->notification->data.nr == SYS_rmdir ? AT_REMOVEDIR : value(c, 0);
    struct spot spot;
    if (!take_directory(c->places, &spot))
        return PASS;
    return made_at(c, &spot, done(c, syscall(SYS_unlinkat, spot.fd, spot.name, flags)));
}

/* What is missing of the first is told first. */
static enum outcome do_two_names(struct call *c, long number, uint32_t flags)
{
    struct spot old, new;
    if (!take_directory(c->places, &old))
        return PASS;
    if (!take_directory(c->places + 1, &new))
        return made_at(c, &old, PASS);
    enum outcome outcome = done(c, syscall(number, old.fd, old.name, new.fd, new.name, flags));
    return made_at(c, &new, made_at(c, &old, outcome));
}

static enum outcome do_symlink(struct call *c)
{
    long length = read_string((int)c->notification->pid, argument(c, 0), c->text);
    if (length <= 0 || !is_waiting(c))
        return PASS;
    struct spot spot;
    if (!take_directory(c->places, &spot))
        return PASS;
    return made_at(c, &spot, done(c, syscall(SYS_symlinkat, c->text, spot.fd, spot.name)));
}

/* It is of Linux 6.6, and profiles of containers that do not know it say EPERM. */
static bool has_fchmodat2(void)
{
    static _Atomic int known;
    if (!known)
        known = syscall(SYS_FCHMODAT2, -1, "name", 0, 0) && errno == EBADF ? 1 : -1;
    return known > 0;
}

static enum outcome do_chmod(struct call *c)
{
    uint32_t mode = value(c, 0) & 0xffff;
    char name[32] = "missing";
    struct spot spot;
    if (!take_file(c, &spot))
        return PASS;
    if (spot.fd >= 0 && has_fchmodat2())
        return made_at(c, &spot, done(c, syscall(SYS_FCHMODAT2, spot.fd, "", mode, AT_EMPTY_PATH)));
    if (spot.fd >= 0)
        snprintf(name, sizeof name, "/proc/self/fd/%d", spot.fd);
    return made_at(c, &spot, done(c, syscall(SYS_fchmodat, spot.fd, name, mode)));
}

static enum outcome do_utimens(struct call *c)
{
    struct timespec times[2];
    bool is_now = !pointer(c, 0);
    if (!is_now && !read_exactly((int)c->notification->pid, pointer(c, 0), times, sizeof times))
        return PASS;
    if (!is_waiting(c))
        return ABANDONED;
    struct spot spot;
    if (!take_file(c, &spot))
        return PASS;
    return made_at(c, &spot, done(c, syscall(SYS_utimensat, spot.fd, "", is_now ? NULL : times,
                                             value(c, 1) | AT_EMPTY_PATH)));
}

enum outcome emulate(struct call *c)
{
    uint8_t action = c->rule->action;
    if (action >= ACTION_MKDIR && !is_waiting(c))
        return ABANDONED;
    switch (action) {
    case ACTION_OPEN:
        return do_open(c);
    case ACTION_STAT:
    case ACTION_STATX:
        return do_stat(c);
    case ACTION_ACCESS:
        return do_access(c);
    case ACTION_READLINK:
        return do_readlink(c);
    case ACTION_MKDIR:
        return do_mkdir(c);
    case ACTION_UNLINK:
        return do_unlink(c);
    case ACTION_RENAME:
        return do_two_names(c, SYS_renameat2, value(c, 0));
    case ACTION_LINK:
        if (value(c, 0) & ~(uint32_t)AT_SYMLINK_FOLLOW)
            return PASS;
        return do_two_names(c, SYS_linkat, 0);
    case ACTION_SYMLINK:
        return do_symlink(c);
    case ACTION_CHMOD:
        return do_chmod(c);
    case ACTION_UTIMENS:
        return do_utimens(c);
    case ACTION_OWN:
    case ACTION_MODE:
        return do_change(c);
    }
    return PASS;
}
