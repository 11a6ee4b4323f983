// Threads that are cancelled in calls that wait, before calls, and not where they forbid it.
#include "witness.h"

static int waits_on[2];
static atomic_int cleaned;

static void clean(void *unused)
{
    (void)unused;
    int fd = open("file", O_RDONLY); // a thread that ends makes its calls as ever
    cleaned += fd >= 0;
    close(fd);
}

static void *opens_fifo(void *result)
{
    *(int *)result = open("fifo", O_RDONLY);
    return NULL;
}

static void *reads(void *result)
{
    char byte;
    *(int *)result = (int)read(waits_on[0], &byte, 1);
    return NULL;
}

static void *polls(void *result)
{
    struct pollfd one = {.fd = waits_on[0], .events = POLLIN};
    *(int *)result = poll(&one, 1, -1);
    return NULL;
}

static void *opens_for_ever(void *result)
{
    for (;;) {
        *(int *)result = open("file", O_RDONLY);
        EXPECT(*(int *)result >= 0);
        close(*(int *)result);
    }
}

static void *forbids(void *result)
{
    THREAD(pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL));
    int fd = CHECK(open("fifo", O_RDONLY)); // until the pending request has been made
    char byte;
    EXPECT(read(fd, &byte, 1) == 1);
    EXPECT(!close(CHECK(open("file", O_RDONLY))));
    *(int *)result = 7;
    THREAD(pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL));
    open("file", O_RDONLY);
    *(int *)result = 8;
    return NULL;
}

static struct { const char *name; void *(*run)(void *); int type; } kinds[] = {
    {"open of a FIFO", opens_fifo, PTHREAD_CANCEL_DEFERRED},
    {"open of a FIFO, asynchronously", opens_fifo, PTHREAD_CANCEL_ASYNCHRONOUS},
    {"read", reads, PTHREAD_CANCEL_DEFERRED},
    {"read, asynchronously", reads, PTHREAD_CANCEL_ASYNCHRONOUS},
    {"poll", polls, PTHREAD_CANCEL_DEFERRED},
    {"open and close", opens_for_ever, PTHREAD_CANCEL_DEFERRED},
    {"while it is forbidden", forbids, PTHREAD_CANCEL_DEFERRED},
};
static int kind, result;

static void *run(void *unused)
{
    pthread_cleanup_push(clean, NULL);
    THREAD(pthread_setcanceltype(kinds[kind].type, NULL));
    kinds[kind].run(&result);
    pthread_cleanup_pop(0);
    return unused;
}

static void cancel(int which)
{
    pthread_t thread;
    void *value;
    kind = which, result = -5, cleaned = 0;
    THREAD(pthread_create(&thread, NULL, run, NULL));
    usleep(20000);
    THREAD(pthread_cancel(thread));
    if (kinds[which].run == forbids) {
        int fd = CHECK(open("fifo", O_WRONLY));
        CHECK(write(fd, "x", 1));
        close(fd);
    }
    THREAD(pthread_join(thread, &value));
    printf("%s: %s, cleaned %d", kinds[which].name, value == PTHREAD_CANCELED ? "cancelled" : "not cancelled", cleaned);
    printf(kinds[which].run == opens_for_ever ? "\n" : ", result %d\n", result);
}

// The only thread of a process, which cancels itself: its next call is not made.
static void cancel_oneself(void)
{
    pid_t pid = fork();
    if (!pid) {
        THREAD(pthread_cancel(pthread_self()));
        open("made", O_CREAT | O_WRONLY, 0644);
        _exit(9);
    }
    printf("oneself: %d, ", ended(pid));
    printf("%s\n", access("made", F_OK) ? "nothing made" : "made");
}

int main(int argc, char **argv)
{
    enter(argc, argv);
    put("file", "text");
    unlink("fifo");
    CHECK(mkfifo("fifo", 0644));
    CHECK(pipe(waits_on));
    cancel_oneself();
    for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++)
        cancel((int)i);
    cancel_oneself();
}
