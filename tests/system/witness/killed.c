// Programs killed at any moment of a path call leave a view that goes on.
#include "witness.h"

static void *work(void *program)
{
    char name[32], text[PATH_MAX];
    struct stat s;
    sprintf(name, "k%d", gettid());
    for (long i = 0;; i++) {
        stat("/etc/passwd", &s);
        close(open(name, O_RDWR | O_CREAT, 0644));
        rename(name, "kx");
        unlink("kx");
        if (chdir(".") < 0 || !getcwd(text, sizeof text)) return NULL;
        struct sockaddr_un a = address(name);
        int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
        bind(fd, (struct sockaddr *)&a, sizeof a);
        close(fd);
        unlink(name);
        if (i % 8 == 7 && vfork() == 0) {
            execl(program, program, NULL);
            _exit(1);
        }
        while (waitpid(-1, NULL, WNOHANG) > 0) continue;
    }
}

int main(int argc, char **argv)
{
    if (argc == 1) return 0;
    enter(argc, argv);
    long rounds = argument(argc, argv, 2, 300), good = 0;
    unsigned seed = 1;
    for (long i = 0; i < rounds; i++) {
        int ready[2];
        CHECK(pipe(ready));
        pid_t pid = CHECK(fork());
        if (pid == 0) {
            CHECK(write(ready[1], "r", 1));
            pthread_t thread;
            if (i % 3 == 0) THREAD(pthread_create(&thread, NULL, work, argv[0]));
            work(argv[0]);
        }
        char c;
        EXPECT(read(ready[0], &c, 1) == 1);
        close(ready[0]);
        close(ready[1]);
        // Not to wait for something, but to hit a different moment each time.
        struct timespec moment = {0, rand_r(&seed) % 3000000};
        nanosleep(&moment, NULL);
        CHECK(kill(pid, SIGKILL));
        good += ended(pid) == 1000 + SIGKILL;
        struct stat s;
        CHECK(stat("/etc/passwd", &s));
    }
    printf("%ld of %ld killed\n", good, rounds);
    CHECK(mkdir("after", 0755));
    CHECK(chdir("after"));
    execl("/bin/echo", "echo", "and the view goes on", NULL);
}
