// What a program that makes its path calls itself must not be able to tell from one that does not.
#include "steps.h"

#include <execinfo.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/ptrace.h>

static const char *directory;
static char *path_of(const char *name)
{
    static _Thread_local char text[PATH_MAX];
    snprintf(text, sizeof text, "%s/%s", directory, name);
    return text;
}

/* ---- a handler that looks around, and a call that must not be interrupted ---- */

static atomic_long signals, lost;
static void *own_return; // an address in `looks`, which every stack under a signal has

static __attribute__((noinline)) void on_alarm(int number)
{
    (void)number;
    void *stack[64];
    int depth = backtrace(stack, 64), found = 0;
    for (int i = 2; i < depth; i++) // the first is here, the second the way back
        found |= (char *)stack[i] - (char *)own_return < 4096 && (char *)own_return - (char *)stack[i] < 4096;
    signals++;
    lost += !found;
}

static __attribute__((noinline)) void looks(void)
{
    own_return = __builtin_extract_return_addr(&&here);
    void *warm[4];
    backtrace(warm, 4);
    struct sigaction action = {.sa_handler = on_alarm};
    CHECK(sigaction(SIGALRM, &action, NULL));
    struct itimerval every = {{0, 700}, {0, 700}};
    CHECK(setitimer(ITIMER_REAL, &every, NULL));
    long interrupted = 0, wrong = 0;
    char file[PATH_MAX], text[64];
    snprintf(file, sizeof file, "%s/file", directory);
here:
    for (int i = 0; i < 60000; i++) {
        struct stat st;
        const int results[] = {stat(file, &st), access(file, R_OK), (int)readlink("/proc/self", text, 64),
                               fstatat(AT_FDCWD, file, &st, 0)};
        for (unsigned n = 0; n < 4; n++)
            if (results[n] < 0)
                (*(errno == EINTR ? &interrupted : &wrong))++;
    }
    setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
    printf("signals %s, interrupted %ld, wrong %ld, lost %ld\n", signals > 20 ? "came" : "did not come",
           interrupted, wrong, (long)lost);
}

/* ---- the same after each instruction ---- */

static __attribute__((noinline)) void steps_of_calls(void)
{
    struct stat st;
    char text[64], file[PATH_MAX];
    snprintf(file, sizeof file, "%s/file", directory);
    for (int i = 0; i < 2; i++) { // at first the loader binds the functions, which saves all vector registers
        if (i)
            begin_steps(__builtin_extract_return_addr(&&here));
    here:
        EXPECT(!stat(file, &st) && !access(file, R_OK) && readlink("/proc/self", text, 64) > 0);
        int fd = open(file, O_RDONLY);
        EXPECT(read(fd, text, 64) == 0 && !fchmod(fd, 0644) && !close(fd));
        EXPECT(open("/nowhere", O_RDONLY) < 0 && errno == ENOENT);
        fd = open("/proc/self/maps", O_RDONLY); // the monitor's
        EXPECT(fd >= 0 && !close(fd) && mkdir("/", 0755) < 0 && access("/../nowhere", F_OK) < 0);
    }
    end_steps();
    printf("steps %s, lost %ld\n", steps > 100 ? "taken" : "not taken", steps_lost);
}

static void steps_watched(void)
{
    pid_t pid = CHECK(fork());
    if (!pid)
        _exit(ptrace(PTRACE_SEIZE, getppid(), 0, 0) ? 1 : 0);
    EXPECT(!ended(pid));
    steps_of_calls();
}

/* ---- other threads close descriptors ---- */

static atomic_bool over;

static void *closer(void *unused)
{
    while (!over)
        for (int fd = 3; fd < 12; fd++)
            close(fd);
    return unused;
}

static void *looker(void *count)
{
    struct stat st;
    for (int i = 0; i < 50000; i++)
        if (stat(path_of("file"), &st) || access(path_of("file"), R_OK) || S_ISDIR(st.st_mode))
            ++*(long *)count;
    return NULL;
}

static void threads(void)
{
    long failed[3] = {0};
    pthread_t one, others[3];
    pthread_create(&one, NULL, closer, NULL);
    for (int i = 0; i < 3; i++)
        pthread_create(others + i, NULL, looker, failed + i);
    for (int i = 0; i < 3; i++)
        pthread_join(others[i], NULL);
    over = true;
    pthread_join(one, NULL);
    printf("failed %ld\n", failed[0] + failed[1] + failed[2]);
}

static void *endless(void *unused)
{
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
    struct stat st;
    for (;;)
        stat(path_of("file"), &st);
    return unused;
}

static void cancel(void)
{
    for (int i = 0; i < 200; i++) {
        pthread_t thread;
        pthread_create(&thread, NULL, endless, NULL);
        usleep(500);
        pthread_cancel(thread);
        void *result;
        pthread_join(thread, &result);
        EXPECT(result == PTHREAD_CANCELED);
    }
    puts("cancelled");
}

/* ---- a filter of its own, that knows the calls which the program makes ---- */

static void filter(bool by_prctl)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {4, code};
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    if (by_prctl)
        CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0));
    else
        CHECK(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program));
    struct stat st;
    int fd = CHECK(open(path_of("file"), O_RDONLY));
    CHECK(stat(path_of("file"), &st));
    close(fd);
    puts("looked");
}

static void filter_by_seccomp(void)
{
    filter(false);
}

static void filter_by_prctl(void)
{
    filter(true);
}

/* ---- little room ---- */

static void on_small_stack(int number)
{
    (void)number;
    struct stat st;
    int fd = open(path_of("file"), O_RDONLY);
    EXPECT(fd >= 0 && !fstat(fd, &st) && !stat(path_of("file"), &st));
    close(fd);
}

static void stacks(void)
{
    size_t size = (size_t)sysconf(_SC_MINSIGSTKSZ) + 2048;
    stack_t stack = {.ss_sp = malloc(size), .ss_size = size};
    CHECK(sigaltstack(&stack, NULL));
    struct sigaction action = {.sa_handler = on_small_stack, .sa_flags = SA_ONSTACK};
    CHECK(sigaction(SIGUSR1, &action, NULL));
    on_small_stack(0); // binds the functions, for which the loader saves all vector registers
    for (int i = 0; i < 100; i++)
        raise(SIGUSR1);
    pid_t pid = vfork();
    if (!pid) {
        struct stat st;
        int failed = stat(path_of("file"), &st) || open(path_of("file"), O_RDONLY) < 0;
        if (failed)
            _exit(9);
        execl("/bin/true", "true", NULL);
        _exit(8);
    }
    int status;
    waitpid(pid, &status, 0);
    printf("child %d\n", status);
}

int main(int count, char **words)
{
    EXPECT(count == 3);
    directory = words[1];
    close(CHECK(open(path_of("file"), O_CREAT | O_WRONLY, 0644)));
    static const struct { const char *name; void (*run)(void); } all[] = {
        {"looks", looks}, {"steps", steps_of_calls}, {"watched", steps_watched}, {"threads", threads}, {"cancel", cancel}, {"seccomp", filter_by_seccomp}, {"prctl", filter_by_prctl}, {"stacks", stacks},
    };
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
        if (!strcmp(all[i].name, words[2]))
            all[i].run();
    return 0;
}
