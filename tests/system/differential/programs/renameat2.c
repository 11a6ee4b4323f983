/* renameat2(2) with its flags. */
#include "say.h"

static void ren(const char *from, const char *to, unsigned flags)
{
    char line[200];
    snprintf(line, sizeof line, "%s -> %s flags %u", from, to, flags);
    say(line, syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, flags));
}

int main(void)
{
    touch("a", "a"), touch("b", "b"), mkdir("d", 0755), mkdir("e", 0755), touch("d/x", "x");
    symlink("a", "l"), link("a", "hard");
    ren("a", "b", 1), ren("a", "b", 2), ren("a", "new", 2), ren("a", "new", 1), ren("new", "a", 0);
    ren("d", "b", 2), ren("d", "b", 2), ren("d", "e", 0), ren("d", "e", 0), ren("e", "e/in", 0);
    ren("l", "b", 2), ren("a", "d", 0), ren("d", "a", 0), ren("a", "hard", 0), ren("e", "a", 0);
    ren("a", "b", 3), ren("a", "b", 6), ren("a", "b", 64), ren("missing", "x", 0), ren("a", "", 0);
    ren("", "a", 0), ren("a", "missing/x", 0), ren("a", "b/", 0), ren("e/", "f/", 0), ren("a/", "c", 0);
    ren(".", "x", 0), ren("..", "x", 0), ren("f/.", "x", 0), ren("a", "f/..", 0),
    ren("a", "/mnt/../mnt/c", 0), ren("f/x", "f/y", 0), ren("c", "w", 4), ren("l", "k", 0);
    ren("a", "/", 0), ren("/", "x", 0), ren("missing", "/", 0), ren("/", "missing/x", 0), ren("/", "/", 0);
    ren("/dev/..", "x", 0), ren("a", "/dev/shm/../..", 0), ren("/mnt", "/", 0), ren("a", "/mnt", 0);
    int dir = open("f", O_PATH);
    say("by descriptor", syscall(SYS_renameat, dir, "y", dir, "z"));
    say("between", syscall(SYS_renameat2, dir, "z", AT_FDCWD, "out", 1));
    say("bad descriptor", syscall(SYS_renameat, 77, "y", dir, "z"));
    say("bad pointer", syscall(SYS_rename, (void *)8, "z"));
    say("other bad pointer", syscall(SYS_rename, "out", (void *)8));
    say("other file system", syscall(SYS_rename, "out", "/dev/shm/viewos-renameat2"));
    return 0;
}
