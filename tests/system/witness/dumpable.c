// PR_SET_DUMPABLE 0 (ssh-agent, gpg-agent) takes nothing from the program itself.
#include "witness.h"

static void calls(const char *when)
{
    struct stat s;
    char text[PATH_MAX];
    printf("%s: dumpable %d\n", when, prctl(PR_GET_DUMPABLE));
    put("file", "1234");
    int result = stat("file", &s);
    printf("stat %d size %ld\n", result, (long)s.st_size);
    printf("mkdir %d\n", mkdir("down", 0755));
    printf("chdir %d\n", chdir("down"));
    printf("cwd %s\n", getcwd(text, sizeof text) ? strrchr(text, '/') : strerror(errno));
    printf("back %d\n", chdir(".."));
    printf("rmdir %d\n", rmdir("down"));
    printf("missing %s\n", name_of_error(open("missing", O_RDONLY) < 0 ? errno : 0));
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "-") == 0) {
        calls("after execve");
        return 0;
    }
    enter(argc, argv);
    calls("at the start");
    printf("set: %d\n", prctl(PR_SET_DUMPABLE, 0));
    calls("after the set");
    printf("set to 2: %s\n", name_of_error(prctl(PR_SET_DUMPABLE, 2) < 0 ? errno : 0));
    pid_t pid = CHECK(fork());
    if (pid == 0) {
        calls("in a child");
        _exit(prctl(PR_GET_DUMPABLE));
    }
    printf("child ended with %d\n", ended(pid));
    execl(argv[0], argv[0], "-", NULL);
    die(__FILE__, __LINE__, "execl");
}
