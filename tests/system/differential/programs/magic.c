/* Magic links that are open themselves (O_PATH | O_NOFOLLOW), and are read by the descriptor. */
#include "say.h"

static void read_link(const char *path)
{
    char text[PATH_MAX];
    int fd = open(path, O_PATH | O_NOFOLLOW);
    long length = readlinkat(fd, "", text, sizeof text);
    printf("%s: %.*s\n", path, length < 0 ? 0 : (int)length, text);
    length = length < 0 ? length : readlinkat(fd, "", text, 4);
    printf("cut: %ld %.*s\n", length, length < 0 ? 0 : (int)length, text);
    fflush(stdout);
    say("no room", readlinkat(fd, "", text, 0));
    close(fd);
}

int main(void)
{
    char name[64];
    touch("f", "x");
    symlink("/mnt/f", "l");
    mkdir("d", 0755);
    dup2(open("f", O_RDONLY), 20);
    dup2(open("d", O_RDONLY), 21);
    read_link("l");
    read_link("/proc/self/fd/20");
    read_link("/dev/fd/21");
    read_link("/proc/self/cwd");
    read_link("/proc/thread-self/cwd");
    read_link("/proc/self/root");
    chdir("/proc/self/fd");
    read_link("20");
    rename("/mnt/f", "/mnt/g");
    read_link("20");
    unlink("/mnt/g");
    read_link("20");
    say("a file", readlinkat(20, "", name, sizeof name));
    say("a directory", readlinkat(21, "", name, sizeof name));
    say("no descriptor", readlinkat(99, "", name, sizeof name));
    say("here", readlinkat(AT_FDCWD, "", name, sizeof name));
    say("bad name", readlinkat(20, (char *)8, name, sizeof name));
    return 0;
}
