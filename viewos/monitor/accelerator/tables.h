/* What the accelerator and programs read alike: tables of prefixes, which tables.py makes, and how
 * owners are shown. */
#ifndef TABLES_H
#define TABLES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CLAIM_READ_ONLY = 1, CLAIM_MODULE = 2 };
enum { MOUNT_NATIVE = 1, MOUNT_PROC = 2 };

struct entry {
    uint32_t prefix, prefix_length;   /* where its text stands in the table */
    uint32_t backing, backing_length;
    uint32_t flags;
    uint32_t next; /* 1 + the next entry with this backing, the topmost layer first; 0: none */
};

/* Behind it stand the entries, `slots` words of the hash by prefix, as many by backing, the texts. */
struct table {
    uint32_t size, count, slots, spare;
    struct entry entries[];
};

const struct entry *table_find(const struct table *, const char *path, size_t length);
size_t table_backings(const struct table *, const char *path, size_t length,
                      const struct entry **found, size_t room);
/* Is there an entry of that very prefix? */
bool table_is(const struct table *, const char *path, size_t length);
const char *table_text(const struct table *, uint32_t offset);

/* ---- how the owners of files are shown of which nothing is remembered: owners.c ----------------- */

enum { MAPPED = 32, BITS = 1 << 20 };

struct map {
    uint32_t count, from[MAPPED], to[MAPPED];
    int64_t others; /* -1: as they are */
};

struct shown {
    _Atomic uint32_t is_known;
    struct map uids, gids;
    _Atomic uint64_t maybe[BITS / 64]; /* by inode: may something be remembered of it? */
};

uint32_t map_show(const struct map *, uint32_t id);
bool shown_maybe(const struct shown *, uint64_t inode);
uint64_t mixed(uint64_t value);

#endif
