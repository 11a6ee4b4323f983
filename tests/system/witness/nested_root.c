// Root goes into a tree that has another mounted at /home, with this program in it, and uses that.
#include "witness.h"
#include <sys/inotify.h>
#include <sys/xattr.h>

static void told(const char *what, long result)
{
    if (result < 0)
        printf("%s: %s\n", what, name_of_error(errno));
    else
        printf("%s: %ld\n", what, result);
}

static void where(const char *when)
{
    char here[PATH_MAX];
    printf("%s: in %s, file there: %d\n", when, getcwd(here, sizeof here), !access("file", F_OK));
}

static void descriptors(void)
{
    int count = 0;
    for (int fd = 3; fd < 64; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    printf("open beside the first three: %d\n", count);
}

static void execute(const char *path)
{
    fflush(stdout);
    pid_t pid = CHECK(fork());
    if (!pid) {
        execl(path, "name", "child", NULL);
        told(path, -1);
        fflush(stdout);
        _exit(3);
    }
    told("ended", ended(pid));
}

static void child(void)
{
    char comm[17] = "";
    CHECK(prctl(PR_GET_NAME, comm));
    printf("comm %s\n", comm);
    where("child");
    descriptors();
}

static void attributes(void)
{
    char value[64] = "", *name = "user.viewos";
    told("setxattr", setxattr("/home/file", name, "1234", 4, 0));
    told("setxattr, exists", setxattr("/home/file", name, "1", 1, XATTR_CREATE));
    told("getxattr, how long", getxattr("/home/file", name, NULL, 0));
    told("getxattr, too short", getxattr("/home/link", name, value, 1));
    told("getxattr", getxattr("/home/link", name, value, sizeof value));
    told("lgetxattr", lgetxattr("/home/link", name, value, sizeof value));
    told("getxattr, bad buffer", syscall(SYS_getxattr, "/home/file", name, 8L, 9L));
    told("listxattr", listxattr("/home/file", value, sizeof value));
    told("removexattr", removexattr("/home/file", name));
    told("removexattr", removexattr("/home/none", name));
    told("truncate", truncate("/home/file", 2));
    told("truncate", truncate("/home/file", -1));
    told("truncate", truncate("/home/inner", 1));
}

static void watch(void)
{
    struct inotify_event event[8];
    int fd = CHECK(inotify_init1(IN_NONBLOCK));
    told("watch", inotify_add_watch(fd, "/home", IN_CREATE));
    told("watch", inotify_add_watch(fd, "/home/file", IN_ONLYDIR | IN_CREATE));
    told("watch", inotify_add_watch(99, "/home", IN_CREATE));
    put("/home/seen", "");
    EXPECT(read(fd, event, sizeof event) > 0);
    printf("saw %s\n", event->name);
    close(fd);
}

static void by_descriptor(void)
{
    int path = open("/home/file", O_PATH), below = open("/home", O_PATH | O_DIRECTORY);
    told("O_PATH", path < 0 ? -1 : 0);
    told("below it", faccessat(below, "file", F_OK, 0));
    told("O_PATH of nothing", open("/home/none/", O_PATH));
    CHECK(mkfifo("/home/fifo", 0600));
    int fifo = open("/home/fifo", O_RDWR), again = open("/home/fifo", O_WRONLY | O_NONBLOCK);
    told("FIFO", fifo < 0 ? -1 : 0);
    told("FIFO", again < 0 ? -1 : 0);
    CHECK(unlink("/home/fifo"));
    told("FIFO", openat(AT_FDCWD, "/home/fifo", O_PATH | O_NOFOLLOW));
    for (int fd = 3; fd < 64; fd++) close(fd);
}

int main(int argc, char **argv)
{
    if (argc == 2 && !strcmp(argv[1], "child")) {
        child();
        return 0;
    }
    enter(argc, argv);
    CHECK(chroot("."));
    attributes();
    watch();
    by_descriptor();
    told("chdir", chdir("/home"));
    where("home");
    told("chdir", chdir("inner"));
    told("chdir", chdir("/home/file"));
    told("chdir", chdir("/home/none"));
    where("inner");
    told("chdir", chdir("../.."));
    where("root");
    descriptors();
    execute("/home/program");
    execute("/home/none");
    execute("/home/file");
    CHECK(chdir("/home"));
    execute("./program");
    told("chroot", chroot("/home/file"));
    told("chroot", chroot("/home"));
    where("after chroot");
    told("program", access("/program", X_OK));
    CHECK(chdir("/"));
    where("in the second root");
    execute("/program");
    descriptors();
    return 0;
}
