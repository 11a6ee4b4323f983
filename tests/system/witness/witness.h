// What all witnesses share: a failing call ends the program with a line that says where.
#pragma once
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHECK(expression)                                                                        \
    ({                                                                                           \
        __auto_type value_ = (expression);                                                       \
        if (value_ < 0) die(__FILE__, __LINE__, #expression);                                    \
        value_;                                                                                  \
    })
#define EXPECT(condition)                                                                        \
    do {                                                                                         \
        if (!(condition)) die(__FILE__, __LINE__, #condition);                                   \
    } while (0)
#define THREAD(expression) EXPECT((errno = (expression)) == 0)

__attribute__((noreturn, unused)) static void die(const char *file, int line, const char *what)
{
    const char *base = strrchr(file, '/');
    printf("%s:%d: %s: %s\n", base ? base + 1 : file, line, what, strerror(errno));
    fflush(stdout);
    _exit(1);
}

__attribute__((unused)) static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

// The status of a child: its exit code, or 1000 + the signal that killed it.
__attribute__((unused)) static int ended(pid_t pid)
{
    int status;
    pid_t got;
    while ((got = waitpid(pid, &status, 0)) < 0 && errno == EINTR) continue;
    EXPECT(got == pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

__attribute__((unused)) static void enter(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: %s DIR [ARG...]\n", argv[0]);
        exit(2);
    }
    umask(022);
    setvbuf(stdout, NULL, _IOLBF, 0);
    CHECK(chdir(argv[1]));
}

__attribute__((unused)) static long argument(int argc, char **argv, int i, long otherwise)
{
    return argc > i ? atol(argv[i]) : otherwise;
}

__attribute__((unused)) static struct sockaddr_un address(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    EXPECT(strlen(path) < sizeof a.sun_path);
    strcpy(a.sun_path, path);
    return a;
}

__attribute__((unused)) static void put(const char *path, const char *text)
{
    int fd = CHECK(open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644));
    EXPECT(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
}

__attribute__((unused)) static const char *name_of_error(int error)
{
    return error ? strerrorname_np(error) : "OK";
}

// Has the process got as far as a call of that number? /proc/PID/syscall says.
__attribute__((unused)) static void wait_until_in(pid_t pid, long number)
{
    char path[64], line[64];
    snprintf(path, sizeof path, "/proc/%d/syscall", pid);
    for (double end = now() + 10; now() < end; sched_yield()) {
        int fd = CHECK(open(path, O_RDONLY));
        ssize_t n = read(fd, line, sizeof line - 1);
        close(fd);
        if (n > 0 && (line[n] = 0, line[0] != 'r') && atol(line) == number) return;
    }
    EXPECT(!"the process never made its call");
}
