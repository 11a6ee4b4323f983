/* One call in a loop, shared by threads: calls NAME COUNT PATH [THREADS]. */
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static int once(const char *name, char *path)
{
    struct stat st;
    if (!strcmp(name, "stat"))
        return stat(path, &st);
    if (!strcmp(name, "access"))
        return access(path, R_OK);
    if (!strcmp(name, "chdir"))
        return chdir(path);
    if (!strcmp(name, "open"))
        return close(open(path, O_RDONLY));
    char *words[] = {path, "exit", NULL};
    pid_t child;
    if (strcmp(name, "exec") || posix_spawn(&child, path, NULL, NULL, words, environ))
        return -1;
    int status;
    return waitpid(child, &status, 0) < 0 || status;
}

static char **words;

static void *loop(void *share)
{
    for (long n = (long)share; n > 0; n--)
        if (once(words[1], words[3]))
            exit(1);
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc < 4)
        return 0;
    words = argv;
    long count = atol(argv[2]), threads = argc > 4 ? atol(argv[4]) : 1;
    if (threads == 1)
        return loop((void *)count), 0;
    pthread_t ids[1024];
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 1 << 16);
    for (long i = 0; i < threads && i < 1024; i++)
        if (pthread_create(ids + i, &small, loop, (void *)(count / threads)))
            return 1;
    for (long i = 0; i < threads && i < 1024; i++)
        pthread_join(ids[i], NULL);
    return 0;
}
