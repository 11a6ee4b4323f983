// Sixteen threads, each with a working directory of its own, all in chdir and bind at the same time.
#include "witness.h"

enum { THREADS = 16 };
static pthread_barrier_t gate;
static char top[PATH_MAX];
static long rounds;

static void *work(void *argument)
{
    long number = (long)argument;
    char mine[PATH_MAX + 32], here[PATH_MAX], name[32];
    CHECK(unshare(CLONE_FS));
    snprintf(mine, sizeof mine, "%s/d%ld", top, number);
    CHECK(mkdir(mine, 0755));
    for (long i = 0; i < rounds; i++) {
        pthread_barrier_wait(&gate);
        CHECK(chdir(mine));
        snprintf(name, sizeof name, "s%ld", i);
        struct sockaddr_un a = address(name);
        int fd = CHECK(socket(AF_UNIX, SOCK_DGRAM, 0));
        CHECK(bind(fd, (struct sockaddr *)&a, sizeof a));
        EXPECT(getcwd(here, sizeof here) && strcmp(here, mine) == 0);
        close(fd);
        struct stat s;
        EXPECT(stat(name, &s) == 0 && S_ISSOCK(s.st_mode));
        CHECK(chdir(".."));
        EXPECT(getcwd(here, sizeof here) && strcmp(here, top) == 0);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    enter(argc, argv);
    rounds = argument(argc, argv, 2, 20);
    EXPECT(getcwd(top, sizeof top));
    THREAD(pthread_barrier_init(&gate, NULL, THREADS));
    pthread_t threads[THREADS];
    for (long i = 0; i < THREADS; i++) THREAD(pthread_create(&threads[i], NULL, work, (void *)i));
    for (int i = 0; i < THREADS; i++) THREAD(pthread_join(threads[i], NULL));
    printf("%d threads, %ld rounds\n", THREADS, rounds);
}
