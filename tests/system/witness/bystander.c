// Threads and processes that are blocked for ever hold up nobody else.
#include "witness.h"

enum { BLOCKED = 24 };

static void *block(void *unused)
{
    (void)unused;
    open("fifo", O_RDONLY);
    return NULL;
}

int main(int argc, char **argv)
{
    enter(argc, argv);
    long rounds = argument(argc, argv, 2, 2000);
    CHECK(mkfifo("fifo", 0644));
    put("file", "x");
    pid_t other[4];
    for (int i = 0; i < 4; i++)
        if ((other[i] = CHECK(fork())) == 0) block(NULL), _exit(0);
    pthread_t thread;
    for (int i = 0; i < BLOCKED; i++) THREAD(pthread_create(&thread, NULL, block, NULL));
    struct stat s;
    double slowest = 0;
    for (long i = 0; i < rounds; i++) {
        double before = now();
        CHECK(stat("file", &s));
        CHECK(close(CHECK(open("file", O_RDONLY))));
        if (i % 50 == 0) CHECK(chdir("."));
        if (now() - before > slowest) slowest = now() - before;
    }
    fprintf(stderr, "slowest %.1f ms\n", slowest * 1e3);
    printf("%ld rounds, %s\n", rounds, slowest < 2 ? "never held up" : "held up");
    for (int i = 0; i < 4; i++) {
        CHECK(kill(other[i], SIGKILL));
        EXPECT(ended(other[i]) == 1000 + SIGKILL);
    }
    _exit(0);
}
