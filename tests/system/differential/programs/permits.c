/* What a caller with other ids than ours may execute, in which way it may be executed. As root. */
#include "say.h"

#include <grp.h>

static char *words[] = { "a name", NULL };
static const char *const files[] = { "self", "script", "nested", "foreign" };
static const mode_t modes[] = { 0700, 0744, 0711, 0111, 0644, 0 };
enum { FILES = sizeof files / sizeof *files };

static int is_asked_all = 1, is_closed;

static void drop(void)
{
    if (setgroups(0, NULL) || setgid(65533) || setuid(65533)) _exit(99);
}

/* An errno, or what the program ends with. */
#define CHILD(what, ...)                                                                           \
    do {                                                                                           \
        fflush(stdout);                                                                            \
        pid_t child = fork();                                                                      \
        if (!child) {                                                                              \
            __VA_ARGS__;                                                                           \
            _exit(errno);                                                                          \
        }                                                                                          \
        int status;                                                                                \
        waitpid(child, &status, 0);                                                                \
        printf(" %s %#x", what, status);                                                           \
    } while (0)

/* Before Linux 6.14 a view cannot ask both, and says ETXTBSY first. */
static void refused(void)
{
    enum { CHECK = 0x10000 /* AT_EXECVE_CHECK */ };
    int before = errno;
    if ((before == EACCES || before == ETXTBSY) &&
        syscall(SYS_execveat, AT_FDCWD, "/bin/true", words, environ, CHECK) && errno == EINVAL)
        _exit(97);
    errno = before;
}

static void each_way(const char *file, void (*become)(void))
{
    char path[64], relative[64], search[64], linked[64];
    snprintf(path, sizeof path, "/mnt/d/%s", file), snprintf(relative, sizeof relative, "d/%s", file);
    snprintf(search, sizeof search, "/mnt/d:/mnt/other"), snprintf(linked, sizeof linked, "link-%s", file);
    printf("%s:", file);
    CHILD("absolute", become(), execv(path, words));
    CHILD("relative", become(), execv(relative, words));
    CHILD("from there", if (chdir("d")) _exit(98); become(), execv(file, words));
    CHILD("from below", if (chdir("d/e")) _exit(98); become(), snprintf(path, sizeof path, "../%s", file), execv(path, words));
    CHILD("link", become(), execv(linked, words));
    CHILD("search", become(), setenv("PATH", search, 1), execvp(file, words));
    CHILD("directory", int fd = open("d", O_PATH); become(), syscall(SYS_execveat, fd, file, words, environ, 0));
    if (is_asked_all || !is_closed) {
        CHILD("descriptor", int fd = open(path, O_PATH); become(), syscall(SYS_execveat, fd, "", words, environ, AT_EMPTY_PATH));
        CHILD("magic link", int fd = open(path, O_PATH); become(); snprintf(path, sizeof path, "/proc/self/fd/%d", fd),
              execv(path, words));
    }
    CHILD("written", open(path, O_WRONLY); become(), execv(path, words), refused());
    CHILD("a long path", become(); char text[800]; memset(text, '/', 700), strcpy(text + 700, path + 1); execv(text, words));
    puts("");
}

static void stay(void)
{
}

/* Of a file, or of one that another is executed by. */
static void each(const char *of, const char *what)
{
    static const struct { const char *file, *needs; } users[] = {
        { "self", "self" }, { "foreign", "self" }, { "script", "script" }, { "nested", "script" },
        { "nested", "nested" }, { "foreign", "foreign" } };
    for (size_t i = 0; i < sizeof users / sizeof *users; i++)
        if (strcmp(users[i].needs, of) == 0) {
            printf("%s, other ids, ", what), each_way(users[i].file, drop);
            printf("%s, ", what), each_way(users[i].file, stay);
        }
}

static void all(mode_t mode)
{
    char what[64];
    snprintf(what, sizeof what, "directory %o", mode), chmod("d", mode);
    is_closed = !(mode & 1);
    for (size_t i = 0; i < FILES; i++) each(files[i], what);
    chmod("d", 0755);
}

/* Told to, it leaves out what its loader would have to read and may not. */
int main(int argc, char **argv)
{
    if (strcmp(argv[0], "./self") != 0) return getuid() == 65533 ? 3 : 4;
    is_asked_all = argc == 1, umask(022), mkdir("d", 0755), mkdir("d/e", 0755), mkdir("other", 0755);
    system("cp self d; cp self other");
    touch("d/script", "#!/mnt/self a-word\n"), touch("d/nested", "#!/mnt/d/script\n"), touch("d/foreign", "#!/mnt/d/self\n");
    for (size_t i = 0; i < FILES; i++) {
        char from[64], to[64];
        snprintf(from, sizeof from, "d/%s", files[i]), snprintf(to, sizeof to, "link-%s", files[i]);
        symlink(from, to), chmod(from, 0755);
    }
    for (size_t m = 0; m < sizeof modes / sizeof *modes; m++)
        for (size_t i = 0; i < FILES; i++) {
            char file[64], what[64];
            if (!is_asked_all && i == 0 && (modes[m] & 5) == 1) continue;
            snprintf(file, sizeof file, "d/%s", files[i]), snprintf(what, sizeof what, "%s %o", files[i], modes[m]);
            chmod(file, modes[m]), each(files[i], what), chmod(file, 0755);
        }
    all(0755), all(0700), all(0744), all(0711);
    puts("done");
}
