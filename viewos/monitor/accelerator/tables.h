/* Tables of prefixes: plain data, made by tables.py, read by the accelerator and in programs. */
#ifndef TABLES_H
#define TABLES_H

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

#endif
