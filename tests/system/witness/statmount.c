// statmount(2): the mount point that the kernel reports for a path, and what a short buffer gives.
#include "witness.h"
#include <stdint.h>
#include <sys/syscall.h>

enum { SYS_STATMOUNT = 457, MNT_ID_UNIQUE = 0x4000, MNT_ID_OFFSET = 0x90, STRINGS = 512 };

static long ask(uint64_t id, char *buffer, size_t room)
{
    struct { uint32_t size, spare; uint64_t id, mask; } request = {24, 0, id, 0x1f};
    return syscall(SYS_STATMOUNT, &request, buffer, room, 0) < 0 ? errno : 0;
}

int main(int argc, char **argv)
{
    char buffer[4096], data[256];
    uint64_t id;
    uint32_t point;
    if (argc != 2) die(__FILE__, __LINE__, "usage");
    CHECK(syscall(SYS_statx, AT_FDCWD, argv[1], 0, MNT_ID_UNIQUE, data));
    memcpy(&id, data + MNT_ID_OFFSET, sizeof id);
    long error = ask(id, buffer, sizeof buffer);
    if (error) return printf("%s\n", name_of_error(error)), 1;
    memcpy(&point, buffer + 108, sizeof point);
    printf("%s\n", buffer + STRINGS + point);
    printf("short: %s\n", name_of_error(ask(id, buffer, STRINGS + 4)));
    return 0;
}
