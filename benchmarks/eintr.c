// eintr CALLS HZ: how many of CALLS access(2) calls come back EINTR under a timer of HZ signals a
// second whose handler lacks SA_RESTART. Natively none can: access does not wait.
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile long signals;

static void on_signal(int number)
{
    (void)number;
    signals++;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    long calls = argc > 1 ? atol(argv[1]) : 100000, interrupted = 0, failed = 0;
    long every = 1000000 / (argc > 2 ? atol(argv[2]) : 1000);
    struct sigaction action = {.sa_handler = on_signal};
    struct itimerval timer = {{0, every}, {0, every}};
    if (sigaction(SIGALRM, &action, NULL) < 0 || setitimer(ITIMER_REAL, &timer, NULL) < 0) return 1;
    double start = now();
    for (long i = 0; i < calls; i++)
        if (access("/etc/passwd", R_OK) < 0) {
            if (errno == EINTR) interrupted++;
            else failed++;
        }
    printf("{\"calls\": %ld, \"signals\": %ld, \"eintr\": %ld, \"failed\": %ld, \"seconds\": %.3f}\n",
           calls, signals, interrupted, failed, now() - start);
    return failed != 0;
}
