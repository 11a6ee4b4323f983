/* open(2) made at the backing: the descriptor is put into the tracee. */
#include "accelerator.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

uint32_t open_flags(const struct call *c)
{
    return c->rule->values[0] < 0 ? O_CREAT | O_WRONLY | O_TRUNC : value(c, 0);
}

static const char umask_line[] = "\nUmask:";

/* Has the tracee surely a descriptor left? The last one is free. */
static bool has_descriptor(const struct call *c)
{
    char name[32];
    struct rlimit limit;
    if (prlimit((int)c->notification->pid, RLIMIT_NOFILE, NULL, &limit) || !limit.rlim_cur)
        return false;
    snprintf(name, sizeof name, "fd/%lu", limit.rlim_cur - 1);
    return faccessat(c->task->directory, name, F_OK, AT_SYMLINK_NOFOLLOW) && errno == ENOENT;
}

/* Take on the tracee's umask. */
bool take_umask(struct call *c, mode_t *before)
{
    char *line;
    if (!c->own_umask || !read_status(c) ||
        !(line = strstr(c->status, umask_line)) || !is_waiting(c))
        return false;
    *before = umask((mode_t)strtoul(line + sizeof umask_line - 1, NULL, 8));
    return true;
}

/* Our own copy is closed before the tracee runs: locks, ETXTBSY, ends of pipes. */
enum outcome inject(struct call *c, int fd, uint32_t flags)
{
    struct seccomp_notif_addfd add = {
        .id = c->notification->id,
        .srcfd = (uint32_t)fd,
        .newfd_flags = flags & O_CLOEXEC,
    };
    int number;
    do
        number = ioctl(c->listener, SECCOMP_IOCTL_NOTIF_ADDFD, &add);
    while (number < 0 && errno == EINTR);
    int failed = errno;
    close(fd);
    if (number >= 0)
        return done(c, number);
    return failed == ENOENT ? ABANDONED : fails(c, failed);
}

/* FIFOs, devices and sockets are opened by the tracee itself. */
static bool is_ordinary(const struct place *p)
{
    struct stat st;
    if (fstatat(AT_FDCWD, p->real, &st, AT_SYMLINK_NOFOLLOW))
        return true;
    return S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) || S_ISLNK(st.st_mode);
}

/* ---- what a call is made with instead of a path ---------------------------------------------------- */

/* No link is followed to `path`: one that has been put on the way would be, in the machine's root. Where
 * nothing is, of a call that is made with the descriptor -1 the kernel tells what else is wrong with it. */
static bool hold(const char *path, uint32_t flags, struct spot *to)
{
    struct open_how how = {.flags = O_PATH | O_CLOEXEC | flags, .resolve = RESOLVE_NO_SYMLINKS};
    to->fd = (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how);
    to->missing = to->fd < 0 ? errno : 0;
    return to->missing != ELOOP && to->missing != EMFILE && to->missing != ENFILE;
}

bool take_file(const struct call *c, struct spot *to)
{
    to->name = "";
    return hold(c->places->real, follows(c, c->rule->paths) ? 0 : O_NOFOLLOW, to);
}

bool take_directory(struct place *p, struct spot *to)
{
    size_t end = p->real_length;
    while (end > 1 && p->real[end - 1] == '/')
        end--;
    while (end > 1 && p->real[end - 1] != '/')
        end--;
    to->name = p->real + end;
    if (p->real_length == 1) {
        *to = (struct spot){.fd = AT_FDCWD, .name = p->real};
        return true;
    }
    char first = p->real[end];
    p->real[end] = 0;
    bool is_held = hold(p->real, O_DIRECTORY, to);
    p->real[end] = first;
    return is_held;
}

enum outcome made_at(struct call *c, const struct spot *s, enum outcome outcome)
{
    if (outcome == ANSWER && c->result == -EBADF && s->missing)
        c->result = -s->missing;
    if (s->fd >= 0)
        close(s->fd);
    return outcome;
}

/* ---- open(2) --------------------------------------------------------------------------------------- */

enum {
    LARGE = 0100000, /* O_LARGEFILE as the kernel knows it */
    OPEN_FLAGS = O_ACCMODE | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_APPEND | O_NONBLOCK | O_SYNC |
                 O_DSYNC | FASYNC | O_DIRECT | O_DIRECTORY | O_NOFOLLOW | O_NOATIME | LARGE | O_TMPFILE,
};

/* As the kernel's build_open_how() makes it of what openat(2) is given, but for links: one that has
 * taken a file's place meanwhile would be followed in the machine's root. */
static int open_plainly(const char *path, uint32_t flags, uint32_t mode)
{
    struct open_how how = {
        .flags = (flags & OPEN_FLAGS) | LARGE | O_CLOEXEC,
        .mode = flags & O_CREAT ? mode & 07777 : 0,
        .resolve = RESOLVE_NO_SYMLINKS,
    };
    return (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how);
}

enum outcome do_open(struct call *c)
{
    const struct place *p = c->places;
    uint32_t flags = open_flags(c), mode = value(c, 1) & 0xffff;
    if (flags & O_PATH || (flags & O_TMPFILE) == O_TMPFILE || !is_ordinary(p))
        return PASS;
    mode_t before = 0;
    bool makes = flags & (O_CREAT | O_TRUNC);
    /* Natively EMFILE comes before anything happens to a file. */
    if (makes && (!has_descriptor(c) || !take_umask(c, &before)))
        return PASS;
    int fd = open_plainly(p->real, flags, mode);
    int failed = errno;
    if (makes)
        umask(before);
    if (fd >= 0)
        return inject(c, fd, flags);
    if (failed == EMFILE || failed == ELOOP) /* ours, or a link perhaps: nothing has happened yet */
        return PASS;
    return makes || has_descriptor(c) ? fails(c, failed) : PASS; /* ... and before it fails */
}
