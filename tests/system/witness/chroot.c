// Root goes into a small tree of its own and finds only that.
#include "witness.h"

static void copy(const char *from, const char *to)
{
    char text[1 << 16];
    int in = CHECK(open(from, O_RDONLY)), out = CHECK(open(to, O_WRONLY | O_CREAT, 0755));
    for (ssize_t n; (n = read(in, text, sizeof text)) > 0;) EXPECT(write(out, text, n) == n);
    close(in);
    close(out);
}

int main(int argc, char **argv)
{
    enter(argc, argv);
    static const char *const directories[] = {"root", "root/bin", "root/etc", "root/tmp"};
    for (size_t i = 0; i < sizeof directories / sizeof *directories; i++)
        CHECK(mkdir(directories[i], 0755));
    copy("/bin/busybox", "root/bin/busybox");
    CHECK(symlink("busybox", "root/bin/sh"));
    CHECK(symlink("/etc/name", "root/etc/link"));
    put("root/etc/name", "the inner one\n");
    put("root/etc/script", "#!/bin/sh\necho script \"$0\" in $PWD\n");
    CHECK(chmod("root/etc/script", 0755));
    put("outside", "the outer one\n");
    CHECK(chroot("root"));
    printf("before chdir: %d\n", access("../outside", F_OK));
    CHECK(chdir("/"));
    char here[PATH_MAX];
    printf("cwd %s\n", getcwd(here, sizeof here));
    printf("passwd: %s\n", name_of_error(access("/etc/passwd", F_OK) < 0 ? errno : 0));
    fflush(stdout);
    setenv("PATH", "/bin", 1);
    execl("/bin/sh", "sh", "-c",
          "pwd; busybox ls / /..; busybox cat /etc/name /etc/link /../etc/name; cd /tmp && pwd; "
          "echo made >file; busybox cat /tmp/file; /etc/script; cd ..; busybox readlink /etc/link; "
          "busybox cat /outside ../outside; busybox mkdir -p a/b/c && busybox find / -type d | busybox sort",
          NULL);
    die(__FILE__, __LINE__, "execl");
}
