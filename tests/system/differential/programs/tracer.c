/* A small strace: runs a command, stops at each system call, and counts those that opened a file. */
#include "say.h"
#include <sys/ptrace.h>
#include <sys/user.h>

int main(int argc, char **argv)
{
    (void)argc;
    pid_t child = fork();
    if (child == 0) {
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        raise(SIGSTOP);
        execv(argv[1], argv + 1);
        _exit(127);
    }
    int status, chdirs = 0, inside = 0;
    waitpid(child, &status, 0);
    ptrace(PTRACE_SETOPTIONS, child, 0, PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL);
    for (int deliver = 0;;) {
        ptrace(PTRACE_SYSCALL, child, 0, deliver);
        if (waitpid(child, &status, 0) < 0 || WIFEXITED(status) || WIFSIGNALED(status))
            break;
        deliver = 0;
        if (WSTOPSIG(status) == (SIGTRAP | 0x80)) {
            struct user_regs_struct r;
            ptrace(PTRACE_GETREGS, child, 0, &r);
            inside = !inside;
            if (!inside && (long)r.orig_rax == SYS_chdir)
                chdirs++, printf("chdir gave %lld\n", (long long)r.rax);
            if (!inside && (long)r.orig_rax == SYS_mkdir)
                printf("mkdir gave %lld\n", (long long)r.rax);
        } else if (WSTOPSIG(status) != SIGTRAP) {
            deliver = WSTOPSIG(status);
        }
    }
    printf("%d chdirs, status %#x\n", chdirs, status);
    return WEXITSTATUS(status);
}
