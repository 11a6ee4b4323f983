/* What the programs of the cases share: a call's result or its errno, on one line. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* A descriptor that a call returns is only said to be one, and its number kept. */
static inline long say(const char *what, long result)
{
    if (result < 0)
        printf("%s: %s\n", what, strerrorname_np(errno));
    else
        printf("%s: %ld\n", what, result);
    fflush(stdout);
    return result;
}

static inline int file(const char *what, long fd)
{
    if (fd < 0)
        printf("%s: %s\n", what, strerrorname_np(errno));
    else
        printf("%s: a descriptor\n", what);
    fflush(stdout);
    return (int)fd;
}

static inline void touch(const char *name, const char *text)
{
    int fd = open(name, O_CREAT | O_WRONLY | O_TRUNC, 0644);
    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        exit(90);
    close(fd);
}
