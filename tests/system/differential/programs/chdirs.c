/* chdir(2), as a libc makes it: of all that a path can be, by threads, and while signals come. */
#include "say.h"
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/time.h>

static void enter(const char *what, const char *path)
{
    char name[5 * PATH_MAX];
    say(what, chdir(path));
    long size = syscall(SYS_getcwd, name, sizeof name);
    printf("  in %ld %.60s\n", size, size > 0 ? name : "");
}

static void *with_others(void *unused)
{
    enter("thread", "a/b");
    return unused;
}

static void *alone(void *unused)
{
    say("unshare", unshare(CLONE_FS));
    enter("thread alone", "c");
    return unused;
}

static void run(void *(*function)(void *))
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, function, NULL) || pthread_join(thread, NULL))
        exit(91);
    enter("then", ".");
}

static void count(int signal)
{
    (void)signal;
}

static void interrupted(void)
{
    struct sigaction action = {.sa_handler = count, .sa_flags = SA_RESTART};
    struct itimerval often = {{0, 500}, {0, 500}}, never = {{0, 0}, {0, 0}};
    long good = 0;
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
    for (int i = 0; i < 1000; i++)
        good += !chdir(i % 2 ? "/mnt/a/b" : "../..") || (!i && !chdir("/mnt"));
    setitimer(ITIMER_REAL, &never, NULL);
    say("while signals come", good);
    enter("and then", ".");
}

static char *at_the_end_of_memory(const char *text)
{
    char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(page + 4096, 4096);
    return memcpy(page + 4096 - strlen(text), text, strlen(text));
}

static void deep(int here)
{
    char name[251];
    memset(name, 'n', 250), name[250] = 0;
    for (int i = 0; i < 20; i++)
        if (mkdir(name, 0755) || (i < 3 ? (enter("deep", name), 0) : chdir(name)))
            exit(92);
    enter("deeper", "..");
    enter("out of it", "/mnt");
    char long_one[PATH_MAX + 2] = "/mnt";
    while (strlen(long_one) + 252 < sizeof long_one)
        strcat(strcat(long_one, "/"), name);
    enter("by a long name", long_one);
    memset(long_one, '/', sizeof long_one - 1);
    enter("too long", long_one);
    long_one[PATH_MAX - 1] = 0;
    enter("slashes", long_one);
    say("back", fchdir(here));
}

int main(void)
{
    mkdir("a", 0755), mkdir("a/b", 0755), mkdir("a/b/c", 0755), mkdir("closed", 0), touch("f", "");
    symlink("a", "la"), symlink("f", "lf"), symlink("no", "gone"), symlink("loop", "loop");
    symlink("/mnt/a/b", "absolute"), symlink("/", "root"), symlink("a/", "slash");
    int here = open(".", O_RDONLY), there = open("a/b", O_PATH);
    const char *paths[] = {
        "a", "a/", "a//b/.", "a/../a/b", "la", "la/b", "lf", "f", "f/", "f/..", "gone", "no", "no/..", "",
        ".", "..", "loop", "loop/x", "closed", "closed/..", "closed/no", "absolute", "absolute/../..", "root",
        "root/mnt/a", "slash", "/mnt", "/mnt/", "/mnt/a/b/c", "/", "/..", "/mnt/..", "/mnt/../mnt/a", "/mntx",
        "/proc/self/cwd", "/proc/self/cwd/..", "/proc/self/root/mnt/a", "/dev", "/usr/bin", "/etc/passwd",
    };
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        enter(paths[i], paths[i]);
        enter("and from there", "..");
        say("back", fchdir(here));
    }
    char magic[40];
    sprintf(magic, "/proc/self/fd/%d", there);
    enter("magic", magic);
    say("back", fchdir(here));
    enter("nowhere", NULL);
    enter("bad", (const char *)1);
    enter("no end", at_the_end_of_memory("a"));
    enter("end", at_the_end_of_memory("a\0") + 1);
    say("of a descriptor", fchdir(there));
    enter("..", "..");
    say("removed", mkdir("gone-soon", 0700) | chdir("gone-soon") | rmdir("../gone-soon"));
    enter("removed .", ".");
    enter("removed ..", "..");
    say("back", fchdir(here));
    run(with_others);
    run(alone);
    say("back", fchdir(here));
    if (!vfork()) {
        chdir("a/b/c");
        _exit(0);
    }
    enter("vfork", ".");
    interrupted();
    say("back", fchdir(here));
    deep(here);
}
