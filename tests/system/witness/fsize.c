// The size that a file may have is the program's limit, and the signal is the program's too.
#include "witness.h"

static volatile sig_atomic_t signals;

static void on_signal(int number)
{
    (void)number;
    signals++;
}

static void try(long length)
{
    signals = 0;
    int result = truncate("file", length);
    printf("truncate to %ld: %s, SIGXFSZ %d\n", length, name_of_error(result < 0 ? errno : 0),
           (int)signals);
}

int main(int argc, char **argv)
{
    enter(argc, argv);
    struct sigaction action = {.sa_handler = on_signal};
    CHECK(sigaction(SIGXFSZ, &action, NULL));
    put("file", "12345");
    struct rlimit limit = {1000, RLIM_INFINITY};
    CHECK(setrlimit(RLIMIT_FSIZE, &limit));
    try(1000);
    try(2000);
    limit.rlim_cur = 3000;
    CHECK(setrlimit(RLIMIT_FSIZE, &limit));
    try(2000);
    limit.rlim_cur = 0;
    CHECK(setrlimit(RLIMIT_FSIZE, &limit));
    try(10);
    try(20);
    int fd = CHECK(open("new", O_WRONLY | O_CREAT, 0644));
    printf("write: %s\n", name_of_error(write(fd, "x", 1) < 0 ? errno : 0));
    printf("mkdir: %s\n", name_of_error(mkdir("down", 0755) < 0 ? errno : 0));
    printf("symlink: %s\n", name_of_error(symlink("x", "link") < 0 ? errno : 0));
    signal(SIGXFSZ, SIG_DFL);
    pid_t pid = CHECK(fork());
    if (pid == 0) {
        (void)!truncate("file", 100);
        _exit(0);
    }
    printf("default action: %d\n", ended(pid));
}
