/* getdents(2), getdents64(2), and seeking in directories. */
#include "say.h"

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int list(int fd, size_t size, int verbose)
{
    char *names[2000], buffer[65536];
    int count = 0;
    for (;;) {
        long n = syscall(SYS_getdents64, fd, buffer, size);
        if (n <= 0) {
            if (n < 0)
                say("getdents64", n);
            break;
        }
        for (long at = 0; at < n;) {
            struct dirent64 *entry = (void *)(buffer + at);
            char line[300];
            snprintf(line, sizeof line, "%d %s", entry->d_type, entry->d_name);
            names[count++] = strdup(line);
            struct stat s;
            if (fstatat(fd, entry->d_name, &s, AT_SYMLINK_NOFOLLOW) == 0 && s.st_ino != entry->d_ino
                && strcmp(entry->d_name, ".."))
                printf("%s: another inode\n", entry->d_name);
            at += entry->d_reclen;
        }
    }
    qsort(names, count, sizeof *names, by_name);
    for (int i = 0; i < count && verbose; i++)
        puts(names[i]);
    printf("%d entries\n", count);
    return count;
}

int main(void)
{
    mkdir("d", 0755), mkdir("d/sub", 0755), symlink("x", "d/link"), mkfifo("d/fifo", 0600);
    touch("d/file", "");
    int fd = open("d", O_RDONLY | O_DIRECTORY);
    list(fd, 4096, 1), list(fd, 4096, 1);
    lseek(fd, 0, SEEK_SET), list(fd, 64, 1);
    lseek(fd, 0, SEEK_SET), list(fd, 16, 1);
    char name[20];
    for (int i = 0; i < 600; i++)
        snprintf(name, sizeof name, "d/many%d", i), touch(name, "");
    lseek(fd, 0, SEEK_SET), list(fd, 4096, 0), lseek(fd, 0, SEEK_SET), list(fd, 65536, 0);
    DIR *dir = opendir("/mnt/d");
    long where = 0;
    for (int i = 0; i < 300; i++)
        readdir(dir), where = i == 100 ? telldir(dir) : where;
    seekdir(dir, where);
    int rest = 0;
    while (readdir(dir))
        rest++;
    printf("%d after seeking\n", rest);
    rewinddir(dir), rest = 0;
    while (readdir(dir))
        rest++;
    printf("%d after rewinding\n", rest);
    char old[4096];
    lseek(fd, 0, SEEK_SET);
    say("getdents", syscall(SYS_getdents, fd, old, sizeof old) > 0);
    say("of a file", syscall(SYS_getdents64, open("d/file", O_RDONLY), old, sizeof old));
    say("bad buffer", syscall(SYS_getdents64, open("d", O_RDONLY), (void *)8, 4096));
    int root = open("/", O_RDONLY), found = 0;
    for (long n; (n = syscall(SYS_getdents64, root, old, sizeof old)) > 0;)
        for (long at = 0; at < n; at += ((struct dirent64 *)(old + at))->d_reclen)
            found += !strcmp(((struct dirent64 *)(old + at))->d_name, "mnt");
    printf("mnt in /: %d\n", found);
    return 0;
}
