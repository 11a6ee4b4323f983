// A program of a foreign root, started by a loader that is found there alone: what it knows of itself.
#define _GNU_SOURCE
#include <elf.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static void file(const char *name)
{
    char text[256] = "";
    int fd = open(name, O_RDONLY);
    ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
    for (ssize_t i = 0; i + 1 < n; i++)
        if (!text[i]) text[i] = ' ';
    printf("%s: %s%s", name, text, n && text[n - 1] == '\n' ? "" : "\n");
    close(fd);
}

static void itself(void)
{
    struct stat opened, named;
    int fd = open("/proc/self/exe", O_RDONLY);
    if (fstat(fd, &opened) || stat("/proc/self/exe", &named)) perror("itself");
    printf("itself: %ld bytes, %ld names, seals %d, %s\n", (long)opened.st_size, (long)opened.st_nlink,
           fcntl(fd, F_GET_SEALS), opened.st_ino == named.st_ino ? "the same" : "another");
    close(fd);
}

// The name of its mappings, which are of what /proc/self/exe leads to.
static void mapped(void)
{
    char line[4096], name[4096];
    unsigned long inode;
    struct stat st;
    FILE *maps = fopen("/proc/self/maps", "r");
    int is_found = 0;
    if (stat("/proc/self/exe", &st)) perror("mapped");
    while (!is_found && maps && fgets(line, sizeof line, maps))
        is_found = sscanf(line, "%*s %*s %*s %*s %lu %[^\n]", &inode, name) == 2 && inode == st.st_ino;
    printf("mapped: %s\n", is_found ? name : "nowhere");
    if (maps) fclose(maps);
}

static void auxiliary(void)
{
    extern const char _start, __ehdr_start;
    const Elf64_Ehdr *head = (const void *)&__ehdr_start;
    Elf64_auxv_t told[64] = {0};
    int fd = open("/proc/self/auxv", O_RDONLY);
    ssize_t n = read(fd, told, sizeof told);
    for (size_t i = 0; i < n / sizeof *told; i++) {
        unsigned long value = told[i].a_un.a_val;
        if (told[i].a_type == AT_ENTRY) printf("entry %d\n", value == (unsigned long)&_start);
        if (told[i].a_type == AT_PHDR) printf("headers %d\n", value == (unsigned long)head + head->e_phoff);
        if (told[i].a_type == AT_PHNUM) printf("%lu of them\n", value);
        if (told[i].a_type == AT_BASE) printf("loader %.4s\n", (char *)value);
        if (told[i].a_type == AT_EXECFN) printf("%s\n", (char *)value);
    }
    close(fd);
}

static void by_descriptor(const char *how, const char *name)
{
    char data[65536];
    int is_memory = !!strstr(how, "memory"), is_closed = !!strstr(how, "closed");
    int fd = open(name, is_closed ? O_RDONLY | O_CLOEXEC : O_RDONLY), from = fd;
    if (is_memory) fd = memfd_create("memory", MFD_ALLOW_SEALING);
    for (ssize_t n; is_memory && (n = read(from, data, sizeof data)) > 0;) write(fd, data, n);
    if (is_memory) fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK);
    if (strcmp(how, "removed") == 0) unlink(name);
    if (strncmp(how, "procfs", 6) == 0) {
        char link[64];
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        fcntl(fd, F_SETFD, is_closed ? FD_CLOEXEC : 0);
        execv(link, (char *const[]){"first", "last", NULL});
    }
    syscall(SYS_execveat, fd, "", (char *const[]){"first", "last", NULL}, environ, AT_EMPTY_PATH);
    perror(how);
}

int main(int argc, char **argv)
{
    char path[4096] = "";
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    printf("argc %d argv[0] %s execfn %s\n", argc, argv[0], (char *)getauxval(AT_EXECFN));
    printf("exe %.*s\n", (int)(n > 0 ? n : 0), path);
    printf("cwd %s\n", getcwd(path, sizeof path));
    itself();
    mapped();
    file("/proc/self/comm");
    file("/proc/self/cmdline");
    file("/etc/release");
    for (int i = 0; i < argc && argv[i + 1]; i++)
        if (argv[i + 1] != argv[i] + strlen(argv[i]) + 1) puts("the words are not in one piece");
    if (argc == 2 && strcmp(argv[1], "auxiliary") == 0) auxiliary();
    if (argc == 3) by_descriptor(argv[1], argv[2]);
    if (argc > 2) {  // a title, as setproctitle writes it
        memset(argv[0], 't', argv[argc - 1] + strlen(argv[argc - 1]) - argv[0]);
        file("/proc/self/cmdline");
    }
    fflush(stdout);
    if (argc > 1 && strcmp(argv[1], "again") == 0) {
        pid_t pid;
        char *const again[] = {"a name", "last", NULL};
        if (posix_spawn(&pid, "../bin/foreign", NULL, NULL, again, environ)) return 2;
        int status;
        waitpid(pid, &status, 0);
        return WEXITSTATUS(status);
    }
    if (argc == 2 && strcmp(argv[1], "traced") == 0) {
        int status, stops = 0;
        pid_t pid = fork();
        if (!pid) {
            ptrace(PTRACE_TRACEME, 0, 0, 0);
            char path[] = "/bin/foreign\0b c";
            if (getenv("SHARED")) execl(path, path, path + sizeof "/bin/foreign", NULL);
            if (getenv("SCRIPT")) execlp(getenv("SCRIPT"), "a name", "b c", "", "d", NULL);
            execl("/bin/foreign", "a name", "again", NULL);
            perror("execl");
            _exit(9);
        }
        while (waitpid(pid, &status, 0) == pid && WIFSTOPPED(status) && ++stops < 9)
            ptrace(PTRACE_CONT, pid, 0, WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status));
        if (!getenv("SCRIPT")) printf("stopped %d times, ", stops);
        printf("ended with %d\n", WEXITSTATUS(status));
    }
    if (argc == 2 && strcmp(argv[1], "wait") == 0) usleep(700000);
    if (strcmp(argv[0], "first") == 0 || (argc == 2 && strcmp(argv[1], "exe") == 0))
        execl("/proc/self/exe", "self", "last", NULL);
    return 3;
}
