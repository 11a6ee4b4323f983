/* What is to be done about a call: continue, or make it at the backing, or leave it to Python. */
#include "accelerator.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool find_start(struct call *c, const struct path_argument *a, struct place *p)
{
    int dirfd = a->dirfd < 0 ? AT_FDCWD : (int)argument(c, a->dirfd);
    char name[24] = "cwd";
    if (dirfd != AT_FDCWD) {
        if (dirfd < 0)
            return false;
        memcpy(name, "fd/", 3);
        char digits[12], *to = name + 3;
        int n = 0;
        do
            digits[n++] = (char)('0' + dirfd % 10);
        while (dirfd /= 10);
        while (n)
            *to++ = digits[--n];
        *to = 0;
    }
    long length = task_directory(c->accelerator, c->task, name, p->kernel);
    if (length < 0)
        return false;
    p->kernel_length = (size_t)length;
    int hint = CWD_NO_HINT;
    if (*name == 'c')
        hint = c->state.cwd;
    else {
        struct stat st; /* a descriptor may also stand for a symbolic link itself (O_PATH) */
        if (fstatat(AT_FDCWD, p->kernel, &st, AT_SYMLINK_NOFOLLOW) || !S_ISDIR(st.st_mode) ||
            is_held_apart(c->claims, p->kernel, p->kernel_length))
            return false;
    }
    return reverse(c->claims, p->kernel, p->kernel_length, hint, p->virtual_, &p->virtual_length,
                   &c->scratch, NULL);
}

bool follows(const struct call *c, const struct path_argument *a)
{
    for (int i = 0; i < a->flag_count; i++) {
        const struct flag *f = a->flags + i;
        uint32_t given = (uint32_t)argument(c, (int)f->arg);
        if ((given & f->mask) == f->mask && !(given & f->unless))
            return !a->follow;
    }
    return a->follow;
}

/* `places[n]`. CONTINUE stands for "go on" here. */
static enum outcome find_place(struct call *c, int n)
{
    const struct path_argument *a = c->rule->paths + n;
    uint64_t address = argument(c, a->path);
    if (!address)
        return PASS;
    long length = read_string((int)c->notification->pid, address, c->path);
    if (length < 0)
        return PASS;
    if (!length && c->rule->path_count == 1 && a->intent == INTENT_READ)
        /* The dirfd itself with AT_EMPTY_PATH, ENOENT without: the kernel knows. */
        return ANSWER;
    if (!length)
        return PASS;
    struct walk how = {
        .follow = follows(c, a),
        .keep_last = a->intent == INTENT_CREATE || a->intent == INTENT_REMOVE,
    };
    if (a->intent == INTENT_OPEN && open_flags(c) & O_CREAT && c->path[length - 1] == '/')
        return PASS;
    if (!c->task && !task_take(c))
        return PASS;
    struct place *p = c->places + n;
    if (*c->path != '/' && !find_start(c, a, p))
        return PASS;
    return resolve(c, c->path, (size_t)length, how, p) ? CONTINUE : PASS;
}

/* Does the call only look, so that a read-only claim allows it? */
static bool only_looks(const struct call *c)
{
    if (c->rule->action == ACTION_OPEN)
        return !(open_flags(c) & (O_ACCMODE | O_CREAT | O_TRUNC));
    if (c->rule->action == ACTION_ACCESS)
        return !(value(c, 0) & W_OK);
    for (int i = 0; i < c->rule->path_count; i++)
        if (c->rule->paths[i].intent != INTENT_READ)
            return false;
    return true;
}

static bool may_continue(const struct call *c, const struct place *p)
{
    if (!p->plain)
        return false;
    if (!p->claim || p->native)
        return true;
    return !(p->claim->flags & CLAIM_READ_ONLY) && !p->absolute && !c->level->no_continue;
}

/* The permission that a call needs on what its path leads to. */
static int permission(const struct call *c)
{
    switch (c->rule->action) {
    case ACTION_OPEN:;
        uint32_t flags = open_flags(c), mode = flags & O_ACCMODE;
        if (flags & O_PATH)
            return F_OK;
        return (mode == O_WRONLY ? W_OK : mode == O_RDONLY ? R_OK : R_OK | W_OK) |
               (flags & O_TRUNC ? W_OK : 0);
    case ACTION_ACCESS:
        return (int)value(c, 0) & 7;
    case ACTION_CHDIR:
        return X_OK;
    case ACTION_LOOK: /* which one, Python knows */
        return R_OK | (c->rule->paths->intent == INTENT_WRITE ? W_OK : 0);
    }
    return F_OK;
}

static bool is_refused(const char *path, int mode)
{
    return syscall(SYS_faccessat2, AT_FDCWD, path, mode, AT_EACCESS | AT_SYMLINK_NOFOLLOW) &&
           errno == EACCES;
}

/* May the kernel refuse it for want of permission? */
static bool may_be_refused(struct call *c, int n)
{
    const struct place *p = c->places + n;
    uint8_t intent = c->rule->paths[n].intent;
    struct stat st;
    bool exists = !fstatat(AT_FDCWD, p->real, &st, AT_SYMLINK_NOFOLLOW);
    if (!exists && errno == EACCES)
        return true;
    if (intent == INTENT_CREATE || intent == INTENT_REMOVE || (intent == INTENT_OPEN && !exists)) {
        size_t end = p->real_length;
        while (end > 1 && p->real[end - 1] == '/')
            end--;
        while (end > 1 && p->real[end - 1] != '/')
            end--;
        memcpy(c->text, p->real, end);
        c->text[end] = 0;
        return is_refused(c->text, W_OK | X_OK);
    }
    return exists && is_refused(p->real, permission(c));
}

static bool is_one_mount(const struct call *c)
{
    return c->rule->path_count < 2 || c->places[0].claim == c->places[1].claim;
}

/* Is what is asked of a claim free of everything that a mount would refuse? */
static bool is_allowed(const struct call *c)
{
    for (int i = 0; i < c->rule->path_count; i++) {
        const struct place *p = c->places + i;
        if (!p->claim)
            continue;
        if (p->claim->flags & CLAIM_READ_ONLY && !only_looks(c))
            return false;
        uint8_t intent = c->rule->paths[i].intent;
        bool is_name = intent == INTENT_CREATE || intent == INTENT_REMOVE;
        if (is_name && p->virtual_length == p->claim->prefix_length)
            return false;
    }
    return is_one_mount(c);
}

/* The descriptor that an empty path means. */
static int described(const struct call *c)
{
    int8_t dirfd = c->rule->paths->dirfd;
    return dirfd < 0 ? AT_FDCWD : (int)argument(c, dirfd);
}

/* May it be a loader that opens the libc, of which Python has another copy for it? */
static bool is_for_libc(const struct call *c)
{
    static const char name[] = "/libc.so.6";
    size_t length = c->accelerator->offers_libc ? strlen(c->path) : 0;
    return length >= sizeof name && open_flags(c) == (O_RDONLY | O_CLOEXEC) &&
           !strcmp(c->path + length + 1 - sizeof name, name);
}

/* Is what it makes as the module would have it? */
bool makes_plainly(const struct call *c, uint32_t mode)
{
    uint32_t owner = 0600 | (mode & 0011 ? 0100 : 0); /* a root executes what anybody may */
    return c->level->owners && owners_are_plain(c->level->owners) &&
           c->accelerator->facts[c->state_index][MAKES_PLAINLY] == 1 &&
           (mode & (S_ISUID | S_ISGID | owner)) == owner;
}

/* Does a module pass the open? With O_CREAT one of a file that exists is as one without. */
static bool is_passed_open(struct call *c)
{
    if (do_filter(c, 0) == CONTINUE || makes_plainly(c, value(c, 1)))
        return true;
    c->must_exist = (open_flags(c) & (O_CREAT | O_EXCL)) == O_CREAT;
    return c->must_exist && do_filter(c, O_CREAT) == CONTINUE;
}

/* May it be one of procfs's reports that tell names? reports.py */
static bool tells_names(const struct place *p)
{
    static const char *const reports[] = {
        "maps", "smaps", "numa_maps", "mountinfo", "mounts", "mountstats", "limits", "auxv"};
    const char *name = strrchr(p->real, '/') + 1;
    for (size_t i = 0; i < sizeof reports / sizeof *reports; i++)
        if (!strcmp(name, reports[i]))
            return true;
    return !*name; /* what ends in a slash */
}

/* May what is opened be a device that was made in the view, or is it about to be made? */
static bool is_plain_file(const struct call *c, const struct place *p)
{
    struct stat st;
    if (fstatat(AT_FDCWD, p->real, &st, AT_SYMLINK_NOFOLLOW))
        return !c->must_exist;
    const struct owners *owners = c->level->owners;
    return !S_ISREG(st.st_mode) || st.st_size ||
           (owners && (owners_are_plain(owners) || !owners_may(owners, st.st_ino)));
}

/* Does a file lose the name of which something is remembered? */
static bool takes_known_name(const struct call *c, int n, const struct place *p)
{
    struct stat st;
    bool takes = c->rule->action == ACTION_UNLINK || c->rule->action == ACTION_RENAME;
    if (!takes || n != c->rule->path_count - 1 || fstatat(AT_FDCWD, p->real, &st, AT_SYMLINK_NOFOLLOW))
        return false;
    return !c->level->owners || owners_may(c->level->owners, st.st_ino);
}

/* May the call remove or rename a directory in which a claim stands? */
static bool takes_claims(const struct call *c)
{
    if (c->rule->action != ACTION_UNLINK && c->rule->action != ACTION_RENAME)
        return false;
    for (int i = 0; i < c->rule->path_count; i++) {
        const struct place *p = c->places + i;
        if (table_has_below(c->claims, p->virtual_, p->virtual_length) ||
            (c->claims->flags & CLAIM_APART_BELOW && is_held_apart(c->claims, p->real, p->real_length)))
            return true;
    }
    return false;
}

/* Does the call name something in a directory that it has, in a view that changes no names? */
static bool is_name_here(struct call *c)
{
    const struct path_argument *a = c->rule->paths;
    uint64_t address = argument(c, a->path);
    if (c->claims->count || c->root || !address)
        return false;
    long length = read_string((int)c->notification->pid, address, c->path);
    return length > 0 && !memchr(c->path, '/', (size_t)length);
}

/* Is it a directory that has to say by which name it was opened? marks.py */
static bool is_marked(const struct call *c, const struct place *p)
{
    struct stat st;
    size_t size = p->real_length;
    while (size > 1 && p->real[size - 1] == '/')
        size--;
    if (p->proc && c->claims->flags & CLAIM_APART_BELOW)
        return true; /* a magic link, perhaps */
    return is_held_apart(c->claims, p->real, size) &&
           !is_best_name(c->claims, p->real, size, p->claim) &&
           (fstatat(AT_FDCWD, p->real, &st, AT_SYMLINK_NOFOLLOW) || S_ISDIR(st.st_mode));
}

/* Does nothing have to be remembered of the name by which the directory is entered? */
static bool keeps_hint(struct call *c, const struct place *p)
{
    int hint = p->claim ? (int)(p->claim - c->claims->entries) : CWD_REAL;
    bool is_ambiguous;
    size_t size = p->real_length, to;
    while (size > 1 && p->real[size - 1] == '/')
        size--;
    if (p->proc && c->claims->flags & (CLAIM_APART | CLAIM_APART_BELOW))
        return false; /* a magic link, perhaps */
    if (c->state.cwd == hint)
        return true;
    if (!reverse(c->claims, p->real, size, c->state.cwd, c->text, &to, &c->scratch, NULL) ||
        !is_text(c->text, to, p->virtual_, p->virtual_length))
        return false; /* by what is remembered it would have another name */
    return reverse(c->claims, p->real, size, CWD_NO_HINT, c->text, &to, &c->scratch, &is_ambiguous) &&
           !is_ambiguous;
}

static enum outcome decide(struct call *c)
{
    bool all_continue = true, is_native = false;
    bool changes = c->rule->action == ACTION_OWN || c->rule->action == ACTION_MODE;
    bool shows = changes || ((c->rule->action == ACTION_STAT || c->rule->action == ACTION_STATX) &&
                             c->level->owners);
    for (int i = 0; i < c->rule->path_count; i++) {
        enum outcome found = find_place(c, i);
        if (found != CONTINUE && shows)
            return found == ANSWER ? do_fstat(c, described(c)) : PASS;
        if (found != CONTINUE) /* the descriptor may stand for a magic link */
            return found == ANSWER && c->rule->action != ACTION_READLINK ? CONTINUE : PASS;
        const struct place *p = c->places + i;
        if (c->rule->action == ACTION_OPEN && is_for_libc(c)) {
            int fd = offered(c, p);
            return fd < 0 ? PASS : inject(c, fd, O_CLOEXEC);
        }
        if (c->level->rescues && may_be_refused(c, i))
            return PASS;
        if (c->rule->action == ACTION_OPEN && is_marked(c, p))
            return PASS;
        if (p->lost) /* of two paths the other one may be wrong in another way */
            return c->rule->path_count == 1 ? CONTINUE : PASS;
        if (c->rule->asks && c->rule->action == ACTION_OPEN && !is_plain_file(c, p))
            return PASS;
        if (c->rule->asks && takes_known_name(c, i, p))
            return PASS;
        /* What procfs says of names is mapped back. */
        if (p->proc && (c->rule->action == ACTION_READLINK ||
                        (c->rule->action == ACTION_OPEN && tells_names(p))))
            return PASS;
        all_continue = all_continue && may_continue(c, p);
        is_native = is_native || p->native;
    }
    if (c->rule->action == ACTION_CHDIR) {
        if (!keeps_hint(c, c->places))
            return PASS;
        return all_continue ? CONTINUE : hand_directory(c);
    }
    if (c->rule->action == ACTION_EXECUTE)
        return do_execve(c, all_continue && !is_native);
    if (takes_claims(c))
        return PASS;
    if (all_continue && !shows && is_one_mount(c))
        return CONTINUE;
    if (is_native || !is_like_us(c) || !is_allowed(c))
        return PASS;
    return emulate(c);
}

static enum outcome change_owners(struct call *c)
{
    if (is_name_here(c))
        return do_change_name(c, described(c), follows(c, c->rule->paths));
    return decide(c);
}

static bool is_the_monitors(uint32_t option)
{
    return option == PR_SET_DUMPABLE || option == PR_GET_DUMPABLE || option == PR_VIEWOS ||
           option == PR_SET_SECCOMP;
}

static enum outcome act(struct call *c)
{
    switch (c->rule->action) {
    case ACTION_NOTHING:
        return CONTINUE;
    case ACTION_PRCTL:
        return is_the_monitors(value(c, 0)) ? PASS : CONTINUE;
    case ACTION_CREDENTIALS:
        task_renew(c->accelerator, (int)c->notification->pid);
        return CONTINUE;
    case ACTION_ID:
        return do_id(c);
    case ACTION_UNAME:
        return do_uname(c);
    case ACTION_MESSAGE:
        return do_message(c);
    case ACTION_FILTER:
        return do_filter(c, 0);
    case ACTION_FSTAT:
        return do_fstat(c, (int)argument(c, c->rule->values[2]));
    case ACTION_SOCKET:
        return do_socket(c);
    case ACTION_ADDRESS:
        return do_address(c);
    case ACTION_OWN_FD:
    case ACTION_MODE_FD:
        return do_change_fd(c, (int)argument(c, c->rule->values[2]));
    case ACTION_OWN:
    case ACTION_MODE:
        return change_owners(c);
    case ACTION_GETCWD:
        return task_take(c) ? do_getcwd(c) : PASS;
    case ACTION_OPEN:
        return c->rule->asks && !is_passed_open(c) ? PASS : decide(c);
    case ACTION_LINK:
        return value(c, 0) & AT_EMPTY_PATH ? PASS : decide(c);
    default:
        return decide(c);
    }
}

/* What is to be done about the notification of `call`. */
enum outcome answer(struct call *c)
{
    c->task = NULL;
    c->has_status = false;
    c->must_exist = false;
    if (c->root && (c->rule->action == ACTION_CHDIR || c->rule->action == ACTION_EXECUTE ||
                    c->rule->action == ACTION_GETCWD))
        return PASS;
    enum outcome outcome = act(c);
    if (c->task)
        task_give_back(c->task);
    return outcome;
}
