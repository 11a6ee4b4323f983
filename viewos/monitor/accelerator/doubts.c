/* Threads that execute a program. One that is not the first of its process gets the id of that when all others
 * have ended, some time after its call, and the program's credentials then (execve(2), "Effect on process
 * attributes"). The first one makes calls meanwhile, so nothing that is learned of it is kept. */
#include "accelerator.h"

#include <errno.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The process, and which of its threads; (ANY, ANY): several processes, for good. */
enum { ANY = -1 };

static uint64_t doubt_of(int group, int tid)
{
    return (uint64_t)(uint32_t)group << 32 | (uint32_t)tid;
}

static int group_of(uint64_t doubt)
{
    return (int)(uint32_t)(doubt >> 32);
}

static bool has_ended(int group)
{
    return group > 0 && kill(group, 0) && errno == ESRCH;
}

void doubt_add(struct task *place, int group, int tid)
{
    uint64_t before = place->doubt, one = doubt_of(group, tid), now;
    do {
        int other = group_of(before);
        if (!before || before == one || (other != group && has_ended(other)))
            now = one;
        else
            now = doubt_of(other == group ? group : ANY, ANY);
    } while (!atomic_compare_exchange_weak(&place->doubt, &before, now));
}

/* Has the process no other thread than the first? */
static bool is_single(const struct task *task)
{
    struct stat threads;
    enum { LINKS = 2 }; /* of a directory, beside those of its threads */
    return !fstatat(task->directory, "task", &threads, 0) && threads.st_nlink == LINKS + 1;
}

/* Of the caller nothing is known: may what is learned of it be kept? First the thread that executes is seen no
 * more, or none but the caller; then the caller is seen to wait: so it is what that thread has become, or that
 * thread becomes nothing. */
void doubt_settle(const struct call *c, struct task *task)
{
    if (group_of(task->doubt) != task->tid)
        return;
    uint64_t before = atomic_exchange(&task->doubt, 0);
    int tid = (int)(uint32_t)before;
    bool has_gone = tid != ANY && syscall(SYS_tgkill, task->tid, tid, 0) && errno == ESRCH;
    if (!(has_gone || is_single(task)) || !is_waiting(c))
        doubt_add(task, task->tid, tid);
}
