/* The floor under every monitor: trap the path calls, receive each, read its path, continue.
 *
 * floor COMMAND [ARG...]. No view, no check of symbolic links; one thread, SYNC_WAKE_UP. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS /* headers older than Linux 6.6 */
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64)
#endif

/* Number of each call, and which argument is its path. */
static const struct {
    int number, path;
} calls[] = {
    {SYS_open, 0},      {SYS_openat, 1},    {SYS_stat, 0},       {SYS_lstat, 0},
    {SYS_newfstatat, 1}, {SYS_statx, 1},    {SYS_access, 0},     {SYS_faccessat, 1},
    {SYS_faccessat2, 1}, {SYS_readlink, 0}, {SYS_readlinkat, 1}, {SYS_execve, 0},
    {SYS_chdir, 0},     {SYS_mkdir, 0},     {SYS_unlink, 0},     {SYS_unlinkat, 1},
    {SYS_rename, 0},    {SYS_getcwd, 0},
};
enum { CALLS = sizeof calls / sizeof *calls };

static int install(void)
{
    struct sock_filter program[CALLS + 4] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    };
    for (int i = 0; i < CALLS; i++)
        program[1 + i] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
                                                      (unsigned)calls[i].number, CALLS - i, 0);
    program[CALLS + 1] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    program[CALLS + 2] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF);
    struct sock_fprog filter = {CALLS + 3, program};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
                        SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
                        &filter);
}

static void serve(int listener)
{
    char path[4096];
    ioctl(listener, SECCOMP_IOCTL_NOTIF_SET_FLAGS, 1ul);
    for (;;) {
        struct seccomp_notif n = {0};
        if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &n)) {
            struct pollfd p = {.fd = listener};
            if (poll(&p, 1, 0) > 0 && p.revents & POLLHUP)
                return;
            continue;
        }
        int at = 0;
        for (int i = 0; i < CALLS; i++)
            if (calls[i].number == n.data.nr)
                at = calls[i].path;
        size_t size = 4096 - n.data.args[at] % 4096;
        struct iovec local = {path, size < 512 ? size : 512};
        struct iovec remote = {(void *)n.data.args[at], local.iov_len};
        process_vm_readv((int)n.pid, &local, 1, &remote, 1, 0);
        struct seccomp_notif_resp r = {.id = n.id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
        ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &r);
    }
}

int main(int argc, char **argv)
{
    int pair[2];
    if (argc < 2 || socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
        return 2;
    pid_t child = fork();
    if (!child) {
        int listener = install();
        if (write(pair[1], &listener, sizeof listener) != sizeof listener)
            return 3;
        char go;
        if (read(pair[1], &go, 1) != 1)
            return 3;
        close(listener);
        close(pair[0]);
        close(pair[1]);
        execvp(argv[1], argv + 1);
        return 127;
    }
    int number, listener, status;
    if (read(pair[0], &number, sizeof number) != sizeof number || number < 0)
        return 3;
    int pidfd = (int)syscall(SYS_pidfd_open, child, 0);
    listener = (int)syscall(SYS_pidfd_getfd, pidfd, number, 0);
    if (write(pair[0], "g", 1) != 1)
        return 3;
    close(pair[0]);
    close(pair[1]);
    serve(listener);
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
