// With every descriptor in use, open says EMFILE when the kernel would, and all else works.
#include "witness.h"

static int fill(void)
{
    int count = 0;
    while (open("file", O_RDONLY) >= 0) count++;
    return count;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "full") == 0) {
        printf("executed with a full table: %s\n",
               open("/dev/null", O_RDONLY) < 0 ? name_of_error(errno) : "opened");
        return 0;
    }
    enter(argc, argv);
    CHECK(syscall(SYS_close_range, 3, ~0u, 0));
    put("file", "12345");
    CHECK(mkdir("down", 0755));
    struct rlimit limit = {10, 10};
    CHECK(setrlimit(RLIMIT_NOFILE, &limit));
    int count = fill();
    printf("opened %d, then %s\n", count, name_of_error(errno));
    close(5);
    int fd = CHECK(open("file", O_RDONLY));
    printf("a freed descriptor is used again: %d\n", fd);

    struct stat s;
    char text[PATH_MAX];
    printf("stat %ld\n", (long)(CHECK(stat("file", &s)), s.st_size));
    printf("access %d\n", access("file", R_OK));
    printf("mkdir %d\n", mkdir("new", 0755));
    printf("rename %d\n", rename("new", "newer"));
    printf("rmdir %d\n", rmdir("newer"));
    printf("symlink %d\n", symlink("file", "link"));
    printf("readlink %zd\n", readlink("link", text, sizeof text));
    printf("unlink %d\n", unlink("link"));
    printf("truncate %d\n", truncate("file", 3));
    printf("utimensat %d\n", utimensat(AT_FDCWD, "file", NULL, 0));
    printf("chdir %d\n", chdir("down"));
    printf("getcwd %s\n", getcwd(text, sizeof text) ? strrchr(text, '/') : "fails");
    printf("chdir back %d\n", chdir(".."));
    struct statfs f;
    printf("statfs %d\n", statfs("file", &f));
    printf("O_PATH: %s\n", name_of_error(open("file", O_PATH) < 0 ? errno : 0));
    printf("O_EXCL: %s\n", name_of_error(open("fresh", O_CREAT | O_EXCL, 0644) < 0 ? errno : 0));
    printf("and the file was not made: %s\n", name_of_error(access("fresh", F_OK) < 0 ? errno : 0));
    printf("missing: %s\n", name_of_error(open("missing", O_RDONLY) < 0 ? errno : 0));
    close(9);
    int local = CHECK(socket(AF_UNIX, SOCK_DGRAM, 0));
    struct sockaddr_un a = address("socket");
    printf("bind %d\n", bind(local, (struct sockaddr *)&a, sizeof a));
    limit.rlim_cur = 3;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit));
    printf("over the limit: %s\n", name_of_error(open("file", O_RDONLY) < 0 ? errno : 0));
    limit.rlim_cur = 10;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit));
    execv(argv[0], (char *[]){argv[0], "full", NULL});
    die(__FILE__, __LINE__, "execv");
}
