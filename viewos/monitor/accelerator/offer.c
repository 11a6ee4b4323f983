/* The instrumented libc, given to a program whose loader opens the libc: the same conditions as in
 * inproc/__init__.py, where Python has found the first program to fulfil them. */
#include "accelerator.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Is it the same place in the loader's code from which the first one opened it? */
static bool is_loader(const struct call *c, const struct offer *o)
{
    uint64_t at = c->notification->data.instruction_pointer;
    char code[OFFER_CODE];
    return at % 4096 == o->instruction % 4096 &&
           read_exactly((int)c->notification->pid, at - sizeof code / 2, code, sizeof code) &&
           !memcmp(code, o->code, sizeof code);
}

static bool is_undisturbed(struct call *c, const struct offer *o)
{
    char wanted[48];
    snprintf(wanted, sizeof wanted, "\nSeccomp_filters:\t%d\n", o->filters);
    return read_status(c) && strstr(c->status, "\nTracerPid:\t0\n") && strstr(c->status, wanted);
}

/* A descriptor of the copy for the program that opens `p`; -1: Python's to say. */
int offered(struct call *c, const struct place *p)
{
    bool is_root = c->accelerator->facts[c->state_index][ACTS_AS_ROOT] == 1;
    const struct offer *o = c->level->offers[is_root];
    struct stat st;
    if (!o || c->root || !is_like_us(c) || !is_loader(c, o) ||
        fstatat(AT_FDCWD, p->real, &st, AT_SYMLINK_NOFOLLOW) || st.st_dev != o->device ||
        st.st_ino != o->inode || !is_undisturbed(c, o) || auxiliary_word(c, AT_SECURE, 1))
        return -1;
    char name[32];
    snprintf(name, sizeof name, "/proc/self/fd/%d", o->descriptor);
    return open(name, O_RDONLY | O_CLOEXEC);
}
