/* What runs in programs: shared by the files of this directory. Its instructions are copied behind a
 * libc: they refer to nothing outside of their section, and run wherever a program calls open(2), so
 * also in signal handlers, on small stacks, in the child of a vfork(2): no errno, no thread-local
 * storage, no state. docs/inproc.md. */
#ifndef CODE_H
#define CODE_H

#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../accelerator/tables.h"

#define SECTION                                                                                    \
    __attribute__((section("viewos_inproc"), no_sanitize("address", "undefined")))
#define CODE static SECTION
/* What takes much of the program's stack, which may be small, does not add up with the rest. */
#define APART CODE __attribute__((noinline))

enum { ROOM = 256, PAGE = 4096 };
enum { TEMPORARY = 020000000 /* __O_TMPFILE */ };
/* Kinds of calls; SHOWN: the owners that LOOKS gives are shown as others; FREE: OPENS that make no file
 * may be made as they are, and what a root makes, as long as it is plain; NAMES: calls that remove one
 * name, or change its times; MAKES: that make one; PAIRS: those of two names; ASKS, ASKS_OPEN: for
 * extended attributes; IDS: who the process is, where no module says it; KNOWN: files of which something
 * is remembered lose no name without the monitor; ENTERS: chdir(2), with the path that the monitor says. */
enum { OPENS = 1, LOOKS = 2, TESTS = 4, READS = 8, SHOWN = 16, OWNS = 32, OWNS_OPEN = 64, FREE = 128, ACLS = 256,
       EXECUTES = 512, NAMES = 1024, PAIRS = 2048, MAKES = 4096, ASKS = 8192, ASKS_OPEN = 16384,
       IDS = 32768, KNOWN = 65536, ENTERS = 131072 };
enum { SHOWN_AT = 128 * 1024 }; /* behind what is said */
/* execve(2) and chdir(2) with this mark, as the fourth argument, and room, as the fifth: handover.py. */
#define HAND_OVER UINT64_C(0x766965776f732078)

/* What the monitor says, and may say anew at any time; image.py writes it. */
struct shared {
    uint64_t not_cookie;
    _Atomic uint32_t calls;   /* the kinds that may be made here */
    _Atomic uint32_t current; /* where its struct claims is, from here */
};

struct claims {
    uint32_t read_only; /* one of them is */
    uint32_t modules;   /* one of them is a module's own: its files are nowhere */
    uint32_t by_prefix, by_name; /* from here, struct table: of claims, and of their last names */
};

struct arguments { /* in the order in which image.py pushes them */
    uint64_t r9, r8, r10, rdx, rsi, rdi;
};

static inline SECTION const struct shown *shown_by(const struct shared *shared)
{
    return (const void *)((const char *)shared + SHOWN_AT);
}

/* Of this process: a page that is its own. The monitor writes the first two, own.c the rest. */
struct here {
    _Atomic uint32_t off;     /* it makes all calls as ever; the second byte: a debugger looks at them */
    _Atomic uint32_t no_root; /* it does not act as a root any more */
    uint32_t wanted;          /* how often there could have been use for notes */
    uint32_t number;          /* of the notes; 0: none */
    struct notes *notes;
};

struct verdict {
    int64_t value;
    uint64_t is_made; /* 0: it is the monitor's; above 1: and is made where the libc makes it */
};
enum { WATCHED = 0xff00, NATIVELY = 2 };

struct path_call {
    int directory;
    uint32_t at; /* which argument the path is */
    const char *path;
    uint32_t kind;
    uint32_t flags; /* of open, or AT_ */
    bool follows, writes;
};

struct route {
    const struct table *claims, *names;
    const struct entry *claim;
    size_t length;
    bool has_dots;
    char name[ROOM]; /* canonical */
    char real[ROOM];
};

/* A system call, without errno. The last argument is given as its complement, so that the cookie is never
 * left on the stack: a program that makes a call of five arguments may take any word of it for the sixth
 * (libffi does), and the filter would let that call through. */
enum { NO_SIXTH = -1 };
int64_t call(long number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t not_f);

/* understand.c: what kind of call it is, and where its directory and its path stand; and the one of its
 * kind that follows no link at the end. */
void understand(long number, const struct arguments *, struct path_call *);
long without_following(long number, struct arguments *);
/* The same call, as the one of its kind that takes a directory with each path. */
long with_directory(long number, struct arguments *);
bool has_met_link(long number, const struct arguments *);

/* route.c: the length of a string, -1: not to be read, or longer than there is room for; and the path
 * for the kernel, if no symbolic link is in it, NULL: not certain. Might it be a file or a link of procfs
 * that tells names? */
long measure(const char *text);
bool is_readable(const char *page);
bool tells_names(const char *path, uint32_t kind);
const char *find(const struct shared *, const struct path_call *, struct route *);

/* code.c: of how many names in the path is it to be asked whether they are links (not of the last one,
 * unless it is followed); is none of the first `names` a link, each asked by itself (`text`: room for
 * the path); is none, all asked at once; an open that finds none; and a call of the program, made or
 * left. `single`: set by the libc, as long as there is one thread. */
size_t count_names(const struct path_call *, const char *path);
bool are_no_links(const struct shared *, const struct path_call *, const char *path, size_t names,
                  char *text);
bool is_opened_without(const struct shared *, const struct path_call *, const char *path);
bool has_no_link(const struct shared *, const struct path_call *, const char *path, struct route *,
                 const volatile char *single);
int64_t open_without_links(const struct shared *, int directory, const char *path, uint64_t flags,
                           uint64_t mode);
struct verdict open_here(const struct shared *, const struct path_call *, const char *path, uint64_t mode);
/* Does what a root of the view makes show as the kernel makes it? `owner`: what its mode has to leave to
 * its owner; `path` NULL: it is not certain where that leads. The call as the program has it: a module may
 * lend a permission that is missing. And the call where nothing speaks against it, with another path. */
bool makes_plainly(const struct shared *, struct here *, uint64_t mode, uint64_t owner, int directory,
                   const char *path, const volatile char *single);
struct verdict as_it_is(const struct shared *, long number, const struct arguments *);
struct verdict make_here(const struct shared *, struct here *, uint32_t calls, long number,
                         const struct arguments *, const struct path_call *, const char *path,
                         const volatile char *single);
struct verdict inproc_call(const struct shared *, struct here *, long number, struct arguments *,
                           const volatile char *single);

/* names.c: is the last name of a path one that can be made and removed; may it be without the monitor, by what
 * is remembered of files; a call of one such name, or of one file that it changes, and one of two names
 * that lie in the same claim; and chdir(2) and chmod(2) where no link is on the way: minus the errno. */
bool ends_in_a_name(const char *path);
bool may_name(const struct shared *, struct here *, uint32_t calls, long number, const struct arguments *,
              const struct path_call *, const char *path, const volatile char *single);
struct verdict change_here(const struct shared *, struct here *, uint32_t calls, long number,
                           const struct arguments *, const struct path_call *, const char *path,
                           struct route *, const volatile char *single);
struct verdict pair_here(const struct shared *, struct here *, uint32_t calls, long number,
                         const struct arguments *, const volatile char *single);
int64_t enter_held(const struct shared *, const char *path);
int64_t change_mode_held(const struct shared *, int directory, const char *path, uint64_t mode);

/* own.c: is it certain that nothing is remembered of an inode, of a file (`path` NULL: a descriptor); and
 * chown(2), chmod(2) and their kin, with the path for the kernel, NULL: of a descriptor. */
bool is_unknown(const struct shared *, struct here *, uint64_t inode, const volatile char *single);
bool is_unknown_file(const struct shared *, struct here *, int directory, const char *path,
                     const volatile char *single);
/* May a name be taken from the file that has it, if there is one? */
bool may_lose(const struct shared *, struct here *, uint32_t calls, int directory, const char *path,
              const volatile char *single);
/* Is certainly nothing remembered of the directory in which the last name of a path stands? */
bool is_unknown_parent(const struct shared *, struct here *, int directory, const char *path,
                       const volatile char *single);
/* An open in a view that shows owners: does its file show as the kernel has it, also if it is made? */
bool opens_plainly(const struct shared *, struct here *, const struct path_call *, const char *path,
                   bool may_make, const volatile char *single);
/* Eight bytes of a name as a number: comparisons without a text, which would lie elsewhere. */
#define W(a, b, c, d, e, f, g, h)                                                                  \
    ((uint64_t)(a) | (uint64_t)(b) << 8 | (uint64_t)(c) << 16 | (uint64_t)(d) << 24 |              \
     (uint64_t)(e) << 32 | (uint64_t)(f) << 40 | (uint64_t)(g) << 48 | (uint64_t)(h) << 56)
uint64_t word(const char *name, size_t size);

struct verdict change_mode_here(const struct shared *, long number, const struct arguments *,
                                const struct path_call *, const char *path, const volatile char *single);
struct verdict own_here(const struct shared *, struct here *, long number, const struct arguments *,
                        const struct path_call *, const char *path, const volatile char *single);

#endif
