// A program that looks at the names that it has given to the kernel: they are still its own.
//   names DIR [ROUNDS]
#include "witness.h"

static long changed;

static int go(const char *name)
{
    char given[PATH_MAX];
    strcpy(given, name);
    int result = chdir(given);
    changed += strcmp(given, name) != 0;
    return result;
}

int main(int argc, char **argv)
{
    enter(argc, argv);
    long rounds = argument(argc, argv, 2, 150), wrong = 0;
    char down[PATH_MAX];
    snprintf(down, sizeof down, "%s/down", argv[1]);
    CHECK(mkdir(down, 0755));
    for (long i = 0; i < rounds; i++) {
        CHECK(go(down));
        wrong += access("../down", F_OK) != 0;
        CHECK(go("/"));
        CHECK(go(argv[1]));
        CHECK(go("down"));
        CHECK(go(".."));
        wrong += go("none") != -1 || errno != ENOENT;
    }
    printf("%ld rounds, %ld changed, %ld wrong\n", rounds, changed, wrong);
}
