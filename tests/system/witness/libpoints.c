// Cancellation points as glibc 2.41 makes them: none has a system call of its own. A test gives this library
// the libc's name.
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>

char __libc_single_threaded = 1;
extern __typeof__(__libc_single_threaded) single __attribute__((alias("__libc_single_threaded"), visibility("hidden")));
static int cancelling;

// __syscall_cancel_arch
static __attribute__((noinline, noclone)) long cancellable(int *word, long number, long a, long b, long c, long d)
{
    register long fourth __asm__("r10") = d;
    long result;
    if (*(volatile int *)word & 8)
        abort();
    __asm__ volatile("syscall" : "=a"(result) : "0"(number), "D"(a), "S"(b), "d"(c), "r"(fourth) : "memory", "rcx", "r11");
    return result;
}

// __internal_syscall_cancel
static __attribute__((noinline, noclone)) long make(long a, long b, long c, long d, long e, long f, long number)
{
    register long fourth __asm__("r10") = d, fifth __asm__("r8") = e, sixth __asm__("r9") = f;
    long result;
    int word = *(volatile int *)&cancelling;
    if (single || word & 1 || word & 16) {
        __asm__ volatile("syscall" : "=a"(result) : "0"(number), "D"(a), "S"(b), "d"(c), "r"(fourth), "r"(fifth), "r"(sixth)
                         : "memory", "rcx", "r11");
        return result;
    }
    result = cancellable(&cancelling, number, a, b, c, d);
    if (result == -EINTR && (*(volatile int *)&cancelling & 0x39) == 8)
        abort();
    return result;
}

long point(long a, long b, long c, long d, long e, long f, long number)
{
    long result = make(a, b, c, d, e, f, number);
    __asm__ volatile("" ::: "memory"); // no tail call
    return result;
}
