/* Bounded reads and writes of a tracee's memory. */
#include "accelerator.h"

#include <string.h>
#include <sys/uio.h>

enum { PAGE = 4096, GLANCE = 512 };

/* The string at `address` with its NUL; its length, or -1: it cannot be read, or has no end. */
long read_string(int tid, uint64_t address, char *to)
{
    size_t length = 0;
    while (length < LONGEST) {
        size_t size = PAGE - (address + length) % PAGE;
        if (size > GLANCE && !length)
            size = GLANCE; /* most paths are short */
        if (size > LONGEST - length)
            size = LONGEST - length;
        struct iovec local = {to + length, size};
        struct iovec remote = {(void *)(uintptr_t)(address + length), size};
        ssize_t count = process_vm_readv(tid, &local, 1, &remote, 1, 0);
        if (count <= 0)
            return -1;
        const char *end = memchr(to + length, 0, (size_t)count);
        if (end)
            return end - to;
        length += (size_t)count;
    }
    return -1;
}

bool read_exactly(int tid, uint64_t address, void *to, size_t size)
{
    struct iovec local = {to, size};
    struct iovec remote = {(void *)(uintptr_t)address, size};
    return process_vm_readv(tid, &local, 1, &remote, 1, 0) == (ssize_t)size;
}

/* Protections count, as in the kernel's own copies. */
bool write_exactly(int tid, uint64_t address, const void *from, size_t size)
{
    struct iovec local = {(void *)(uintptr_t)from, size};
    struct iovec remote = {(void *)(uintptr_t)address, size};
    return process_vm_writev(tid, &local, 1, &remote, 1, 0) == (ssize_t)size;
}
