// vfork, posix_spawn and clone: where the child changes directory the parent does not follow.
#include "witness.h"

extern char **environ;

static void print_cwd(const char *who)
{
    char here[PATH_MAX];
    EXPECT(getcwd(here, sizeof here));
    printf("%s is in %s\n", who, strcmp(strrchr(here, '/'), "/down") == 0 ? "down" : "DIR");
}

static int in_shared_child(void *path)
{
    CHECK(chdir(path));
    umask(077);
    return 0;
}

static void *in_thread(void *path)
{
    CHECK(chdir(path));
    return NULL;
}

static void *in_own_thread(void *path)
{
    CHECK(unshare(CLONE_FS));
    CHECK(chdir(path));
    print_cwd("the thread with CLONE_FS unshared");
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "-") == 0) {
        print_cwd("the program");
        return access("here", F_OK) == 0 ? 7 : 8;
    }
    enter(argc, argv);
    CHECK(mkdir("down", 0755));
    put("down/here", "x");
    char *const again[] = {argv[0], "-", NULL};

    pid_t pid = vfork();
    if (pid == 0) {
        if (chdir("down") == 0) execv(argv[0], again);
        _exit(1);
    }
    printf("vfork, chdir, exec: %d\n", ended(CHECK(pid)));
    print_cwd("the parent");

    posix_spawn_file_actions_t actions;
    THREAD(posix_spawn_file_actions_init(&actions));
    THREAD(posix_spawn_file_actions_addchdir_np(&actions, "down"));
    THREAD(posix_spawn_file_actions_addopen(&actions, 9, "here", O_RDONLY, 0));
    THREAD(posix_spawn(&pid, argv[0], &actions, NULL, again, environ));
    printf("posix_spawn with chdir and open: %d\n", ended(pid));
    print_cwd("the parent");
    errno = posix_spawn(&pid, "./missing", NULL, NULL, again, environ);
    printf("posix_spawn of nothing: %s\n", name_of_error(errno));

    static char stack[1 << 16] __attribute__((aligned(16)));
    pid = CHECK(clone(in_shared_child, stack + sizeof stack, CLONE_FS | SIGCHLD, "down"));
    printf("clone with CLONE_FS: %d\n", ended(pid));
    print_cwd("the parent");
    printf("and its umask is %03o\n", umask(022));
    CHECK(chdir(".."));

    pid = CHECK(clone(in_shared_child, stack + sizeof stack, SIGCHLD, "down"));
    printf("clone without: %d\n", ended(pid));
    print_cwd("the parent");
    pid = CHECK(clone(in_shared_child, stack + sizeof stack,
                      CLONE_VM | CLONE_VFORK | CLONE_FILES | SIGCHLD, "down"));
    printf("clone with CLONE_VM and CLONE_FILES: %d\n", ended(pid));
    print_cwd("the parent");

    pthread_t thread;
    THREAD(pthread_create(&thread, NULL, in_thread, "down"));
    THREAD(pthread_join(thread, NULL));
    print_cwd("after a thread's chdir the process");
    CHECK(chdir(".."));
    THREAD(pthread_create(&thread, NULL, in_own_thread, "down"));
    THREAD(pthread_join(thread, NULL));
    print_cwd("after that the process");
    put("file", "x");
    printf("and a relative name means what it should: %d\n", access("file", F_OK));
}
