/* What the accelerator and programs read alike: tables of prefixes, which tables.py makes, how
 * owners are shown, and how a program is handed over. */
#ifndef TABLES_H
#define TABLES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HANDED_OVER = 1, HANDED_ROOM = 512 }; /* of execve(2) and chdir(2): handover.py */
enum { CLAIM_READ_ONLY = 1, CLAIM_MODULE = 2, CLAIM_SCRATCH = 4, CLAIM_COVERED = 8 };
enum { CLAIM_APART = 16, CLAIM_APART_BELOW = 32 }; /* its backing, and all below: struct Apart of claims.py */
enum { SYS_FCHMODAT2 = 452 }; /* Linux 6.6: headers may lack it */
enum { MOUNT_NATIVE = 1, MOUNT_PROC = 2 };
enum { NAME_ABOVE = 1, NAME_APART = 2 }; /* no prefix ends in that name: it is one of a directory above, or of
                                            a backing */

struct entry {
    uint32_t prefix, prefix_length;   /* where its text stands in the table */
    uint32_t backing, backing_length;
    uint32_t flags;
    uint32_t next; /* 1 + the next entry with this backing, the topmost layer first; 0: none */
};

/* Behind it stand the entries, `slots` words of the hash by prefix, as many by backing, the texts. */
struct table {
    uint32_t size, count, slots;
    uint32_t flags; /* of all entries */
    struct entry entries[];
};

const struct entry *table_find(const struct table *, const char *path, size_t length);
size_t table_backings(const struct table *, const char *path, size_t length,
                      const struct entry **found, size_t room);
/* Is the path a directory above that of an entry? */
bool table_has_below(const struct table *, const char *path, size_t length);
const char *table_text(const struct table *, uint32_t offset);

/* ---- how the owners of files are shown of which nothing is remembered: owners.c ----------------- */

enum { MAPPED = 32, BITS = 1 << 20, DEVICES = 16 };

struct map {
    uint32_t count, from[MAPPED], to[MAPPED];
    int64_t others; /* -1: as they are */
};

struct shown {
    _Atomic uint32_t is_known;
    _Atomic uint32_t notes; /* the number of the struct notes for its programs; 0: there is none yet */
    _Atomic uint32_t plainly; /* where what a root makes shows as the kernel makes it: see below */
    _Atomic uint32_t device_count;
    uint64_t devices[DEVICES]; /* whose files may be changed beside Python */
    struct map uids, gids;
    _Atomic uint64_t maybe[BITS / 64]; /* by inode: may something be remembered of it? */
};

enum { NOWHERE, WHERE_UNKNOWN /* in directories of which nothing is remembered */, EVERYWHERE };

uint32_t map_show(const struct map *, uint32_t id);
bool shown_maybe(const struct shown *, uint64_t inode);
bool shown_allows(const struct shown *, uint64_t device);
uint64_t mixed(uint64_t value);

/* ---- what programs note of changes that they have made themselves: changes.c, inproc/own.c -------
 *
 * A program that changes the owner of a file of which nothing is remembered writes a note. The monitor
 * takes the notes before it says anything of owners. Programs can write here what they like: it is
 * their own view that they would mislead, and nothing here is an address, a size or an index that
 * has not been looked at. */

enum { NOTES = 4096, HANDLE_FID = 0x200 /* AT_HANDLE_FID, Linux 6.5 */ };

struct handle { /* of name_to_handle_at(2) */
    int32_t type;
    uint32_t size;
    unsigned char bytes[56];
};

enum { PR_VIEWOS = 0x56494557, VIEWOS_NOTES = 3 }; /* abi/nesting.py: by which programs get them */

/* The states of a note, above which stands how often its place had been used before: `lap`. */
enum { NOTE_FREE, NOTE_BUSY, NOTE_WRITTEN, NOTE_BEING_TAKEN, NOTE_STATES };

struct note {
    _Atomic uint64_t state;
    uint32_t real; /* st_mode */
    uint32_t uid, gid;
    uint64_t device, inode;
    struct handle handle;
};

struct notes {
    uint32_t number;
    _Atomic uint32_t held;          /* no note may be written now */
    _Atomic uint64_t next, written; /* how many places have been used, and how many notes written */
    _Atomic uint64_t maybe[BITS / 64]; /* by inode: has there been a note of it? */
    struct note notes[NOTES];
};

uint32_t inode_bit(uint64_t inode);
bool is_set(const _Atomic uint64_t *maybe, uint32_t bit);

#endif
