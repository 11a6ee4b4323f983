/* Directories that are mounted nowhere, and one outside the root: no name leads to them. */
#include "say.h"
#include <sys/mount.h>

static void where(const char *what)
{
    char name[PATH_MAX];
    say(what, syscall(SYS_getcwd, name, sizeof name));
    printf("%s\n", name);
}

static void inside(int tree)
{
    struct stat st;
    say("mkdir", mkdirat(tree, "mnt", 0755));
    say("mkdir", mkdirat(tree, "etc", 0755));
    file("create", openat(tree, "mnt/new", O_CREAT | O_WRONLY, 0600));
    say("stat", fstatat(tree, "mnt/new", &st, 0));
    say("not the root's", fstatat(tree, "etc/passwd", &st, 0));
    say("move_mount of no mount", syscall(SYS_move_mount, tree, "mnt", AT_FDCWD, "d", 0));
    say("move_mount of nothing", syscall(SYS_move_mount, tree, "x", AT_FDCWD, "d", 0));
    int below = file("below", openat(tree, "mnt", O_PATH));
    say("by it", fstatat(below, "new", &st, 0));
    say("chdir", fchdir(below));
    where("below");
    say("relative", access("new", F_OK));
    say("up", access("../etc", F_OK));
    say("out", access("../../../etc/passwd", F_OK));
    say("rename", rename("new", "../etc/old"));
    say("symlink", symlink("../etc", "link"));
    say("through", access("link/old", F_OK));
    say("fchdir", fchdir(tree));
    where("top");
    say("there", access("etc/old", F_OK));
}

int main(void)
{
    int home = open(".", O_RDONLY | O_DIRECTORY), device = open("/", O_PATH);
    mkdir("d", 0755), mkdir("d/in", 0755), mkdir("root", 0755), mkdir("root/new", 0755);
    int fs = file("fsopen", syscall(SYS_fsopen, "tmpfs", 0));
    say("create", syscall(SYS_fsconfig, fs, 6, NULL, NULL, 0));
    int tree = file("fsmount", syscall(SYS_fsmount, fs, 0, 0));
    if (tree >= 0)
        inside(tree);
    say("back", fchdir(home));
    int clone = file("open_tree", syscall(SYS_open_tree, AT_FDCWD, "d", 1));
    if (clone >= 0) {
        file("through a clone", openat(clone, "in/new", O_CREAT | O_WRONLY, 0600));
        say("seen by name", access("d/in/new", F_OK));
        say("fchdir", fchdir(clone));
        where("clone");
        say("relative", access("in/new", F_OK));
        say("out", access("../etc/passwd", F_OK));
    }
    say("back", fchdir(home));
    if (!say("chroot", chroot("root"))) {
        say("pivot_root outside", syscall(SYS_pivot_root, ".", "."));
        say("pivot_root half outside", syscall(SYS_pivot_root, "/new", "."));
        say("link half outside", rename("d/in", "/new/in"));
        say("link half inside", rename("/new/in", "d/in"));
    }
    return device < 0;
}
