// Path calls under 1,000 signals a second: no call is done twice or lost, whatever it returns.
// A call that says EINTR must not have happened; one that says 0 must have, once.
#include "witness.h"

static atomic_long signals;
static long interrupted, doubled, failed;

static void on_signal(int number)
{
    (void)number;
    signals++;
}

static void report(const char *what, int error, int already)
{
    if (error == already) doubled++;
    else failed++;
    fprintf(stderr, "%s: %s\n", what, strerror(error));
}

// Make the call until it is not interrupted; `already` is what it says when it had been done.
#define ONCE(already, call)                                                                      \
    ({                                                                                           \
        long result_;                                                                            \
        while ((result_ = (call)) < 0 && errno == EINTR) interrupted++;                          \
        if (result_ < 0) report(#call, errno, already);                                          \
        result_;                                                                                 \
    })

static void start_clock(int number, int flags)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = flags};
    CHECK(sigaction(number, &action, NULL));
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = number};
    timer_t timer;
    CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer));
    struct itimerspec every = {.it_interval = {0, 1000000}, .it_value = {0, 1000000}};
    CHECK(timer_settime(timer, 0, &every, NULL));
}

static void names(void)
{
    int fd = ONCE(EEXIST, open("a", O_WRONLY | O_CREAT | O_EXCL, 0644));
    if (fd >= 0) close(fd);
    ONCE(EEXIST, link("a", "b"));
    ONCE(ENOENT, rename("b", "c"));
    ONCE(ENOENT, unlink("c"));
    ONCE(EEXIST, symlink("a", "s"));
    ONCE(ENOENT, unlink("s"));
    ONCE(ENOENT, unlink("a"));
    ONCE(EEXIST, mkdir("d", 0755));
    ONCE(ENOENT, rmdir("d"));
    ONCE(EEXIST, mknod("n", S_IFREG | 0644, 0));
    ONCE(ENOENT, unlink("n"));
}

static void places(const char *back)
{
    char here[PATH_MAX];
    ONCE(0, chdir("down"));
    ONCE(0, syscall(SYS_getcwd, here, sizeof here));
    if (strcmp(strrchr(here, '/'), "/down") != 0) report("getcwd", ENOENT, 0);
    struct sockaddr_un a = address("socket");
    int fd = CHECK(socket(AF_UNIX, SOCK_STREAM, 0));
    ONCE(EINVAL, bind(fd, (struct sockaddr *)&a, sizeof a));
    CHECK(listen(fd, 4));
    int client = CHECK(socket(AF_UNIX, SOCK_STREAM, 0));
    ONCE(EISCONN, connect(client, (struct sockaddr *)&a, sizeof a));
    close(fd);
    close(client);
    ONCE(ENOENT, unlink("socket"));
    ONCE(0, chdir(back));
}

static void executions(const char *program, int flags)
{
    pid_t pid = CHECK(fork());
    if (pid == 0) {
        // SIGURG: ignored by default, so that it may come before, during and after the execve.
        start_clock(SIGURG, flags);
        while (execl(program, program, "ran", NULL) < 0 && errno == EINTR) continue;
        _exit(99);
    }
    if (ended(pid) != 7) failed++;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "ran") == 0) return 7;
    enter(argc, argv);
    int flags = argc > 2 && strcmp(argv[2], "restart") == 0 ? SA_RESTART : 0;
    double end = now() + argument(argc, argv, 3, 2000) / 1e3;
    char back[PATH_MAX];
    EXPECT(getcwd(back, sizeof back));
    CHECK(mkdir("down", 0755));
    start_clock(SIGALRM, flags);
    long rounds = 0;
    for (; now() < end; rounds++) {
        names();
        places(rounds % 2 ? back : "..");
        if (rounds % 8 == 0) executions(argv[0], flags);
    }
    fprintf(stderr, "rounds %ld signals %ld eintr %ld\n", rounds, (long)signals, interrupted);
    printf("%s, doubled %ld, failed %ld, restart broken %d\n",
           signals > 0 && rounds > 0 ? "ran under signals" : "nothing happened", doubled, failed,
           flags && interrupted);
}
