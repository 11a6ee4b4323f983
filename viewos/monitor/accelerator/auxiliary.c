/* The ids in the auxiliary vector of a program (getauxval(3)): as the view has them. They are written
 * when the program makes its first call that is trapped, which its loader does; stopping it before
 * its first instruction, as Python does, takes a millisecond. */
#include "accelerator.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WORDS = 512, MOST_WORDS = 1 << 20, MOST_PAIRS = 64, START_STACK = 28 /* proc_pid_stat(5) */, STATE = 3 };

/* The caller is about to execute a program. */
void auxiliary_expect(struct call *c)
{
    int tid = c->task->tid;
    _Atomic int *slot = c->accelerator->begun + tid % BEGUN;
    if (*slot >= 0 || *slot == -tid) /* what Python has to see is not lost */
        *slot = tid;
}

/* A word of the caller's vector, which is read once a call. */
uint64_t auxiliary_word(struct call *c, uint64_t key, uint64_t otherwise)
{
    if (!c->has_auxiliary) {
        char name[32];
        snprintf(name, sizeof name, "/proc/%d/auxv", (int)c->notification->pid);
        int fd = open(name, O_RDONLY | O_CLOEXEC);
        memset(c->auxiliary, 0, sizeof c->auxiliary); /* AT_NULL ends it */
        c->has_auxiliary = fd >= 0 && read(fd, c->auxiliary, sizeof c->auxiliary - sizeof *c->auxiliary) > 0;
        if (fd >= 0)
            close(fd);
    }
    for (const Elf64_auxv_t *word = c->auxiliary; word->a_type != AT_NULL; word++)
        if (word->a_type == key)
            return word->a_un.a_val;
    return otherwise;
}

/* Is there nothing that Python has to tell the program that the thread has begun, perhaps? */
bool auxiliary_is_told(struct accelerator *a, int tid)
{
    if (a->begun[tid % BEGUN] != -tid)
        return true;
    a->begun[tid % BEGUN] = 0;
    return false;
}

/* Where its stack began; 0: not to be found. */
static uint64_t start_stack(int tid, char *text, size_t room)
{
    char name[32];
    snprintf(name, sizeof name, "/proc/%d/stat", tid);
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? -1 : read(fd, text, room - 1);
    if (fd >= 0)
        close(fd);
    if (size <= 0)
        return 0;
    text[size] = 0;
    const char *at = strrchr(text, ')');
    for (int field = STATE - 1; at && field < START_STACK; field++)
        at = strchr(at + 1, ' ');
    return at ? strtoull(at, NULL, 10) : 0;
}

/* Where the vector stands: behind argc, argv and envp; 0: not to be found. */
static uint64_t find_vector(int tid, uint64_t stack, uint64_t words[WORDS])
{
    if (!stack || !read_exactly(tid, stack, words, sizeof *words) || *words > MOST_WORDS)
        return 0;
    uint64_t at = stack + 8 * (*words + 2);
    for (int left = MOST_WORDS; left > 0; left -= WORDS) {
        size_t count = WORDS;
        while (count && !read_exactly(tid, at, words, count * sizeof *words))
            count /= 2; /* the end of the stack */
        for (size_t i = 0; i < count; i++)
            if (!words[i])
                return at + 8 * (i + 1);
        if (!count)
            return 0;
        at += count * sizeof *words;
    }
    return 0;
}

/* Only what the kernel has put there is changed: the ids of the caller, which are ours. */
static void write_ids(int tid, uint64_t at, const _Atomic int64_t *ids)
{
    static const uint64_t keys[IDS] = {AT_UID, AT_EUID, AT_GID, AT_EGID};
    const uint64_t real[IDS] = {getuid(), geteuid(), getgid(), getegid()};
    uint64_t pair[2];
    for (int left = MOST_PAIRS; left && read_exactly(tid, at, pair, sizeof pair) && *pair; left--) {
        for (int i = 0; i < IDS; i++) {
            uint64_t id = (uint64_t)ids[i];
            if (pair[0] == keys[i] && pair[1] == real[i] && id != real[i])
                write_exactly(tid, at + 8, &id, sizeof id);
        }
        at += sizeof pair;
    }
}

/* Let a program that has just begun see these ids; -1: its own. */
void auxiliary_write(int tid, const _Atomic int64_t ids[IDS])
{
    char text[1024];
    uint64_t words[WORDS];
    for (int i = 0; i < IDS; i++)
        if (ids[i] < 0)
            return;
    uint64_t at = find_vector(tid, start_stack(tid, text, sizeof text), words);
    if (at)
        write_ids(tid, at, ids);
}

/* The caller has begun a program, perhaps: let it see its ids. */
void auxiliary_tell(struct call *c)
{
    int tid = (int)c->notification->pid;
    if (c->accelerator->begun[tid % BEGUN] != tid)
        return;
    c->accelerator->begun[tid % BEGUN] = 0;
    auxiliary_write(tid, c->accelerator->facts[c->state_index]);
}
