// What a program finds in its memory that its loader was started with, as if the kernel had executed it.
#define _GNU_SOURCE
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>
#ifdef LIBRARY
#include <link.h>

extern int from_library;

static int show(struct dl_phdr_info *info, size_t size, void *unused)
{
    (void)size;
    (void)unused;
    if (strstr(info->dlpi_name, "library")) printf("library %s\n", info->dlpi_name);
    return 0;
}
#endif

int main(int argc, char **argv)
{
    Elf64_auxv_t told[64] = {0};
    unsigned long base = getauxval(AT_BASE);
    int fd = open("/proc/self/auxv", O_RDONLY);
    ssize_t n = read(fd, told, sizeof told);
    close(fd);
    printf("%s %s: executed %s\n", argv[0], argc > 1 ? argv[1] : "-", (char *)getauxval(AT_EXECFN));
    printf("loader %d\n", base && !memcmp((void *)base, ELFMAG, SELFMAG));
    for (size_t i = 0; i < n / sizeof *told; i++)
        if (told[i].a_type == AT_BASE || told[i].a_type == AT_EXECFN)
            printf("%ld same %d\n", told[i].a_type, told[i].a_un.a_val == getauxval(told[i].a_type));
#ifdef LIBRARY
    dl_iterate_phdr(show, NULL);
    if (from_library != 1) return 1;
#endif
    fflush(stdout);
    if (argc > 1 && !strcmp(argv[1], "again")) execl("/proc/self/exe", "itself", "last", NULL);
    return 0;
}
