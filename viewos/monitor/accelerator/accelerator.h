/* The accelerator: calls whose answer data gives are answered here, without Python; whatever it is
 * not certain of is handed on. The Python monitor beside it is the reference: docs/accelerator.md.
 *
 * Nothing is allocated per call, and no lock is shared by all calls. */
#ifndef ACCELERATOR_H
#define ACCELERATOR_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <elf.h>
#include <linux/audit.h>
#include <linux/seccomp.h>

#include "tables.h"

enum { LONGEST = 4096 }; /* PATH_MAX: of a path with its NUL */

enum { ROOT_LINKS = 16 };

/* ---- what the table of system calls says of a call: rules.py --------------------------------- */

enum { INTENT_READ, INTENT_WRITE, INTENT_CREATE, INTENT_REMOVE, INTENT_OPEN };

enum action {
    ACTION_NONE, ACTION_LOOK, ACTION_OPEN, ACTION_STAT, ACTION_STATX, ACTION_ACCESS,
    ACTION_READLINK, ACTION_GETCWD, ACTION_CHDIR, ACTION_MKDIR, ACTION_UNLINK, ACTION_RENAME,
    ACTION_LINK, ACTION_SYMLINK, ACTION_CHMOD, ACTION_UTIMENS, ACTION_EXECUTE,
    ACTION_NOTHING, /* no module of this view answers it */
    ACTION_PRCTL,
    ACTION_MESSAGE, /* what the headers of messages point at */
    ACTION_ADDRESS, /* of a socket: only one of AF_UNIX may be a path */
    ACTION_SOCKET,
    ACTION_CREDENTIALS, /* changes them: the task is looked at anew */
    ACTION_FSTAT = 32,
    ACTION_ID, /* which one: values[0] */
    ACTION_UNAME,
    ACTION_FILTER, /* continue where the arguments are such: struct pass */
    ACTION_OWN, /* chown and its kin, as a module has it: owners.c */
    ACTION_OWN_FD,
    ACTION_MODE,
    ACTION_MODE_FD,
};

struct flag {
    uint32_t mask, unless;
    uint32_t arg;
};

struct path_argument {
    int8_t path, dirfd; /* indices of arguments; dirfd -1: the cwd */
    uint8_t intent;
    uint8_t follow;     /* a final link, unless a flag says the opposite */
    uint8_t flag_count;
    uint8_t spare[3];
    struct flag flags[2];
};

struct rule {
    uint8_t action, path_count;
    int8_t values[4]; /* indices of further arguments, by action; -1: the call lacks it */
    bool asks;        /* a module is asked, but for what it has said */
    uint8_t spare;
    struct path_argument paths[2];
};

enum { CALLS = 512 };

/* ---- state of processes ----------------------------------------------------------------------- */

enum { STATES = 4096 };
enum { STATE_KNOWN = 1, STATE_CONFINED = 2, STATE_BEHIND_LOADER = 4, STATE_ROOTED = 8 };
enum { CWD_NO_HINT = -2, CWD_REAL = -1 }; /* else the index of a claim */

struct state {
    int32_t cwd;
    uint16_t view; /* its place among the views */
    uint8_t kind;  /* 0: unknown */
};

/* The root directory of a process that changed it where the kernel would not let it: a name of the
 * view. The kernel's root stays. */
struct root {
    size_t length;
    char text[LONGEST];
};

/* ---- answers that do not depend on the call: constants.c --------------------------------------- */

enum { IDS = 4, KEEPS_AT_EXEC = IDS, CHANGES_OWNERS, MAKES_PLAINLY, ACTS_AS_ROOT, FACTS, SOURCE = 65 };

struct source { /* a file whose contents a name is */
    int fd;
    uint32_t size;
    char data[SOURCE];
};

struct names {
    bool is_known;
    uint32_t count;
    struct source sources[2];
    char uts[6 * 65]; /* struct new_utsname */
};

enum { PASSES = 32, TESTS = 3 };

struct pass { /* a call that a module passes in any case */
    int number;
    int count;
    struct {
        int argument;
        uint64_t mask, value;
    } tests[TESTS];
};

/* ---- the instrumented libc of a view: offer.c ------------------------------------------------------ */

enum { OFFER_CODE = 32 };

struct offer {
    int descriptor, filters;
    uint64_t device, inode;    /* of the library that it stands for */
    uint64_t instruction;      /* of the loader, by which it is opened */
    char code[OFFER_CODE];     /* around it */
};

/* ---- views: the outermost, and those nested in it -------------------------------------------- */

enum { VIEWS = 1024, BEGUN = 4096 };

/* ---- programs that are executed by another path: handing.c ----------------------------------------- */

enum { PROGRAMS = 256, BEGINNINGS = 256, NAME = 16 /* TASK_COMM_LEN */, PATH_KEPT = 256 };

struct program { /* handover.py packs it */
    uint64_t device, inode;
    int64_t changed;         /* ns */
    uint64_t header_at;      /* from the first program header; */
    uint64_t has_header;     /* else it is no copy, or has none to hide */
    char header[56];         /* the program's own, where a copy names another loader */
    char name[NAME];         /* which the process gets */
    char loader[PATH_KEPT], loader_real[PATH_KEPT];
    char real[PATH_KEPT];    /* where it is */
    char string[PATH_KEPT];  /* the path that the kernel is given */
};

struct beginning {
    _Atomic int tid; /* who executes it; 0: nobody */
    const struct program *program;
    const _Atomic int64_t *ids; /* which it is to see; NULL: its own */
    char name[PATH_KEPT], string[HANDED_ROOM - 16]; /* of its file: the view's, and the kernel's */
};

struct level {
    const struct table *claims; /* held by Python to the end; NULL: that view is Python's */
    struct owners *owners;      /* NULL: the kernel's */
    const struct program *_Atomic programs[PROGRAMS]; /* held by Python to the end */
    const struct offer *_Atomic offers[2]; /* [1]: for who acts as a root; NULL: none yet */
    bool no_continue;
    bool rescues; /* what is refused with EACCES is Python's */
    _Atomic uint64_t settled;
    _Atomic uint32_t names_version; /* odd while they change */
    struct names names;
    int pass_count;
    struct pass passes[PASSES];
    const struct rule *rules; /* of CALLS; held by Python to the end */
};

/* ---- tasks -------------------------------------------------------------------------------------- */

enum { TASKS = 512, RENEWED = 256 };

struct identity { /* of a directory, where it is mounted */
    uint64_t mount, inode;
};

struct task {
    atomic_flag busy;
    _Atomic bool stale;
    uint64_t generation;
    _Atomic uint64_t doubt; /* doubts.c; 0: none */
    int tid, group;
    int directory; /* of /proc/TID; it never names another task */
    enum { IDS_UNKNOWN, IDS_OURS, IDS_OTHERS } ids; /* and the group: read where that is asked */
    bool begins; /* a program that may leave it other capabilities */
    int64_t seen; /* when its root was ours: CLOCK_MONOTONIC, ns */
};

/* ---- owners: what a module shows of files ------------------------------------------------------- */

enum { CHANGED = 1 << 16 };

struct remembered {
    uint64_t device, inode, rdev;
    uint32_t uid, gid, mode;
    bool has_more; /* Python knows more of it than this */
    struct handle handle;
};

/* What has been changed here, for Python to take when it has to know; nothing is, while Python holds it
 * back. */
struct changed {
    struct remembered now;
    uint32_t real; /* st_mode */
};

struct change {
    bool is_mode;
    bool follow; /* a symbolic link leads elsewhere: Python's */
    uint32_t uid, gid, mode;
};

/* ---- one accelerator ------------------------------------------------------------------------------ */

struct accelerator {
    _Atomic bool offers_libc; /* Python has an instrumented copy of it */
    _Atomic bool roots_move; /* a call has been made that changes the root of a known task */
    _Atomic bool mounts_move; /* mounts.py: have_moved */
    uint64_t token_base;
    char credentials[2048], user_namespace[64];
    char label[LONGEST]; /* which a security module has given us; of length 0: it gives none */
    size_t label_length;
    struct identity root;
    _Atomic uint64_t root_links[ROOT_LINKS]; /* names of / that were symbolic links: resolve.c */
    _Atomic uint64_t changes; /* grows when the table of mounts changes */
    _Atomic uint64_t generation; /* of the cache of tasks */
    _Atomic uint32_t state_count;
    _Atomic uint64_t states[STATES]; /* each a struct state, which changes as a whole */
    const struct root *_Atomic roots[STATES]; /* of those that are STATE_ROOTED */
    /* uid, euid, gid, egid, -1: Python knows; does executing a common program change nothing of it?
     * May it give every file to anybody, with any mode? */
    _Atomic int64_t facts[STATES][FACTS];
    /* By thread id: who begins a program, which is to see these ids; negative: Python sees to it. */
    _Atomic int begun[BEGUN];
    uint64_t mark; /* of who can be handed over what to execute; 0: nobody */
    struct beginning beginnings[BEGINNINGS];
    uint32_t task_mask; /* of a thread id: how many of the tasks are in use, less 1 */
    struct task tasks[TASKS];
    /* Tasks that are not what they were: Python has to forget them too. */
    _Atomic uint32_t renewed_count;
    uint32_t renewed_told;
    struct renewed {
        int tid, executing; /* which of its threads executes a program; 0: none */
    } renewed[RENEWED];
    struct level *_Atomic views[VIEWS];
    _Atomic uint64_t settled[CALLS], passed[CALLS];
};

struct place {
    char virtual_[LONGEST], real[LONGEST], kernel[LONGEST];
    size_t virtual_length, real_length, kernel_length;
    const struct entry *claim;
    bool plain;    /* the kernel reaches the same object from the tracee's own string */
    bool absolute; /* the walk began at the root, or went through it */
    bool native;   /* only the tracee may act on it */
    bool proc;     /* it lies in a procfs */
    bool lost;     /* something in the middle is missing: the kernel finds the same if it is plain */
    bool slash;
};

enum { MOST_ENTRIES = 64 }; /* of an auxiliary vector */

/* All that one call needs; one for each thread that receives. */
struct call {
    struct accelerator *accelerator;
    int listener;
    bool own_umask; /* of the thread */
    struct level *level;
    const struct table *claims, *mounts; /* mounts NULL: about to change */
    struct seccomp_notif *notification;
    const struct rule *rule;
    struct task *task;
    struct state state;
    size_t state_index;
    const struct root *root; /* NULL: the view's */
    bool must_exist;         /* the file that is opened, or a module is asked */
    bool has_status, has_auxiliary; /* they have been read: */
    int64_t result; /* when it is settled */
    char path[LONGEST], text[LONGEST], todo[2 * LONGEST], status[LONGEST];
    Elf64_auxv_t auxiliary[MOST_ENTRIES + 1]; /* AT_NULL at its end */
    struct place places[2], scratch;
    uint64_t changes; /* of the accelerator, when the tables were taken */
};

/* PASS: not certain, Python's. The others: settled. */
enum outcome { PASS, CONTINUE, ANSWER, ABANDONED };

/* memory.c */
long read_string(int tid, uint64_t address, char *to);
bool read_exactly(int tid, uint64_t address, void *to, size_t size);
bool write_exactly(int tid, uint64_t address, const void *from, size_t size);

/* tasks.c */
struct task *task_take(struct call *);
void task_give_back(struct task *);
void task_watch(struct accelerator *, int number);
void task_forget(struct accelerator *, int tid);
void task_renew(struct accelerator *, int tid);
void task_doubt(struct accelerator *, int group, int tid);
void task_executes(struct call *);
void task_begins(struct call *);
void task_forget_all(struct accelerator *);
void tasks_open(struct accelerator *);
/* Give back the descriptors of all that no call is using. */
void tasks_close(struct accelerator *);
long task_directory(const struct accelerator *, const struct task *, const char *name, char *to);
bool read_status(struct call *);
bool task_has_our_ids(struct call *);
bool task_is_like_us(struct call *);
bool task_leads(struct call *);
bool state_of(struct accelerator *, int tid, struct state *, size_t *index);
void state_set(struct accelerator *, size_t index, struct state);

/* doubts.c */
void doubt_add(struct task *place, int group, int tid);
void doubt_settle(const struct call *, struct task *);

/* claims.c */
bool set(char *to, size_t *length, const char *text, size_t size);
bool append(char *to, size_t *length, const char *text, size_t size);
bool is_text(const char *a, size_t a_length, const char *b, size_t b_length);
bool forward(const struct table *, struct place *);
bool is_held_apart(const struct table *, const char *real, size_t length);
bool is_best_name(const struct table *, const char *real, size_t length, const struct entry *);
bool reverse(const struct table *, const char *real, size_t length, int hint, char *to,
             size_t *to_length, struct place *scratch, bool *ambiguous);

/* resolve.c */
struct walk {
    bool follow, keep_last;
};
bool resolve(struct call *, const char *path, size_t length, struct walk, struct place *);

struct stat;
struct statx;

/* owners.c */
enum { UNSEEN = 4 };
struct unseen { /* others have changed something, unless the file has these words at that place */
    int descriptor;
    int64_t offset;
    size_t count;
    const _Atomic uint64_t *seen;
};
struct owners *owners_new(int64_t owner, int64_t group, struct unseen); /* of others; -1: the real one */
void owners_free(struct owners *);
/* Have programs see it at `to` too, as long as nothing else is said; false: they cannot. */
bool owners_mirror(struct owners *, struct shown *to);
void owners_leave_mirrors(struct owners *);
bool owners_map(struct owners *, bool is_group, uint32_t from, uint32_t to);
void owners_maybe(struct owners *, uint64_t inode);
void owners_remember(struct owners *, const struct remembered *);
bool owners_may(const struct owners *, uint64_t inode);
bool owners_allow(struct owners *, uint64_t device);
void owners_make_plainly(struct owners *, uint32_t where);
void owners_be_alone(struct owners *, uint32_t is_alone);
bool owners_are_plain(const struct owners *);
bool owners_note_in(struct owners *, struct notes *, uint32_t number);
/* Change the file as a root of the view; false: Python's to do. */
bool owners_change(struct owners *, int directory, const char *path, int flags, struct change);
/* Take what has been changed, to be freed. `hold`: how many more now have it that nothing changes. */
bool owners_take(struct owners *, int hold, struct changed **, size_t *count);
bool owners_stat(struct owners *, int directory, const char *path, int flags, struct stat *);
bool owners_statx(struct owners *, int directory, const char *path, int flags, struct statx *);

/* execute.c */
/* `is_plain`: the kernel reaches the program by the caller's own string. */
enum outcome do_execve(struct call *, bool is_plain);
/* Would a module that is asked say that the process stays what it is? */
bool keeps_at_exec(struct call *, const struct stat *program);

/* handing.c */
const struct program *_Atomic *program_slot(struct level *, uint64_t inode, const char *name);
enum outcome hand_over(struct call *, const struct stat *program);
enum outcome hand_directory(struct call *);
void program_begins(struct call *);

/* auxiliary.c */
uint64_t auxiliary_word(struct call *, uint64_t key, uint64_t otherwise);
void auxiliary_expect(struct call *);
void auxiliary_tell(struct call *);
void auxiliary_write(int tid, const _Atomic int64_t ids[IDS]);
bool auxiliary_is_told(struct accelerator *, int tid);

/* offer.c */
int offered(struct call *, const struct place *);

/* sockets.c */
enum outcome do_message(struct call *);
enum outcome do_address(struct call *);
enum outcome do_socket(struct call *);

/* emulate.c */
uint64_t argument(const struct call *, int index);
uint32_t value(const struct call *, int n);
enum outcome done(struct call *, long result); /* below 0: errno */
enum outcome fails(struct call *, int number);
bool is_waiting(const struct call *);
bool is_like_us(struct call *);
enum outcome emulate(struct call *);
enum outcome do_getcwd(struct call *);
enum outcome do_fstat(struct call *, int fd);
enum outcome do_change_fd(struct call *, int fd);
enum outcome do_change_name(struct call *, int directory, bool follow);
enum outcome deliver(struct call *, uint64_t address, const void *data, size_t size);

/* opening.c */
uint32_t open_flags(const struct call *);
bool take_umask(struct call *, mode_t *before);
enum outcome inject(struct call *, int fd, uint32_t flags);
enum outcome do_open(struct call *);
/* Where a call is made: at a file ("", AT_EMPTY_PATH), or at the directory of a name, `fd`; -1: it is missing. */
struct spot {
    int fd, missing;
    const char *name;
};
/* False: somebody has put a link on the way, or there is no descriptor. */
bool take_file(const struct call *, struct spot *);
bool take_directory(struct place *, struct spot *);
/* What has become of a call that was made there: it may be that something was missing. */
enum outcome made_at(struct call *, const struct spot *, enum outcome);

/* constants.c */
void facts_set(struct accelerator *, size_t index, const int64_t values[FACTS]);
void names_set(struct level *, const struct names *);
enum outcome do_id(struct call *);
enum outcome do_uname(struct call *);
enum outcome do_filter(struct call *, uint32_t without);

/* answer.c */
bool makes_plainly(const struct call *, uint32_t mode);
bool follows(const struct call *, const struct path_argument *);
enum outcome answer(struct call *);

/* serve.c */
struct seat { /* shared with engine.py */
    _Atomic uint64_t leader, sequence, busy, stopping, dozing;
};
int serve(struct call *, struct seat *, uint64_t me);

#endif
