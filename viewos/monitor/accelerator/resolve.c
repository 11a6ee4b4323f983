/* Where a path leads in the view: the rules of paths.py, for the cases that need no judgement.
 *
 * The kernel vouches for runs of names at a time (openat2, RESOLVE_NO_SYMLINKS); names are looked
 * at one by one only where a run has a symbolic link in it. Every function returns false for what
 * it is not certain of. */
#include "accelerator.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MOST_LINKS = 40 };

/* Append "/NAME" to a canonical path. */
static bool enter(char *to, size_t *length, const char *name, size_t size)
{
    if (*length == 1)
        *length = 0;
    return append(to, length, "/", 1) && append(to, length, name, size);
}

static void leave(char *path, size_t *length)
{
    while (*length > 1 && path[*length - 1] != '/')
        --*length;
    if (*length > 1)
        --*length;
    path[*length] = 0;
}

/* ---- the kernel's word ---------------------------------------------------------------------------- */

/* An open that must fail, so that no descriptor has to be closed: a directory cannot be written to
 * (EISDIR, told before permissions are looked at), and nothing else is a directory (ENOTDIR, also
 * where the middle of the path is none). 0: it is there, or, at the end of a path, ENOTDIR. */
static long vouch(const char *real, bool follow)
{
    struct open_how how = {
        .flags = O_WRONLY | O_DIRECTORY | O_CLOEXEC | (follow ? 0 : O_NOFOLLOW),
        .resolve = RESOLVE_NO_SYMLINKS,
    };
    long fd = syscall(SYS_openat2, AT_FDCWD, real, &how, sizeof how);
    if (fd < 0)
        return errno == EISDIR ? 0 : -errno;
    close((int)fd); /* no kernel comes here */
    return 0;
}

/* May a name be looked up in it? `path` has room for two more bytes. */
static bool is_searchable(char *path, size_t length)
{
    memcpy(path + length, "/.", 3);
    bool yes = !vouch(path, true);
    path[length] = 0;
    return yes;
}

/* ---- the walk -------------------------------------------------------------------------------------- */

struct progress {
    struct call *call;
    struct place *place;
    const char *todo; /* NUL at its end */
    bool entered;     /* the name before this one may be no directory */
    bool inside;      /* it began in the middle of the tree */
    bool vouched;     /* the kernel has looked at the end of it */
    int links;
};

static bool is_dots(const char *name, size_t size)
{
    return *name == '.' && (size == 1 || (size == 2 && name[1] == '.'));
}

static const char *next_name(const char *text, size_t *size)
{
    while (*text == '/')
        text++;
    *size = strcspn(text, "/");
    return text;
}

static bool is_end(const char *text)
{
    return !text[strspn(text, "/")];
}

static bool arrive(struct progress *w)
{
    struct place *p = w->place;
    if (!forward(w->call->claims, p))
        return false;
    p->plain = p->plain && is_text(p->real, p->real_length, p->kernel, p->kernel_length);
    return true;
}

static bool enter_name(struct place *p, const char *name, size_t size)
{
    return enter(p->virtual_, &p->virtual_length, name, size) &&
           enter(p->kernel, &p->kernel_length, name, size);
}

static bool set_out(struct call *call, struct place *p)
{
    const struct root *root = call->root;
    return set(p->virtual_, &p->virtual_length, root ? root->text : "/", root ? root->length : 1) &&
           set(p->kernel, &p->kernel_length, "/", 1);
}

static bool ascend(struct progress *w)
{
    const struct root *root = w->call->root;
    struct place *p = w->place;
    if (!root || !is_text(p->virtual_, p->virtual_length, root->text, root->length))
        leave(p->virtual_, &p->virtual_length);
    leave(w->place->kernel, &w->place->kernel_length);
    return arrive(w);
}

/* The names up to the next dots, or to the end; *is_last: nothing follows. */
static bool take_run(struct progress *w, bool *is_last)
{
    size_t size;
    const char *name = next_name(w->todo, &size);
    while (size && !is_dots(name, size)) {
        if (!enter_name(w->place, name, size))
            return false;
        w->todo = name + size;
        name = next_name(w->todo, &size);
    }
    *is_last = !size;
    return true;
}

enum step { UNSURE, ON, ARRIVED };

/* Cross a run of names without looking at each, where no symbolic link is among them. */
static enum step cross(struct progress *w, struct walk how)
{
    struct place *p = w->place;
    const char *todo = w->todo;
    size_t virtual_length = p->virtual_length, kernel_length = p->kernel_length;
    bool is_last, was_plain = p->plain;
    if (!take_run(w, &is_last) || !arrive(w))
        return UNSURE;
    bool follow = !is_last || p->slash || (how.follow && !how.keep_last);
    long seen;
    if (is_last)
        seen = vouch(p->real, follow);
    else {
        memcpy(p->real + p->real_length, "/.", 3);
        seen = vouch(p->real, true);
        p->real[p->real_length] = 0;
    }
    if (!seen || (is_last && (seen == -ENOENT || seen == -ENOTDIR))) {
        w->entered = w->vouched = is_last;
        return is_last ? ARRIVED : ON;
    }
    if (!is_last && (seen == -ENOENT || seen == -ENOTDIR)) {
        p->lost = true;
        return ARRIVED;
    }
    if (seen != -ELOOP)
        return UNSURE;
    w->todo = todo;
    p->virtual_[p->virtual_length = virtual_length] = 0;
    p->kernel[p->kernel_length = kernel_length] = 0;
    p->plain = was_plain;
    return arrive(w) ? ON : UNSURE;
}

/* Names of the root directory that were links (/bin, /lib, /lib64) are looked at before the run that they
 * begin: the kernel would have to be asked twice. */
static _Atomic uint64_t *root_link(struct progress *w, const char *name, size_t size, uint64_t *word)
{
    *word = 0;
    if (w->place->virtual_length != 1 || size > sizeof *word)
        return NULL;
    memcpy(word, name, size);
    return w->call->accelerator->root_links + (*word >> 8 ^ *word) % ROOT_LINKS;
}

static bool may_be_link(struct progress *w, const char *name, size_t size)
{
    uint64_t word;
    _Atomic uint64_t *known = root_link(w, name, size, &word);
    return known && *known == word;
}

static bool is_in_proc(struct progress *w)
{
    const struct entry *mount =
        table_find(w->call->mounts, w->place->real, w->place->real_length);
    return mount && mount->flags & MOUNT_PROC;
}

/* Put the text of a link in front of what is left. */
static bool follow_link(struct progress *w, const char *text, size_t length)
{
    struct place *p = w->place;
    char *todo = w->call->todo;
    size_t rest = strlen(w->todo);
    if (length + rest + 2 > sizeof w->call->todo)
        return false;
    if (is_end(w->todo) && length && text[length - 1] == '/')
        p->slash = true;
    memmove(todo + length, w->todo, rest + 1); /* `todo` begins with a slash or is empty */
    memcpy(todo, text, length);
    w->todo = todo;
    w->entered = false;
    if (*text != '/')
        return true;
    p->absolute = true;
    w->inside = false;
    return set_out(w->call, p) && arrive(w);
}

/* One name, followed if it is a link. */
static enum step descend(struct progress *w, struct walk how)
{
    struct place *p = w->place;
    size_t size, virtual_length = p->virtual_length, kernel_length = p->kernel_length;
    const char *name = next_name(w->todo, &size);
    uint64_t word;
    _Atomic uint64_t *known = root_link(w, name, size, &word);
    w->todo = name + size;
    bool is_last = is_end(w->todo);
    if (!enter_name(p, name, size) || !arrive(w))
        return UNSURE;
    w->entered = true;
    if (is_last && (how.keep_last || !(how.follow || p->slash)))
        return ARRIVED;
    if (p->claim && p->claim->prefix_length == p->virtual_length)
        return is_last ? ARRIVED : ON; /* the root of a claim is no link */
    if (is_in_proc(w))
        return UNSURE;
    char *text = w->call->text;
    long length = readlink(p->real, text, LONGEST);
    if (known && (length > 0 || *known == word))
        *known = length > 0 ? word : 0;
    if (length < 0 && errno == EINVAL)
        return is_last ? ARRIVED : ON;
    if (length <= 0 || length == LONGEST || ++w->links > MOST_LINKS)
        return UNSURE;
    if (*text != '/') {
        p->virtual_[p->virtual_length = virtual_length] = 0;
        p->kernel[p->kernel_length = kernel_length] = 0;
        /* `plain` is not regained, as in paths.py. */
        if (!arrive(w))
            return UNSURE;
    }
    return follow_link(w, text, (size_t)length) ? ON : UNSURE;
}

static bool walk(struct progress *w, struct walk how)
{
    struct place *p = w->place;
    bool one_by_one = false;
    for (;;) {
        size_t size;
        const char *name = next_name(w->todo, &size);
        if (!size)
            return true;
        if (is_dots(name, size)) {
            w->todo = name + size;
            if (how.keep_last && is_end(w->todo))
                return false;
            if (w->entered && !is_searchable(p->real, p->real_length))
                return false;
            if (size == 2) {
                if (!ascend(w))
                    return false;
            }
            w->entered = false;
            continue;
        }
        int links = w->links;
        enum step step;
        one_by_one = one_by_one || may_be_link(w, name, size);
        if (!one_by_one) {
            step = cross(w, how);
            /* A run that was not crossed has a link in it: look at its names. */
            one_by_one = step == ON && w->todo <= name;
        } else {
            step = descend(w, how);
            if (w->links != links)
                one_by_one = false;
        }
        if (step == UNSURE)
            return false;
        if (step == ARRIVED)
            return true;
    }
}

/* `place` begins as the start of the walk: its virtual_ and kernel paths are set. */
bool resolve(struct call *call, const char *path, size_t length, struct walk how,
             struct place *place)
{
    struct progress w = {.call = call, .place = place, .todo = path};
    if (!length || length >= LONGEST)
        return false;
    place->absolute = *path == '/';
    place->slash = path[length - 1] == '/';
    place->plain = true;
    place->lost = false;
    if (place->absolute && !set_out(call, place))
        return false;
    w.entered = w.inside = !place->absolute;
    if (!arrive(&w) || !walk(&w, how))
        return false;
    if (place->lost)
        return place->plain;
    /* A walk that begins in the middle needs no permission above; a path from the root does. */
    if (w.inside && !w.vouched && vouch(place->real, false) == -EACCES)
        return false;
    const struct entry *mount = table_find(call->mounts, place->real, place->real_length);
    place->native = mount && mount->flags & MOUNT_NATIVE;
    place->proc = mount && mount->flags & MOUNT_PROC;
    if (place->slash && place->real_length > 1) {
        place->real[place->real_length++] = '/';
        place->real[place->real_length] = 0;
    }
    return true;
}
