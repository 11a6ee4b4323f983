// SIGSTOP and SIGCONT at any moment: the parent sees every stop, the calls are right.
#include "witness.h"

int main(int argc, char **argv)
{
    enter(argc, argv);
    long rounds = argument(argc, argv, 2, 200), stops = 0, continues = 0;
    CHECK(mkdir("down", 0755));
    int done[2];
    CHECK(pipe(done));
    pid_t pid = CHECK(fork());
    if (pid == 0) {
        close(done[1]);
        struct pollfd end = {.fd = done[0], .events = POLLIN};
        char here[PATH_MAX];
        struct stat s;
        for (long i = 0; poll(&end, 1, 0) == 0; i++) {
            CHECK(chdir("down"));
            EXPECT(getcwd(here, sizeof here) && strcmp(strrchr(here, '/'), "/down") == 0);
            CHECK(mkdir("x", 0755));
            CHECK(stat("x", &s));
            CHECK(rmdir("x"));
            CHECK(chdir(".."));
            pid_t child = CHECK(vfork());
            if (child == 0) execl("/bin/true", "true", NULL), _exit(1);
            EXPECT(ended(child) == 0);
        }
        _exit(7);
    }
    close(done[0]);
    for (long i = 0; i < rounds; i++) {
        int status;
        CHECK(kill(pid, SIGSTOP));
        EXPECT(waitpid(pid, &status, WUNTRACED) == pid);
        if (!WIFSTOPPED(status)) {
            printf("child ended with %x\n", status);
            return 1;
        }
        stops += WSTOPSIG(status) == SIGSTOP;
        CHECK(kill(pid, SIGCONT));
        EXPECT(waitpid(pid, &status, WCONTINUED) == pid);
        continues += WIFCONTINUED(status);
    }
    close(done[1]);
    int status = ended(pid);
    printf("%ld stops, %ld continues, child ended with %d\n", stops, continues, status);
}
