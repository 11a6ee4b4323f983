// Write a program, close it, execute it: ETXTBSY says that somebody still holds our descriptor.
#include "witness.h"

static const unsigned char ELF[] = {  // exit(0), as small as it gets
    0x7f, 'E', 'L', 'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0x3e, 0, 1, 0, 0, 0,
    0x78, 0, 0x40, 0, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0x40, 0, 0x38, 0, 1, 0, 0, 0, 0, 0, 0, 0,
    1, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0,
    0, 0, 0x40, 0, 0, 0, 0, 0, 0x81, 0, 0, 0, 0, 0, 0, 0, 0x81, 0, 0, 0, 0, 0, 0, 0,
    0, 0x10, 0, 0, 0, 0, 0, 0,
    0xb8, 60, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05,
};

static int run(const char *path)
{
    pid_t pid = vfork();
    if (pid == 0) {
        execve(path, (char *[]){(char *)path, NULL}, (char *[]){NULL});
        _exit(errno);
    }
    return ended(CHECK(pid));
}

int main(int argc, char **argv)
{
    enter(argc, argv);
    long rounds = argument(argc, argv, 2, 2000), busy = 0, other = 0;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    CHECK(sched_setaffinity(0, sizeof one, &one));
    for (long i = 0; i < rounds; i++) {
        int fd = CHECK(i % 2 ? creat("program", 0755)
                             : open("program", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0755));
        if (i % 20 == 0) CHECK(write(fd, "#!/bin/true\n", 12));
        else CHECK(write(fd, ELF, sizeof ELF));
        close(fd);
        int status = run(i % 3 ? "./program" : "program");
        busy += status == ETXTBSY;
        other += status != ETXTBSY && status != 0;
    }
    printf("%ld rounds, %ld ETXTBSY, %ld other failures\n", rounds, busy, other);
    int fd = CHECK(open("program", O_WRONLY));
    printf("while open for writing: %s\n", name_of_error(run("./program")));
    close(fd);
}
