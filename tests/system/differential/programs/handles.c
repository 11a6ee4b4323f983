/* File handles, fanotify, mounts by descriptor: calls that take paths and are seldom made. */
#include "say.h"
#include <sys/fanotify.h>
#include <sys/mount.h>
#include <sys/inotify.h>

int main(void)
{
    union { struct file_handle handle; char room[200]; } u;
    int mount_id;
    touch("f", "handle"), symlink("f", "l"), mkdir("d", 0755);
    u.handle.handle_bytes = 0;
    say("no room", syscall(SYS_name_to_handle_at, AT_FDCWD, "f", &u, &mount_id, 0));
    u.handle.handle_bytes = 128;
    say("handle", syscall(SYS_name_to_handle_at, AT_FDCWD, "l", &u, &mount_id, AT_SYMLINK_FOLLOW));
    int fd = file("by handle", syscall(SYS_open_by_handle_at, AT_FDCWD, &u, O_RDONLY));
    if (fd >= 0)
        say("read", read(fd, (char[9]){ 0 }, 9));
    u.handle.handle_bytes = 128;
    say("of a link", syscall(SYS_name_to_handle_at, AT_FDCWD, "l", &u, &mount_id, 0));
    say("missing", syscall(SYS_name_to_handle_at, AT_FDCWD, "x", &u, &mount_id, 0));
    say("empty", syscall(SYS_name_to_handle_at, open("d", O_PATH), "", &u, &mount_id, AT_EMPTY_PATH));
    int fan = file("fanotify", syscall(SYS_fanotify_init, FAN_CLASS_NOTIF | FAN_NONBLOCK | FAN_REPORT_FID, O_RDONLY));
    say("mark", syscall(SYS_fanotify_mark, fan, FAN_MARK_ADD, FAN_OPEN | FAN_CREATE | FAN_ONDIR, AT_FDCWD, "d"));
    say("mark missing", syscall(SYS_fanotify_mark, fan, FAN_MARK_ADD, FAN_OPEN, AT_FDCWD, "x"));
    say("mark by descriptor", syscall(SYS_fanotify_mark, fan, FAN_MARK_ADD, FAN_OPEN, open("f", O_RDONLY), NULL));
    touch("d/new", "");
    say("events", read(fan, (char[4096]){ 0 }, 4096) > 0);
    int tree = file("open_tree", syscall(SYS_open_tree, AT_FDCWD, "d", 0));
    say("new below", syscall(SYS_faccessat, tree, "new", F_OK));
    file("open_tree missing", syscall(SYS_open_tree, AT_FDCWD, "x", 0));
    file("open_tree clone", syscall(SYS_open_tree, AT_FDCWD, "d", 1) >= 0 ? 0 : -1);
    say("umount", umount2("/mnt/d", 0));
    say("umount missing", umount2("x", 0));
    say("umount nofollow", umount2("l", UMOUNT_NOFOLLOW));
    say("mount missing", mount("none", "x", "tmpfs", 0, ""));
    say("mount unknown", mount("none", "d", "no-such-fs", 0, ""));
    say("mount null", mount(NULL, "d", NULL, MS_REMOUNT, NULL));
    say("pivot_root", syscall(SYS_pivot_root, "d", "x"));
    say("swapon", syscall(SYS_swapon, "x", 0));
    say("swapoff", syscall(SYS_swapoff, "f"));
    say("acct", syscall(SYS_acct, "x"));
    say("acct directory", syscall(SYS_acct, "d"));
    say("quotactl", syscall(SYS_quotactl, 0x80000700, "x", 0, NULL));
    say("uselib", syscall(SYS_uselib, "x"));
    say("chroot missing", chroot("x"));
    say("chroot file", chroot("f"));
    say("mount_setattr", syscall(442, AT_FDCWD, "x", 0, (uint64_t[4]){ 0 }, 32));
    say("move_mount", syscall(429, AT_FDCWD, "d", AT_FDCWD, "x", 0));
    file("fsopen", syscall(430, "no-such-fs", 0));
    file("fspick", syscall(433, AT_FDCWD, "x", 0));
    int in = inotify_init1(0);
    say("inotify", inotify_add_watch(in, "l", IN_OPEN | IN_DONT_FOLLOW) > 0);
    say("inotify only directories", inotify_add_watch(in, "f", IN_OPEN | IN_ONLYDIR));
    say("inotify bad", inotify_add_watch(99, "f", IN_OPEN));
    say("inotify nothing", inotify_add_watch(in, "f", 0));
    return 0;
}
