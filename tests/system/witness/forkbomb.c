// A tree of 300 processes, all alive at once, all making path calls.
#include "witness.h"

static int gate[2], born[2];

static void grow(int number, int limit)
{
    char name[16];
    pid_t children[2] = {0, 0};
    for (int i = 0; i < 2; i++)
        if (2 * number + i <= limit && (children[i] = CHECK(fork())) == 0) {
            grow(2 * number + i, limit);
            _exit(0);
        }
    sprintf(name, "p%d", number);
    CHECK(mkdir(name, 0755));
    CHECK(chdir(name));
    CHECK(write(born[1], "b", 1));
    char c;
    EXPECT(read(gate[0], &c, 1) == 0);
    close(CHECK(open("file", O_WRONLY | O_CREAT, 0644)));
    CHECK(chdir(".."));
    for (int i = 0; i < 2; i++) EXPECT(!children[i] || ended(children[i]) == 0);
}

int main(int argc, char **argv)
{
    enter(argc, argv);
    int limit = argument(argc, argv, 2, 300);
    CHECK(pipe(gate));
    CHECK(pipe(born));
    pid_t pid = CHECK(fork());
    if (pid == 0) {
        close(gate[1]);
        grow(1, limit);
        _exit(0);
    }
    char c;
    for (int i = 0; i < limit; i++) EXPECT(read(born[0], &c, 1) == 1);
    close(gate[1]);
    int status = ended(pid), files = 0;
    for (int i = 1; i <= limit; i++) {
        char name[32];
        sprintf(name, "p%d/file", i);
        files += access(name, F_OK) == 0;
    }
    printf("root ended with %d, %d files\n", status, files);
}
