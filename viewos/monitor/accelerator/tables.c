/* The longest prefix in a table that holds a path, in one pass over the path; owners. */
#include "tables.h"

#include <string.h>

#ifndef TABLE_CODE
#define TABLE_CODE /* where the functions stand: inproc/code.c has its own copy of them */
#endif

TABLE_CODE static const uint32_t *by_prefix(const struct table *t)
{
    return (const uint32_t *)(t->entries + t->count);
}

TABLE_CODE static const uint32_t *by_backing(const struct table *t)
{
    return by_prefix(t) + t->slots;
}

TABLE_CODE const char *table_text(const struct table *t, uint32_t offset)
{
    return (const char *)(by_backing(t) + t->slots) + offset;
}

/* FNV-1a; tables.py computes the same. */
TABLE_CODE static uint32_t mix(uint32_t hash, char c)
{
    return (hash ^ (unsigned char)c) * 16777619u;
}

TABLE_CODE static const struct entry *probe(const struct table *t, bool backing, uint32_t hash,
                                 const char *path, size_t length)
{
    const uint32_t *slots = backing ? by_backing(t) : by_prefix(t);
    for (uint32_t at = hash & (t->slots - 1); slots[at]; at = (at + 1) & (t->slots - 1)) {
        const struct entry *e = t->entries + slots[at] - 1;
        size_t size = backing ? e->backing_length : e->prefix_length;
        if (size == length && !memcmp(table_text(t, backing ? e->backing : e->prefix), path, size))
            return e;
    }
    return NULL;
}

/* All entries whose prefix (or backing) is the path or a directory above it, the shortest first.
 * Returns how many there are; only `room` are kept. */
TABLE_CODE static size_t holders(const struct table *t, bool backing, const char *path, size_t length,
                      const struct entry **found, size_t room, const struct entry **last)
{
    size_t count = 0;
    uint32_t hash = mix(2166136261u, '/');
    for (size_t at = 1; at <= length; at++) {
        bool is_cut = at == 1 || at == length || path[at] == '/';
        const struct entry *e = is_cut ? probe(t, backing, hash, path, at) : NULL;
        if (e) {
            if (count < room)
                found[count] = e;
            *last = e;
            count++;
        }
        if (at < length)
            hash = mix(hash, path[at]);
    }
    return count;
}

TABLE_CODE bool table_has_below(const struct table *t, const char *path, size_t length)
{
    for (uint32_t i = 0; i < t->count; i++) {
        const struct entry *e = t->entries + i;
        const char *prefix = table_text(t, e->prefix);
        if (e->prefix_length > length && prefix[length] == '/' && !memcmp(prefix, path, length))
            return true;
    }
    return false;
}

TABLE_CODE const struct entry *table_find(const struct table *t, const char *path, size_t length)
{
    const struct entry *last = NULL;
    holders(t, false, path, length, NULL, 0, &last);
    return last;
}

/* The first entries of each backing that holds a real path, the shortest backing first. */
TABLE_CODE size_t table_backings(const struct table *t, const char *path, size_t length,
                      const struct entry **found, size_t room)
{
    const struct entry *last;
    return holders(t, true, path, length, found, room, &last);
}

/* ---- owners ---- */

TABLE_CODE uint64_t mixed(uint64_t value)
{
    value *= 0x9e3779b97f4a7c15;
    return value ^ value >> 29;
}

TABLE_CODE uint32_t inode_bit(uint64_t inode)
{
    return (uint32_t)(mixed(inode) % BITS);
}

TABLE_CODE bool is_set(const _Atomic uint64_t *maybe, uint32_t bit)
{
    return maybe[bit / 64] >> bit % 64 & 1;
}

TABLE_CODE bool shown_maybe(const struct shown *s, uint64_t inode)
{
    return is_set(s->maybe, inode_bit(inode));
}

TABLE_CODE bool shown_allows(const struct shown *s, uint64_t device)
{
    for (uint32_t i = 0; i < s->device_count && i < DEVICES; i++)
        if (s->devices[i] == device)
            return true;
    return false;
}

TABLE_CODE uint32_t map_show(const struct map *map, uint32_t id)
{
    for (uint32_t i = 0; i < map->count; i++)
        if (map->from[i] == id)
            return map->to[i];
    return map->others < 0 ? id : (uint32_t)map->others;
}
