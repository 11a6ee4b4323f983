// The mode of what is made follows the umask of the thread that makes it.
#include "witness.h"
#include <sys/xattr.h>

static void made(const char *name, const char *what, mode_t type)
{
    struct stat s;
    CHECK(lstat(name, &s));
    EXPECT((s.st_mode & S_IFMT) == type);
    printf("  %s %04o\n", what, s.st_mode & 07777);
    CHECK(remove(name));
}

static void make_all(const char *who)
{
    printf("%s\n", who);
    close(CHECK(open("x", O_WRONLY | O_CREAT, 0777)));
    made("x", "open", S_IFREG);
    close(CHECK(open("x", O_WRONLY | O_CREAT | O_EXCL, 06666)));
    made("x", "open 6666", S_IFREG);
    close(CHECK(creat("x", 0666)));
    made("x", "creat", S_IFREG);
    CHECK(mkdir("x", 01777));
    made("x", "mkdir", S_IFDIR);
    CHECK(mknod("x", S_IFIFO | 0666, 0));
    made("x", "mkfifo", S_IFIFO);
    CHECK(mknod("x", S_IFREG | 0666, 0));
    made("x", "mknod", S_IFREG);
    struct sockaddr_un a = address("x");
    int fd = CHECK(socket(AF_UNIX, SOCK_STREAM, 0));
    CHECK(bind(fd, (struct sockaddr *)&a, sizeof a));
    close(fd);
    made("x", "bind", S_IFSOCK);
    fd = open(".", O_TMPFILE | O_RDWR, 0666);
    struct stat s;
    if (fd >= 0 && fstat(fd, &s) == 0) printf("  O_TMPFILE %04o\n", s.st_mode & 07777);
    close(fd);
    CHECK(symlink("y", "x"));
    made("x", "symlink", S_IFLNK);
    close(CHECK(open("x", O_WRONLY | O_CREAT, 0)));
    CHECK(chmod("x", 0777));
    made("x", "chmod", S_IFREG);
}

// Where a directory has a default ACL, that counts instead of the umask (umask(2)).
static void default_acl(void)
{
    static const struct {
        unsigned version;
        struct { unsigned short tag, permissions; int id; } entries[3];
    } acl = {2, {{1, 7, -1}, {4, 6, -1}, {0x20, 4, -1}}};
    CHECK(mkdir("acl", 0755));
    int result = setxattr("acl", "system.posix_acl_default", &acl, sizeof acl, 0);
    printf("default ACL: %s\n", name_of_error(result < 0 ? errno : 0));
    CHECK(chdir("acl"));
    umask(077);
    make_all("below a default ACL");
    CHECK(chdir(".."));
}

static void *in_thread(void *unused)
{
    (void)unused;
    CHECK(unshare(CLONE_FS));
    umask(077);
    make_all("a thread with 077 of its own");
    return NULL;
}

int main(int argc, char **argv)
{
    enter(argc, argv);
    static const mode_t masks[] = {0, 022, 027, 0777, 0111};
    for (size_t i = 0; i < sizeof masks / sizeof *masks; i++) {
        char who[32];
        umask(masks[i]);
        snprintf(who, sizeof who, "umask %03o", masks[i]);
        make_all(who);
    }
    umask(0);
    pthread_t thread;
    THREAD(pthread_create(&thread, NULL, in_thread, NULL));
    THREAD(pthread_join(thread, NULL));
    make_all("the main thread with 000");
    default_acl();
    umask(002);
    CHECK(mkdir("group", 0755));
    CHECK(chmod("group", 02775));
    CHECK(chdir("group"));
    make_all("in a set-group-id directory");
}
