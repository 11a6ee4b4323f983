/* chown(2), chmod(2) and their kin, and fsetxattr(2) that changes nothing, made by a program of a root of
 * the view. What the monitor would do stands in ../accelerator/changes.c; here it is done for files of
 * which nothing is remembered, where either nothing has to be remembered afterwards, or no more than an
 * owner: that is noted. */
#include "code.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    PATIENCE = 6, /* so often it asks the monitor before it asks for the notes: they cost as much */
    NEVER = 1 << 30,
};

/* Map the notes of the view. Nothing comes between that could leave a descriptor behind. */
CODE bool get_notes(struct here *here)
{
    uint64_t all = ~UINT64_C(0), before;
    call(SYS_rt_sigprocmask, 2 /* SIG_SETMASK */, (uint64_t)&all, (uint64_t)&before, 8, 0, NO_SIXTH);
    int64_t at = -1, fd = call(SYS_prctl, PR_VIEWOS, VIEWOS_NOTES, 0, 0, 0, NO_SIXTH);
    if (fd >= 0) {
        at = call(SYS_mmap, 0, sizeof(struct notes), PROT_READ | PROT_WRITE, MAP_SHARED, (uint64_t)fd, NO_SIXTH);
        call(SYS_close, (uint64_t)fd, 0, 0, 0, 0, NO_SIXTH);
    }
    bool is_there = at < -4095 || at > 0;
    if (is_there) {
        here->notes = (struct notes *)at;
        here->number = here->notes->number;
    }
    call(SYS_rt_sigprocmask, 2, (uint64_t)&before, 0, 8, 0, NO_SIXTH);
    return is_there;
}

/* The notes of the view, NULL: it is the monitor that has to be asked. Another thread could do something
 * to a descriptor that it has for a moment. */
CODE struct notes *notes_here(const struct shown *shown, struct here *here, const volatile char *single)
{
    uint32_t number = shown->notes;
    if (number && here->number == number)
        return here->notes;
    if (!*single || here->wanted == NEVER || ++here->wanted < PATIENCE)
        return NULL;
    here->wanted = get_notes(here) ? 0 : NEVER;
    number = shown->notes;
    return number && here->number == number ? here->notes : NULL;
}

SECTION bool is_unknown(const struct shared *shared, struct here *here, uint64_t inode,
                        const volatile char *single)
{
    const struct shown *shown = shown_by(shared);
    if (!shown->is_known || shown_maybe(shown, inode))
        return false;
    if (!shown->notes)
        return true;
    const struct notes *notes = notes_here(shown, here, single);
    return notes && !is_set(notes->maybe, inode_bit(inode));
}

/* A file, by name or by descriptor: the kernel's arguments. */
struct file {
    uint64_t directory, path, flags;
};

CODE bool look_at(const struct shared *shared, const struct file *f, struct stat *to)
{
    return !call(SYS_newfstatat, f->directory, f->path, (uint64_t)to, f->flags, 0, shared->not_cookie);
}

SECTION bool is_unknown_file(const struct shared *shared, struct here *here, int directory,
                             const char *path, const volatile char *single)
{
    char empty = 0;
    struct stat s;
    struct file file = {(uint64_t)(int64_t)directory, (uint64_t)(path ? path : &empty),
                        path ? AT_SYMLINK_NOFOLLOW : AT_EMPTY_PATH};
    return look_at(shared, &file, &s) && is_unknown(shared, here, s.st_ino, single);
}

SECTION bool is_unknown_parent(const struct shared *shared, struct here *here, int directory,
                               const char *path, const volatile char *single)
{
    char parent[ROOM]; /* with the slash at its end: a link there is followed */
    size_t size = 0;
    for (size_t i = 0; path[i]; i++) {
        parent[i] = path[i];
        size = path[i] == '/' ? i + 1 : size;
    }
    parent[size] = 0;
    return is_unknown_file(shared, here, directory, size ? parent : NULL, single);
}

SECTION bool may_lose(const struct shared *shared, struct here *here, uint32_t calls, int directory,
                      const char *path, const volatile char *single)
{
    struct stat s;
    struct file file = {(uint64_t)(int64_t)directory, (uint64_t)path, AT_SYMLINK_NOFOLLOW};
    return !(calls & KNOWN) || !look_at(shared, &file, &s) || is_unknown(shared, here, s.st_ino, single);
}

/* As the accelerator has it (is_passed_open(), is_plain_file()): an empty file may stand for a device. */
SECTION bool opens_plainly(const struct shared *shared, struct here *here, const struct path_call *p,
                           const char *path, bool may_make, const volatile char *single)
{
    struct file file = {(uint64_t)(int64_t)p->directory, (uint64_t)path, AT_SYMLINK_NOFOLLOW};
    struct stat s;
    bool makes = p->flags & O_CREAT;
    if (p->flags & O_PATH || (shown_by(shared)->plainly == EVERYWHERE && (!makes || may_make)))
        return true; /* there are no devices then */
    if (!look_at(shared, &file, &s))
        return !makes || may_make;
    if (makes && p->flags & O_EXCL)
        return false;
    return !S_ISREG(s.st_mode) || s.st_size || is_unknown(shared, here, s.st_ino, single);
}

CODE bool get_handle(const struct shared *shared, const struct file *f, struct handle *to)
{
    struct {
        uint32_t size;
        int32_t type;
        unsigned char bytes[sizeof to->bytes];
    } found;
    int32_t mount;
    found.size = sizeof found.bytes;
    uint64_t flags = HANDLE_FID | (f->flags & AT_EMPTY_PATH);
    if (call(SYS_name_to_handle_at, f->directory, f->path, (uint64_t)&found, (uint64_t)&mount, flags,
             shared->not_cookie))
        return false;
    to->type = found.type;
    to->size = found.size;
    for (uint32_t i = 0; i < sizeof to->bytes; i++)
        to->bytes[i] = i < found.size ? found.bytes[i] : 0;
    return true;
}

enum { INO32_GEN = 1, INO64_GEN = 0x81, BTRFS = 0x4d, OVERLAY = 0xf8, OVERLAY_HEAD = 24 };

/* Does it say that it is that inode's, as the handles of ext4 and its kin, tmpfs, XFS and btrfs do? */
CODE bool tells_inode(const uint32_t *words, uint32_t size, uint32_t type, uint64_t inode)
{
    if (type == INO32_GEN && size == 8)
        return words[0] == inode;
    if (type == INO32_GEN && size == 12)
        words++;
    else if (!(type == INO64_GEN && size == 12) && !(type == BTRFS && size == 20))
        return false;
    return (words[0] | (uint64_t)words[1] << 32) == inode;
}

/* Is it certainly that of the file that had been looked at? Its name may have led to another one since,
 * and back. */
CODE bool is_handle_of(const struct handle *handle, uint64_t inode)
{
    const uint32_t *words = (const uint32_t *)handle->bytes;
    if (handle->type == OVERLAY) /* the handle of the file below stands in it */
        return handle->size > OVERLAY_HEAD &&
               tells_inode(words + OVERLAY_HEAD / 4, handle->size - OVERLAY_HEAD, handle->bytes[7], inode);
    return tells_inode(words, handle->size, (uint32_t)handle->type, inode);
}

/* The note's place is ours; is it written, and may it be relied on? From when it stands there whoever
 * is about to change what is remembered takes it first, or has said so before and is seen here. */
CODE bool write_note(const struct shown *shown, struct notes *notes, uint64_t at,
                     const struct stat *s, uint32_t uid, uint32_t gid, const struct handle *handle)
{
    struct note *note = notes->notes + at % NOTES;
    uint64_t lap = at / NOTES * NOTE_STATES, state = lap + NOTE_FREE;
    uint32_t bit = inode_bit(s->st_ino);
    uint64_t mask = UINT64_C(1) << bit % 64;
    if (!atomic_compare_exchange_strong(&note->state, &state, lap + NOTE_BUSY))
        return false;
    if (atomic_fetch_or(notes->maybe + bit / 64, mask) & mask) { /* noted before, or by another */
        note->state = lap + NOTE_STATES;
        return false;
    }
    note->real = s->st_mode;
    note->uid = uid;
    note->gid = gid;
    note->device = s->st_dev;
    note->inode = s->st_ino;
    note->handle = *handle;
    state = lap + NOTE_WRITTEN;
    note->state = state;
    if (notes->held || is_set(shown->maybe, bit)) {
        if (atomic_compare_exchange_strong(&note->state, &state, lap + NOTE_STATES))
            return false;
    }
    atomic_fetch_add(&notes->written, 1);
    return true;
}

/* Its change time is renewed, as a change of its owner does. */
CODE bool touch(const struct shared *shared, const struct file *f, bool is_open)
{
    uint64_t none = (uint64_t)-1;
    return !(is_open ? call(SYS_fchown, f->directory, none, none, 0, 0, shared->not_cookie)
                     : call(SYS_fchownat, f->directory, f->path, none, none, f->flags, shared->not_cookie));
}

CODE bool change_owner(const struct shared *shared, struct here *here, const struct file *f, bool is_open,
                       const struct stat *s, uint32_t uid, uint32_t gid, const volatile char *single)
{
    const struct shown *shown = shown_by(shared);
    uint32_t old_uid = map_show(&shown->uids, s->st_uid), old_gid = map_show(&shown->gids, s->st_gid);
    if (!S_ISDIR(s->st_mode) && s->st_mode & (S_ISUID | S_ISGID))
        return false;
    uid = uid == UINT32_MAX ? old_uid : uid;
    gid = gid == UINT32_MAX ? old_gid : gid;
    if (uid == old_uid && gid == old_gid)
        return touch(shared, f, is_open);
    struct notes *notes = shown_allows(shown, s->st_dev) ? notes_here(shown, here, single) : NULL;
    struct handle handle;
    if (!notes || notes->held || !get_handle(shared, f, &handle) ||
        !is_handle_of(&handle, s->st_ino) || !touch(shared, f, is_open))
        return false;
    return write_note(shown, notes, atomic_fetch_add(&notes->next, 1), s, uid, gid, &handle);
}

/* A mode that the real file has too: nothing of it has to be remembered. */
CODE bool is_real_mode(const struct stat *s, uint32_t mode)
{
    uint32_t least = S_ISDIR(s->st_mode) || mode & 0111 ? 0700 : 0600;
    return !S_ISLNK(s->st_mode) && !(mode & (S_ISUID | S_ISGID)) && (mode & least) == least;
}

/* Of what is no link; see change_mode_held(). */
CODE int64_t change_mode_of(const struct shared *shared, uint64_t directory, uint64_t path, uint64_t mode,
                            const volatile char *single)
{
    int64_t result = call(SYS_FCHMODAT2, directory, path, mode, AT_SYMLINK_NOFOLLOW, 0, shared->not_cookie);
    if (result == -ENOSYS && *single)
        result = change_mode_held(shared, (int)directory, (const char *)path, mode);
    return result;
}

/* A change of a mode. What the kernel refuses to do to a link the monitor does to what is behind it, and
 * EPERM may be said by the profile of a container that does not know the call. */
SECTION struct verdict change_mode_here(const struct shared *shared, long number, const struct arguments *a,
                                        const struct path_call *p, const char *path,
                                        const volatile char *single)
{
    struct verdict verdict;
    verdict.value = change_mode_of(shared, (uint64_t)(int64_t)p->directory, (uint64_t)path,
                                   number == SYS_chmod ? a->rsi : a->rdx, single);
    verdict.is_made = verdict.value != -EACCES && verdict.value != -EPERM && verdict.value != -ENOSYS &&
                      verdict.value != -EOPNOTSUPP && verdict.value != -ELOOP && verdict.value != -EMFILE;
    return verdict;
}

/* The mode is another one now, if it is that of the file that had been looked at. If the name has led to
 * another file meanwhile the monitor has to know. */
CODE bool change_mode(const struct shared *shared, const struct file *f, bool is_open,
                      const struct stat *s, uint32_t mode, const volatile char *single)
{
    struct stat now;
    if (is_open ? call(SYS_fchmod, f->directory, mode, 0, 0, 0, shared->not_cookie)
                : change_mode_of(shared, f->directory, f->path, mode, single))
        return false;
    return (s->st_mode & 07777) == mode ||
           (look_at(shared, f, &now) && now.st_ino == s->st_ino && now.st_dev == s->st_dev &&
            (now.st_mode & 07777) == mode);
}

CODE bool is_access_list(const char *name)
{
    return measure(name) == 23 && word(name, 8) == W('s', 'y', 's', 't', 'e', 'm', '.', 'p') &&
           word(name + 8, 8) == W('o', 's', 'i', 'x', '_', 'a', 'c', 'l') &&
           word(name + 16, 7) == W('_', 'a', 'c', 'c', 'e', 's', 's', 0);
}

/* The mode of the file that is given an access control list which says no more than a mode; -1: another
 * list. cp(1) and install(1) set such. */
CODE int mode_of_acl(const struct arguments *a, uint32_t mode)
{
    struct {
        uint32_t version;
        struct {
            uint16_t tag, permissions;
            uint32_t id;
        } entries[3];
    } acl; /* linux/posix_acl_xattr.h */
    const char *value = (const char *)a->rdx;
    if (a->r10 != sizeof acl || a->r8 || !is_access_list((const char *)a->rsi) ||
        !is_readable(value) || !is_readable(value + sizeof acl - 1))
        return -1;
    for (size_t i = 0; i < sizeof acl; i++)
        ((char *)&acl)[i] = value[i];
    uint32_t said = 0;
    for (int i = 0; i < 3; i++) {
        if (acl.entries[i].tag != (i == 0 ? 1 : i == 1 ? 4 : 0x20) || acl.entries[i].permissions > 7)
            return -1; /* not owner, group, others */
        said = said << 3 | acl.entries[i].permissions;
    }
    return acl.version == 2 && !S_ISLNK(mode) ? (int)((mode & 07000) | said) : -1;
}

SECTION struct verdict own_here(const struct shared *shared, struct here *here, long number,
                                const struct arguments *a, const struct path_call *p, const char *path,
                                const volatile char *single)
{
    const struct claims *claims = (const void *)((const char *)shared + shared->current);
    struct verdict verdict = {0, 0};
    char empty = 0;
    bool is_empty = !path || !*path;
    struct file file = {
        (uint64_t)(int64_t)p->directory, (uint64_t)(path ? path : &empty),
        is_empty ? AT_EMPTY_PATH : AT_SYMLINK_NOFOLLOW};
    struct stat s;
    uint32_t known = AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW;
    if (here->no_root || p->flags & ~known || (is_empty && claims->read_only) ||
        !look_at(shared, &file, &s) || (p->follows && !is_empty && S_ISLNK(s.st_mode)) ||
        !is_unknown(shared, here, s.st_ino, single))
        return verdict;
    if (number == SYS_fsetxattr) {
        int mode = mode_of_acl(a, s.st_mode);
        if (mode == (int)(s.st_mode & 07777) && !(mode & (S_ISUID | S_ISGID)))
            verdict.is_made = touch(shared, &file, true);
        else if (mode >= 0)
            verdict.is_made = is_real_mode(&s, (uint32_t)mode) &&
                              change_mode(shared, &file, true, &s, (uint32_t)mode, single);
        return verdict;
    }
    if (number == SYS_chmod || number == SYS_fchmod || number == SYS_fchmodat) {
        uint32_t mode = (uint32_t)(number == SYS_fchmodat ? a->rdx : a->rsi) & 07777;
        verdict.is_made = is_real_mode(&s, mode) && change_mode(shared, &file, !path, &s, mode, single);
        return verdict;
    }
    bool at = number == SYS_fchownat;
    verdict.is_made = change_owner(shared, here, &file, !path, &s, (uint32_t)(at ? a->rdx : a->rsi),
                                   (uint32_t)(at ? a->r10 : a->rdx), single);
    return verdict;
}
