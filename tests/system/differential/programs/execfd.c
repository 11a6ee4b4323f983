/* What execveat(2) executes by a descriptor, or only looks at (AT_EXECVE_CHECK), and what a program finds then. */
#include "say.h"
#include <sys/auxv.h>
#include <sys/prctl.h>

#define CHECK 0x10000

static char *const envp[] = { "E=1", NULL };

static int tell(int count, char **words)
{
    char name[16], exe[PATH_MAX] = "";
    prctl(PR_GET_NAME, name);
    if (readlink("/proc/self/exe", exe, sizeof exe - 1) < 0)
        strcpy(exe, "?");
    printf("  %s, %s, %s:", name, (char *)getauxval(AT_EXECFN), exe);
    for (int i = 0; i < count; i++)
        printf(" [%s]", words[i]);
    puts("");
    return 3;
}

static void run(const char *what, int dir, const char *path, char *const *argv, int flags)
{
    printf("%s %s %#x\n", what, path, flags);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        long done = syscall(SYS_execveat, dir, path, argv, envp, flags);
        say("  back", done);
        _exit(9);
    }
    int status;
    waitpid(child, &status, 0);
    printf("  %#x\n", status);
}

static void copy(const char *from, int to)
{
    static char data[65536];
    int source = open(from, O_RDONLY);
    ssize_t size;
    while ((size = read(source, data, sizeof data)) > 0)
        if (write(to, data, (size_t)size) != size)
            abort();
    close(source);
}

int main(int count, char **words)
{
    if (count > 1)
        return tell(count, words);
    static char *argv[] = { "first", "second", NULL }, *bad[] = { (char *)8, "second", NULL };
    static const char *const names[] = { "program", "s", "s2", "to", "gone", "no-format" };
    static const int flags[] = { 0, CHECK, CHECK | AT_SYMLINK_NOFOLLOW };
    int to = open("program", O_CREAT | O_WRONLY, 0755);
    copy("/proc/self/exe", to), close(to);
    touch("s", "#!/mnt/program word\n"), touch("s2", "#!/mnt/s\n"), symlink("s", "to");
    touch("gone", "#!/mnt/missing\n"), touch("no-format", "\1\2\3");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        chmod(names[i], 0755);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *name = names[i];
        int here = 50, open_one = 51, closed = 52, closing = 53, by_path = 54;
        dup3(open("/mnt", O_PATH), here, 0), dup3(here, closing, O_CLOEXEC);
        dup3(open(name, O_RDONLY), open_one, 0), dup3(open_one, closed, O_CLOEXEC);
        dup3(open(name, O_PATH), by_path, O_CLOEXEC);
        for (size_t f = 0; f < sizeof flags / sizeof *flags; f++) {
            char full[64], link[64];
            snprintf(full, sizeof full, "/mnt/%s", name), snprintf(link, sizeof link, "/proc/self/fd/%d", closed);
            run("at the cwd", AT_FDCWD, name, argv, flags[f]);
            run("by its name", AT_FDCWD, full, argv, flags[f]);
            run("at a directory", here, name, argv, flags[f]);
            run("at one that is closed", closing, name, argv, flags[f]);
            run("descriptor", open_one, "", argv, flags[f] | AT_EMPTY_PATH);
            run("one that is closed", closed, "", argv, flags[f] | AT_EMPTY_PATH);
            run("O_PATH", by_path, "", argv, flags[f] | AT_EMPTY_PATH);
            run("no flag", open_one, "", argv, flags[f]);
            if (i == 0 && f == 0)
                run("procfs", AT_FDCWD, link, argv, 0);
        }
        run("bad first word", AT_FDCWD, name, bad, 0);
        run("bad first word", open_one, "", bad, AT_EMPTY_PATH);
    }
    int memory = (int)syscall(SYS_memfd_create, "of memory", 0);
    copy("program", memory);
    run("memory", memory, "", argv, AT_EMPTY_PATH);
    int script = (int)syscall(SYS_memfd_create, "script", 0);
    copy("s", script);
    run("script in memory", script, "", argv, AT_EMPTY_PATH);
    int removed = open("s", O_RDONLY);
    unlink("s");
    run("removed", removed, "", argv, AT_EMPTY_PATH);
    run("nothing", 77, "", argv, AT_EMPTY_PATH);
    run("directory", open(".", O_RDONLY), "", argv, AT_EMPTY_PATH);
    run("working directory", AT_FDCWD, "", argv, AT_EMPTY_PATH);
    return 0;
}
