/* Changes of owners and modes by a root of the view: made here, as attributes.py has them, or by
 * programs, which have noted them (inproc/own.c). */
#include "accelerator.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "owners.h"

bool owners_allow(struct owners *o, uint64_t device)
{
    pthread_mutex_lock(&o->changing);
    uint32_t count = o->shown.device_count;
    bool has_room = count < DEVICES;
    if (has_room) {
        o->shown.devices[count] = device;
        o->shown.device_count = count + 1;
        for (uint32_t i = 0; i < o->mirror_count; i++) {
            o->mirrors[i]->devices[count] = device;
            o->mirrors[i]->device_count = count + 1;
        }
    }
    pthread_mutex_unlock(&o->changing);
    return has_room;
}

/* ---- what programs have noted --------------------------------------------------------------------- */

bool owners_note_in(struct owners *o, struct notes *notes, uint32_t number)
{
    pthread_mutex_lock(&o->changing);
    bool is_free = !o->notes;
    if (is_free) {
        notes->number = number;
        notes->held = (uint32_t)o->held;
        o->notes = notes;
        o->shown.notes = number;
        for (uint32_t i = 0; i < o->mirror_count; i++)
            o->mirrors[i]->notes = number;
    }
    pthread_mutex_unlock(&o->changing);
    return is_free;
}

void notes_hold(struct owners *o, int hold)
{
    if (o->notes)
        o->notes->held += (uint32_t)hold;
}

static void believe(struct owners *o, const struct note *note)
{
    struct changed new = {0};
    struct remembered *f = &new.now;
    f->device = note->device;
    f->inode = note->inode;
    f->uid = note->uid;
    f->gid = note->gid;
    f->handle = note->handle;
    new.real = note->real;
    if (f->handle.size > sizeof f->handle.bytes || !shown_allows(&o->shown, f->device))
        return; /* no code of ours has written that */
    owners_remember(o, f);
    o->changed[o->changed_count++] = new;
}

/* Take the note, if it has been written. One of a file of which something is remembered meanwhile
 * is left: its program looks at that once more before it goes on, and takes it back. */
static void take_note(struct owners *o, struct note *note, uint64_t lap)
{
    uint64_t state = note->state, after = (lap + 1) * NOTE_STATES;
    if (state % NOTE_STATES == NOTE_FREE && state < after) {
        /* Who has taken this place to write there has not begun, and now is too late. */
        if (atomic_compare_exchange_strong(&note->state, &state, after))
            return;
    }
    if (state % NOTE_STATES != NOTE_WRITTEN || shown_maybe(&o->shown, note->inode))
        return;
    uint64_t taking = state - NOTE_WRITTEN + NOTE_BEING_TAKEN;
    if (atomic_compare_exchange_strong(&note->state, &state, taking)) {
        struct note copy;
        memcpy((char *)&copy + sizeof copy.state, (char *)note + sizeof copy.state,
               sizeof copy - sizeof copy.state);
        believe(o, &copy);
        note->state = after;
    }
}

/* With the lock. False: there are more of them than there is room for. */
static bool take_notes(struct owners *o)
{
    struct notes *notes = o->notes;
    if (!notes || notes->written == o->notes_seen)
        return true;
    uint64_t written = notes->written, next = notes->next;
    bool is_first = true;
    if (next - o->notes_from > NOTES)
        o->notes_from = next - NOTES;
    for (uint64_t at = o->notes_from; at != next; at++) {
        struct note *note = notes->notes + at % NOTES;
        if (o->changed_count == CHANGED)
            return false;
        take_note(o, note, at / NOTES);
        is_first = is_first && note->state % NOTE_STATES == NOTE_FREE;
        if (is_first)
            o->notes_from = at + 1;
    }
    o->notes_seen = written;
    return true;
}

bool notes_are_left(const struct owners *o)
{
    const struct notes *notes = o->notes;
    return notes && notes->written != o->notes_seen;
}

bool notes_settle(struct owners *o)
{
    if (!notes_are_left(o))
        return true;
    pthread_mutex_lock(&o->changing);
    bool is_done = !o->held && take_notes(o);
    pthread_mutex_unlock(&o->changing);
    return is_done;
}

/* ---- Python takes all ------------------------------------------------------------------------------ */

/* With the lock: all that has been changed, behind what is there; false: no memory. */
static bool take_all(struct owners *o, struct changed **to, size_t *count)
{
    bool is_all;
    do {
        is_all = take_notes(o);
        size_t more = o->changed_count;
        if (!more)
            break;
        struct changed *larger = realloc(*to, (*count + more) * sizeof **to);
        if (!larger)
            return false;
        memcpy(larger + *count, o->changed, more * sizeof **to);
        *to = larger;
        *count += more;
        o->changed_count = 0;
    } while (!is_all);
    return true;
}

bool owners_take(struct owners *o, int hold, struct changed **to, size_t *count)
{
    if (!hold && !o->changed_count && !notes_are_left(o))
        return true;
    pthread_mutex_lock(&o->changing);
    o->held += hold;
    notes_hold(o, hold);
    bool is_done = hold < 0 || take_all(o, to, count);
    if (!is_done) {
        o->held -= hold;
        notes_hold(o, -hold);
    }
    pthread_mutex_unlock(&o->changing);
    return is_done;
}

/* ---- changes that are made here -------------------------------------------------------------------- */

static bool may_change(const struct owners *o, uint64_t device)
{
    return !o->held && o->changed_count < CHANGED && owners_are_up_to_date(o) &&
           shown_allows(&o->shown, device);
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
    uint32_t wanted = (mode & 01777) | (is_directory || mode & 0111 ? 0700 : 0600);
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
    struct slot slot;
    enum recalled what = owners_recall(o, st.st_dev, st.st_ino, &slot);
    bool is_known = what == KNOWN;
    if (what == UNKNOWN) {
        f->uid = map_show(&o->shown.uids, st.st_uid);
        f->gid = map_show(&o->shown.gids, st.st_gid);
    } else if (is_known && is_same_handle(&slot.handle, &f->handle) && !slot.has_more) {
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
    int fd = o->shown.device_count ? openat(directory, path, O_PATH | O_CLOEXEC | flags) : -1;
    if (fd < 0)
        return false;
    pthread_mutex_lock(&o->changing);
    notes_hold(o, 1);
    bool is_done = take_notes(o) && change(o, fd, how);
    notes_hold(o, -1);
    pthread_mutex_unlock(&o->changing);
    close(fd);
    return is_done;
}
