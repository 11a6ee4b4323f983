// What calls libpoints.c makes, under a view that takes it for a libc.
#include "steps.h"

#include <dlfcn.h>

static long (*point)(long, long, long, long, long, long, long);
static int woken[2];

static long open_at(const char *path)
{
    return point(AT_FDCWD, (long)path, O_RDONLY, 0, 0, 0, SYS_openat);
}

static void opens(const char *path)
{
    for (int i = 0; i < 3000; i++) {
        long fd = open_at(path);
        EXPECT(fd >= 0 && !point(fd, 0, 0, 0, 0, 0, SYS_close));
        EXPECT(open_at("/usr/nothing") == -ENOENT && open_at("/usr/lib/x86_64-linux-gnu/../nothing") == -ENOENT);
    }
    puts("opened");
}

static __attribute__((noinline)) void calls(const char *path)
{
    char text[8];
    for (int i = 0; i < 2; i++) {
        if (i)
            begin_steps(__builtin_extract_return_addr(&&here));
    here:;
        long fd = open_at(path);
        EXPECT(point(fd, (long)text, 4, 0, 0, 0, SYS_read) == 4 && !memcmp(text, "text", 4));
        EXPECT(!point(fd, 0, 0, 0, 0, 0, SYS_close) && point(fd, 0, 0, 0, 0, 0, SYS_close) == -EBADF);
        EXPECT(open_at("/usr/nothing") == -ENOENT);
    }
    end_steps();
    printf("steps %s, lost %ld\n", steps > 100 ? "taken" : "not taken", steps_lost);
}

static void on_alarm(int number, siginfo_t *info, void *interrupted)
{
    on_step(SIGTRAP, info, interrupted);
    if (number == SIGALRM)
        CHECK(write(woken[1], "x", 1));
}

// A call that waits: its signals come to a handler that looks back, and it goes on, or does not.
static __attribute__((noinline)) void waits(void)
{
    void *warm[4];
    backtrace(warm, 4);
    steps_are_over = true;
    CHECK(pipe(woken));
    steps_from = __builtin_extract_return_addr(&&here);
    for (int restarts = 0; restarts < 2; restarts++) {
        struct sigaction action = {.sa_sigaction = on_alarm, .sa_flags = SA_SIGINFO | (restarts ? SA_RESTART : 0)};
        CHECK(sigaction(SIGALRM, &action, NULL));
        CHECK(setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {0, 30000}}, NULL));
        char byte = 0;
    here:;
        long got = point(woken[0], (long)&byte, 1, 0, 0, 0, SYS_read);
        printf("%s, lost %ld\n", got == 1 && byte == 'x' ? "read" : name_of_error((int)-got), steps_lost);
        if (!restarts)
            CHECK(read(woken[0], &byte, 1));
    }
}

int main(int count, char **words)
{
    EXPECT(count == 3);
    void *library = dlopen(words[1], RTLD_NOW);
    EXPECT(library);
    point = (__typeof__(point))dlsym(library, "point");
    EXPECT(point);
    opens(words[2]);
    waits();
    steps_are_over = false;
    calls(words[2]);
    return 0;
}
