/* Paths that are short enough, and at a longer backing would not be. */
#include "say.h"
#include <sys/inotify.h>
#include <sys/vfs.h>
#include <sys/xattr.h>

static void all(const char *what, const char *path)
{
    struct statfs fs;
    puts(what);
    say("chdir", chdir(path)), chdir("/mnt");
    file("open", open(path, O_RDONLY));
    file("path only", open(path, O_PATH));
    say("statfs", statfs(path, &fs));
    say("setxattr", setxattr(path, "user.a", "1", 1, 0));
    say("getxattr", getxattr(path, "user.a", NULL, 0));
    say("truncate", truncate(path, 5));
    say("watch", inotify_add_watch(inotify_init(), path, IN_OPEN));
    say("execve", execl(path, path, NULL));
}

int main(void)
{
    static char path[PATH_MAX] = "/mnt";
    char *end = path + 4;
    for (int i = 0; i < 16; i++, end += 251) {
        *end = '/';
        memset(end + 1, 'd', 250);
        if (mkdir(path, 0755))
            return 91;
    }
    strcpy(end, "/in this directory or file, which has still another long name");
    say("length", (long)strlen(path));
    all("missing", path);
    say("mkdir", mkdir(path, 0755));
    all("directory", path);
    say("rmdir", rmdir(path));
    touch(path, "text");
    all("file", path);
    say("unlink", unlink(path));
    return 0;
}
