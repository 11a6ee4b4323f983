// Five hundred threads that stat and open at once; each gets its own answer.
#include "witness.h"

enum { THREADS = 500 };
static pthread_barrier_t gate;
static atomic_long good;
static long rounds;

static void *work(void *argument)
{
    char name[32], text[32], own[32];
    struct stat s;
    sprintf(own, "f%ld", (long)argument % 50);
    pthread_barrier_wait(&gate);
    for (long i = 0; i < rounds; i++) {
        EXPECT(stat(own, &s) == 0 && s.st_size == 1 + (long)argument % 50);
        int fd = CHECK(open(own, O_RDONLY));
        EXPECT(read(fd, text, sizeof text) >= 1 && text[0] == 'x');
        close(fd);
        sprintf(name, "n%ld", (long)argument);
        CHECK(mkdir(name, 0755));
        EXPECT(mkdir(name, 0755) < 0 && errno == EEXIST);
        CHECK(rmdir(name));
        good++;
    }
    return NULL;
}

int main(int argc, char **argv)
{
    enter(argc, argv);
    rounds = argument(argc, argv, 2, 3);
    for (int i = 0; i < 50; i++) {
        char name[32], text[64];
        sprintf(name, "f%d", i);
        memset(text, 'x', sizeof text);
        text[i + 1] = 0;
        put(name, text);
    }
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 64 << 10);
    pthread_t threads[THREADS];
    THREAD(pthread_barrier_init(&gate, NULL, THREADS));
    for (long i = 0; i < THREADS; i++)
        THREAD(pthread_create(&threads[i], &small, work, (void *)i));
    for (int i = 0; i < THREADS; i++) THREAD(pthread_join(threads[i], NULL));
    printf("%ld of %ld\n", (long)good, THREADS * rounds);
}
