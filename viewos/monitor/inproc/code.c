/* The part of the monitor that runs in a program: it makes a path call itself where it is certain of
 * what the monitor would do, and leaves it otherwise. docs/inproc.md.
 *
 * These instructions are copied behind a libc: they refer to nothing outside of their section, and
 * run wherever a program calls open(2), so also in signal handlers, on small stacks, in the child
 * of a vfork(2): no errno, no thread-local storage, no state. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SECTION                                                                                    \
    __attribute__((section("viewos_inproc"), no_sanitize("address", "undefined")))
#define CODE static SECTION

/* The loop stays a loop: there is no memcmp(3) to call. */
CODE int differs(const char *a, const char *b, size_t size)
{
    while (size && *a == *b)
        a++, b++, size--;
    return size != 0;
}

#define memcmp(a, b, size) differs(a, b, size)
#define TABLE_CODE SECTION
#include "../accelerator/tables.c"
#undef memcmp

enum { ROOM = 256, PAGE = 4096 };
/* Kinds of calls; and the owners that LOOKS gives are shown as others. */
enum { OPENS = 1, LOOKS = 2, TESTS = 4, READS = 8, SHOWN = 16 };
enum { SHOWN_AT = 128 * 1024 }; /* behind what is said */

/* What the monitor says, and may say anew at any time; image.py writes it. */
struct shared {
    uint64_t cookie;
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

struct verdict {
    int64_t value;
    uint64_t is_made; /* 0: it is the monitor's */
};

struct path_call {
    int directory;
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

CODE int64_t call(long number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f)
{
    register uint64_t r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
    int64_t result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

/* May the page be read? An impossible `how` is told after the set has been read. */
CODE bool is_readable(const char *at)
{
    uint64_t page = (uint64_t)at & -(uint64_t)PAGE;
    return call(SYS_rt_sigprocmask, 99, page, 0, 8, 0, 0) == -EINVAL;
}

/* The length of a string; -1: not to be read, or longer than there is room for. */
CODE long measure(const char *text)
{
    for (long at = 0; at < ROOM; at++) {
        if ((!at || !((uint64_t)(text + at) & (PAGE - 1))) && !is_readable(text + at))
            return -1;
        if (!text[at])
            return at;
    }
    return -1;
}

CODE bool is_number(const char *name, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if ((name[i] < '0' || name[i] > '9') && name[i] != '-' && (name[i] < 'a' || name[i] > 'f'))
            return false;
    return true;
}

/* Eight bytes of a name as a number: comparisons without a text, which would lie elsewhere. */
CODE uint64_t word(const char *name, size_t size)
{
    uint64_t value = 0;
    for (size_t i = 0; i < size && i < 8; i++)
        value |= (uint64_t)(unsigned char)name[i] << 8 * i;
    return value;
}

#define W(a, b, c, d, e, f, g, h)                                                                  \
    ((uint64_t)(a) | (uint64_t)(b) << 8 | (uint64_t)(c) << 16 | (uint64_t)(d) << 24 |              \
     (uint64_t)(e) << 32 | (uint64_t)(f) << 40 | (uint64_t)(g) << 48 | (uint64_t)(h) << 56)

/* Might it be a file or a link of procfs that tells names? */
CODE bool tells_names(const char *path, uint32_t kind)
{
    const char *end = path;
    while (*end)
        end++;
    while (end > path && end[-1] == '/')
        end--;
    const char *name = end;
    while (name > path && name[-1] != '/')
        name--;
    size_t size = (size_t)(end - name);
    uint64_t is = word(name, size);
    if (kind == OPENS)
        return is == W('m', 'a', 'p', 's', 0, 0, 0, 0) || is == W('s', 'm', 'a', 'p', 's', 0, 0, 0) ||
               is == W('n', 'u', 'm', 'a', '_', 'm', 'a', 'p') ||
               is == W('m', 'o', 'u', 'n', 't', 'i', 'n', 'f') ||
               is == W('m', 'o', 'u', 'n', 't', 's', 0, 0) ||
               is == W('m', 'o', 'u', 'n', 't', 's', 't', 'a') ||
               is == W('l', 'i', 'm', 'i', 't', 's', 0, 0);
    if (kind != READS)
        return false;
    if (is == W('e', 'x', 'e', 0, 0, 0, 0, 0) || is == W('c', 'w', 'd', 0, 0, 0, 0, 0) ||
        is == W('r', 'o', 'o', 't', 0, 0, 0, 0))
        return true;
    /* Of fd and map_files, into which the directory of a relative path may lead. */
    if (!is_number(name, size))
        return false;
    for (end = name; end > path; end--)
        if (end[-1] != '/' && !(end[-1] == '.' && (end - 1 == path || end[-2] == '/')))
            break;
    if (end == path)
        return *path != '/';
    return end - path < 2 || (end[-2] == 'f' && end[-1] == 'd') || (end[-2] == 'e' && end[-1] == 's');
}

CODE bool is_dots(const char *name, size_t size)
{
    return *name == '.' && (size == 1 || (size == 2 && name[1] == '.'));
}

/* Go on to one name of an absolute path; false: not certain. */
CODE bool enter(struct route *w, const char *name, size_t size)
{
    if (is_dots(name, size)) {
        w->has_dots = true;
        if (size == 1)
            return true;
        if (w->claim && w->claim->prefix_length > 1)
            return false; /* what it leaves lies elsewhere */
        if (!w->length)
            return !w->claim;
        while (w->name[--w->length] != '/')
            ;
        return true;
    }
    if (w->length + size + 2 > ROOM)
        return false;
    w->name[w->length++] = '/';
    for (size_t i = 0; i < size; i++)
        w->name[w->length++] = name[i];
    const struct entry *claim = table_find(w->claims, w->name, w->length);
    if (claim)
        w->claim = claim;
    return true;
}

/* Look at each name of the path. */
CODE bool look(struct route *w, const struct path_call *p)
{
    bool is_absolute = *p->path == '/';
    const char *at = p->path;
    if (is_absolute)
        w->claim = table_find(w->claims, at, 1);
    for (;;) {
        while (*at == '/')
            at++;
        if (!*at)
            break;
        const char *name = at;
        while (*at && *at != '/')
            at++;
        size_t size = (size_t)(at - name);
        if (is_absolute) {
            if (!enter(w, name, size))
                return false;
        } else if (size == 2 && is_dots(name, size)) {
            return false;
        } else {
            if (size + 1 > ROOM)
                return false;
            w->name[0] = '/';
            for (size_t i = 0; i < size; i++)
                w->name[i + 1] = name[i];
            if (table_is(w->names, w->name, size + 1))
                return false;
        }
    }
    return true;
}

/* The path at the backing; NULL: not certain. The length of the given one is at most ROOM - 1. */
CODE const char *translate(struct route *w, const char *path)
{
    const struct entry *c = w->claim;
    const char *backing = table_text(w->claims, c->backing);
    if (c->prefix_length == c->backing_length &&
        !differs(backing, table_text(w->claims, c->prefix), c->backing_length))
        return path;
    bool is_root = c->prefix_length == 1;
    if (w->length <= c->prefix_length && !is_root)
        return NULL; /* the mount point itself may be a link at the backing */
    if (w->has_dots && !is_root)
        return NULL;
    const char *rest = is_root ? path : w->name + c->prefix_length;
    const char *last = path;
    while (last[1])
        last++;
    size_t length = 0;
    if (c->backing_length > 1)
        for (; length < c->backing_length; length++) {
            if (length == ROOM - 2)
                return NULL;
            w->real[length] = backing[length];
        }
    const char *end = is_root ? last + 1 : w->name + w->length;
    for (; rest < end; rest++) {
        if (length == ROOM - 2)
            return NULL;
        w->real[length++] = *rest;
    }
    if (!is_root && *last == '/')
        w->real[length++] = '/';
    w->real[length] = 0;
    return w->real;
}

/* The path for the kernel, if no symbolic link is in it; NULL: not certain. */
CODE const char *find_any(const struct shared *shared, const struct path_call *p, struct route *w)
{
    const struct claims *claims = (const void *)((const char *)shared + shared->current);
    w->claims = (const void *)((const char *)claims + claims->by_prefix);
    w->names = (const void *)((const char *)claims + claims->by_name);
    w->claim = NULL;
    w->length = 0;
    w->has_dots = false;
    if (!look(w, p))
        return NULL;
    if (*p->path != '/')
        return claims->modules || (p->writes && claims->read_only) ? NULL : p->path;
    if (!w->claim)
        return p->path;
    if (w->claim->flags & CLAIM_MODULE || (p->writes && w->claim->flags & CLAIM_READ_ONLY))
        return NULL;
    return translate(w, p->path);
}

CODE const char *find(const struct shared *shared, const struct path_call *p, struct route *w)
{
    const char *path = find_any(shared, p, w);
    return path && !tells_names(path, p->kind) ? path : NULL;
}

CODE int64_t open_without_links(const struct shared *shared, int directory, const char *path,
                                uint64_t flags, uint64_t mode)
{
    struct open_how how;
    how.flags = flags;
    how.mode = mode;
    how.resolve = RESOLVE_NO_SYMLINKS;
    return call(SYS_openat2, (uint64_t)(int64_t)directory, (uint64_t)path, (uint64_t)&how, sizeof how, 0,
                shared->cookie);
}

/* Of how many names in the path is it to be asked whether they are links? Not of the last one, unless
 * it is followed. */
CODE size_t count_names(const struct path_call *p, const char *path)
{
    size_t count = 0;
    bool is_name = false;
    for (; *path; path++) {
        count += is_name && *path == '/';
        is_name = *path != '/';
    }
    return count + (is_name && p->follows);
}

/* Is none of them a link, each asked by itself? `text`: room for the path. */
CODE bool are_no_links(const struct shared *shared, const struct path_call *p, const char *path, char *text)
{
    for (size_t left = count_names(p, path), at = 0; left; left--) {
        for (; path[at] == '/'; at++)
            text[at] = '/';
        for (; path[at] && path[at] != '/'; at++)
            text[at] = path[at];
        text[at] = 0;
        char byte;
        int64_t seen = call(SYS_readlinkat, (uint64_t)(int64_t)p->directory, (uint64_t)text,
                            (uint64_t)&byte, 1, 0, shared->cookie);
        if (seen != -EINVAL)
            return seen == -ENOENT || seen == -ENOTDIR;
    }
    return true;
}

/* The same, for all at once: an open that must fail. A directory cannot be written to, nothing else
 * is a directory. */
CODE bool is_opened_without(const struct shared *shared, const struct path_call *p, const char *path)
{
    int64_t seen = open_without_links(shared, p->directory, path,
                                      O_WRONLY | O_DIRECTORY | O_CLOEXEC |
                                          (p->follows ? 0 : O_NOFOLLOW), 0);
    return seen == -EISDIR || seen == -ENOTDIR || seen == -ENOENT;
}

enum {
    LARGE = 0100000, /* O_LARGEFILE as the kernel knows it */
    WITH_PATH = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
    TEMPORARY = 020000000, /* __O_TMPFILE */
    KNOWN = O_ACCMODE | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_APPEND | O_NONBLOCK | O_SYNC |
            O_DSYNC | FASYNC | O_DIRECT | O_DIRECTORY | O_NOFOLLOW | O_NOATIME | O_CLOEXEC | O_PATH |
            TEMPORARY | LARGE,
};

/* As the kernel's build_open_how() makes it of what openat(2) is given. */
CODE struct verdict open_here(const struct shared *shared, const struct path_call *p, const char *path,
                              uint64_t mode)
{
    uint64_t flags = p->flags & KNOWN;
    flags = flags & O_PATH ? flags & WITH_PATH : flags | LARGE;
    mode = flags & (O_CREAT | TEMPORARY) ? mode & 07777 : 0;
    int64_t fd = open_without_links(shared, p->directory, path, flags, mode);
    struct verdict verdict = {fd, fd >= 0 || fd == -ENOENT || fd == -ENOTDIR || fd == -EINTR};
    return verdict;
}

/* The number and the arguments of a call, as those of one that has a directory. */
CODE bool understand(long number, const struct arguments *a, struct path_call *p)
{
    bool at = number == SYS_openat || number == SYS_newfstatat || number == SYS_statx ||
              number == SYS_faccessat || number == SYS_faccessat2 || number == SYS_readlinkat;
    p->directory = at ? (int)a->rdi : AT_FDCWD;
    p->path = (const char *)(at ? a->rsi : a->rdi);
    p->flags = 0;
    p->follows = true;
    p->writes = false;
    if (number == SYS_open || number == SYS_openat) {
        p->kind = OPENS;
        p->flags = (uint32_t)(at ? a->rdx : a->rsi);
        p->writes = p->flags & (O_ACCMODE | O_CREAT | O_TRUNC | TEMPORARY) && !(p->flags & O_PATH);
    } else if (number == SYS_stat || number == SYS_lstat || number == SYS_newfstatat ||
               number == SYS_statx) {
        p->kind = LOOKS;
        p->flags = number == SYS_newfstatat ? (uint32_t)a->r10 : number == SYS_statx ? (uint32_t)a->rdx : 0;
        p->follows = number != SYS_lstat && !(p->flags & AT_SYMLINK_NOFOLLOW);
    } else if (number == SYS_access || number == SYS_faccessat || number == SYS_faccessat2) {
        p->kind = TESTS;
        p->flags = number == SYS_faccessat2 ? (uint32_t)a->r10 : 0;
        p->follows = !(p->flags & AT_SYMLINK_NOFOLLOW);
        p->writes = (at ? a->rdx : a->rsi) & W_OK;
    } else if (number == SYS_readlink || number == SYS_readlinkat) {
        p->kind = READS;
        p->follows = false;
    } else
        return false;
    return true;
}

/* The call itself, with another path. */
CODE int64_t make(const struct shared *shared, long number, const struct arguments *a, const char *path)
{
    bool at = number != SYS_stat && number != SYS_lstat && number != SYS_access && number != SYS_readlink;
    return call(number, at ? a->rdi : (uint64_t)path, at ? (uint64_t)path : a->rsi, a->rdx, a->r10, a->r8,
                shared->cookie);
}

/* What a call that looked at a file has given, with the owner whom the view shows. False: the monitor
 * remembers more of it. */
CODE bool show_owner(const struct shared *shared, long number, const struct arguments *a)
{
    const struct shown *shown = (const void *)((const char *)shared + SHOWN_AT);
    if (number == SYS_statx) {
        struct statx *x = (struct statx *)a->r8;
        if (!shown->is_known || shown_maybe(shown, x->stx_ino))
            return false;
        x->stx_uid = map_show(&shown->uids, x->stx_uid);
        x->stx_gid = map_show(&shown->gids, x->stx_gid);
        return true;
    }
    struct stat *s = (struct stat *)(number == SYS_newfstatat ? a->rdx : a->rsi);
    if (!shown->is_known || shown_maybe(shown, s->st_ino))
        return false;
    s->st_uid = map_show(&shown->uids, s->st_uid);
    s->st_gid = map_show(&shown->gids, s->st_gid);
    return true;
}

/* The call, where nothing speaks against it. */
CODE struct verdict make_here(const struct shared *shared, uint32_t calls, long number,
                              const struct arguments *a, const struct path_call *p, const char *path)
{
    struct verdict verdict = {make(shared, number, a, path), 1};
    if (p->kind == LOOKS && calls & SHOWN && !verdict.value)
        verdict.is_made = show_owner(shared, number, a);
    return verdict;
}

/* Make a call of the program, or leave it. `off`: set by the monitor for this process; `single`: by
 * the libc, as long as there is one thread. */
SECTION struct verdict inproc_call(const struct shared *shared, const _Atomic uint32_t *off, long number,
                                   const struct arguments *a, const volatile char *single)
{
    struct verdict none = {0, 0};
    struct path_call p;
    struct route route;
    uint32_t calls = shared->calls;
    if (*off || !understand(number, a, &p) || !(calls & p.kind))
        return none;
    long length = measure(p.path);
    if (length < 0)
        return none;
    if (!length) {
        if (p.kind != LOOKS || !(p.flags & AT_EMPTY_PATH) || p.flags & AT_SYMLINK_NOFOLLOW)
            return none;
        return make_here(shared, calls, number, a, &p, p.path);
    }
    const char *path = find(shared, &p, &route);
    if (!path)
        return none;
    if (p.kind == OPENS)
        return open_here(shared, &p, path, number == SYS_openat ? a->r10 : a->rdx);
    /* The open that fails has a number for a moment, which another thread's open could miss. */
    if (*single && count_names(&p, path) > 1 ? !is_opened_without(shared, &p, path)
                                             : !are_no_links(shared, &p, path, route.name))
        return none;
    return make_here(shared, calls, number, a, &p, path);
}

/* ---- for image.py, and for tests -------------------------------------------------------------------- */

extern const char __start_viewos_inproc[], __stop_viewos_inproc[];

static PyObject *code(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    const char *entry = (const char *)(uintptr_t)inproc_call;
    return Py_BuildValue("y#n", __start_viewos_inproc,
                         (Py_ssize_t)(__stop_viewos_inproc - __start_viewos_inproc),
                         (Py_ssize_t)(entry - __start_viewos_inproc));
}

static PyObject *found(PyObject *Py_UNUSED(module), PyObject *args)
{
    const char *shared, *path;
    Py_ssize_t size, length;
    unsigned kind;
    int writes;
    struct route route;
    if (!PyArg_ParseTuple(args, "y#y#Ip", &shared, &size, &path, &length, &kind, &writes))
        return NULL;
    if (!length || length >= ROOM)
        Py_RETURN_NONE;
    struct path_call p = {.path = path, .kind = kind, .writes = writes, .follows = true};
    const char *real = find((const struct shared *)(const void *)shared, &p, &route);
    if (!real)
        Py_RETURN_NONE;
    return PyBytes_FromString(real);
}

static PyObject *vouched(PyObject *Py_UNUSED(module), PyObject *args)
{
    const char *path;
    Py_ssize_t length;
    int follows;
    char text[ROOM];
    const struct shared nobody = {0};
    if (!PyArg_ParseTuple(args, "y#p", &path, &length, &follows))
        return NULL;
    if (length >= ROOM)
        return PyErr_Format(PyExc_ValueError, "a path of less than %d bytes", ROOM);
    struct path_call p = {.directory = AT_FDCWD, .path = path, .follows = follows};
    return Py_BuildValue("NN", PyBool_FromLong(are_no_links(&nobody, &p, path, text)),
                         PyBool_FromLong(is_opened_without(&nobody, &p, path)));
}

static PyObject *opened(PyObject *Py_UNUSED(module), PyObject *args)
{
    const char *path;
    const struct shared nobody = {0};
    if (!PyArg_ParseTuple(args, "s", &path))
        return NULL;
    struct path_call p = {.directory = AT_FDCWD, .path = path, .flags = O_RDONLY | O_CLOEXEC};
    struct verdict verdict = open_here(&nobody, &p, path, 0);
    if (!verdict.is_made)
        Py_RETURN_NONE;
    return PyLong_FromLongLong(verdict.value);
}

static PyMethodDef methods[] = {
    {"code", code, METH_NOARGS, "code(): (the instructions, where among them a call enters)"},
    {"find", found, METH_VARARGS,
     "find(shared, path, kind, writes): the path for the kernel, if no link is in it; None: not sure"},
    {"vouched", vouched, METH_VARARGS,
     "vouched(path, follows): is no link in it, by the names one by one and by an open?"},
    {"opened", opened, METH_VARARGS,
     "opened(path): a descriptor, or a negative errno; None: not sure."},
    {NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "viewos.monitor.inproc.native",
    .m_doc = "What runs in programs.", .m_methods = methods,
};

PyMODINIT_FUNC PyInit_native(void)
{
    return PyModule_Create(&definition);
}
