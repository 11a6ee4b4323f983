// A lock goes when its last descriptor goes: a copy that somebody keeps would hold it.
#include "witness.h"

int main(int argc, char **argv)
{
    enter(argc, argv);
    long rounds = argument(argc, argv, 2, 1000), held = 0;
    for (long i = 0; i < rounds; i++) {
        int fd = CHECK(open("lock", O_RDWR | O_CREAT, 0644));
        if (flock(fd, LOCK_EX | LOCK_NB) < 0) held++;
        close(fd);
    }
    printf("%ld rounds, %ld times still locked\n", rounds, held);

    int tell[2];
    CHECK(pipe(tell));
    int mine = CHECK(open("lock", O_RDWR));
    CHECK(flock(mine, LOCK_EX));
    pid_t pid = CHECK(fork());
    if (pid == 0) {
        close(mine);
        int fd = CHECK(open("lock", O_RDWR));
        EXPECT(flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK);
        CHECK(write(tell[1], "w", 1));
        CHECK(flock(fd, LOCK_EX));
        CHECK(write(tell[1], "g", 1));
        _exit(0);
    }
    char c;
    EXPECT(read(tell[0], &c, 1) == 1 && c == 'w');
    wait_until_in(pid, SYS_flock);
    struct pollfd ready = {.fd = tell[0], .events = POLLIN};
    EXPECT(poll(&ready, 1, 50) == 0);
    close(mine);
    EXPECT(poll(&ready, 1, 5000) == 1 && read(tell[0], &c, 1) == 1 && c == 'g');
    printf("handed over, child ended with %d\n", ended(pid));
}
