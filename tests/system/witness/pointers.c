// Hostile pointers and strings: the answers of the kernel, and a monitor that is still there.
#include "witness.h"

static char *edge;      // the first byte that is not mapped; the page before it is
static char *forbidden; // PROT_NONE
static char *constant;  // read-only

static char *at_edge(const char *text, size_t bytes)
{
    return memcpy(edge - bytes, text, bytes);
}

static const char *outcome(long result)
{
    static char text[64];
    if (result < 0) return name_of_error(errno);
    snprintf(text, sizeof text, "%ld", result);
    return text;
}

// Every kind of call with one path.
static void paths(const char *what, const char *path)
{
    struct stat s;
    char text[PATH_MAX];
    printf("%s:", what);
#define TRY(...) printf(" %s", outcome(syscall(__VA_ARGS__)))
    long fd = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY);
    printf(" %s", fd >= 0 ? "opened" : outcome(fd));
    if (fd >= 0) close(fd);
    TRY(SYS_stat, path, &s);
    TRY(SYS_newfstatat, AT_FDCWD, path, &s, AT_SYMLINK_NOFOLLOW);
    TRY(SYS_access, path, R_OK);
    TRY(SYS_readlink, path, text, sizeof text);
    TRY(SYS_mkdir, path, 0755);
    TRY(SYS_chmod, path, 0644);
    TRY(SYS_truncate, path, 5);
    TRY(SYS_rename, path, "there/is/no/such");
    TRY(SYS_rename, "there/is/no/such", path);
    TRY(SYS_link, path, "file");
    TRY(SYS_symlink, path, "file");
    TRY(SYS_getxattr, path, "user.none", text, sizeof text);
    TRY(SYS_rmdir, path);
    TRY(SYS_chdir, path);
    TRY(SYS_execve, path, NULL, NULL);
    TRY(SYS_statfs, path, text);
    printf("\n");
    CHECK(fchdir(3));
}

static void buffers(const char *what, char *buffer)
{
    printf("%s:", what);
    TRY(SYS_stat, "file", buffer);
    TRY(SYS_newfstatat, AT_FDCWD, "file", buffer, 0);
    TRY(SYS_statx, AT_FDCWD, "file", 0, STATX_BASIC_STATS, buffer);
    TRY(SYS_readlink, "link", buffer, 64);
    CHECK(chdir("a-long-name"));  // longer than the buffers, wherever DIR is
    printf(" %s", syscall(SYS_getcwd, buffer, PATH_MAX) < 0 ? name_of_error(errno) : "OK");
    CHECK(chdir(".."));
    TRY(SYS_statfs, "file", buffer);
    TRY(SYS_getxattr, "file", "user.witness", buffer, 64);
    printf("\n");
}

static void strings(void)
{
    static const char name[] = "file";
    paths("NULL", NULL);
    paths("1", (char *)1);
    paths("kernel", (char *)0xffff888000000000);
    paths("not canonical", (char *)0x8000000000000000);
    paths("last page", (char *)-1);
    paths("not mapped", edge);
    paths("PROT_NONE", forbidden);
    paths("ends with the mapping", at_edge(name, sizeof name));
    paths("does not end in it", at_edge(name, sizeof name - 1));
    paths("empty at the edge", at_edge("", 1));
    paths("read-only", constant);
    static char endless[3 * 4096];
    memset(endless, 'a', sizeof endless);
    paths("no end", endless);
    endless[4096] = 0;
    paths("4,096 bytes", endless);
    endless[4095] = 0;
    paths("4,095 bytes", endless);
    memset(endless, '/', 4095);
    memcpy(endless + 4091, "file", 5);
    paths("4,095 bytes with slashes", endless + 4);
    memset(endless, 'a', 256);
    endless[256] = 0;
    paths("256 bytes", endless);
    endless[255] = 0;
    paths("255 bytes", endless);
    memset(edge - 4096, 'a', 4096);
    paths("a page without an end", edge - 4096);
}

static volatile char *flipped;
static atomic_int stop;

static void *flip(void *unused)
{
    (void)unused;
    while (!stop) {
        flipped[1] = '1';
        flipped[1] = '2';
    }
    return NULL;
}

static void race(void)
{
    static char name[] = "f1";
    flipped = name;
    put("f1", "1");
    put("f2", "22");
    pthread_t thread;
    THREAD(pthread_create(&thread, NULL, flip, NULL));
    long bad = 0;
    for (int i = 0; i < 1000; i++) {
        struct stat s;
        bad += syscall(SYS_stat, name, &s) < 0 || s.st_size < 1 || s.st_size > 2;
        int fd = syscall(SYS_open, name, O_RDONLY);
        bad += fd < 0;
        close(fd);
        bad += syscall(SYS_chdir, name) == 0 || errno != ENOTDIR;
    }
    stop = 1;
    THREAD(pthread_join(thread, NULL));
    printf("a string that changes: %ld wrong answers\n", bad);
}

static void others(void)
{
    int fd = CHECK(socket(AF_UNIX, SOCK_DGRAM, 0));
    printf("bind:");
    TRY(SYS_bind, fd, NULL, 20);
    TRY(SYS_bind, fd, edge, 20);
    TRY(SYS_bind, fd, constant, 0);
    TRY(SYS_bind, fd, constant, 1);
    TRY(SYS_bind, fd, constant, 1000);
    TRY(SYS_bind, fd, constant, -1);
    TRY(SYS_connect, fd, edge - 1, 20);
    printf("\nnames:");
    socklen_t length = 20;
    TRY(SYS_getsockname, fd, edge, &length);
    TRY(SYS_getsockname, fd, constant, &length);
    TRY(SYS_getsockname, fd, NULL, NULL);
    printf("\ntimes:");
    TRY(SYS_utimensat, AT_FDCWD, "file", edge, 0);
    TRY(SYS_utimensat, AT_FDCWD, "file", (char *)1, 0);
    TRY(SYS_utimes, "file", edge - 8);
    TRY(SYS_utime, "file", edge - 8);
    printf("\nopenat2:");
    TRY(SYS_openat2, AT_FDCWD, "file", edge, 24);
    TRY(SYS_openat2, AT_FDCWD, "file", NULL, 24);
    TRY(SYS_openat2, AT_FDCWD, "file", constant, 8);
    TRY(SYS_openat2, AT_FDCWD, "file", constant, 1 << 20);
    printf("\nxattr:");
    TRY(SYS_setxattr, "file", edge, "x", 1, 0);
    TRY(SYS_setxattr, "file", "user.x", edge, 1, 0);
    TRY(SYS_setxattr, "file", "user.x", "x", 1 << 20, 0);
    TRY(SYS_listxattr, "file", edge, 64);
    printf("\nexecve:");
    TRY(SYS_execve, "/bin/true", edge, NULL);
    TRY(SYS_execve, "/bin/true", NULL, (char *)1);
    char *bad[] = {"true", edge, NULL};
    TRY(SYS_execve, "/bin/true", bad, NULL);
    TRY(SYS_execve, "file", bad, NULL);
    printf("\nreadlink and getcwd sizes:");
    char text[64];
    TRY(SYS_readlink, "link", text, 0);
    TRY(SYS_readlink, "link", text, -1);
    TRY(SYS_readlink, "link", text, 2);
    TRY(SYS_readlink, "file", edge, 2);
    TRY(SYS_getcwd, text, 0);
    TRY(SYS_getcwd, text, 2);
    TRY(SYS_getcwd, NULL, 100);
    TRY(SYS_getcwd, edge - 2, 100);
    printf("\n");
}

int main(int argc, char **argv)
{
    enter(argc, argv);
    CHECK(mkdir("a-long-name", 0755));
    EXPECT(CHECK(open(".", O_RDONLY | O_DIRECTORY)) == 3);
    put("file", "12345");
    CHECK(symlink("file", "link"));
    edge = mmap(NULL, 2 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT(edge != MAP_FAILED);
    edge += 4096;
    CHECK(munmap(edge, 4096));
    forbidden = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    constant = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    strcpy(constant, "file");
    CHECK(mprotect(constant, 4096, PROT_READ));
    strings();
    syscall(SYS_setxattr, "file", "user.witness", "12345678", 8, 0);
    char fine[4096];
    buffers("a fine buffer", fine);
    buffers("NULL", NULL);
    buffers("1", (char *)1);
    buffers("kernel", (char *)0xffff888000000000);
    buffers("not mapped", edge);
    buffers("PROT_NONE", forbidden);
    buffers("read-only", constant);
    buffers("one byte too short", edge - 1);
    buffers("eight bytes", edge - 8);
    others();
    race();
    char here[PATH_MAX];
    printf("still here: %s\n", getcwd(here, sizeof here) ? "yes" : "no");
}
