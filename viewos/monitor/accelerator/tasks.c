/* What /proc says of a task, kept as long as it is certain to be the same one. */
#include "accelerator.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static long task_link(const struct task *task, const char *name, char *to)
{
    long length = readlinkat(task->directory, name, to, LONGEST - 1);
    if (length < 0 || length >= LONGEST - 1)
        return -1;
    to[length] = 0;
    return length;
}

/* Of what a name leads to. */
static bool identity_of(int dirfd, const char *name, struct identity *to)
{
    struct statx st;
    if (statx(dirfd, name, AT_STATX_DONT_SYNC, STATX_MNT_ID | STATX_INO, &st) ||
        !(st.stx_mask & STATX_MNT_ID))
        return false;
    *to = (struct identity){.mount = st.stx_mnt_id, .inode = st.stx_ino};
    return true;
}

static bool is_same(struct identity a, struct identity b)
{
    return a.mount == b.mount && a.inode == b.inode;
}

/* The same for a directory (cwd, fd/N), where its name leads there still: in a tree that is mounted
 * nowhere, /proc tells the name that it has in that tree. */
long task_directory(const struct accelerator *a, const struct task *task, const char *name,
                    char *to)
{
    static const char removed[] = " (deleted)";
    enum { END = sizeof removed - 1 };
    long length = task_link(task, name, to);
    if (length < 0 || *to != '/' || (length > END && !strcmp(to + length - END, removed)))
        return -1;
    if (!a->mounts_move && length > 1) /* "/": is it that of a tree that is mounted nowhere? */
        return length;
    struct identity here, there;
    return identity_of(task->directory, name, &here) && identity_of(AT_FDCWD, to, &there) &&
                   is_same(here, there)
               ? length
               : -1;
}

/* `c->status`, once a call: it costs as much as all else that is asked of a task. */
bool read_status(struct call *c)
{
    if (c->has_status)
        return true;
    int fd = openat(c->task->directory, "status", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    long count = read(fd, c->status, LONGEST - 1);
    close(fd);
    if (count <= 0)
        return false;
    c->status[count] = 0;
    return c->has_status = true;
}

/* The lines that make the credentials, as Tasks in task.py joins them. */
static bool has_credentials(const char *status, const char *ours)
{
    static const char *const names[] = {"\nUid:", "\nGid:", "\nGroups:", "\nCapEff:"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *line = strstr(status, names[i]);
        const char *end = line ? strchr(line + 1, '\n') : NULL;
        if (!end)
            return false;
        size_t length = (size_t)(end - line);
        if (strncmp(ours, line, length))
            return false;
        ours += length;
    }
    return !*ours;
}

static bool is_namespace(const struct task *task, const char *name, const char *ours)
{
    char text[64];
    long length = readlinkat(task->directory, name, text, sizeof text - 1);
    if (length < 0)
        return false;
    text[length] = 0;
    return !strcmp(text, ours);
}

/* A security module may know it by another name, which it may give itself at any time. */
static bool has_our_label(const struct accelerator *a, const struct task *task)
{
    char text[sizeof a->label];
    int fd = openat(task->directory, "attr/current", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    long count = read(fd, text, sizeof text);
    close(fd);
    return count == (long)a->label_length && !memcmp(text, a->label, a->label_length);
}

static void learn_ids(struct call *c)
{
    struct task *task = c->task;
    const struct accelerator *a = c->accelerator;
    const char *group = read_status(c) ? strstr(c->status, "\nTgid:") : NULL;
    if (!group)
        return;
    task->group = (int)strtol(group + 6, NULL, 10);
    bool is_ours = has_credentials(c->status, a->credentials) &&
                   is_namespace(task, "ns/user", a->user_namespace);
    task->ids = is_ours ? IDS_OURS : IDS_OTHERS;
    if (!is_waiting(c)) /* a signal's handler may have been changing them meanwhile */
        task->stale = true;
}

/* Is its directory still that of a task? This is the least that fails when it has ended, even if its id
 * is another's now, who may ask for it (proc_sys_kernel(5): ns_last_pid; clone3(2): set_tid). */
static bool is_there(const struct task *task)
{
    return !syscall(SYS_pidfd_send_signal, task->directory, 0, NULL, 0) ||
           (errno != ESRCH && !faccessat(task->directory, "stat", F_OK, 0));
}

/* `c->task->ids`, as long as that is possible. */
static void know_ids(struct call *c)
{
    struct task *task = c->task;
    if (task->ids == IDS_UNKNOWN)
        learn_ids(c);
    else if (!is_there(task)) {
        task->stale = true;
        task->ids = IDS_UNKNOWN;
    }
}

bool task_has_our_ids(struct call *c)
{
    know_ids(c);
    return c->task->ids == IDS_OURS;
}

/* May we act for it? */
bool task_is_like_us(struct call *c)
{
    return task_has_our_ids(c) && (!c->accelerator->label_length || has_our_label(c->accelerator, c->task));
}

/* Is it the first thread of its process? Who is told so without procfs is spared what that costs. */
bool task_leads(struct call *c)
{
    struct task *task = c->task;
    if (!syscall(SYS_tgkill, task->tid, task->tid, 0))
        return true;
    know_ids(c);
    return task->ids != IDS_UNKNOWN && task->tid == task->group;
}

/* Where a thread's entry is, or would be. */
static struct task *place_of(struct accelerator *a, int tid)
{
    return a->tasks + ((uint32_t)tid & a->task_mask);
}

static bool look(struct accelerator *a, struct task *task, int tid)
{
    if (task->directory >= 0)
        close(task->directory);
    task->directory = -1;
    task->tid = 0;
    task->seen = INT64_MIN / 2;
    task->stale = false;
    task->generation = a->generation;
    char name[32];
    snprintf(name, sizeof name, "/proc/%d", tid);
    task->directory = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (task->directory < 0 && errno == EMFILE) { /* entries of tasks that have ended stay */
        tasks_close(a);
        task->directory = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    }
    if (task->directory < 0)
        return false;
    task->begins = false;
    task->ids = IDS_UNKNOWN;
    task->tid = tid;
    return true;
}

enum { FRESH = 100000000 }; /* ns */

/* Has the task our root, and so our mounts? A look by its descriptor fails when that task has ended, even
 * if its id is another's now. For a moment it is spared: that other one is a program of the view with the
 * same root, and before something is done for it, its ids are asked for. */
static bool has_real_root(struct accelerator *a, struct task *task)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    int64_t now = time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
    if (now - task->seen < FRESH && !a->roots_move)
        return true;
    struct identity root, ours = a->root;
    if (a->roots_move && !identity_of(AT_FDCWD, "/", &ours)) /* pivot_root(2) moves everybody */
        return false;
    if (!identity_of(task->directory, "root", &root) || !is_same(root, ours))
        return false;
    task->seen = now;
    return true;
}

/* Have Python look at a task again. */
static void tell(struct accelerator *a, int tid, int executing)
{
    a->renewed[a->renewed_count % RENEWED] = (struct renewed){.tid = tid, .executing = executing};
    a->renewed_count++;
}

/* From the first call on that moves roots, also those of tasks that share a file system state, each
 * use of a task looks at its root. */
void task_watch(struct accelerator *a, int number)
{
    if (number == SYS_chroot || number == SYS_pivot_root || number == SYS_setns ||
        number == SYS_unshare)
        a->roots_move = true;
}

/* It executes a program that gives it no other ids. Its capabilities may be others then (capabilities(7):
 * of the file, of the bounding set, ambient ones). */
void task_begins(struct call *c)
{
    c->task->begins = true;
    tell(c->accelerator, c->task->tid, 0);
}

/* Has a task that has begun a program the capabilities of before? */
static bool keeps_capabilities(const struct call *c, struct task *task)
{
    if (!task->begins || task->ids == IDS_UNKNOWN)
        return true;
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, task->tid};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
    static const char name[] = "\nCapEff:";
    const char *line = strstr(c->accelerator->credentials, name);
    bool keeps = line && !syscall(SYS_capget, &header, data) &&
           ((uint64_t)data[1].effective << 32 | data[0].effective) ==
               strtoull(line + sizeof name - 1, NULL, 16);
    task->begins = !is_waiting(c); /* else it may be a call from before */
    return keeps;
}

/* The caller, if its root directory is ours; NULL: not certain. To be given back. */
struct task *task_take(struct call *c)
{
    struct accelerator *a = c->accelerator;
    int tid = (int)c->notification->pid;
    struct task *task = place_of(a, tid);
    if (atomic_flag_test_and_set_explicit(&task->busy, memory_order_acquire))
        return NULL;
    bool is_known =
        task->tid == tid && !task->stale && !task->doubt && task->generation == a->generation;
    if (is_known && has_real_root(a, task) && keeps_capabilities(c, task))
        return c->task = task;
    if (look(a, task, tid) && has_real_root(a, task)) {
        doubt_settle(c, task);
        return c->task = task;
    }
    task_give_back(task);
    return c->task = NULL;
}

void task_give_back(struct task *task)
{
    atomic_flag_clear_explicit(&task->busy, memory_order_release);
}

void task_forget(struct accelerator *a, int tid)
{
    place_of(a, tid)->stale = true;
}

/* The task is about to have other credentials, or another one gets its id. */
void task_renew(struct accelerator *a, int tid)
{
    task_forget(a, tid);
    tell(a, tid, 0);
}

/* A thread of the process executes a program. */
void task_doubt(struct accelerator *a, int group, int tid)
{
    doubt_add(place_of(a, group), group, tid);
}

/* The same of the caller, which is not the first. */
void task_executes(struct call *c)
{
    task_renew(c->accelerator, c->task->tid);
    task_doubt(c->accelerator, c->task->group, c->task->tid);
    tell(c->accelerator, c->task->group, c->task->tid);
}

void task_forget_all(struct accelerator *a)
{
    a->generation++;
}

/* Each holds a descriptor: an eighth of what we may have, at most, as several views may be ours. */
static uint32_t task_count(void)
{
    struct rlimit limit;
    uint32_t count = TASKS;
    while (count > 1 && !getrlimit(RLIMIT_NOFILE, &limit) && count > limit.rlim_cur / 8)
        count /= 2;
    return count;
}

void tasks_open(struct accelerator *a)
{
    _Static_assert(!(TASKS & (TASKS - 1)), "a mask tells the place");
    a->task_mask = task_count() - 1;
    for (size_t i = 0; i < TASKS; i++) {
        a->tasks[i].directory = -1;
        atomic_flag_clear(&a->tasks[i].busy);
    }
    identity_of(AT_FDCWD, "/", &a->root); /* if it fails, no task has this root */
}

void tasks_close(struct accelerator *a)
{
    for (struct task *task = a->tasks; task < a->tasks + TASKS; task++) {
        if (atomic_flag_test_and_set_explicit(&task->busy, memory_order_acquire))
            continue; /* a call that hangs: it has the descriptor to its end */
        if (task->directory >= 0)
            close(task->directory);
        task->directory = -1;
        task->tid = 0;
        task_give_back(task);
    }
}

/* The state of a process (view.py: States); false: not certain. */
bool state_of(struct accelerator *a, int tid, struct state *state, size_t *at)
{
    uint64_t index = 0;
    if (a->state_count > 1) {
        struct rlimit limit;
        if (prlimit(tid, RLIMIT_LOCKS, NULL, &limit))
            return false;
        index = limit.rlim_cur - a->token_base;
        if (index >= a->state_count)
            index = 0;
    }
    if (index >= STATES)
        return false;
    *at = index;
    uint64_t bits = a->states[index];
    memcpy(state, &bits, sizeof *state);
    return state->kind;
}

void state_set(struct accelerator *a, size_t index, struct state state)
{
    uint64_t bits = 0;
    _Static_assert(sizeof state == sizeof bits, "a state is one word");
    memcpy(&bits, &state, sizeof state);
    a->states[index] = bits;
}
