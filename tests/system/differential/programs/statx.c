/* The stat family in all its forms. */
#include "say.h"
#include <sys/statfs.h>

static void one(int dir, const char *path, int flags, unsigned mask)
{
    struct statx s;
    char line[PATH_MAX + 60];
    memset(&s, 0, sizeof s);
    snprintf(line, sizeof line, "statx %.30s flags %#x mask %#x", path, flags, mask);
    if (say(line, syscall(SYS_statx, dir, path, flags, mask, &s)) == 0)
        printf("  %#o %u %u %u %lu mask %#x attributes %#lx of %#lx\n", s.stx_mode, s.stx_nlink,
               s.stx_uid, s.stx_gid, S_ISDIR(s.stx_mode) ? 0ul : (unsigned long)s.stx_size,
               s.stx_mask, (unsigned long)s.stx_attributes & ~0x2000ul,
               (unsigned long)s.stx_attributes_mask);
}

int main(void)
{
    static const char *const paths[] = { "f", "l", "gone", "d", "d/", "l/", "f/", "missing", "", ".",
                                         "/mnt/l", "dl/x", "/proc/self/exe", "p" };
    static const int flags[] = { 0, AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH, AT_NO_AUTOMOUNT,
                                 AT_STATX_FORCE_SYNC, AT_STATX_DONT_SYNC, 0x6000, 0x200000 };
    mkdir("d", 0711), touch("f", "123"), touch("d/x", "12345"), symlink("f", "l");
    symlink("nowhere", "gone"), symlink("d", "dl"), mkfifo("p", 0600);
    int here = open(".", O_RDONLY), fd = open("f", O_RDWR), op = open("l", O_PATH | O_NOFOLLOW);
    for (size_t p = 0; p < sizeof paths / sizeof *paths; p++) {
        for (size_t f = 0; f < sizeof flags / sizeof *flags; f++) {
            one(AT_FDCWD, paths[p], flags[f], STATX_BASIC_STATS);
            one(here, paths[p], flags[f], STATX_SIZE);
            one(fd, paths[p], flags[f], STATX_ALL);
            one(77, paths[p], flags[f], STATX_ALL);
        }
        struct stat s, t;
        struct statfs v;
        say(paths[p], syscall(SYS_stat, paths[p], &s));
        if (say(paths[p], syscall(SYS_lstat, paths[p], &t)) == 0)
            printf("%#o %ld\n", t.st_mode, (long)t.st_nlink);
        say("access", syscall(SYS_access, paths[p], R_OK | X_OK));
        say("faccessat", syscall(SYS_faccessat, here, paths[p], W_OK));
        say("faccessat2", syscall(SYS_faccessat2, here, paths[p], W_OK, AT_SYMLINK_NOFOLLOW | AT_EACCESS));
        say("access of nonsense", syscall(SYS_access, paths[p], 077));
        if (say("statfs", syscall(SYS_statfs, paths[p], &v)) == 0)
            printf("%lx %ld\n", (long)v.f_type, (long)v.f_namelen);
        for (size_t size = 0; size < 6; size++) {
            char text[8] = "";
            say("readlink", syscall(SYS_readlink, paths[p], text, size));
            say("readlinkat", syscall(SYS_readlinkat, here, paths[p], text, size));
            printf("%s\n", text);
        }
    }
    one(op, "", AT_EMPTY_PATH, STATX_ALL);
    one(fd, "", AT_EMPTY_PATH, STATX_ALL);
    say("statx of a null path", syscall(SYS_statx, fd, NULL, AT_EMPTY_PATH, STATX_ALL, (void *)8));
    say("bad buffer", syscall(SYS_stat, "f", (void *)8));
    say("bad statx", syscall(SYS_statx, AT_FDCWD, "f", 0, STATX_ALL, (void *)8));
    say("bad path", syscall(SYS_stat, (void *)8, (void *)8));
    say("reserved mask", syscall(SYS_statx, AT_FDCWD, "f", 0, 0x80000000u, (void *)8));
    say("empty readlinkat", syscall(SYS_readlinkat, op, "", (char[9]){ 0 }, 9));
    say("empty readlinkat of a file", syscall(SYS_readlinkat, fd, "", (char[9]){ 0 }, 9));
    struct stat a, b;
    fstat(fd, &a);
    stat("/mnt/d/../f", &b);
    printf("same %d\n", a.st_ino == b.st_ino && a.st_dev == b.st_dev);
    return 0;
}
