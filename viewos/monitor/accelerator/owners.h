/* Who owns a file in the view: what owners.c and changes.c have in common. */
#ifndef OWNERS_H
#define OWNERS_H

#include <pthread.h>

#include "accelerator.h"

enum { SLOTS = 1 << 16, PROBES = 8, MIRRORS = 8 };

struct slot {
    _Atomic uint32_t sequence; /* odd: being written */
    uint32_t uid, gid, mode;   /* mode 0: the real one */
    uint64_t device, inode, rdev;
    bool has_more;
    struct handle handle;
};

struct owners {
    pthread_mutex_t changing; /* Python takes it, and then writes what it likes, while `held` is not 0 */
    int held;
    _Atomic size_t changed_count;
    struct changed changed[CHANGED];
    struct notes *_Atomic notes; /* NULL: programs have none */
    uint64_t notes_from;         /* the first place that may have a note */
    _Atomic uint64_t notes_seen; /* `written`, when all had been taken */
    struct shown shown;
    struct unseen unseen;
    bool is_alone; /* nobody changes that */
    uint32_t mirror_count;
    struct shown *mirrors[MIRRORS]; /* where programs can read it */
    _Atomic uint64_t unsure[BITS / 64]; /* by inode: may something be remembered that is in no slot? */
    struct slot slots[SLOTS];
};

/* What is remembered of a file: KNOWN is `to`, if that has its handle. */
enum recalled { UNKNOWN, KNOWN, PYTHONS };
enum recalled owners_recall(struct owners *, uint64_t device, uint64_t inode, struct slot *to);
bool owners_are_up_to_date(const struct owners *);
bool handle_of(int directory, const char *path, int flags, struct handle *to);
bool is_same_handle(const struct handle *, const struct handle *);

/* Is there anything that programs have noted? Take it; false: Python has to. */
bool notes_are_left(const struct owners *);
bool notes_settle(struct owners *);
/* With the lock: that many more now have it that none is written. */
void notes_hold(struct owners *, int hold);

#endif
