/* execve(2) and execveat(2) by path, by descriptor, and with arguments that they refuse. */
#include "say.h"

static char *const argv[] = { "name", "argument", NULL };
static char *const envp[] = { "E=1", NULL };

static void run(const char *what, int dir, const char *path, int flags, int by_execve)
{
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        long failed = by_execve ? syscall(SYS_execve, path, argv, envp)
                                : syscall(SYS_execveat, dir, path, argv, envp, flags);
        say(what, failed);
        _exit(9);
    }
    int status;
    waitpid(child, &status, 0);
    printf("%s %s: %#x\n", what, path, status);
}

int main(void)
{
    static const char *const paths[] = { "s", "./s", "l", "missing", "d", "f", "/mnt/s", "/bin/true",
                                         "", "s/", "d/../s", "p", "gone", "lt", "empty" };
    touch("s", "#!/bin/sh\necho \"$0\" \"$@\" $E; exit 3\n"), chmod("s", 0755);
    touch("f", "#!/bin/sh\n"), chmod("f", 0644), mkdir("d", 0755), symlink("s", "l");
    symlink("nowhere", "gone"), symlink("/bin/true", "lt"), mkfifo("p", 0755);
    touch("empty", ""), chmod("empty", 0755);
    int here = open(".", O_RDONLY | O_CLOEXEC), script = open("s", O_RDONLY);
    int closed = open("s", O_RDONLY | O_CLOEXEC), path = open("/bin/true", O_PATH | O_CLOEXEC);
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        run("execve", 0, paths[i], 0, 1);
        run("at the cwd", AT_FDCWD, paths[i], 0, 0);
        run("at a directory", open(".", O_RDONLY), paths[i], 0, 0);
        run("close-on-exec directory", here, paths[i], 0, 0);
        run("nofollow", AT_FDCWD, paths[i], AT_SYMLINK_NOFOLLOW, 0);
        run("bad flag", AT_FDCWD, paths[i], 0x8000, 0);
        run("no directory", 77, paths[i], 0, 0);
    }
    run("descriptor of a script", script, "", AT_EMPTY_PATH, 0);
    run("that is closed on exec", closed, "", AT_EMPTY_PATH, 0);
    run("O_PATH", path, "", AT_EMPTY_PATH, 0);
    run("directory", here, "", AT_EMPTY_PATH, 0);
    fflush(stdout);
    if (fork() == 0) {
        say("null argv", syscall(SYS_execve, "missing", NULL, NULL));
        say("bad argv", syscall(SYS_execve, "/bin/true", (void *)8, NULL));
        say("bad envp", syscall(SYS_execve, "/bin/true", argv, (void *)8));
        say("bad path", syscall(SYS_execve, (void *)8, argv, envp));
        char *bad[] = { "x", (char *)8, NULL };
        say("bad word", syscall(SYS_execve, "/bin/true", bad, envp));
        char *word = malloc(200 * 1024);
        memset(word, 'x', 200 * 1024 - 1), word[200 * 1024 - 1] = 0;
        char *longer[] = { "x", word, NULL };
        say("long word", syscall(SYS_execve, "/bin/true", longer, envp));
        say("long word of a script", syscall(SYS_execve, "s", longer, envp));
        syscall(SYS_execve, "/bin/true", NULL, NULL);
        _exit(8);
    }
    int status;
    wait(&status);
    printf("no argv at all: %#x\n", status);
    return 0;
}
