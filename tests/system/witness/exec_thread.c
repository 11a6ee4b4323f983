// execve from a thread that is not the leader, while others make path calls: the process stays one.
#include "witness.h"

static const char *program;
static char pid_text[16];

static void *look(void *unused)
{
    (void)unused;
    struct stat s;
    for (;;) {
        stat("/etc/passwd", &s);
        close(open("file", O_RDONLY));
        CHECK(chdir("."));
    }
}

static void *execute(void *unused)
{
    (void)unused;
    execl(program, program, "-", pid_text, NULL);
    die(__FILE__, __LINE__, "execl");
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "-") == 0) return getpid() == atoi(argv[2]) ? 7 : 8;
    enter(argc, argv);
    long rounds = argument(argc, argv, 2, 40), good = 0;
    put("file", "x");
    program = argv[0];
    for (long i = 0; i < rounds; i++) {
        pid_t pid = CHECK(fork());
        if (pid == 0) {
            pthread_t thread;
            sprintf(pid_text, "%d", getpid());
            for (int n = 0; n < i % 4; n++) THREAD(pthread_create(&thread, NULL, look, NULL));
            THREAD(pthread_create(&thread, NULL, execute, NULL));
            if (i % 2) look(NULL);
            for (;;) pause();
        }
        good += ended(pid) == 7;
    }
    printf("%ld of %ld executed, same pid\n", good, rounds);
}
