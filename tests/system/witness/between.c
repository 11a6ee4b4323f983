/* What happens to a program between its execve(2) and the open of its libc: another thread gives it a filter
 * that kills at openat2(2) ("tsync"), or a tracer attaches to it and counts its calls ("seized"). */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROUNDS = 150, MOST_DELAY = 20000, ENTRY = 1 };

static volatile int is_time;
static int delay;

static void *give_filter(void *unused)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    while (!is_time)
        ;
    for (volatile int i = 0; i < delay; i++)
        ;
    syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program);
    for (;;)
        pause();
    return unused;
}

static void execute(void)
{
    execl("/bin/cat", "cat", "/etc/hostname", "/dev/null", (char *)NULL);
    _exit(9);
}

static int is_killed(void)
{
    int status;
    pid_t child = fork();
    if (!child) {
        pthread_t other;
        int null = open("/dev/null", O_WRONLY);
        dup2(null, 1);
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        pthread_create(&other, NULL, give_filter, NULL);
        usleep(300);
        is_time = 1;
        execute();
    }
    waitpid(child, &status, 0);
    return status != 0;
}

static void give_filters(void)
{
    int failed = 0;
    for (int i = 0; i < ROUNDS; i++) {
        delay = rand() % MOST_DELAY;
        failed += is_killed();
    }
    printf("failed %d\n", failed);
}

/* The child runs on our CPU, and only while we sleep: we see its execve at once, by the pipe that closes. */
static void seize(void)
{
    int ends[2], status, calls = 0;
    char byte;
    cpu_set_t one;
    struct sched_param idle = {0};
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    sched_setaffinity(0, sizeof one, &one);
    if (pipe2(ends, O_CLOEXEC))
        exit(1);
    pid_t child = fork();
    if (!child) {
        dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), 1);
        sched_setscheduler(0, SCHED_IDLE, &idle);
        execute();
    }
    close(ends[1]);
    while (read(ends[0], &byte, 1) > 0)
        ;
    kill(child, SIGSTOP);
    waitpid(child, &status, WUNTRACED);
    ptrace(PTRACE_SEIZE, child, NULL, (void *)PTRACE_O_TRACESYSGOOD);
    kill(child, SIGCONT);
    ptrace(PTRACE_INTERRUPT, child, NULL, NULL);
    while (waitpid(child, &status, 0) == child && WIFSTOPPED(status)) {
        struct __ptrace_syscall_info info;
        memset(&info, 0, sizeof info);
        if (WSTOPSIG(status) == (SIGTRAP | 0x80) &&
            ptrace(PTRACE_GET_SYSCALL_INFO, child, (void *)sizeof info, &info) > 0)
            calls += info.op == ENTRY && info.entry.nr == SYS_openat2;
        ptrace(PTRACE_SYSCALL, child, NULL, NULL);
    }
    printf("openat2 %d\n", calls);
}

int main(int argc, char **argv)
{
    if (argc == 2 && !strcmp(argv[1], "tsync"))
        give_filters();
    else
        seize();
    return 0;
}
