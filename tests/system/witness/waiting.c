// Signals that are waited for, not handled: sigwait, signalfd, SIGCHLD; and a process that is stopped
// from its terminal over and over. Meanwhile path calls run, none of which may fail or happen twice.
#include "witness.h"
#include <sys/signalfd.h>

enum { SENT = 400, CHILDREN = 100, STOPS = 60 };
static atomic_int children, waited, done;

static void on_child(int number)
{
    (void)number;
    int saved = errno;
    while (waitpid(-1, NULL, WNOHANG) > 0) children++;
    errno = saved;
}

static void *in_sigwait(void *set)
{
    for (int number; waited < SENT; waited++) THREAD(sigwait(set, &number));
    return NULL;
}

static void work(void)
{
    struct stat s;
    int fd = CHECK(open("a", O_WRONLY | O_CREAT | O_EXCL, 0644));
    close(fd);
    CHECK(link("a", "b"));
    CHECK(rename("b", "c"));
    CHECK(stat("c", &s));
    EXPECT(s.st_nlink == 2);
    CHECK(unlink("c"));
    CHECK(unlink("a"));
    CHECK(mkdir("d", 0755));
    CHECK(chdir("d"));
    CHECK(chdir(".."));
    CHECK(rmdir("d"));
}

static sigset_t set_of(int number)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, number);
    return set;
}

static void *sender(void *unused)
{
    (void)unused;
    for (int i = 0; i < SENT; i++) {
        // One at a time: a plain signal that is pending already is not queued.
        CHECK(kill(getpid(), SIGUSR1));
        while (waited <= i) sched_yield();
        CHECK(sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = i}));
        if (i % (SENT / CHILDREN) == 0 && CHECK(fork()) == 0) _exit(0);
    }
    done = 1;
    return NULL;
}

static void waits(void)
{
    sigset_t user = set_of(SIGUSR1), queued = set_of(SIGRTMIN);
    THREAD(pthread_sigmask(SIG_BLOCK, &user, NULL));
    THREAD(pthread_sigmask(SIG_BLOCK, &queued, NULL));
    struct sigaction action = {.sa_handler = on_child, .sa_flags = SA_RESTART | SA_NOCLDSTOP};
    CHECK(sigaction(SIGCHLD, &action, NULL));
    int fd = CHECK(signalfd(-1, &queued, SFD_NONBLOCK | SFD_CLOEXEC));
    pthread_t one, other;
    THREAD(pthread_create(&one, NULL, in_sigwait, &user));
    THREAD(pthread_create(&other, NULL, sender, NULL));
    int read_ones = 0, in_order = 1;
    struct signalfd_siginfo info;
    while (!done || read_ones < SENT) {
        work();
        while (read(fd, &info, sizeof info) == sizeof info) in_order &= info.ssi_int == read_ones++;
    }
    THREAD(pthread_join(one, NULL));
    THREAD(pthread_join(other, NULL));
    while (children < CHILDREN) {
        on_child(SIGCHLD);
        work();
    }
    printf("sigwait %d, signalfd %d %s, children %d\n", waited, read_ones,
           in_order ? "in order" : "out of order", children);
}

static void stops(void)
{
    int ready[2];
    CHECK(pipe(ready));
    pid_t pid = CHECK(fork());
    if (pid == 0) {
        close(ready[0]);
        CHECK(setpgid(0, 0));  // in an orphaned group terminal stops do nothing
        signal(SIGCHLD, SIG_DFL);
        for (char c = 'r'; write(ready[1], &c, 1) == 1;) work();
        _exit(0);
    }
    close(ready[1]);
    signal(SIGCHLD, SIG_DFL);
    int status, stopped = 0;
    char text[4096];
    for (int i = 0; i < STOPS; i++) {
        EXPECT(read(ready[0], text, sizeof text) > 0);
        CHECK(kill(pid, (int[]){SIGTSTP, SIGSTOP, SIGTTIN, SIGTTOU}[i % 4]));
        EXPECT(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status));
        stopped++;
        CHECK(kill(pid, SIGCONT));
        EXPECT(waitpid(pid, &status, WCONTINUED) == pid && WIFCONTINUED(status));
    }
    signal(SIGPIPE, SIG_IGN);
    CHECK(kill(pid, SIGTERM));
    printf("%d stops, then ended with %d\n", stopped, ended(pid));
}

int main(int argc, char **argv)
{
    enter(argc, argv);
    waits();
    CHECK(mkdir("again", 0755));
    CHECK(chdir("again"));
    stops();
}
