/* Who owns a file in the view: how a module shows files of which it remembers nothing, and a cache of
 * what it remembers. A file that may be remembered, and is not in the cache, is Python's. */
#include "accelerator.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "owners.h"

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

static void set_bit(_Atomic uint64_t *bits, uint64_t inode)
{
    uint32_t bit = inode_bit(inode);
    atomic_fetch_or(bits + bit / 64, UINT64_C(1) << bit % 64);
}

static void set_maybe(struct owners *o, uint64_t inode)
{
    set_bit(o->shown.maybe, inode);
    for (uint32_t i = 0; i < o->mirror_count; i++)
        set_bit(o->mirrors[i]->maybe, inode);
}

void owners_maybe(struct owners *o, uint64_t inode)
{
    set_bit(o->unsure, inode);
    set_maybe(o, inode);
    for (struct slot *at = home(o, inode), *end = at + PROBES; at < end; at++)
        if (at->inode == inode) {
            atomic_fetch_add(&at->sequence, 1);
            at->handle.size = 0; /* no file's */
            atomic_fetch_add(&at->sequence, 1);
        }
}

/* What programs cannot see is whether others have written. */
static void tell_mirrors(struct owners *o)
{
    bool is_known = !o->unseen.count || o->is_alone;
    for (uint32_t i = 0; i < o->mirror_count; i++) {
        o->mirrors[i]->plainly = is_known ? o->shown.plainly : NOWHERE;
        o->mirrors[i]->is_known = is_known;
    }
}

static bool mirror(struct owners *o, struct shown *to)
{
    for (uint32_t i = 0; i < o->mirror_count; i++)
        if (o->mirrors[i] == to)
            return true;
    if (o->mirror_count == MIRRORS)
        return false;
    o->mirrors[o->mirror_count++] = to;
    to->uids = o->shown.uids;
    to->gids = o->shown.gids;
    for (uint32_t i = 0; i < o->shown.device_count; i++)
        to->devices[i] = o->shown.devices[i];
    to->device_count = o->shown.device_count;
    to->notes = o->shown.notes;
    for (size_t i = 0; i < BITS / 64; i++)
        to->maybe[i] = o->shown.maybe[i];
    tell_mirrors(o);
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
    while (o->mirror_count) {
        o->mirrors[--o->mirror_count]->is_known = false;
        o->mirrors[o->mirror_count]->plainly = NOWHERE;
    }
    notes_hold(o, 1); /* for good; what has been noted is taken as ever */
    pthread_mutex_unlock(&o->changing);
}

void owners_make_plainly(struct owners *o, uint32_t where)
{
    pthread_mutex_lock(&o->changing);
    o->shown.plainly = where;
    tell_mirrors(o);
    pthread_mutex_unlock(&o->changing);
}

void owners_be_alone(struct owners *o, uint32_t is_alone)
{
    pthread_mutex_lock(&o->changing);
    o->is_alone = is_alone;
    tell_mirrors(o);
    pthread_mutex_unlock(&o->changing);
}

bool owners_are_plain(const struct owners *o)
{
    return o->shown.plainly == EVERYWHERE && owners_are_up_to_date(o);
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
    if (s->inode && (s->inode != what->inode || s->device != what->device))
        set_bit(o->unsure, s->inode); /* it has to leave */
    set_maybe(o, what->inode);
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

enum recalled owners_recall(struct owners *o, uint64_t device, uint64_t inode, struct slot *to)
{
    if (!shown_maybe(&o->shown, inode))
        return UNKNOWN;
    struct slot *first = home(o, inode);
    for (int i = 0; i < PROBES; i++) {
        struct slot *at = first + i;
        uint32_t before = at->sequence;
        if (before & 1)
            return PYTHONS;
        if (at->inode != inode || at->device != device)
            continue;
        to->uid = at->uid;
        to->gid = at->gid;
        to->mode = at->mode;
        to->rdev = at->rdev;
        to->has_more = at->has_more;
        to->handle = at->handle;
        atomic_thread_fence(memory_order_acquire);
        return at->sequence == before ? KNOWN : PYTHONS;
    }
    return is_set(o->unsure, inode_bit(inode)) ? PYTHONS : UNKNOWN;
}

bool owners_are_up_to_date(const struct owners *o)
{
    const struct unseen *u = &o->unseen;
    uint64_t now[UNSEEN];
    size_t size = u->count * sizeof *now;
    if (size && pread(u->descriptor, now, size, u->offset) != (ssize_t)size)
        return false; /* somebody has emptied it */
    for (size_t i = 0; i < u->count; i++)
        if (now[i] != u->seen[i])
            return false;
    return true;
}

bool handle_of(int directory, const char *path, int flags, struct handle *to)
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

bool is_same_handle(const struct handle *a, const struct handle *b)
{
    return a->size == b->size && a->type == b->type && !memcmp(a->bytes, b->bytes, a->size);
}

/* Is it the file that the handle is of? */
static bool has_handle(int directory, const char *path, int flags, const struct handle *expected)
{
    struct handle found;
    int at = flags & AT_SYMLINK_NOFOLLOW ? 0 : AT_SYMLINK_FOLLOW;
    return handle_of(directory, path, at, &found) && is_same_handle(&found, expected);
}

/* Show the file as its owner's in the view; false: not certain. */
static bool show(struct owners *o, int directory, const char *path, int flags, struct owned *f)
{
    if (!owners_are_up_to_date(o) || !notes_settle(o))
        return false;
    struct slot slot;
    enum recalled what = owners_recall(o, f->device, f->inode, &slot);
    if (what == UNKNOWN) {
        f->uid = map_show(&o->shown.uids, f->uid);
        f->gid = map_show(&o->shown.gids, f->gid);
        return true;
    }
    if (what != KNOWN || !has_handle(directory, path, flags, &slot.handle))
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
    return !owners_are_up_to_date(o) || notes_are_left(o) || shown_maybe(&o->shown, inode);
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
