/* Where a path leads, name by name, and whether that is certain. */
#include "code.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>

/* The loop stays a loop: there is no memcmp(3) to call. */
CODE int differs(const char *a, const char *b, size_t size)
{
    while (size && *a == *b)
        a++, b++, size--;
    return size != 0;
}

#define memcmp(a, b, size) differs(a, b, size)
#define TABLE_CODE SECTION
#include "../accelerator/tables.c"
#undef memcmp

SECTION int64_t call(long number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t not_f)
{
    register uint64_t r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = not_f;
    int64_t result;
    __asm__ volatile("notq %%r9\n\tsyscall\n\tnotq %%r9"
                     : "=a"(result), "+r"(r9)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
                     : "rcx", "r11", "memory", "cc");
    return result;
}

/* May the page be read? An impossible `how` is told after the set has been read. */
SECTION bool is_readable(const char *at)
{
    uint64_t page = (uint64_t)at & -(uint64_t)PAGE;
    return call(SYS_rt_sigprocmask, 99, page, 0, 8, 0, NO_SIXTH) == -EINVAL;
}

/* The length of a string; -1: not to be read, or longer than there is room for. */
SECTION long measure(const char *text)
{
    for (long at = 0; at < ROOM; at++) {
        if ((!at || !((uint64_t)(text + at) & (PAGE - 1))) && !is_readable(text + at))
            return -1;
        if (!text[at])
            return at;
    }
    return -1;
}

CODE bool is_number(const char *name, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if ((name[i] < '0' || name[i] > '9') && name[i] != '-' && (name[i] < 'a' || name[i] > 'f'))
            return false;
    return true;
}

SECTION uint64_t word(const char *name, size_t size)
{
    uint64_t value = 0;
    for (size_t i = 0; i < size && i < 8; i++)
        value |= (uint64_t)(unsigned char)name[i] << 8 * i;
    return value;
}

/* Might it be a file or a link of procfs that tells names? */
SECTION bool tells_names(const char *path, uint32_t kind)
{
    const char *end = path;
    while (*end)
        end++;
    while (end > path && end[-1] == '/')
        end--;
    const char *name = end;
    while (name > path && name[-1] != '/')
        name--;
    size_t size = (size_t)(end - name);
    uint64_t is = word(name, size);
    if (kind == OPENS)
        return is == W('m', 'a', 'p', 's', 0, 0, 0, 0) || is == W('s', 'm', 'a', 'p', 's', 0, 0, 0) ||
               is == W('n', 'u', 'm', 'a', '_', 'm', 'a', 'p') ||
               is == W('m', 'o', 'u', 'n', 't', 'i', 'n', 'f') ||
               is == W('m', 'o', 'u', 'n', 't', 's', 0, 0) ||
               is == W('m', 'o', 'u', 'n', 't', 's', 't', 'a') ||
               is == W('l', 'i', 'm', 'i', 't', 's', 0, 0) ||
               is == W('a', 'u', 'x', 'v', 0, 0, 0, 0);
    if (kind != READS)
        return false;
    if (is == W('e', 'x', 'e', 0, 0, 0, 0, 0) || is == W('c', 'w', 'd', 0, 0, 0, 0, 0) ||
        is == W('r', 'o', 'o', 't', 0, 0, 0, 0))
        return true;
    /* Of fd and map_files, into which the directory of a relative path may lead. */
    if (!is_number(name, size))
        return false;
    for (end = name; end > path; end--)
        if (end[-1] != '/' && !(end[-1] == '.' && (end - 1 == path || end[-2] == '/')))
            break;
    if (end == path)
        return *path != '/';
    return end - path < 2 || (end[-2] == 'f' && end[-1] == 'd') || (end[-2] == 'e' && end[-1] == 's');
}

CODE bool is_dots(const char *name, size_t size)
{
    return *name == '.' && (size == 1 || (size == 2 && name[1] == '.'));
}

/* Go on to one name of an absolute path; false: not certain. */
CODE bool enter(struct route *w, const char *name, size_t size)
{
    if (is_dots(name, size)) {
        w->has_dots = true;
        if (size == 1)
            return true;
        if (w->claim && w->claim->prefix_length > 1)
            return false; /* what it leaves lies elsewhere */
        if (!w->length)
            return !w->claim;
        while (w->name[--w->length] != '/')
            ;
        return true;
    }
    if (w->length + size + 2 > ROOM)
        return false;
    w->name[w->length++] = '/';
    for (size_t i = 0; i < size; i++)
        w->name[w->length++] = name[i];
    const struct entry *claim = table_find(w->claims, w->name, w->length);
    if (claim)
        w->claim = claim;
    return true;
}

CODE bool takes_name(const struct path_call *p)
{
    return p->kind == NAMES || p->kind == PAIRS;
}

/* The last name of a backing: what is opened may have to say by which name it was. Or that of a mount
 * point, which may have another name above. */
CODE bool is_apart(const struct route *w, const struct path_call *p, const char *name, size_t size)
{
    char text[ROOM];
    bool takes = takes_name(p);
    if (!(takes || p->kind == OPENS) || !(w->claims->flags & CLAIM_APART) || size + 1 > ROOM)
        return false;
    text[0] = '/';
    for (size_t i = 0; i < size; i++)
        text[i + 1] = name[i];
    const struct entry *known = table_find(w->names, text, size + 1);
    return known && (takes ? known->flags != NAME_APART : known->flags & NAME_APART);
}

CODE bool is_last(const char *end)
{
    while (*end == '/')
        end++;
    return !*end;
}

/* Look at each name of the path. */
CODE bool look(struct route *w, const struct path_call *p)
{
    bool is_absolute = *p->path == '/';
    const char *at = p->path;
    if (is_absolute)
        w->claim = table_find(w->claims, at, 1);
    for (;;) {
        while (*at == '/')
            at++;
        if (!*at)
            break;
        const char *name = at;
        while (*at && *at != '/')
            at++;
        size_t size = (size_t)(at - name);
        if (is_last(at) && is_apart(w, p, name, size))
            return false;
        if (is_absolute) {
            if (!enter(w, name, size))
                return false;
        } else if (size == 2 && is_dots(name, size)) {
            return false;
        } else {
            if (size + 1 > ROOM)
                return false;
            w->name[0] = '/';
            for (size_t i = 0; i < size; i++)
                w->name[i + 1] = name[i];
            const struct entry *known = table_find(w->names, w->name, size + 1);
            if (known && (!known->flags || (known->flags & NAME_ABOVE && !*at && takes_name(p))))
                return false;
        }
    }
    return true;
}

/* The path at the backing; NULL: not certain. The length of the given one is at most ROOM - 1. */
CODE const char *translate(struct route *w, const char *path)
{
    const struct entry *c = w->claim;
    const char *backing = table_text(w->claims, c->backing);
    if (c->prefix_length == c->backing_length &&
        !differs(backing, table_text(w->claims, c->prefix), c->backing_length))
        return path;
    bool is_root = c->prefix_length == 1;
    if (w->length <= c->prefix_length && !is_root)
        return NULL; /* the mount point itself may be a link at the backing */
    if (w->has_dots && !is_root)
        return NULL;
    const char *rest = is_root ? path : w->name + c->prefix_length;
    const char *last = path;
    while (last[1])
        last++;
    size_t length = 0;
    if (c->backing_length > 1)
        for (; length < c->backing_length; length++) {
            if (length == ROOM - 2)
                return NULL;
            w->real[length] = backing[length];
        }
    const char *end = is_root ? last + 1 : w->name + w->length;
    for (; rest < end; rest++) {
        if (length == ROOM - 2)
            return NULL;
        w->real[length++] = *rest;
    }
    if (!is_root && *last == '/')
        w->real[length++] = '/';
    w->real[length] = 0;
    return w->real;
}

/* The path for the kernel, if no symbolic link is in it; NULL: not certain. */
CODE const char *find_any(const struct shared *shared, const struct path_call *p, struct route *w)
{
    const struct claims *claims = (const void *)((const char *)shared + shared->current);
    w->claims = (const void *)((const char *)claims + claims->by_prefix);
    w->names = (const void *)((const char *)claims + claims->by_name);
    w->claim = NULL;
    w->length = 0;
    w->has_dots = false;
    if (!look(w, p))
        return NULL;
    if (*p->path != '/')
        return claims->modules || (p->writes && claims->read_only) ? NULL : p->path;
    if (takes_name(p) && table_has_below(w->claims, w->name, w->length))
        return NULL;
    if (!w->claim)
        return p->path;
    if (w->claim->flags & CLAIM_MODULE || (p->writes && w->claim->flags & CLAIM_READ_ONLY))
        return NULL;
    return translate(w, p->path);
}

SECTION const char *find(const struct shared *shared, const struct path_call *p, struct route *w)
{
    const char *path = find_any(shared, p, w);
    return path && !tells_names(path, p->kind) ? path : NULL;
}
