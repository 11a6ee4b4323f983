// Does a round of path calls for each byte on stdin, and says what came out; for debuggers.
#include "witness.h"

int counter;

__attribute__((noinline)) static void step(void)
{
    char name[32], here[PATH_MAX];
    struct stat s;
    counter++;
    snprintf(name, sizeof name, "marker%d", counter);
    put(name, "12345");
    CHECK(stat(name, &s));
    CHECK(mkdir("down", 0755));
    CHECK(chdir("down"));
    EXPECT(getcwd(here, sizeof here));
    struct sockaddr_un a = address("socket");
    int fd = CHECK(socket(AF_UNIX, SOCK_STREAM, 0));
    CHECK(bind(fd, (struct sockaddr *)&a, sizeof a));
    close(fd);
    CHECK(unlink("socket"));
    CHECK(chdir(".."));
    CHECK(rmdir("down"));
    pid_t pid = CHECK(vfork());
    if (pid == 0) execl("/bin/sh", "sh", "-c", "exit 7", NULL), _exit(1);
    printf("step %d size %ld in %s, child %d\n", counter, (long)s.st_size, strrchr(here, '/'),
           ended(pid));
}

int main(int argc, char **argv)
{
    enter(argc, argv);
    printf("pid %d\n", getpid());
    char c;
    while (read(0, &c, 1) == 1) step();
    printf("end after %d\n", counter);
    return 5;
}
