/* What a program that is executed by the libc knows of itself, in many ways of executing it. */
#include "say.h"

#include <elf.h>
#include <link.h>
#include <pthread.h>
#include <spawn.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>


extern char **environ;
static char name[4096] = "/mnt/self";
/* What the compiler does not know. */
static char **volatile bad_words = (char **)8, **volatile none;
static char *volatile bad_path = (char *)8;
static char *words[] = { "a name", "told", NULL };

static int headers(struct dl_phdr_info *info, size_t size, void *data)
{
    (void)size, (void)data;
    for (int i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_INTERP)
            printf("interpreter %s, %ld bytes at %#lx\n", (char *)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr),
                   (long)info->dlpi_phdr[i].p_filesz, (long)info->dlpi_phdr[i].p_offset);
    return 1; /* the first is the program */
}

/* Is the mapping of our code that of the file, by its name and by its number? */
static void mapping(void)
{
    char line[8192], path[8192];
    FILE *maps = fopen("/proc/self/maps", "r");
    while (fgets(line, sizeof line, maps)) {
        unsigned long from, to, inode;
        if (sscanf(line, "%lx-%lx %*s %*s %*s %lu %8191[^\n]", &from, &to, &inode, path) != 4) continue;
        if ((unsigned long)headers < from || (unsigned long)headers >= to) continue;
        struct stat st;
        printf("mapped %s %d\n", path, !stat(path, &st) && st.st_ino == inode);
    }
    fclose(maps);
}

static int told(int argc, char **argv)
{
    char text[4096] = "";
    ssize_t n = readlink("/proc/self/exe", text, sizeof text - 1);
    printf("%d %s, execfn %.40s %zu\n", argc, argv[0], (char *)getauxval(AT_EXECFN), strlen((char *)getauxval(AT_EXECFN)));
    printf("exe %.*s\n", (int)n, text);
    prctl(PR_GET_NAME, text), printf("comm %s\n", text);
    int fd = open("/proc/self/cmdline", O_RDONLY);
    n = read(fd, text, sizeof text), close(fd);
    for (ssize_t i = 0; i < n; i++)
        if (!text[i]) text[i] = '|';
    printf("words %.*s\n", (int)n, text);
    printf("ids %lu %lu %lu %lu %lu\n", getauxval(AT_UID), getauxval(AT_EUID), getauxval(AT_GID),
           getauxval(AT_EGID), getauxval(AT_SECURE));
    struct stat st, exe;
    printf("stat %d %d\n", stat("/proc/self/exe", &exe), stat("/mnt/self", &st));
    printf("same %d %o\n", st.st_ino == exe.st_ino, exe.st_mode);
    dl_iterate_phdr(headers, NULL), mapping();
    sigset_t blocked;
    sigprocmask(SIG_BLOCK, NULL, &blocked);
    printf("blocked %d, ENV %s, umask %o\n", sigismember(&blocked, SIGUSR1), getenv("ENV"), umask(0));
    for (int i = 3; i < 20; i++)
        if (fcntl(i, F_GETFD) >= 0) printf("open %d\n", i);
    return 3;
}

static void await(const char *what, pid_t child)
{
    int status;
    waitpid(child, &status, 0);
    printf("%s: %#x\n", what, status);
    fflush(stdout);
}

#define CHILD(what, start, ...)                                                                    \
    do {                                                                                           \
        fflush(stdout);                                                                            \
        pid_t child = start();                                                                     \
        if (!child) {                                                                              \
            __VA_ARGS__;                                                                           \
            _exit(errno);                                                                          \
        }                                                                                          \
        await(what, child);                                                                        \
    } while (0)

static void *from_thread(void *unused)
{
    execv(name, words);
    return unused;
}

static void *wait_for_ever(void *unused)
{
    pause();
    return unused;
}

static volatile int ticks;
static void tick(int signal)
{
    ticks++;
    access("/mnt/self", F_OK), (void)signal;
}

static void from_handler(int signal)
{
    (void)signal;
    execv(name, words);
}

/* Signals all the time, whose handlers make calls. The timer ends with the program. */
static void shaken(int flags)
{
    struct itimerspec often = { { 0, 150000 }, { 0, 150000 } };
    struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGURG };
    for (int i = 0; i < 40; i++) {
        pid_t child = fork();
        if (!child) {
            struct sigaction act = { .sa_handler = tick, .sa_flags = flags };
            timer_t timer;
            sigaction(SIGURG, &act, NULL), timer_create(CLOCK_MONOTONIC, &event, &timer);
            timer_settime(timer, 0, &often, NULL);
            while (ticks < 3) execv("/mnt/missing", words);
            execl("/mnt/self", "self", "quiet", NULL);
            _exit(errno);
        }
        int status;
        waitpid(child, &status, 0);
        if (status != 5 << 8) printf("shaken: %#x\n", status);
    }
}

static void all(void)
{
    CHILD("fork", fork, execv(name, words));
    CHILD("vfork", vfork, execv(name, words));
    CHILD("environment", fork, execve(name, words, (char *[]){ "ENV=x", NULL }));
    CHILD("no environment", fork, execve(name, words, NULL));
    CHILD("no words", fork, execve(name, none, environ));
    CHILD("relative", fork, execv("./self", words));
    CHILD("from below", fork, chdir("d") ? 0 : execv("../self", words));
    CHILD("by a link", fork, execv("link", words));
    CHILD("by a directory's link", fork, execv("dlink/../self", words));
    CHILD("by another name", fork, execv("d/a-name-of-more-than-fifteen", words));
    CHILD("slashes", fork, execv("/mnt///./self", words));
    CHILD("by procfs", fork, execv("/proc/self/exe", words));
    CHILD("a script", fork, execv("a-script", words));
    CHILD("a script of a script", fork, execv("nested", words));
    CHILD("PATH", fork, setenv("PATH", "/none:/mnt/d:/mnt", 1), execvp("self", words));
    CHILD("no header", fork, execvp("/mnt/plain", words));
    CHILD("the libc's search", fork, execlp("true", "true", NULL));
    CHILD("a handler", fork, signal(SIGUSR1, from_handler), raise(SIGUSR1));
    CHILD("blocked", fork, sigset_t set; sigemptyset(&set); sigaddset(&set, SIGUSR1);
          sigprocmask(SIG_BLOCK, &set, NULL); execv(name, words));
    CHILD("a thread", fork, pthread_t t; pthread_create(&t, NULL, from_thread, NULL); pthread_join(t, NULL));
    CHILD("beside a thread", fork, pthread_t t; pthread_create(&t, NULL, wait_for_ever, NULL);
          execv(name, words));
    CHILD("open files", fork, open("/mnt", 0); open("/mnt", O_CLOEXEC); execv(name, words));
    CHILD("a longer path", fork, memset(name, '/', 200); strcpy(name + 200, "mnt/self"); execv(name, words));
    CHILD("a long path", fork, memset(name, '/', 2000); strcpy(name + 2000, "mnt/self"); execv(name, words));
    CHILD("a longest path", fork, memset(name, '/', 4090); strcpy(name + 4085, "mnt/self"); execv(name, words));
    pid_t child;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 9, "/mnt/a-script", O_RDONLY, 0);
    posix_spawn_file_actions_addchdir_np(&actions, "/mnt/d");
    int failed = posix_spawn(&child, "../self", &actions, NULL, words, environ);
    failed ? (void)printf("spawn %d\n", failed) : await("spawn", child);
    printf("spawn of nothing %d\n", posix_spawn(&child, "/mnt/none", NULL, NULL, words, environ));
    failed = posix_spawnp(&child, "a-script", NULL, NULL, words, environ);
    failed ? (void)printf("spawnp %d\n", failed) : await("spawnp", child);
    fflush(stdout), printf("system %#x\n", system("/mnt/self told by system; exit 4"));
    fflush(stdout);
}

static void errors(void)
{
    char *long_word = malloc(200 * 1024), *many[2] = { long_word, NULL };
    memset(long_word, 'x', 200 * 1024 - 1), long_word[200 * 1024 - 1] = 0;
    touch("empty", ""), chmod("empty", 0755), touch("junk", "\177ELF junk"), chmod("junk", 0755);
    touch("data", "x"), symlink("loop", "loop"), mkfifo("fifo", 0755);
    CHILD("written to", fork, open("busy", O_WRONLY); execv("/mnt/busy", words));
    CHILD("a script written to", fork, open("a-script", O_WRONLY); execv("/mnt/a-script", words));
    CHILD("a script of it", fork, open("a-script", O_WRONLY); execv("/mnt/nested", words));
    CHILD("that itself", fork, open("nested", O_WRONLY); execv("nested", words));
    CHILD("by a descriptor", fork, open("nested", O_WRONLY); syscall(SYS_execveat, open("nested", O_PATH), "", words, environ, AT_EMPTY_PATH));
    CHILD("without interpreter", fork, open("no-interpreter", O_WRONLY); execv("/mnt/no-interpreter", words));
    CHILD("too long a word", fork, execv(name, many));
    CHILD("bad words", fork, execv(name, bad_words));
    CHILD("a bad word", fork, execv(name, (char *[]){ "a", (char *)8, NULL }));
    CHILD("bad words of a script", fork, execv("/mnt/a-script", bad_words));
    CHILD("a bad word of a script", fork, execv("a-script", (char *[]){ (char *)8, NULL }));
    CHILD("a bad environment", fork, execve(name, words, bad_words));
    CHILD("a bad path", fork, execv(bad_path, words));
    static const char *const paths[] = { "none", "d", "data", "empty", "junk", "loop", "fifo", "self/", "self/x", "",
                                         "none/x", "d/none", "no-interpreter", "no-loader" };
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        CHILD(paths[i], fork, execv(paths[i], words));
    CHILD("no processes", fork, struct rlimit none = { 0, 0 }; setrlimit(RLIMIT_NPROC, &none); execv(name, words));
    CHILD("no memory", fork, struct rlimit none = { 1 << 20, 1 << 20 }; setrlimit(RLIMIT_AS, &none);
          execv(name, words));
    CHILD("no stack", fork, struct rlimit none = { 1 << 16, 1 << 16 }; setrlimit(RLIMIT_STACK, &none);
          execv(name, words));
    CHILD("one after the other", fork, for (int i = 0; i < 3; i++) execv("/mnt/data", words); execv(name, words));
    free(long_word);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "quiet") == 0) return 5;
    if (argc > 1 && strcmp(argv[1], "interrupted") == 0) return shaken(0), 6;
    if (argc != 2 || strcmp(argv[1], "all") != 0) return told(argc, argv);
    umask(022), mkdir("d", 0755), symlink("self", "link"), symlink("d", "dlink");
    link("self", "d/a-name-of-more-than-fifteen");
    touch("a-script", "#!/mnt/self of-a-script\n"), chmod("a-script", 0755);
    touch("nested", "#! /mnt/a-script\n"), chmod("nested", 0755), touch("plain", "echo plain $0 $1\n"), chmod("plain", 0755);
    touch("no-interpreter", "#!/mnt/none\n"), chmod("no-interpreter", 0755);
    system("cp self busy; sed s,/lib64/ld-,/lib64/xx-, self >no-loader; chmod 755 no-loader");
    all(), errors();
    shaken(SA_RESTART);
    puts("done");
}
