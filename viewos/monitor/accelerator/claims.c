/* From a virtual path to the real one, and back: as ClaimMap in claims.py does it. */
#include "accelerator.h"

#include <string.h>

enum { MOST_NAMES = 32 };

bool append(char *to, size_t *length, const char *text, size_t size)
{
    /* Room for a slash, "/." and the NUL stays. */
    if (*length + size >= LONGEST - 4)
        return false;
    memcpy(to + *length, text, size);
    *length += size;
    to[*length] = 0;
    return true;
}

bool set(char *to, size_t *length, const char *text, size_t size)
{
    *length = 0;
    return append(to, length, text, size);
}

bool is_text(const char *a, size_t a_length, const char *b, size_t b_length)
{
    return a_length == b_length && !memcmp(a, b, a_length);
}

/* `real` and `claim` of `virtual_`. */
bool forward(const struct table *claims, struct place *p)
{
    p->claim = table_find(claims, p->virtual_, p->virtual_length);
    if (!p->claim)
        return set(p->real, &p->real_length, p->virtual_, p->virtual_length);
    if (p->claim->flags & CLAIM_MODULE)
        return false;
    size_t cut = p->claim->prefix_length == 1 ? 0 : p->claim->prefix_length;
    const char *rest = p->virtual_ + cut;
    size_t size = p->virtual_length - cut;
    if (size == 1 && *rest == '/')
        size = 0;
    bool is_root = p->claim->backing_length == 1;
    if (is_root && !size)
        return set(p->real, &p->real_length, "/", 1);
    p->real_length = 0;
    if (!is_root && !append(p->real, &p->real_length, table_text(claims, p->claim->backing),
                            p->claim->backing_length))
        return false;
    return append(p->real, &p->real_length, rest, size);
}

static bool name_through(const struct table *claims, const struct entry *e, const char *real,
                         size_t length, struct place *p)
{
    size_t cut = e->backing_length == 1 ? 0 : e->backing_length;
    size_t size = length - cut;
    if (size == 1 && real[cut] == '/')
        size = 0;
    p->virtual_length = 0;
    if (e->prefix_length > 1 &&
        !append(p->virtual_, &p->virtual_length, table_text(claims, e->prefix), e->prefix_length))
        return false;
    if (!append(p->virtual_, &p->virtual_length, real + cut, size))
        return false;
    return p->virtual_length || set(p->virtual_, &p->virtual_length, "/", 1);
}

/* All claims in whose backing a real path lies, in the order of ClaimMap._names; NULL stands for the
 * real name. 0: there are too many. */
static size_t candidates(const struct table *claims, const char *real, size_t length, int hint,
                         const struct entry **to)
{
    const struct entry *found[MOST_NAMES];
    size_t count = table_backings(claims, real, length, found, MOST_NAMES), used = 0;
    if (count > MOST_NAMES)
        return 0;
    for (size_t i = 0; i < count; i++)
        if (hint == CWD_REAL && found[i]->flags & CLAIM_SCRATCH) /* nobody has entered that by its own name */
            hint = CWD_NO_HINT;
    for (size_t first = 1; first + 1; first--) {
        /* The claim that is hinted at, and then the longest backing first. */
        if (first && hint == CWD_REAL)
            to[used++] = NULL;
        for (size_t i = count; i-- > 0;) {
            const struct entry *e = found[i];
            for (;;) {
                if (first ? e - claims->entries == hint : true) {
                    if (used == MOST_NAMES)
                        return 0;
                    to[used++] = e;
                }
                if (!e->next)
                    break;
                e = claims->entries + e->next - 1;
            }
        }
    }
    if (used == MOST_NAMES)
        return 0;
    to[used++] = NULL;
    return used;
}

/* As Apart.holds. */
bool is_held_apart(const struct table *claims, const char *real, size_t length)
{
    const struct entry *found[MOST_NAMES];
    if (!(claims->flags & (CLAIM_APART | CLAIM_APART_BELOW)))
        return false;
    size_t count = table_backings(claims, real, length, found, MOST_NAMES);
    if (count > MOST_NAMES)
        return true;
    for (size_t i = 0; i < count; i++) {
        /* All claims of a backing have these flags alike. */
        bool is_root = found[i]->backing_length == length;
        if (found[i]->flags & (is_root ? CLAIM_APART | CLAIM_APART_BELOW : CLAIM_APART_BELOW))
            return true;
    }
    return false;
}

/* As ClaimMap.best_hint: is the name by that claim (NULL: the path's own) the best one? */
bool is_best_name(const struct table *claims, const char *real, size_t length, const struct entry *claim)
{
    const struct entry *names[MOST_NAMES];
    return candidates(claims, real, length, CWD_NO_HINT, names) && names[0] == claim;
}

/* The virtual name of a real path, as ClaimMap.reverse. `ambiguous`, if asked for: the view shows it
 * by more than one name. `p` is scratch. */
bool reverse(const struct table *claims, const char *real, size_t length, int hint, char *to,
             size_t *to_length, struct place *p, bool *ambiguous)
{
    const struct entry *names[MOST_NAMES];
    size_t count = candidates(claims, real, length, hint, names);
    bool is_known = false;
    if (ambiguous)
        *ambiguous = false;
    for (size_t i = 0; i < count; i++) {
        if (names[i] ? !name_through(claims, names[i], real, length, p)
                     : !set(p->virtual_, &p->virtual_length, real, length))
            return false;
        if (!forward(claims, p))
            return false;
        if (!is_text(p->real, p->real_length, real, length)) {
            /* It must have been reached by that name, over which something has been mounted. */
            if (!is_known && names[i] && names[i]->flags & CLAIM_COVERED &&
                (names[i]->flags & CLAIM_SCRATCH || names[i] - claims->entries == hint))
                return false;
            continue;
        }
        if (is_known && !is_text(to, *to_length, p->virtual_, p->virtual_length)) {
            *ambiguous = true;
            return true;
        }
        if (!is_known && !set(to, to_length, p->virtual_, p->virtual_length))
            return false;
        is_known = true;
        if (!ambiguous)
            return true;
    }
    return is_known;
}
