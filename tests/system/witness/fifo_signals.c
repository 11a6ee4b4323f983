// A signal reaches a program that is blocked in the open of a FIFO, at once.
#include "witness.h"

static int tell[2];
static atomic_int handled;

static void on_signal(int number)
{
    (void)number;
    handled++;
    CHECK(write(tell[1], "h", 1));
}

static pid_t blocked(const char *path, int signal_number, int flags)
{
    pid_t pid = CHECK(fork());
    if (pid == 0) {
        if (flags >= 0) {
            struct sigaction action = {.sa_handler = on_signal, .sa_flags = flags};
            CHECK(sigaction(signal_number, &action, NULL));
        }
        CHECK(write(tell[1], "b", 1));
        int fd = syscall(SYS_open, path, O_RDONLY);
        _exit(fd >= 0 ? 40 + handled : errno == EINTR ? 20 + handled : 99);
    }
    char c;
    EXPECT(read(tell[0], &c, 1) == 1 && c == 'b');
    wait_until_in(pid, SYS_open);
    return pid;
}

static void print_end(const char *what, pid_t pid, double since)
{
    int status = ended(pid);
    printf("%s: status %d, %s\n", what, status, now() - since < 2 ? "promptly" : "late");
}

int main(int argc, char **argv)
{
    enter(argc, argv);
    CHECK(pipe(tell));
    CHECK(mkfifo("fifo", 0644));
    static const int deadly[] = {SIGINT, SIGTERM, SIGKILL, SIGHUP, SIGALRM};
    for (size_t i = 0; i < sizeof deadly / sizeof *deadly; i++) {
        pid_t pid = blocked("fifo", 0, -1);
        double since = now();
        CHECK(kill(pid, deadly[i]));
        print_end(sigabbrev_np(deadly[i]), pid, since);
    }
    char c;
    pid_t pid = blocked("fifo", SIGALRM, 0);
    double since = now();
    CHECK(kill(pid, SIGALRM));
    EXPECT(read(tell[0], &c, 1) == 1 && c == 'h');
    print_end("handler without SA_RESTART", pid, since);

    pid = blocked("fifo", SIGALRM, SA_RESTART);
    for (int i = 0; i < 3; i++) {
        CHECK(kill(pid, SIGALRM));
        EXPECT(read(tell[0], &c, 1) == 1 && c == 'h');
        wait_until_in(pid, SYS_open);
    }
    since = now();
    int fd = CHECK(open("fifo", O_WRONLY));
    print_end("handler with SA_RESTART", pid, since);
    close(fd);

    pid = blocked("fifo", 0, -1);
    CHECK(kill(pid, SIGSTOP));
    int status;
    EXPECT(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status));
    CHECK(kill(pid, SIGCONT));
    EXPECT(waitpid(pid, &status, WCONTINUED) == pid && WIFCONTINUED(status));
    since = now();
    fd = CHECK(open("fifo", O_WRONLY));
    print_end("stopped and continued", pid, since);
    close(fd);
}
