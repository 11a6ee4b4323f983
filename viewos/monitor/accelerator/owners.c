/* Who owns a file in the view: how a module shows files of which it remembers nothing, and a cache of
 * what it remembers. A file that may be remembered, and is not in the cache, is Python's. */
#include "accelerator.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum { SLOTS = 1 << 16, PROBES = 8, HANDLE_FID = 0x200, MIRRORS = 8, DEVICES = 16 };

struct slot {
    _Atomic uint32_t sequence; /* odd: being written */
    uint32_t uid, gid, mode;   /* mode 0: the real one */
    uint64_t device, inode, rdev;
    bool has_more;
    struct handle handle;
};

struct owners {
    pthread_mutex_t changing; /* Python takes it, and then writes what it likes, while `held` is not 0 */
    int held;
    _Atomic size_t changed_count, device_count;
    struct changed changed[CHANGED];
    uint64_t devices[DEVICES]; /* whose files may be changed here */
    struct shown shown;
    struct unseen unseen;
    uint32_t mirror_count;
    struct shown *mirrors[MIRRORS]; /* where programs can read it */
    struct slot slots[SLOTS];
};

/* What stat and statx have in common. */
struct owned {
    uint64_t device, inode;
    uint32_t uid, gid, mode;
    uint64_t rdev;
};

static bool map_add(struct map *map, uint32_t from, uint32_t to)
{
    if (map->count == MAPPED)
        return false;
    map->from[map->count] = from;
    map->to[map->count++] = to;
    return true;
}

/* ---- Python's side, under its lock ---------------------------------------------------------- */

struct owners *owners_new(int64_t owner, int64_t group, struct unseen unseen)
{
    struct owners *o = calloc(1, sizeof *o); /* untouched pages cost nothing */
    if (o) {
        pthread_mutex_init(&o->changing, NULL);
        o->shown.uids.others = owner;
        o->shown.gids.others = group;
        o->unseen = unseen;
    }
    return o;
}

void owners_free(struct owners *o)
{
    free(o);
}

bool owners_map(struct owners *o, bool is_group, uint32_t from, uint32_t to)
{
    return map_add(is_group ? &o->shown.gids : &o->shown.uids, from, to);
}

static struct slot *home(struct owners *o, uint64_t inode)
{
    return o->slots + mixed(inode) % (SLOTS - PROBES);
}

static void set_maybe(struct shown *s, uint64_t inode)
{
    uint64_t bit = mixed(inode) % BITS;
    atomic_fetch_or(s->maybe + bit / 64, UINT64_C(1) << bit % 64);
}

void owners_maybe(struct owners *o, uint64_t inode)
{
    set_maybe(&o->shown, inode);
    for (uint32_t i = 0; i < o->mirror_count; i++)
        set_maybe(o->mirrors[i], inode);
    for (struct slot *at = home(o, inode), *end = at + PROBES; at < end; at++)
        if (at->inode == inode) {
            atomic_fetch_add(&at->sequence, 1);
            at->handle.size = 0; /* no file's */
            atomic_fetch_add(&at->sequence, 1);
        }
}

static bool mirror(struct owners *o, struct shown *to)
{
    for (uint32_t i = 0; i < o->mirror_count; i++)
        if (o->mirrors[i] == to)
            return true;
    if (o->unseen.count || o->mirror_count == MIRRORS)
        return false;
    o->mirrors[o->mirror_count++] = to;
    to->uids = o->shown.uids;
    to->gids = o->shown.gids;
    for (size_t i = 0; i < BITS / 64; i++)
        to->maybe[i] = o->shown.maybe[i];
    to->is_known = true;
    return true;
}

bool owners_mirror(struct owners *o, struct shown *to)
{
    pthread_mutex_lock(&o->changing);
    bool is_there = mirror(o, to);
    pthread_mutex_unlock(&o->changing);
    return is_there;
}

void owners_leave_mirrors(struct owners *o)
{
    pthread_mutex_lock(&o->changing);
    while (o->mirror_count)
        o->mirrors[--o->mirror_count]->is_known = false;
    pthread_mutex_unlock(&o->changing);
}

void owners_remember(struct owners *o, const struct remembered *what)
{
    struct slot *first = home(o, what->inode), *s = first;
    for (int i = 0; i < PROBES; i++) {
        struct slot *at = first + i;
        if (at->inode == what->inode && at->device == what->device) {
            s = at;
            break;
        }
        if (!at->inode && s->inode)
            s = at;
    }
    owners_maybe(o, what->inode);
    atomic_fetch_add(&s->sequence, 1);
    s->uid = what->uid;
    s->gid = what->gid;
    s->mode = what->mode;
    s->rdev = what->rdev;
    s->has_more = what->has_more;
    s->device = what->device;
    s->inode = what->inode;
    s->handle = what->handle;
    atomic_fetch_add(&s->sequence, 1);
}

/* ---- the receivers' side ------------------------------------------------------------------------- */

static bool recall(struct owners *o, uint64_t device, uint64_t inode, struct slot *to)
{
    struct slot *first = home(o, inode);
    for (int i = 0; i < PROBES; i++) {
        struct slot *at = first + i;
        uint32_t before = at->sequence;
        if (before & 1 || at->inode != inode || at->device != device)
            continue;
        to->uid = at->uid;
        to->gid = at->gid;
        to->mode = at->mode;
        to->rdev = at->rdev;
        to->has_more = at->has_more;
        to->handle = at->handle;
        atomic_thread_fence(memory_order_acquire);
        return at->sequence == before;
    }
    return false;
}

static bool is_up_to_date(const struct owners *o)
{
    for (size_t i = 0; i < o->unseen.count; i++)
        if (o->unseen.now[i] != o->unseen.seen[i])
            return false;
    return true;
}

static bool handle_of(int directory, const char *path, int flags, struct handle *to)
{
    struct {
        struct file_handle head;
        unsigned char bytes[128];
    } found = {.head.handle_bytes = 128};
    int mount;
    if (syscall(SYS_name_to_handle_at, directory, path, &found, &mount, HANDLE_FID | flags) ||
        found.head.handle_bytes > sizeof to->bytes)
        return false;
    to->type = found.head.handle_type;
    to->size = found.head.handle_bytes;
    memcpy(to->bytes, found.head.f_handle, to->size);
    return true;
}

static bool is_same(const struct handle *a, const struct handle *b)
{
    return a->size == b->size && a->type == b->type && !memcmp(a->bytes, b->bytes, a->size);
}

/* Is it the file that the handle is of? */
static bool has_handle(int directory, const char *path, int flags, const struct handle *expected)
{
    struct handle found;
    int at = flags & AT_SYMLINK_NOFOLLOW ? 0 : AT_SYMLINK_FOLLOW;
    return handle_of(directory, path, at, &found) && is_same(&found, expected);
}

/* Show the file as its owner's in the view; false: not certain. */
static bool show(struct owners *o, int directory, const char *path, int flags, struct owned *f)
{
    if (!is_up_to_date(o))
        return false;
    if (!owners_may(o, f->inode)) {
        f->uid = map_show(&o->shown.uids, f->uid);
        f->gid = map_show(&o->shown.gids, f->gid);
        return true;
    }
    struct slot slot;
    if (!recall(o, f->device, f->inode, &slot) ||
        !has_handle(directory, path, flags, &slot.handle))
        return false;
    f->uid = slot.uid;
    f->gid = slot.gid;
    if (slot.mode)
        f->mode = slot.mode;
    if (slot.rdev)
        f->rdev = slot.rdev;
    return true;
}

/* May the module show more of the file than what others have? */
bool owners_may(const struct owners *o, uint64_t inode)
{
    return !is_up_to_date(o) || shown_maybe(&o->shown, inode);
}

bool owners_stat(struct owners *o, int directory, const char *path, int flags, struct stat *st)
{
    struct owned f = {st->st_dev, st->st_ino, st->st_uid, st->st_gid, st->st_mode, st->st_rdev};
    if (!show(o, directory, path, flags, &f))
        return false;
    st->st_uid = f.uid;
    st->st_gid = f.gid;
    st->st_mode = f.mode;
    st->st_rdev = f.rdev;
    return true;
}

bool owners_statx(struct owners *o, int directory, const char *path, int flags, struct statx *st)
{
    struct owned f = {makedev(st->stx_dev_major, st->stx_dev_minor), st->stx_ino, st->stx_uid,
                      st->stx_gid, st->stx_mode, makedev(st->stx_rdev_major, st->stx_rdev_minor)};
    if (!show(o, directory, path, flags, &f))
        return false;
    st->stx_uid = f.uid;
    st->stx_gid = f.gid;
    st->stx_mode = (uint16_t)f.mode;
    st->stx_rdev_major = major(f.rdev);
    st->stx_rdev_minor = minor(f.rdev);
    return true;
}

/* ---- changes by a root of the view: attributes.py is the reference --------------------------------- */

bool owners_allow(struct owners *o, uint64_t device)
{
    pthread_mutex_lock(&o->changing);
    bool has_room = o->device_count < DEVICES;
    if (has_room)
        o->devices[o->device_count++] = device;
    pthread_mutex_unlock(&o->changing);
    return has_room;
}

bool owners_take(struct owners *o, int hold, struct changed **to, size_t *count)
{
    if (!hold && !o->changed_count)
        return true;
    pthread_mutex_lock(&o->changing);
    *count = o->changed_count;
    *to = malloc(*count * sizeof **to);
    bool is_done = *to || !*count;
    if (is_done) {
        memcpy(*to, o->changed, *count * sizeof **to);
        o->changed_count = 0;
        o->held += hold;
    }
    pthread_mutex_unlock(&o->changing);
    return is_done;
}

static bool may_change(const struct owners *o, uint64_t device)
{
    if (o->held || o->changed_count == CHANGED || !is_up_to_date(o))
        return false;
    for (size_t i = 0; i < o->device_count; i++)
        if (o->devices[i] == device)
            return true;
    return false;
}

/* The mode after a change of owner, by one who has CAP_FSETID. */
static uint32_t without_set_ids(uint32_t mode)
{
    if (S_ISDIR(mode) || S_ISLNK(mode))
        return mode;
    return mode & ~(uint32_t)(S_ISUID | (mode & S_IXGRP ? S_ISGID : 0));
}

/* `fd` is an O_PATH descriptor. */
static bool own(int fd, uint32_t real, struct change how, struct remembered *f, bool *is_known)
{
    uint32_t shown = f->mode ? f->mode : real, mode = without_set_ids(shown);
    uint32_t uid = how.uid == UINT32_MAX ? f->uid : how.uid;
    uint32_t gid = how.gid == UINT32_MAX ? f->gid : how.gid;
    if (fchownat(fd, "", (uid_t)-1, (gid_t)-1, AT_EMPTY_PATH)) /* its change time */
        return false;
    if (!*is_known && uid == f->uid && gid == f->gid && mode == shown)
        return true;
    f->uid = uid;
    f->gid = gid;
    if (f->mode || mode != real)
        f->mode = mode;
    return *is_known = true;
}

static bool set_mode(int fd, uint32_t *real, struct change how, struct remembered *f, bool *is_known)
{
    uint32_t kind = (f->mode ? f->mode : *real) & S_IFMT, mode = kind | (how.mode & 07777);
    bool is_directory = S_ISDIR(*real);
    if (S_ISLNK(kind) || (is_directory && mode & S_ISGID)) /* what is made in it inherits */
        return false;
    uint32_t wanted = (mode & 01777) | (is_directory ? 0700 : 0600);
    char name[32];
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    if (!chmod(name, wanted))
        *real = (*real & S_IFMT) | wanted;
    else if (errno != EPERM)
        return false;
    if (*is_known || mode != *real) {
        f->mode = mode;
        *is_known = true;
    }
    return true;
}

static bool change(struct owners *o, int fd, struct change how)
{
    struct stat st;
    struct changed new = {0};
    struct remembered *f = &new.now;
    if (fstat(fd, &st) || (how.follow && S_ISLNK(st.st_mode)) || !may_change(o, st.st_dev) ||
        !handle_of(fd, "", AT_EMPTY_PATH, &f->handle))
        return false;
    f->device = st.st_dev;
    f->inode = st.st_ino;
    new.real = st.st_mode;
    bool is_known = shown_maybe(&o->shown, st.st_ino);
    struct slot slot;
    if (!is_known) {
        f->uid = map_show(&o->shown.uids, st.st_uid);
        f->gid = map_show(&o->shown.gids, st.st_gid);
    } else if (recall(o, st.st_dev, st.st_ino, &slot) && is_same(&slot.handle, &f->handle) &&
               !slot.has_more) {
        f->uid = slot.uid;
        f->gid = slot.gid;
        f->mode = slot.mode;
        f->rdev = slot.rdev;
    } else
        return false;
    if (!(how.is_mode ? set_mode(fd, &new.real, how, f, &is_known)
                      : own(fd, st.st_mode, how, f, &is_known)))
        return false;
    if (is_known) {
        owners_remember(o, f);
        o->changed[o->changed_count++] = new;
    }
    return true;
}

bool owners_change(struct owners *o, int directory, const char *path, int flags, struct change how)
{
    int fd = o->device_count ? openat(directory, path, O_PATH | O_CLOEXEC | flags) : -1;
    if (fd < 0)
        return false;
    pthread_mutex_lock(&o->changing);
    bool is_done = change(o, fd, how);
    pthread_mutex_unlock(&o->changing);
    close(fd);
    return is_done;
}
