/* No descriptor is free: the kernel takes the number before it looks for the file. */
#include "say.h"
#include <sys/resource.h>

int main(void)
{
    touch("/mnt/f", "x");
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    int first = dup(0);
    close(first);
    rlim_t before = limit.rlim_cur;
    limit.rlim_cur = (rlim_t)first;
    setrlimit(RLIMIT_NOFILE, &limit);
    file("there", open("/mnt/f", O_RDONLY));
    file("missing", open("/mnt/missing", O_RDONLY));
    file("missing here", open("missing", O_RDONLY));
    file("missing to write", openat(AT_FDCWD, "/mnt/missing", O_WRONLY));
    file("no directory", open("/mnt/f/x", O_RDONLY));
    file("missing, path only", open("/mnt/missing", O_PATH));
    file("openat2", syscall(SYS_openat2, AT_FDCWD, "/mnt/missing", (uint64_t[3]){ 0 }, 24));
    file("bad flags", syscall(SYS_openat2, AT_FDCWD, "/mnt/f", (uint64_t[3]){ 1L << 40 }, 24));
    file("bad name", open((char *)8, O_RDONLY));
    file("new", open("/mnt/new", O_CREAT | O_RDWR, 0600));
    file("new, creat", creat("/mnt/new", 0600));
    file("new, alone", open("/mnt/f", O_CREAT | O_EXCL | O_RDWR, 0600));
    file("no name", open("/mnt", O_TMPFILE | O_RDWR, 0600));
    file("emptied", open("/mnt/f", O_WRONLY | O_TRUNC));
    say("new is there", access("/mnt/new", F_OK));
    struct stat st;
    say("size", stat("/mnt/f", &st) < 0 ? -1 : st.st_size);
    limit.rlim_cur = (rlim_t)first + 1;
    setrlimit(RLIMIT_NOFILE, &limit);
    file("missing, with one free", open("/mnt/missing", O_RDONLY));
    file("new, with one free", open("/mnt/new", O_CREAT | O_RDWR, 0600));
    file("missing again", open("/mnt/missing", O_RDONLY));
    close(first);
    limit.rlim_cur = before;
    setrlimit(RLIMIT_NOFILE, &limit);
    int high = dup2(0, 200);
    limit.rlim_cur = 100;
    setrlimit(RLIMIT_NOFILE, &limit);
    file("missing, one above", open("/mnt/missing", O_RDONLY));
    file("new, one above", open("/mnt/new2", O_CREAT | O_RDWR, 0600));
    close(high);
    limit.rlim_cur = 0;
    setrlimit(RLIMIT_NOFILE, &limit);
    file("missing, none allowed", open("/mnt/missing", O_RDONLY));
    file("new, none allowed", open("/mnt/new3", O_CREAT | O_RDWR, 0600));
    return 0;
}
