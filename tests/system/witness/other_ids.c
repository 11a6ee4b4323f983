/* other_ids executes|reuses FILE ROUNDS [PROGRAM]: as root. FILE is root's alone, and who has become another opens
 * it: the first thread, in which another one has executed PROGRAM, which is set-user-ID; or a process that has got
 * the id of one of root's. */
#include "witness.h"

enum { OTHER = 65534, LOOKS = 10, OPENED = 1, OTHERWISE = 2, PAUSE = 5000 };

static char *file, *program;

static int opens(void)
{
    int fd = open(file, O_RDONLY);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static int status_of(pid_t child)
{
    int status;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void *execute(void *unused)
{
    (void)unused;
    usleep(PAUSE);
    execl(program, program, "looks", file, NULL);
    die(__FILE__, __LINE__, program);
}

/* What has been executed. */
static int look(void)
{
    int opened = 0;
    for (int i = 0; i < LOOKS; i++) {
        opened |= opens();
        usleep(PAUSE);
    }
    return geteuid() == OTHER ? opened : OTHERWISE;
}

static int by_thread(void)
{
    pid_t child = fork();
    if (child)
        return status_of(child);
    pthread_t thread;
    THREAD(pthread_create(&thread, NULL, execute, NULL));
    for (;;)
        opens();
}

static int by_id(void)
{
    int last = CHECK(open("/proc/sys/kernel/ns_last_pid", O_WRONLY)), start[2];
    CHECK(pipe(start));
    pid_t parent = fork();
    if (!parent) {
        char go[32];
        CHECK(setgid(OTHER));
        CHECK(setuid(OTHER));
        ssize_t size = CHECK(read(start[0], go, sizeof go - 1));
        go[size] = 0;
        pid_t again = fork();
        if (!again)
            _exit(opens() ? OPENED : 0);
        int status = status_of(again);
        _exit(again == atoi(go) ? status : OTHERWISE);
    }
    pid_t child = fork();
    if (!child)
        _exit(opens() ? 0 : OTHERWISE);
    char text[32];
    int failed = status_of(child), length = sprintf(text, "%d", child - 1);
    CHECK(pwrite(last, text, (size_t)length, 0));
    length = sprintf(text, "%d", child);
    CHECK(write(start[1], text, (size_t)length));
    failed |= status_of(parent);
    close(last), close(start[0]), close(start[1]);
    return failed;
}

int main(int argc, char **argv)
{
    file = argv[2];
    if (!strcmp(argv[1], "looks"))
        return look();
    int rounds = atoi(argv[3]), opened = 0, otherwise = 0;
    program = argc > 4 ? argv[4] : NULL;
    for (int i = 0; i < rounds; i++) {
        int status = program ? by_thread() : by_id();
        opened += status == OPENED;
        otherwise += status != OPENED && status != 0;
    }
    printf("opened %d of %d, otherwise %d\n", opened, rounds, otherwise);
    return 0;
}
