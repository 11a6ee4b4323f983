// Every queued signal arrives once, in order, and path calls leave the signal mask alone.
#include "witness.h"

static volatile sig_atomic_t received, disordered;

static void on_signal(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)context;
    disordered += info->si_value.sival_int != received;
    received++;
}

static void work(long total, int ready)
{
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART};
    CHECK(sigaction(SIGRTMIN, &action, NULL));
    sigset_t mask, now_blocked;
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR1);
    sigaddset(&mask, SIGRTMAX);
    CHECK(sigprocmask(SIG_SETMASK, &mask, NULL));
    CHECK(write(ready, "r", 1));
    long changed = 0;
    struct stat s;
    while (received < total) {
        CHECK(chdir("down"));
        CHECK(stat("../down", &s));
        CHECK(chdir(".."));
        CHECK(mkdir("x", 0755));
        CHECK(rmdir("x"));
        CHECK(sigprocmask(SIG_SETMASK, NULL, &now_blocked));
        changed += memcmp(&mask, &now_blocked, 8) != 0;
    }
    printf("%d of %ld, %s order, masks changed %ld\n", (int)received, total,
           disordered ? "out of" : "in", changed);
    exit(0);
}

int main(int argc, char **argv)
{
    enter(argc, argv);
    long total = argument(argc, argv, 2, 2000);
    CHECK(mkdir("down", 0755));
    int ready[2];
    CHECK(pipe(ready));
    pid_t pid = CHECK(fork());
    if (pid == 0) work(total, ready[1]);
    char c;
    EXPECT(read(ready[0], &c, 1) == 1);
    for (long i = 0; i < total; i++) {
        while (sigqueue(pid, SIGRTMIN, (union sigval){.sival_int = i}) < 0) {
            EXPECT(errno == EAGAIN);
            sched_yield();
        }
        // Not to wait for something, but to hit a different moment each time.
        if (i % 4 == 0) nanosleep(&(struct timespec){0, i % 7 * 20000}, NULL);
    }
    printf("child ended with %d\n", ended(pid));
}
