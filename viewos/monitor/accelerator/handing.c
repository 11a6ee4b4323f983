/* execve(2) and chdir(2) that a program makes itself, with the path that it is handed over: what
 * handover.py has found of a program holds as long as the program, its loader and their names are the
 * same. */
#include "accelerator.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MARK = 3, ROOM = 4 }; /* arguments: code.c of the in-process tier */

static const char *last_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

const struct program *_Atomic *program_slot(struct level *level, uint64_t inode, const char *name)
{
    uint64_t hash = inode;
    for (; *name; name++)
        hash = hash * 31 + (unsigned char)*name;
    return level->programs + hash % PROGRAMS;
}

static const struct program *find(struct call *c, const struct stat *st)
{
    char name[NAME];
    snprintf(name, sizeof name, "%s", last_name(c->path));
    const struct program *p = *program_slot(c->level, st->st_ino, name);
    int64_t changed = st->st_ctim.tv_sec * INT64_C(1000000000) + st->st_ctim.tv_nsec;
    bool is_it = p && p->inode == st->st_ino && p->device == st->st_dev && p->changed == changed &&
                 !strcmp(p->name, name) && !strcmp(p->real, c->places->real);
    return is_it ? p : NULL;
}

/* A place to keep what is to be done when the caller has begun the program, not to be looked at yet
 * (-tid); NULL: another has it. */
static struct beginning *take(struct accelerator *a, int tid)
{
    struct beginning *b = a->beginnings + tid % BEGINNINGS;
    int holder = 0;
    if (atomic_compare_exchange_strong(&b->tid, &holder, -tid))
        return b;
    bool is_free = holder == tid || (holder > 0 && kill(holder, 0) && errno == ESRCH); /* it was killed */
    return is_free && atomic_compare_exchange_strong(&b->tid, &holder, -tid) ? b : NULL;
}

/* Does the view still have the loader that Python has found there? */
static bool has_loader(struct call *c, const struct program *p)
{
    struct walk how = {.follow = true};
    struct place *place = c->places;
    size_t length = strlen(p->loader);
    memcpy(c->path, p->loader, length + 1);
    return resolve(c, c->path, length, how, place) && !place->lost && !place->native &&
           !strcmp(place->real, p->loader_real);
}

/* Write the path into the caller's room, at least as long as its own: that will be written over it. */
static bool tell(struct call *c, const struct program *p, struct beginning *b)
{
    struct {
        uint64_t path, argv;
        char text[HANDED_ROOM - 16];
    } room;
    size_t given = strlen(b->name), length = strlen(p->string);
    size_t head = (size_t)(last_name(p->string) - p->string) - 1;
    size_t missing = given > length ? given - length : 0, total = length + missing + 1;
    if (total > sizeof b->string)
        return false;
    memcpy(room.text, p->string, head);
    memset(room.text + head, '/', missing);
    memcpy(room.text + head + missing, p->string + head, length - head + 1);
    memcpy(b->string, room.text, total);
    uint64_t at = argument(c, ROOM);
    room.path = at + offsetof(__typeof__(room), text);
    room.argv = argument(c, 1);
    return write_exactly((int)c->notification->pid, at, &room, room.path - at + total);
}

/* See writers.py. */
static bool has_writers(const char *real)
{
    int fd = open(real, O_RDONLY | O_CLOEXEC);
    fcntl(fd, F_SETSIG, SIGURG);
    bool is_leased = !fcntl(fd, F_SETLEASE, F_RDLCK);
    bool is_written = !is_leased && errno == EAGAIN;
    if (is_leased)
        fcntl(fd, F_SETLEASE, F_UNLCK);
    close(fd);
    return is_written;
}

/* Would the kernel execute it? What is open for writing, it would not. */
static bool may_execute(const char *real)
{
    enum { CHECK = 0x10000 /* AT_EXECVE_CHECK */ };
    if (!syscall(SYS_execveat, AT_FDCWD, real, NULL, NULL, CHECK))
        return true;
    bool cannot_ask = errno == EINVAL; /* before Linux 6.14 */
    return cannot_ask && !faccessat(AT_FDCWD, real, X_OK, 0) && !has_writers(real);
}

/* `st`: the program, which has been looked at for a caller for whom we may act. */
enum outcome hand_over(struct call *c, const struct stat *st)
{
    struct accelerator *a = c->accelerator;
    if (!a->mark || argument(c, MARK) != a->mark || !task_leads(c) || c->root ||
        c->state.kind & STATE_BEHIND_LOADER || c->places->lost)
        return PASS;
    const char *real = c->places->real;
    const struct program *p = strlen(c->path) < PATH_KEPT ? find(c, st) : NULL;
    if (!p || st->st_mode & (S_ISUID | S_ISGID) || !may_execute(real) || (c->rule->asks && !keeps_at_exec(c, st)))
        return PASS;
    bool stands_in = strcmp(p->string, real);
    if (stands_in && faccessat(AT_FDCWD, p->string, F_OK, 0)) /* it is gone */
        return PASS;
    struct beginning *b = take(a, c->task->tid);
    if (!b)
        return PASS;
    b->program = p;
    b->ids = c->rule->asks ? a->facts[c->state_index] : NULL;
    strcpy(b->name, c->path);
    if (!has_loader(c, p) || !tell(c, p, b)) {
        b->tid = 0;
        return PASS;
    }
    b->tid = c->task->tid;
    task_begins(c);
    c->result = HANDED_OVER;
    return ANSWER;
}

enum outcome hand_directory(struct call *c)
{
    const struct place *p = c->places;
    if (!c->accelerator->mark || argument(c, MARK) != c->accelerator->mark || p->native || p->lost ||
        p->real_length >= HANDED_ROOM)
        return PASS;
    if (!write_exactly((int)c->notification->pid, argument(c, ROOM), p->real, p->real_length + 1))
        return PASS;
    c->result = HANDED_OVER;
    return ANSWER;
}

/* ---- when it has begun ----------------------------------------------------------------------- */

/* Its memory, as the program has it that was executed; false: it has not begun. */
static bool put_right(struct call *c, const struct beginning *b)
{
    int tid = (int)c->notification->pid;
    char text[sizeof b->string], name[32];
    size_t size = strlen(b->string) + 1;
    const struct program *p = b->program;
    uint64_t headers = auxiliary_word(c, AT_PHDR, 0), file = auxiliary_word(c, AT_EXECFN, 0);
    if (!headers || !file || !read_exactly(tid, file, text, size) ||
        memcmp(text, b->string, size))
        return false;
    write_exactly(tid, file, b->name, strlen(b->name) + 1);
    snprintf(name, sizeof name, "/proc/%d/mem", tid);
    int fd = p->has_header ? open(name, O_RDWR | O_CLOEXEC) : -1; /* it may not write there itself */
    if (fd >= 0) {
        ssize_t written = pwrite(fd, p->header, sizeof p->header, (off_t)(headers + p->header_at));
        (void)written; /* it has ended */
        close(fd);
    }
    if (b->ids)
        auxiliary_write(tid, b->ids);
    return true;
}

/* A call of a thread that is to execute something: the new program's first, one of a signal's handler
 * before that, or an execve(2), which says that the other has failed. */
void program_begins(struct call *c)
{
    int tid = (int)c->notification->pid;
    struct beginning *b = c->accelerator->beginnings + tid % BEGINNINGS;
    if (b->tid != tid)
        return;
    if (put_right(c, b) || c->notification->data.nr == SYS_execve)
        b->tid = 0;
}
