// Threads that make path calls without end, for a debugger to attach to.
#include "witness.h"

#include <stdbool.h>

static const char *path;
static bool opens;

static __attribute__((noinline)) void *loop(void *end)
{
    struct stat st;
    int fd;
    while (!end)
        if (opens)
            EXPECT((fd = open(path, O_RDONLY)) >= 0 && !close(fd));
        else
            EXPECT(!stat(path, &st));
    return end;
}

int main(int count, char **words)
{
    EXPECT(count == 4);
    path = words[1];
    opens = !strcmp(words[2], "open");
    pthread_t thread;
    for (int others = atoi(words[3]); others; others--)
        THREAD(pthread_create(&thread, NULL, loop, NULL));
    return loop(NULL) == path;
}
