// A filter of the program's own answers one call with an errno: the program sees it, once.
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define SAY(what, call) (errno = 0, result = (call), error = errno, printf(what " %d %s\n", result, strerror(error)))

int main(int argc, char **argv)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, argc > 2 ? atoi(argv[1]) : 0, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (argc > 2 ? atoi(argv[2]) : 0)),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {4, code};
    struct stat found;
    int result, error;
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) return 9;
    alarm(5);
    SAY("chdir", chdir("/mnt"));
    SAY("open", open("/mnt/file", O_RDONLY) < 0);
    SAY("stat", stat("/mnt/file", &found));
    SAY("mkdir", mkdir("/mnt/file", 0700));
    fflush(stdout);
    errno = 0, execl("/mnt/none", "none", NULL);
    printf("exec %s\n", strerror(errno));
}
