/* Every call that takes a path, with paths that lead nowhere: errno by errno. */
#include "say.h"
#include <sys/statfs.h>
#include <sys/xattr.h>

#define CALLS(X) \
    X(open, p, O_RDONLY) X(open, p, O_WRONLY) X(open, p, O_CREAT | O_EXCL, 0600) \
    X(open, p, O_DIRECTORY) X(open, p, O_PATH) X(open, p, O_TMPFILE | O_RDWR, 0600) \
    X(open, p, O_RDONLY | O_NOFOLLOW) X(stat, p, b) X(lstat, p, b) X(access, p, 0) \
    X(readlink, p, b, 10) X(mkdir, p, 0700) X(mknod, p, S_IFIFO | 0600, 0) X(rmdir, p) \
    X(unlink, p) X(rename, p, "target") X(rename, "source", p) X(link, p, "target") \
    X(link, "source", p) X(symlink, "text", p) \
    X(truncate, p, 0) X(statfs, p, b) X(chdir, p) \
    X(getxattr, p, "user.x", b, 10) X(lgetxattr, p, "user.x", b, 10) X(listxattr, p, b, 10) \
    X(creat, p, 0600) \
    X(inotify_add_watch, in, p, 1) \
    X(execve, p, NULL, NULL) X(statx, AT_FDCWD, p, 0, 0x7ff, b) X(swapoff, p)

/* What root may do to any directory, it does to those of the case alone. */
#define CHANGES(X) \
    X(chmod, p, 0700) X(chown, p, -1, -1) X(lchown, p, -1, -1) X(utime, p, NULL) \
    X(utimensat, AT_FDCWD, p, NULL, AT_SYMLINK_NOFOLLOW) X(setxattr, p, "user.x", "v", 1, 0) \
    X(removexattr, p, "user.x")

static int is_ours(const char *path)
{
    struct stat s, root, proc;
    if (stat(path, &s))
        return 1;
    stat("/", &root), stat("/mnt/file", &proc);
    return s.st_dev == proc.st_dev && s.st_ino != root.st_ino && S_ISREG(s.st_mode) + S_ISDIR(s.st_mode)
        && strcmp(path, "..") && strncmp(path, "/etc", 4) && strncmp(path, "/proc", 5);
}

/* Natively the case stands on a mount of its own, so that names outside are on another. */
static int is_root(const char *path)
{
    return path[0] && !path[strspn(path, "/")];
}

static void restore(void)
{
    static const char *const names[] = { "target", "source", "nowhere", "missing" };
    if (chdir("/mnt"))
        exit(91);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unlink(names[i]), rmdir(names[i]);
    touch("source", "s"), touch("file", "x"), mkdir("dir", 0755), mkdir("closed", 0);
    mkfifo("fifo", 0600), symlink("nowhere", "gone"), symlink("loop", "loop");
    symlink("link39", "link40");
}

int main(void)
{
    static char name256[257], path4096[4200], deep[300] = "";
    static const char *const fixed[] = {
        "missing", "missing/x", "file/x", "file/", "file/.", "file/..", "gone", "gone/", "gone/x", "loop",
        "loop/x", "self/self/self/file/x", "closed/x", "closed/", "closed", "", "/", "//", "/mnt/file/",
        "dir/../file/x", "dir/missing/../x", "fifo/x", "fifo/", "/dev/null/x", "/dev/null/", "/proc/x",
        "/proc/self/fd/99", "/proc/self/fd/99/x", "/etc/passwd/", "/etc/passwd/x", "/proc/self/cwd/missing/x",
        "/proc/self/exe/x", "link40", "dir/", "dir/.", "dirlink/", "dirlink/.", ".", "..", "./missing/",
    };
    const char *paths[60];
    int n = sizeof fixed / sizeof *fixed;
    memcpy(paths, fixed, sizeof fixed);
    memset(name256, 'n', 256), memset(path4096, '/', 4097);
    strcpy(path4096 + 4097 - 9, "mnt/file");
    for (int i = 0; i < 80; i++)
        strcat(deep, "../");
    strcat(deep, "mnt/file/x");
    paths[n++] = name256, paths[n++] = path4096, paths[n++] = path4096 + 1, paths[n++] = deep;
    restore(), symlink(".", "self"), symlink("dir", "dirlink");
    for (int i = 0; i <= 40; i++) { /* link40 is there already */
        char from[20], to[20];
        snprintf(from, sizeof from, i ? "link%d" : "file", i - 1), snprintf(to, sizeof to, "link%d", i);
        symlink(from, to);
    }
    int in = (int)syscall(SYS_inotify_init1, 0);
    static char b[4096];
    for (int i = 0; i < n; i++) {
        const char *p = paths[i];
        printf("-- %.40s\n", p);
#define X(call, ...)                                            \
    do {                                                        \
        if (is_root(p) && (strstr(#call, "rename") || !strcmp(#call, "link"))) break; \
        long r = syscall(SYS_##call, __VA_ARGS__);              \
        printf(#call " %s\n", r < 0 ? strerrorname_np(errno) : "ok"); \
        if (r >= 0) {                                           \
            if (!strcmp(#call, "open") || !strcmp(#call, "creat")) close((int)r); \
            restore();                                          \
        }                                                       \
    } while (0);
        if (!strcmp(p, "fifo"))
            continue;
        CALLS(X)
        if (is_ours(p)) {
            CHANGES(X)
        }
    }
    chmod("closed", 0700);
    return 0;
}
