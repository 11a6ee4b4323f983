/* Strings that end where memory ends, threads that are the caller, and directories by descriptor. */
#include "say.h"
#include <pthread.h>
#include <sched.h>

static void *in_thread(void *unused)
{
    char name[64];
    (void)unused;
    say("thread-self", readlink("/proc/thread-self/cwd", name, sizeof name));
    say("own directory", unshare(CLONE_FS));
    say("chdir", chdir("d"));
    say("file", access("x", F_OK));
    say("umask", umask(077));
    touch("private", "");
    return NULL;
}

int main(void)
{
    long page = sysconf(_SC_PAGESIZE);
    char *memory = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(memory + page, page, PROT_NONE);
    mkdir("d", 0755), touch("d/x", "x"), touch("f", "f");
    char *end = memory + page;
    say("at the end of memory", syscall(SYS_access, strcpy(end - 2, "f"), F_OK));
    say("longer", syscall(SYS_access, strcpy(end - 9, "/mnt/d/x"), F_OK));
    memset(memory, 'a', page);
    say("no end", syscall(SYS_access, end - 10, F_OK));
    say("a page without end", syscall(SYS_access, memory, F_OK));
    mprotect(memory + page, page, PROT_READ);
    memset(memory, '/', page), strcpy(memory + page - 6, "mnt/f");
    say("4095 bytes", syscall(SYS_access, memory + 1 + 0, F_OK));
    say("4096 bytes", syscall(SYS_access, memory, F_OK));
    char *readonly = mmap(NULL, page, PROT_READ, MAP_PRIVATE, open("f", O_RDONLY), 0);
    say("in a file", syscall(SYS_access, readonly, F_OK));
    say("into read-only memory", syscall(SYS_stat, "f", readonly));
    say("readlink there", syscall(SYS_readlink, "/proc/self/cwd", readonly, 10));
    say("getcwd there", syscall(SYS_getcwd, readonly, 10));
    say("truncated descriptor", syscall(SYS_openat, 0xffffffffffffff9cul, "f", O_RDONLY) >= 0);
    say("zero-extended", syscall(SYS_openat, 0xffffff9cul, "f", O_RDONLY) >= 0);
    say("high bits", syscall(SYS_openat, 0x1ffffff9cul, "f", 0x100000000ul) >= 0);
    pthread_t thread;
    pthread_create(&thread, NULL, in_thread, NULL), pthread_join(thread, NULL);
    char name[PATH_MAX];
    puts(getcwd(name, sizeof name));
    printf("%#o\n", umask(0));
    int dir = open("d", O_RDONLY | O_DIRECTORY);
    say("x in d", syscall(SYS_openat, dir, "x", O_RDONLY) >= 0);
    say("f in d", syscall(SYS_openat, dir, "../f", O_RDONLY) >= 0);
    say("x in f", syscall(SYS_openat, open("f", O_RDONLY), "x", O_RDONLY));
    say("absolute", syscall(SYS_openat, 99, "/mnt/f", O_RDONLY) >= 0);
    rename("d", "e");
    say("x after the rename", syscall(SYS_openat, dir, "x", O_RDONLY) >= 0);
    say("name", readlink("/proc/self/fd/8", name, sizeof name) > 0);
    int flags = fcntl(open("f", O_WRONLY | O_APPEND | O_NONBLOCK | O_CLOEXEC), F_GETFL);
    printf("flags %#o\n", flags);
    printf("cloexec %d %d\n", fcntl(open("f", O_CLOEXEC), F_GETFD), fcntl(open("f", 0), F_GETFD));
    close(0);
    printf("lowest %d\n", open("f", O_RDONLY));
    pid_t child = vfork();
    if (child == 0)
        _exit(access("f", F_OK) ? 1 : 5);
    int status;
    waitpid(child, &status, 0);
    printf("vfork %#x\n", status);
    child = (pid_t)syscall(SYS_clone, CLONE_FS | SIGCHLD, 0, 0, 0, 0);
    if (child == 0)
        _exit(chdir("e") ? 1 : 6);
    waitpid(child, &status, 0);
    printf("CLONE_FS %#x %s\n", status, getcwd(name, sizeof name));
    child = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
    if (child == 0)
        _exit(dup2(open("x", O_RDONLY), 50) == 50 ? 7 : 1);
    waitpid(child, &status, 0);
    printf("CLONE_FILES %#x %d\n", status, fcntl(50, F_GETFD));
    return 0;
}
