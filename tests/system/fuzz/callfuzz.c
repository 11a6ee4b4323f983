// callfuzz SEED COUNT DIR: random path calls with random and hostile arguments, printed with all
// that they say, so that two runs can be compared line by line. callfuzz dump DIR: what is there.
//
// It must not be able to damage the machine, as root either: whatever changes something gets a
// path below DIR, the current directory or an open directory below DIR, with at most three "..",
// links say the same, and DIR lies eight levels deep in a directory that is the caller's own.
#define _GNU_SOURCE
#include "calls.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/openat2.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>
#include <utime.h>

enum { CALL_COUNT = sizeof CALLS / sizeof *CALLS, SLOTS = 8, OUT = 8192 };
static uint64_t state;
static const char *top;
static char *edge, *out_buffer;
static int slots[SLOTS];

static uint64_t draw(uint64_t below)
{
    uint64_t z = (state += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return (z ^ (z >> 31)) % below;
}

static bool chance(int one_in) { return draw(one_in) == 0; }
#define PICK(array) ((array)[draw(sizeof(array) / sizeof *(array))])

// --- paths ---

static const char *const NAMES[] = {
    "f0", "f1", "f2", "d0", "d1", "d2", "sub", "l0", "l1", "l2", "l3", "l4", "l5", "l6",
    "x0", "x1", "x2", "script", "sock", "d0", "sub", "f0", "with space", "\xff\xfe", ".hidden",
};
static const char *const READABLE[] = {
    "/", "/etc/passwd", "/etc", "/usr/bin", "/dev/null", "/etc/passwd/", "/etc/passwd/x",
    "/nonexistent-file", "/proc/self/status", "/proc/self/cwd", "/proc/self/exe", "/proc/self/root",
    "/proc/self/fd/0", "/proc/self/fd", "/proc/thread-self/status", "/usr/bin/../lib",
    "/proc/self/fd/9999", "//etc//passwd", "/proc/self/root/etc/passwd", "/dev/fd/0", "/..",
    "/../etc/./passwd", "/proc/1/cwd", "/dev/stdin",
};

static const char *const LIKELY[] = {
    "f0", "f1", "d0", "d0/f2", "d0/sub", "d0/sub/f0", "l0", "l3", "d1", "d2", "l0/f2", "l0/sub",
    "d0/l5/f0", "l5", "l5/script", "script", "d0/sub/l6/x0", "x0", "x1", "x2", "d0/x0", "d1/x1",
    "d2/x2", "l0/../f0", "d0/../d1", "l4", "d1/", "l0/", "f0/", "l3/", "./f0", "d0//f2",
};

static void relative(char *to)
{
    if (chance(2)) {
        strcpy(to, PICK(LIKELY));
        return;
    }
    int parents = 0, n = 1 + draw(4);
    for (int i = 0; i < n; i++) {
        int kind = draw(12);
        const char *name = PICK(NAMES);
        if (kind == 0) name = ".";
        if (kind == 1 && parents++ < 3) name = "..";
        to = stpcpy(to, name);
        if (i + 1 < n || chance(8)) to = stpcpy(to, chance(10) ? "//" : "/");
    }
    if (chance(12)) strcpy(to, PICK(((const char *[]){"/.", "/..", "///", "/./"})));
}

static void below_top(char *to, bool bare)
{
    to = stpcpy(to, top);
    if (bare && chance(6)) return;
    to = stpcpy(to, chance(10) ? "//" : "/");
    relative(to);
}

static void through_proc(char *to)
{
    if (chance(2)) to = stpcpy(to, "/proc/self/cwd/");
    else to += sprintf(to, "/proc/%s/fd/%d/", chance(2) ? "self" : "thread-self", PICK(slots));
    relative(to);
}

static char *hostile(char *room)
{
    switch (draw(9)) {
    case 0: return NULL;
    case 1: return (char *)1;
    case 2: return (char *)0xffff888000001000;
    case 3: return edge;
    case 4: return memcpy(edge - 2, "f0", 2);  // no end before the mapping's
    case 5: return memcpy(edge - 3, "f0", 3);  // ends with the mapping
    case 6: memset(room, 'a', 5000), room[draw(2) ? 4096 : 4999] = 0; return room;
    case 7: memset(room, 'n', 300), room[255 + draw(2)] = 0; return room;
    default: {  // long, of short names
        int n = 4080 / 3;
        for (int i = 0; i < n; i++) memcpy(room + 3 * i, "./d", 3);
        for (int i = 0; i < n; i++) room[3 * i + 2] = '/';
        strcpy(room + 3 * n - 3, "f0");
        return room;
    }
    }
}

static char *path(char *room, bool readable, bool *outside)
{
    int kind = draw(40);
    *room = 0;
    if (kind < 2) return hostile(room);
    if (kind == 2) return room;
    if (kind < 7 && readable) *outside = true, strcpy(room, PICK(READABLE));
    else if (kind < 8) through_proc(room);
    else if (kind < 18) below_top(room, readable);
    else if (kind < 20) strcpy(room, PICK(((const char *[]){".", "..", "./", "../"})));
    else relative(room);
    return room;
}

// Never farther up than one level, never outside.
static void link_text(char *to)
{
    if (chance(3)) below_top(to, true);
    else if (chance(4)) strcpy(to, PICK(((const char *[]){"", ".", "..", "l0", "l1", "./l2", "d0/"})));
    else strcpy(to, PICK(NAMES));
}

// --- printing ---

static void quote(const char *text, size_t n)
{
    putchar('"');
    for (size_t i = 0; i < n; i++) {
        unsigned char c = text[i];
        if (i == 120) { printf("...%zu", n); break; }
        if (c < 32 || c > 126 || c == '"') printf("\\%02x", c);
        else putchar(c);
    }
    putchar('"');
}

static void print_pointer(const char *p)
{
    if (p == NULL) printf("NULL");
    else if (p >= edge - 4096 && p <= edge) printf("edge-%td", edge - p);
    else if ((uintptr_t)p < 4096 || (intptr_t)p < 0) printf("%p", (void *)p);
    else quote(p, strlen(p));
}

// Others make and remove directories in these meanwhile.
static bool is_shared(uint64_t ino)
{
    static ino_t known[2];
    struct stat s;
    if (!known[0])
        for (int i = 0; i < 2; i++) known[i] = stat(i ? "/tmp" : "/", &s) < 0 ? 0 : s.st_ino;
    return ino == known[0] || ino == known[1];
}

static void print_mode(unsigned mode, uint64_t ino, uint64_t nlink, unsigned uid, unsigned gid,
                       uint64_t size, int64_t mtime)
{
    printf(" mode %o", mode);
    if (!S_ISDIR(mode) || !is_shared(ino)) printf(" nlink %" PRIu64, nlink);
    printf(" owner %u:%u", uid, gid);
    if (!S_ISDIR(mode)) printf(" size %" PRIu64, size);
    if (mtime < 1000000000) printf(" mtime %" PRId64, mtime);  // set by us, not by a clock
}

static void print_stat(const struct stat *s)
{
    print_mode(s->st_mode, s->st_ino, s->st_nlink, s->st_uid, s->st_gid, s->st_size, s->st_mtime);
    if (s->st_rdev) printf(" rdev %lx", (long)s->st_rdev);
}

static void print_statx(const struct statx *s)
{
    // Mount ids and attributes of a mount's root differ between a bind mount and a view.
    printf(" mask %x", s->stx_mask & STATX_BASIC_STATS);
    print_mode(s->stx_mode, s->stx_ino, s->stx_nlink, s->stx_uid, s->stx_gid, s->stx_size,
               s->stx_mtime.tv_sec);
}

static bool of_proc(const char *name) { return strncmp(name, "/proc/", 6) == 0; }

// What an injected or kernel-made descriptor is; true if it lies below DIR.
static bool print_descriptor(int fd)
{
    char link[64], name[PATH_MAX] = "";
    struct stat s;
    sprintf(link, "/proc/self/fd/%d", fd);
    if (readlink(link, name, sizeof name - 1) < 0) printf(" readlink %s", strerrorname_np(errno));
    int flags = fcntl(fd, F_GETFL);
    printf(" fd %d flags %o cloexec %d", fd, flags, fcntl(fd, F_GETFD));
    char *number = strstr(name, "/#");  // O_TMPFILE shows its inode
    if (number) strcpy(number, "/#");
    if (of_proc(name)) strcpy(name, "of proc");
    else if (fstat(fd, &s) == 0) print_stat(&s);
    putchar(' ');
    quote(name, strlen(name));
    return strncmp(name, top, strlen(top)) == 0;
}

static void print_cwd(void)
{
    char here[PATH_MAX] = "";
    if (!getcwd(here, sizeof here)) printf(" cwd %s", strerrorname_np(errno));
    else if (of_proc(here)) printf(" cwd of proc"), strcpy(here, "/");
    else printf(" cwd "), quote(here, strlen(here));
    if (strncmp(here, top, strlen(top)) != 0 && (chmod(top, 0755) < 0 || chdir(top) < 0))
        printf(" lost: %s\n", strerrorname_np(errno)), exit(3);
}

// --- the arguments ---

static const unsigned OPEN_FLAGS[] = {
    O_RDONLY, O_WRONLY, O_RDWR, O_CREAT | O_WRONLY, O_CREAT | O_RDWR, O_CREAT | O_EXCL | O_RDWR,
    O_TRUNC | O_WRONLY, O_DIRECTORY, O_NOFOLLOW, O_PATH, O_PATH | O_NOFOLLOW, O_TMPFILE | O_RDWR,
    O_APPEND | O_RDWR, O_DIRECTORY | O_CREAT, O_CREAT, O_CREAT | O_NOFOLLOW | O_TRUNC | O_RDWR,
    O_DIRECTORY | O_NOFOLLOW, O_PATH | O_DIRECTORY, O_ACCMODE, O_RDONLY | O_TRUNC, O_NOATIME,
    O_TMPFILE | O_RDONLY, O_DIRECT, O_SYNC | O_RDWR, O_TMPFILE | O_EXCL | O_WRONLY,
};
static const unsigned AT_FLAGS[] = {
    0, 0, 0, AT_SYMLINK_NOFOLLOW, AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH, AT_REMOVEDIR, AT_EACCESS,
    AT_SYMLINK_FOLLOW, AT_NO_AUTOMOUNT, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW, 0x2000, 0x4000, 0x6000,
    AT_SYMLINK_FOLLOW | AT_EMPTY_PATH, 1, 0x80000000, 0x10000,
};
static const unsigned RESOLVE[] = {
    0, 0, 0, RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH, RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_XDEV, RESOLVE_BENEATH | RESOLVE_IN_ROOT, 0x1000,
};
static const long ODD[] = {0, 1, 5, 4096, 1 << 20, -1, 1l << 62};
static const char *const XATTRS[] = {"user.a", "user.b", "user.", "trusted.a", "none", "", "user"};
enum { HARMLESS = O_DIRECTORY | O_NOFOLLOW | O_PATH | O_CLOEXEC | O_NONBLOCK };

static unsigned open_flags(bool outside)
{
    unsigned flags = PICK(OPEN_FLAGS) | (chance(2) ? O_CLOEXEC : 0);
    if (chance(15)) flags |= draw(1u << 31);
    if (outside) flags &= HARMLESS;
    return (flags | O_NONBLOCK) & ~(unsigned)FASYNC;  // so that no FIFO blocks
}

static long dirfd_for(void)
{
    static const long BAD[] = {-1, 9999, 0, -99, INT_MIN, INT_MAX};
    int kind = draw(20);
    if (kind < 9) return AT_FDCWD;
    if (kind == 9) return 0xdeadbeef00000000l | (unsigned)AT_FDCWD;  // an int is all that counts
    return kind < 17 ? slots[draw(SLOTS)] : PICK(BAD);
}

static struct { uint64_t words[8]; } how_room, times_room, attribute_room, handle_room;

static void fill_times(char kind)
{
    static const long ODD_PARTS[] = {0, 5, 999999, 1000000, -1, UTIME_NOW, UTIME_OMIT, 1000000000};
    uint64_t *w = times_room.words;
    for (int i = 0; i < 4; i++)
        w[i] = i % 2 && kind != 'B' ? (uint64_t)PICK(ODD_PARTS) : 100000 + draw(1000);
}

struct made {
    long values[6];
    char rooms[2][OUT];
    bool outside;
};

static long fill_how(const struct made *m)
{
    how_room.words[0] = open_flags(m->outside);
    if (m->outside) how_room.words[0] &= HARMLESS;
    bool creates = how_room.words[0] & O_CREAT || (how_room.words[0] & O_TMPFILE) == O_TMPFILE;
    how_room.words[1] = creates || chance(10) ? draw(010000) : 0;
    how_room.words[2] = PICK(RESOLVE);
    how_room.words[3] = chance(20);
    printf("{%" PRIo64 " %" PRIo64 " %" PRIx64 " %" PRIx64 "}", how_room.words[0],
           how_room.words[1], how_room.words[2], how_room.words[3]);
    return chance(30) ? (long)edge - 8 : (long)&how_room;
}

static long output(void)
{
    static const long BAD[] = {0, 1};
    memset(out_buffer, 0, OUT);
    if (!chance(25)) return (long)out_buffer;
    return chance(2) ? PICK(BAD) : (long)edge - 4;
}

static long some_mode(void) { return chance(6) ? draw(1 << 16) : 0600 | draw(010000); }

static long number_of(char kind, struct made *m)
{
    switch (kind) {
    case 'd': return dirfd_for();
    case 'f': return chance(6) ? dirfd_for() : slots[draw(SLOTS)];
    case 'o': return open_flags(m->outside);
    case 'm': return some_mode();
    case 'M': return PICK(((unsigned[]){S_IFREG, 0, S_IFSOCK, S_IFIFO, S_IFCHR, S_IFDIR, 0170000})) |
                     0600 | draw(01000);
    case 'D': return 0x103;
    case 'a': return chance(2) ? 0 : chance(20) ? draw(1u << 31) : PICK(AT_FLAGS);
    case 'c': return chance(10) ? draw(256) : draw(8);
    case 'q': return chance(10) ? draw(1ul << 32) : STATX_BASIC_STATS;
    case 'u': return PICK(((long[]){-1, 0, 65534, 12345}));
    case 'l': return PICK(ODD);
    case 'n': return chance(20) ? 1 << 20 : draw(20);
    case 'z': return chance(4) ? (long)draw(20) : chance(15) ? PICK(((long[]){0, -1, 1})) : 4096;
    case 'x': return chance(4) ? draw(8) : 0;
    case 'R': return chance(3) ? draw(8) : chance(10) ? draw(256) : draw(3);
    case 'W': return chance(10) ? draw(1ul << 32) : IN_ALL_EVENTS;
    case 'y': return chance(15) ? PICK(((long[]){0, 8, 32, 5000})) : 24;
    default: return 0;
    }
}

// Make one argument, and print it.
static long argument(char kind, struct made *m, int *paths)
{
    static char *const EMPTY[] = {NULL};
    char *p;
    long value;
    switch (kind) {
    case 'p':
    case 'r':
        p = path(m->rooms[*paths], kind == 'r', &m->outside);
        ++*paths;
        return print_pointer(p), (long)p;
    case 't':
        p = m->rooms[*paths];
        link_text(p);
        ++*paths;
        if (chance(20)) p = hostile(p);
        return print_pointer(p), (long)p;
    case 'k':
        p = chance(20) ? hostile(m->rooms[1]) : (char *)PICK(XATTRS);
        return print_pointer(p), (long)p;
    case 's': value = output(); return printf(value == (long)out_buffer ? "out" : "bad"), value;
    case 'v': return printf("value"), chance(20) ? (long)edge : (long)"abcdefghijklmnopqrstuvwxyz";
    case 'H': return fill_how(m);
    case 'X':
        attribute_room.words[0] = (uintptr_t)strcpy(out_buffer, "0123456789");
        attribute_room.words[1] = draw(10);
        return printf("args"), (long)&attribute_room;
    case 'T':
    case 'V':
    case 'B':
        if (chance(6)) return printf("now"), 0;
        fill_times(kind);
        printf("{%ld %ld %ld %ld}", times_room.words[0], times_room.words[1], times_room.words[2],
               times_room.words[3]);
        return chance(25) ? (long)edge - 8 : (long)&times_room;
    case 'h':
        *(unsigned *)&handle_room = chance(3) ? 0 : 48;
        return printf("handle"), (long)&handle_room;
    case 'i': return printf("id"), (long)out_buffer;
    case 'g': value = chance(10) ? (long)edge : (long)EMPTY; return printf("argv"), value;
    case 'w': return printf("watcher"), inotify_init1(IN_NONBLOCK);
    default: value = number_of(kind, m); return printf("%lx", value), value;
    }
}

// --- what came out ---

static void keep(int fd, bool below)
{
    if (below && chance(3)) {
        int slot = draw(SLOTS), old = slots[slot];
        if (dup3(fd, old, O_CLOEXEC) < 0) printf(" keep %s", strerrorname_np(errno));
    }
    close(fd);
}

static void decode(const struct call *call, long result, const struct made *m)
{
    bool fine = strchr(call->kinds, 's') == NULL;
    for (int i = 0; call->kinds[i]; i++)
        if (call->kinds[i] == 's') fine = m->values[i] == (long)out_buffer;
    printf(" = %s", result < 0 ? strerrorname_np(errno) : "ok");
    if (result < 0 && call->decode != MOVE) {
        if (call->decode == HANDLE) printf(" bytes %u", *(unsigned *)&handle_room);
        return;
    }
    switch (call->decode) {
    case FD: {
        bool below = print_descriptor(result);
        if (write(result, "x", draw(2)) < 0) printf(" write %s", strerrorname_np(errno));
        keep(result, below);
        break;
    }
    case STAT:
        if (fine) print_stat((struct stat *)out_buffer);
        break;
    case STATX:
        if (fine) print_statx((struct statx *)out_buffer);
        break;
    case TEXT:
        printf(" %ld ", result);
        if (fine) quote(out_buffer, result < 4096 ? result : 0);
        break;
    case CWD: printf(" %ld ", result), quote(out_buffer, strnlen(out_buffer, 4096)); break;
    case MOVE: print_cwd(); break;
    case STATFS: {
        const struct statfs *f = (void *)out_buffer;
        if (fine) printf(" type %lx bsize %ld flags %lx", f->f_type, f->f_bsize, f->f_flags);
        break;
    }
    case HANDLE: printf(" bytes %u", *(unsigned *)&handle_room); break;
    case WATCH: printf(" %ld", result); break;
    default: if (result > 0) printf(" %ld", result);
    }
}

static void socket_call(const struct call *call, struct made *m)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, (chance(2) ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK, 0);
    bool outside = false;
    char *p = path(m->rooms[0], false, &outside);
    if (p == m->rooms[0]) memcpy(a.sun_path, p, strnlen(p, sizeof a.sun_path));
    else p = a.sun_path;
    // An absolute name cut short would be a name elsewhere.
    socklen_t length = chance(10) && *p != '/' ? draw(150) : chance(3) ? 2 + strnlen(a.sun_path, 107) : sizeof a;
    quote(a.sun_path, strnlen(a.sun_path, sizeof a.sun_path));
    long result = *p ? syscall(call->number, fd, &a, length) : 0;  // no name: the kernel invents one
    printf(", %u) = %s", length, result < 0 ? strerrorname_np(errno) : "ok");
    struct sockaddr_un got;
    socklen_t size = sizeof got;
    memset(&got, 0, sizeof got);
    if (*p && call->number == SYS_bind && getsockname(fd, (struct sockaddr *)&got, &size) == 0) {
        printf(" name %u ", size);
        if (got.sun_path[0]) quote(got.sun_path, strnlen(got.sun_path, sizeof got.sun_path));
    }
    close(fd);
}

static int by_name(const void *a, const void *b) { return strcmp(*(char **)a, *(char **)b); }

static void list(const char *name)
{
    char *entries[1000];
    int n = 0;
    DIR *dir = opendir(name);
    printf("%s", dir ? "" : strerrorname_np(errno));
    if (!dir) return;
    for (struct dirent *e; n < 1000 && (e = readdir(dir));)
        if (asprintf(&entries[n++], "%s %d", e->d_name, e->d_type) < 0) abort();
    closedir(dir);
    qsort(entries, n, sizeof *entries, by_name);
    for (int i = 0; i < n; i++) putchar(' '), quote(entries[i], strlen(entries[i])), free(entries[i]);
}

static void one(int number, struct made *m)
{
    int total = 0, paths = 0;
    for (int i = 0; i < CALL_COUNT; i++) total += CALLS[i].weight;
    int left = draw(total);
    const struct call *call = CALLS;
    while ((left -= call->weight) >= 0) call++;
    memset(m->values, 0, sizeof m->values);
    m->outside = false;
    m->rooms[0][0] = m->rooms[1][0] = 0;
    printf("%d %s(", number, call->name);
    if (call->number == SYS_bind || call->number == SYS_connect) {
        socket_call(call, m);
    } else if (call->number == -1) {
        below_top(m->rooms[0], true);
        quote(m->rooms[0], strlen(m->rooms[0]));
        printf(") = ");
        list(m->rooms[0]);
    } else {
        for (int i = 0; call->kinds[i]; i++) {
            if (i) printf(", ");
            m->values[i] = argument(call->kinds[i], m, &paths);
        }
        putchar(')');
        fflush(stdout);
        long *v = m->values;
        struct stat s;
        bool blocks = call->number == SYS_creat && v[0] == (long)m->rooms[0] &&
                      stat(m->rooms[0], &s) == 0 && S_ISFIFO(s.st_mode);
        if (blocks) printf(" would block");
        else decode(call, syscall(call->number, v[0], v[1], v[2], v[3], v[4], v[5]), m);
        if (call->decode == WATCH) close(v[0]);
    }
    putchar('\n');
}

// --- the tree ---

static void file(const char *name, const char *text, int mode)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK | O_NOFOLLOW, 0644);
    if (fd >= 0 && (write(fd, text, strlen(text)) < 0 || fchmod(fd, mode) < 0)) perror(name);
    if (fd >= 0) close(fd);
}

// Again and again, or soon nothing is left that could be found.
static void plant(void)
{
    static const char *const DIRECTORIES[] = {"d0", "d0/sub", "d1", "d1/sub", "d2"};
    char text[PATH_MAX];
    chmod(top, 0755);
    if (chdir(top) < 0) printf("lost\n"), exit(3);
    for (size_t i = 0; i < sizeof DIRECTORIES / sizeof *DIRECTORIES; i++) {
        mkdir(DIRECTORIES[i], 0755);
        chmod(DIRECTORIES[i], 0755);
    }
    file("f0", "12345", 0644);
    file("f1", "", 0755);
    file("d0/f2", "123", 0600);
    file("d0/sub/f0", "1", 0644);
    file("script", "#!/nonexistent/interpreter -x\n", 0755);
    file("d1/script", "#!", 0755);
    snprintf(text, sizeof text, "#! %s/script\n", top);
    file("d0/script", text, 0755);
    snprintf(text, sizeof text, "#!%s/d2/script x\n", top);  // its own interpreter
    file("d2/script", text, 0755);
    snprintf(text, sizeof text, "%s/d0", top);
    (void)!symlink(text, "l0");
    (void)!symlink("l2", "l1");
    (void)!symlink("l1", "l2");
    (void)!symlink("f0", "l3");
    (void)!symlink("missing", "l4");
    (void)!symlink("..", "d0/l5");
    (void)!symlink("../d1", "d0/sub/l6");
    (void)!symlink("l0/sub/l6", "l5");
}

static void open_slots(void)
{
    static const char *const STARTS[SLOTS] = {".", "d0", "d0/sub", "f0", "d1", ".", "d2", "script"};
    for (int i = 0; i < SLOTS; i++) {
        int fd = open(STARTS[i], O_RDONLY | O_CLOEXEC | (i == 5 ? O_PATH : 0));
        slots[i] = 100 + i;
        if (fd < 0 || dup3(fd, slots[i], O_CLOEXEC) < 0) perror(STARTS[i]), exit(3);
        close(fd);
    }
    // With AT_EMPTY_PATH descriptor 0 is an object to change as well: let it be one of ours.
    int fd = open("f0", O_RDONLY);
    if (fd < 0 || dup2(fd, 0) < 0 || close(fd) < 0) perror("f0"), exit(3);
}

static void dump(const char *name)
{
    struct stat s;
    char text[PATH_MAX], names[4096];
    if (lstat(name, &s) < 0) return;
    quote(name, strlen(name));
    print_stat(&s);
    ssize_t n = S_ISLNK(s.st_mode) ? readlink(name, text, sizeof text) : 0;
    if (S_ISREG(s.st_mode)) {
        int fd = open(name, O_RDONLY | O_NOFOLLOW);
        n = read(fd, text, sizeof text);
        close(fd);
    }
    if (n > 0) putchar(' '), quote(text, n);
    n = llistxattr(name, names, sizeof names);
    if (n > 0) putchar(' '), quote(names, n);
    putchar('\n');
    struct dirent **entries;
    n = S_ISDIR(s.st_mode) ? scandir(name, &entries, NULL, alphasort) : 0;
    for (int i = 0; i < n; i++) {
        const char *e = entries[i]->d_name;
        if (strcmp(e, ".") && strcmp(e, "..")) snprintf(text, sizeof text, "%s/%s", name, e), dump(text);
    }
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "dump") == 0) {
        if (chdir(argv[2]) < 0) perror(argv[2]), exit(2);
        dump(".");
        return 0;
    }
    if (argc != 4) return fprintf(stderr, "callfuzz SEED COUNT DIR\n"), 2;
    state = strtoull(argv[1], NULL, 10) * 1000003;
    int count = atoi(argv[2]);
    top = argv[3];
    static char output_room[1 << 20];
    setvbuf(stdout, output_room, _IOFBF, sizeof output_room);
    signal(SIGXFSZ, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    umask(022);
    edge = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    edge += 4096;
    munmap(edge, 4096);
    out_buffer = malloc(OUT);
    plant();
    open_slots();
    struct made *made = malloc(sizeof *made);
    for (int i = 0; i < count; i++) {
        if (i % 60 == 59) plant();
        one(i, made);
    }
}
