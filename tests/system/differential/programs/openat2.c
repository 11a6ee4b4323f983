/* openat2(2) with each RESOLVE flag, and with arguments that it refuses.
 *
 * RESOLVE_CACHED is left out: whether it fails depends on the kernel's caches. */
#include "say.h"
#include <linux/openat2.h>

static int o2(const char *label, int dir, const char *path, uint64_t flags, uint64_t mode,
              uint64_t resolve)
{
    struct open_how how = { .flags = flags, .mode = mode, .resolve = resolve };
    char line[300];
    snprintf(line, sizeof line, "%s %s resolve %#lx", label, path, (unsigned long)resolve);
    int fd = file(line, syscall(SYS_openat2, dir, path, &how, sizeof how));
    if (fd >= 0 && !(flags & O_DIRECTORY && flags & O_RDWR)) { /* O_TMPFILE's name is a number */
        char name[PATH_MAX], proc[64];
        snprintf(proc, sizeof proc, "/proc/self/fd/%d", fd);
        ssize_t n = readlink(proc, name, sizeof name);
        printf("  is %.*s\n", (int)n, name);
        close(fd);
    }
    return fd;
}

int main(void)
{
    static const char *const paths[] = {
        "f", "d/f", "l", "dl/f", "abs", "../mnt/f", "d/../f", "/mnt/f", "/f", "up", "esc/etc/passwd",
        "/proc/self/exe", "/proc/self/cwd/f", "missing", "d/", "f/", "", ".", "..", "/", "loop",
    };
    static const uint64_t resolves[] = { 0, 1, 2, 4, 8, 16, 8 | 4, 16 | 4, 8 | 16, 64 };
    mkdir("d", 0755), touch("f", "1"), touch("d/f", "2");
    symlink("f", "l"), symlink("d", "dl"), symlink("/mnt/f", "abs"), symlink("../mnt/f", "up");
    symlink("/", "esc"), symlink("loop", "loop");
    int here = open(".", O_RDONLY), below = open("d", O_PATH);
    for (size_t p = 0; p < sizeof paths / sizeof *paths; p++)
        for (size_t r = 0; r < sizeof resolves / sizeof *resolves; r++) {
            o2("open", here, paths[p], O_RDONLY, 0, resolves[r]);
            o2("path", AT_FDCWD, paths[p], O_PATH, 0, resolves[r]);
        }
    for (size_t r = 0; r < sizeof resolves / sizeof *resolves; r++) {
        o2("below", below, "../f", O_RDONLY, 0, resolves[r]);
        o2("below", below, "f", O_RDONLY, 0, resolves[r]);
        o2("create", below, "new", O_CREAT | O_RDWR, 0640, resolves[r]);
        o2("create up", below, "../up-there", O_CREAT | O_RDWR | O_EXCL, 0600, resolves[r]);
        unlink("up-there");
    }
    o2("mode without create", AT_FDCWD, "f", O_RDONLY, 0600, 0);
    o2("unknown flag", AT_FDCWD, "f", 1ull << 40, 0, 0);
    o2("bad mode", AT_FDCWD, "g", O_CREAT | O_WRONLY, 0200000, 0);
    o2("bad directory", 77, "f", O_RDONLY, 0, 0);
    o2("tmpfile", AT_FDCWD, ".", O_TMPFILE | O_RDWR, 0600, 0);
    o2("nofollow", AT_FDCWD, "l", O_NOFOLLOW, 0, 0);
    o2("directory", AT_FDCWD, "f", O_DIRECTORY, 0, 0);
    struct { struct open_how how; uint64_t more; } big = { .how = { .flags = O_RDONLY } };
    close(file("bigger, zero", syscall(SYS_openat2, AT_FDCWD, "f", &big, sizeof big)));
    big.more = 1;
    file("bigger, not zero", syscall(SYS_openat2, AT_FDCWD, "f", &big, sizeof big));
    file("too small", syscall(SYS_openat2, AT_FDCWD, "f", &big, 8));
    file("bad pointer", syscall(SYS_openat2, AT_FDCWD, "f", (void *)8, sizeof big.how));
    file("bad path", syscall(SYS_openat2, AT_FDCWD, (void *)8, &big, sizeof big.how));
    return 0;
}
