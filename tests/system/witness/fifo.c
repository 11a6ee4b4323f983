// Opening a FIFO waits for the other side; a reader sees the end when the writer closes.
#include "witness.h"

static void reader(int tell)
{
    char text[16];
    CHECK(write(tell, "b", 1));
    int fd = CHECK(open("fifo", O_RDONLY));
    CHECK(write(tell, "o", 1));
    EXPECT(read(fd, text, sizeof text) == 5 && memcmp(text, "hello", 5) == 0);
    EXPECT(read(fd, text, sizeof text) == 0);
    _exit(0);
}

int main(int argc, char **argv)
{
    enter(argc, argv);
    long rounds = argument(argc, argv, 2, 100);
    CHECK(mkfifo("fifo", 0644));
    EXPECT(open("fifo", O_WRONLY | O_NONBLOCK) < 0 && errno == ENXIO);
    int both = CHECK(open("fifo", O_RDWR));
    close(both);
    int early = CHECK(open("fifo", O_RDONLY | O_NONBLOCK));
    close(early);
    EXPECT(open("fifo", O_WRONLY | O_NONBLOCK) < 0 && errno == ENXIO);
    for (long i = 0; i < rounds; i++) {
        int tell[2];
        char c;
        CHECK(pipe(tell));
        pid_t pid = CHECK(fork());
        if (pid == 0) reader(tell[1]);
        EXPECT(read(tell[0], &c, 1) == 1 && c == 'b');
        struct pollfd opened = {.fd = tell[0], .events = POLLIN};
        if (i % 10 == 0) EXPECT(poll(&opened, 1, 30) == 0);
        int fd = CHECK(open("fifo", O_WRONLY));
        EXPECT(poll(&opened, 1, 5000) == 1);
        CHECK(write(fd, "hello", 5));
        close(fd);
        EXPECT(ended(pid) == 0);
        close(tell[0]);
        close(tell[1]);
    }
    printf("%ld rounds of open, hello, end\n", rounds);
}
