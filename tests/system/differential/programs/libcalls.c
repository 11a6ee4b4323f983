// The libc's own path calls with all kinds of paths, flags and pointers: what they say and what they leave.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *name(int error)
{
    return error ? strerrorname_np(error) : "ok";
}

static char *volatile bad = (char *)8; // no page
static char *edge; // the last bytes of a page behind which nothing is

static void make(void)
{
    mkdir("d", 0755);
    mkdir("d/e", 0755);
    mkdir("closed", 0);
    mkdir("closed/in", 0755);
    close(open("f", O_CREAT | O_WRONLY, 0644));
    close(open("d/e/f", O_CREAT | O_WRONLY, 0600));
    symlink("f", "l");
    symlink("d/e", "dl");
    symlink("/mnt/f", "al");
    symlink("nowhere", "dead");
    symlink("loop", "loop");
    symlink("..", "d/up");
    symlink("/proc/self/cwd/f", "magic");
    mkfifo("p", 0644);
    char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(page + 4096, 4096);
    edge = page + 4096;
}

static void show(const char *call, const char *path, int flags, int result, const struct stat *st)
{
    printf("%s(%.40s, %#x): %s", call, path, flags, name(result < 0 ? errno : 0));
    if (result == 0 && st)
        printf(" %o %lu %d", st->st_mode, (unsigned long)st->st_nlink, S_ISDIR(st->st_mode) ? 0 : (int)st->st_size);
    puts("");
}

static void look(int directory, const char *path, const char *said)
{
    struct stat st;
    struct statx stx;
    char text[PATH_MAX];
    errno = 0;
    if (directory == AT_FDCWD) {
        show("stat", said, 0, stat(path, &st), &st);
        show("lstat", said, 0, lstat(path, &st), &st);
        for (int mode = 0; mode < 8; mode++)
            show("access", said, mode, access(path, mode), NULL);
        ssize_t length = readlink(path, text, sizeof text);
        printf("readlink(%.40s): %s %.*s\n", said, name(length < 0 ? errno : 0), length < 0 ? 0 : (int)length, text);
        length = readlink(path, text, 3);
        printf("readlink(%.40s, 3): %zd\n", said, length);
    }
    static const int at[] = {0, AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW,
                             AT_NO_AUTOMOUNT, AT_STATX_FORCE_SYNC, 0x40000000, AT_EACCESS};
    for (unsigned i = 0; i < sizeof at / sizeof *at; i++) {
        show("fstatat", said, at[i], fstatat(directory, path, &st, at[i]), &st);
        int result = statx(directory, path, at[i], STATX_BASIC_STATS, &stx);
        printf("statx(%.40s, %#x): %s %o\n", said, at[i], name(result < 0 ? errno : 0), result ? 0 : stx.stx_mode);
        show("faccessat", said, at[i], faccessat(directory, path, R_OK, at[i]), NULL);
        show("faccessat W", said, at[i], faccessat(directory, path, W_OK, at[i]), NULL);
    }
    ssize_t length = readlinkat(directory, path, text, sizeof text);
    printf("readlinkat(%.40s): %s\n", said, name(length < 0 ? errno : 0));
}

static void opens(int directory, const char *path, const char *said)
{
    static const int flags[] = {
        O_RDONLY, O_WRONLY, O_RDWR, O_ACCMODE, O_RDONLY | O_DIRECTORY, O_WRONLY | O_DIRECTORY, O_PATH,
        O_PATH | O_NOFOLLOW, O_PATH | O_RDWR | O_TRUNC | O_APPEND, O_NOFOLLOW, O_RDWR | O_APPEND | O_NONBLOCK,
        O_CREAT | O_EXCL | O_WRONLY, O_CREAT | O_RDONLY, O_CREAT | O_DIRECTORY, O_TMPFILE | O_RDWR,
        O_TMPFILE | O_RDONLY, O_TRUNC | O_WRONLY, O_CLOEXEC, O_SYNC | O_RDWR, O_DSYNC | O_RDWR, O_NOATIME,
        O_NOCTTY | O_ASYNC, 0x40000000, O_RDONLY | 0100000, O_CREAT | O_WRONLY | 0x80000000,
    };
    for (unsigned i = 0; i < sizeof flags / sizeof *flags; i++) {
        if (!strcmp(said, "p") && !(flags[i] & (O_NONBLOCK | O_PATH | O_DIRECTORY | O_EXCL)))
            continue;
        errno = 0;
        int fd = openat(directory, path, flags[i], 07777u | (i % 2 ? 0u : 010000u));
        printf("open(%.40s, %#x): %s", said, flags[i], name(fd < 0 ? errno : 0));
        if (fd >= 0) {
            struct stat st;
            printf(" %d %#x %#x", fd, fcntl(fd, F_GETFL), fcntl(fd, F_GETFD));
            if (!fstat(fd, &st))
                printf(" %o %lu", st.st_mode, (unsigned long)st.st_nlink);
            close(fd);
        }
        puts("");
        if (flags[i] & O_CREAT)
            unlinkat(directory, path, 0);
        if (directory == AT_FDCWD && (!strcmp(said, "f") || !strcmp(said, "/mnt/f")))
            close(creat("f", 0644));
    }
}

int main(void)
{
    static const char *const paths[] = {
        "f", "f/", "f/.", "f/x", "d", "d/", "d/.", "d//e", "./d/e/../e/f", "d/../f", "l", "l/", "dl", "dl/f",
        "dl/", "dl/../f", "al", "dead", "dead/", "loop", "loop/x", "d/up/f", "magic", "p", "new", "new/",
        "new/x", "closed", "closed/in", ".", "..", "../mnt/f", "/", "//", "/mnt", "/mnt/", "/mnt/f", "/mnt/d/..",
        "/mnt//d/./e", "/mnt/l", "/mnt/dl/f", "/mnt/new", "/mnt/../mnt/f", "/nowhere/../mnt/f", "/etc/passwd",
        "/etc/../etc/passwd", "/etc/passwd/", "/proc/self/exe/x", "/dev/null", "", "/proc/version",
    };
    umask(027);
    make();
    int d = open("d", O_RDONLY | O_DIRECTORY), f = open("f", O_RDONLY), path = open("l", O_PATH | O_NOFOLLOW);
    for (unsigned i = 0; i < sizeof paths / sizeof *paths; i++) {
        look(AT_FDCWD, paths[i], paths[i]);
        if (strncmp(paths[i], "/", 1) || !strncmp(paths[i], "/mnt", 4))
            opens(AT_FDCWD, paths[i], paths[i]);
        else
            close(open(paths[i], O_RDONLY));
        unlink("new");
    }
    static const char *const below[] = {"e", "e/f", "../f", "up/f", "", "/mnt/f", "new"};
    const int directories[] = {d, f, path, -1, 99, AT_FDCWD};
    for (unsigned i = 0; i < sizeof directories / sizeof *directories; i++)
        for (unsigned j = 0; j < sizeof below / sizeof *below; j++) {
            printf("directory %u: ", i);
            look(directories[i], below[j], below[j]);
            opens(directories[i], below[j], below[j]);
        }
    look(AT_FDCWD, NULL, "NULL");
    look(AT_FDCWD, bad, "8");
    look(AT_FDCWD, (char *)-1, "-1");
    edge[-2] = 'f', edge[-1] = 0;
    look(AT_FDCWD, edge - 2, "at the edge");
    edge[-1] = 'x';
    look(AT_FDCWD, edge - 2, "over the edge");
    look(AT_FDCWD, edge, "beyond");
    printf("%d %s\n", stat("f", (struct stat *)bad), name(errno));
    printf("%zd %s\n", readlink("l", bad, 5), name(errno));
    printf("%zd %s\n", readlink("l", bad, 0), name(errno));
    printf("%d %s\n", fstat(f, (struct stat *)bad), name(errno));
    static char longest[3 * PATH_MAX];
    const int lengths[] = {254, 255, 256, 257, NAME_MAX + 1, 1023, PATH_MAX - 1, PATH_MAX, PATH_MAX + 1};
    for (unsigned i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        char said[32];
        snprintf(said, sizeof said, "length %d", lengths[i]);
        memset(longest, 'x', lengths[i]);
        longest[lengths[i]] = 0;
        look(AT_FDCWD, longest, said);
        for (int at = 0; at + 1 < lengths[i]; at += 2)
            longest[at] = '.', longest[at + 1] = '/';
        longest[lengths[i] - 1] = 'f';
        look(AT_FDCWD, longest, said);
        memcpy(longest, "/mnt/", 5);
        look(AT_FDCWD, longest, said);
    }
    return 0;
}
